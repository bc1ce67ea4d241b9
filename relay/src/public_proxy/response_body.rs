//! The body of a backend's response on its way to the client: piece by piece as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use metrics::Gauge;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::body::BoxError;

/// A backend took too long between two pieces of a response.
#[derive(Debug, thiserror::Error)]
#[error("no more of the response in time")]
struct BodyTimeout;

/// A response that has an end: it is broken off, so that the client notices, when the rest of it does not come.
pub(super) struct BoundedBody {
    body: Incoming,
    piece: Duration,
    /// While there is nothing to pass on: until when.
    limit: Option<Pin<Box<Sleep>>>,
}

impl BoundedBody {
    /// Passes `body` on, of which no piece may take longer than `piece` to come. A client that does not take what is
    /// there uses up no time of the backend's.
    pub(super) fn new(body: Incoming, piece: Duration) -> Self {
        Self { body, piece, limit: None }
    }
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.limit = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = this.limit.get_or_insert_with(|| Box::pin(sleep(this.piece)));
        limit.as_mut().poll(cx).map(|()| Some(Err(BodyTimeout.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream of events: it may be quiet indefinitely, and it ends cleanly when the backend or the relay goes, for its
/// client reconnects by itself and resumes where it was. An event that is cut off is dropped there.
pub(super) struct Stream {
    open: Option<Open>,
}

/// What an open stream holds. There may be thousands, most of them idle, so there is little of it.
struct Open {
    body: Incoming,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    count: Gauge,
}

impl Stream {
    /// Passes `body` on until `drain` is cancelled; counted in `count` for so long.
    pub(super) fn new(body: Incoming, drain: &CancellationToken, count: &Gauge) -> Self {
        count.increment(1);
        Self { open: Some(Open { body, drained: Box::pin(drain.clone().cancelled_owned()), count: count.clone() }) }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let piece = match open.drained.as_mut().poll(cx) {
            Poll::Ready(()) => None,
            Poll::Pending => std::task::ready!(Pin::new(&mut open.body).poll_frame(cx)),
        };
        if let Some(Ok(frame)) = piece {
            return Poll::Ready(Some(Ok(frame)));
        }
        self.open = None;
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.decrement(1);
    }
}
