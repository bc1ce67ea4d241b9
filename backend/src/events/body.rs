//! The body of a stream: what its session says, as it says it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tollgate_domain::events::cursor::Start;

use super::Streams;
use super::reader::Opening;
use super::session::Session;

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Session)>> + Send>>;

/// A body that ends when its session does. It begins when it is first read: the answer to a `HEAD` never is.
pub(super) struct StreamBody {
    state: State,
    /// What was said and is not yet read.
    said: Bytes,
}

enum State {
    Waiting(Box<(Streams, Opening, Start)>),
    Saying(Session),
    Listening(Next),
    Ended,
}

impl StreamBody {
    pub(super) fn new(streams: Streams, opening: Opening, start: Start) -> Self {
        Self { state: State::Waiting(Box::new((streams, opening, start))), said: Bytes::new() }
    }
}

impl AsyncRead for StreamBody {
    /// Called again as soon as what was read before is on its way, so that a client which takes nothing shows by this
    /// not being called.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let State::Saying(session) = &this.state {
            session.is_taken();
        }
        while this.said.is_empty() {
            let next = match std::mem::replace(&mut this.state, State::Ended) {
                State::Waiting(begin) => {
                    let (streams, opening, start) = *begin;
                    let Some((said, session)) = Session::begin(streams, &opening, start) else {
                        return Poll::Ready(Ok(()));
                    };
                    (this.said, this.state) = (said, session.map_or(State::Ended, State::Saying));
                    continue;
                }
                State::Saying(session) => {
                    this.state = State::Listening(Box::pin(session.next()));
                    continue;
                }
                State::Listening(mut next) => match next.as_mut().poll(cx) {
                    Poll::Ready(next) => next,
                    Poll::Pending => {
                        this.state = State::Listening(next);
                        return Poll::Pending;
                    }
                },
                State::Ended => return Poll::Ready(Ok(())),
            };
            let Some((said, session)) = next else { return Poll::Ready(Ok(())) };
            (this.said, this.state) = (said, State::Saying(session));
        }
        let bytes = this.said.len().min(buf.remaining());
        buf.put_slice(&this.said[..bytes]);
        this.said.advance(bytes);
        if let State::Saying(session) = &this.state {
            session.hand_over();
        }
        Poll::Ready(Ok(()))
    }
}
