//! The requests of a connection: which are open, and how long a client may leave what it was sent.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::places::Open;
use crate::body::{Body, BoxError};

/// The longest piece that is handed over at once: how much of a response is held for a client that takes nothing.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// What is handed to the client of one HTTP/2 stream, and since when it is left there.
#[derive(Debug, Default)]
pub(super) struct Handover(Mutex<Option<Instant>>);

impl Handover {
    /// Something is handed over: the client's time begins.
    fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It was taken: whatever is waited for now is not the client.
    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the streams of one HTTP/2 connection, and resets those whose client leaves a piece for longer than `timeout`.
///
/// A client may keep its flow-control window shut for as long as it likes, and hyper waits with it: to the connection
/// all is well, so no other limit notices. Only the future of the stream can be given up, and it passes through here.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    timeout: Duration,
    /// Of the request that was taken last: hyper hands in its future right after it has called the service.
    next: Arc<Mutex<Option<Arc<Handover>>>>,
}

impl StreamExecutor {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, next: Arc::default() }
    }

    /// To be called by the service, for the stream whose request it was given.
    pub(super) fn stream(&self) -> Arc<Handover> {
        let handover = Arc::<Handover>::default();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&handover));
        handover
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        match next {
            Some(handover) => drop(tokio::spawn(while_taken(stream, handover, self.timeout))),
            None => drop(tokio::spawn(stream)),
        }
    }
}

/// Ends with `stream`, or when a piece was left for `timeout`.
async fn while_taken(stream: impl Future, handover: Arc<Handover>, timeout: Duration) {
    let mut stream = pin!(stream);
    // Most streams never wait for their clients and need no timer.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = handover.since() else {
            timer = None;
            return Poll::Pending;
        };
        let by = since + timeout;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(by)));
        if timer.deadline() != by {
            timer.as_mut().reset(by);
        }
        timer.as_mut().poll(cx)
    })
    .await;
}

/// The body of a response. Its request is open for as long as it is.
pub(super) struct ResponseBody {
    body: Body,
    /// Of a piece that is longer than is handed over at once.
    rest: Bytes,
    /// Of an HTTP/2 stream. HTTP/1 has one response at a time, which the connection's own time limit is for.
    handover: Option<Arc<Handover>>,
    /// Held until the body is dropped.
    _open: Open,
}

impl ResponseBody {
    pub(super) fn new(body: Body, handover: Option<Arc<Handover>>, open: Open) -> Self {
        if let Some(handover) = handover.as_ref().filter(|_| !body.is_end_stream()) {
            handover.begin();
        }
        Self { body, rest: Bytes::new(), handover, _open: open }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(handover) = &this.handover else { return Pin::new(&mut this.body).poll_frame(cx) };
        handover.end();
        let data = if this.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        } else {
            std::mem::take(&mut this.rest)
        };
        this.rest = data;
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        handover.begin();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http_body_util::BodyExt;

    use super::*;
    use crate::body::full;
    use crate::server::places::{ConnectionMetrics, Places};

    #[tokio::test]
    async fn a_long_piece_is_handed_over_in_short_ones_and_none_is_lost() {
        let places = Arc::new(Places::new(1, 1, ConnectionMetrics::none()));
        let place = places.take(IpAddr::from([192, 0, 2, 1]).into(), false).await.unwrap();
        let sent: Vec<u8> = (0..40 * 1024).map(|n| n as u8).collect();
        let handover = Arc::<Handover>::default();
        let mut body = ResponseBody::new(full(sent.clone()), Some(Arc::clone(&handover)), place.begin());
        let mut taken = Vec::new();
        while !body.is_end_stream() {
            assert!(handover.since().is_some(), "the client's time runs");
            assert_eq!(body.size_hint().exact(), Some((sent.len() - taken.len()) as u64));
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES_MAX);
            taken.extend_from_slice(&piece);
        }
        assert_eq!(taken, sent);
        assert!(body.frame().await.is_none() && handover.since().is_none());
        assert!(place.connection.is_in_use());
        drop(body);
        assert!(!place.connection.is_in_use());
    }
}
