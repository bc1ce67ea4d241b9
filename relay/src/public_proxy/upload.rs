//! The body of a client's request on its way to the backend: streamed, never gathered, and bounded in bytes and time.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

/// Longest body taken. What our routes take is a few kilobytes; a support request may have a picture.
pub(super) const BODY_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// How long the backend is left without the rest of a body that will not come, before its request is taken back. The
/// client is told at once; the backend should have seen the request by then: see `DetachedRequest`.
const TAKEN_BACK_AFTER: Duration = Duration::from_secs(5);

/// Why a body did not get to its end. All of it is between the client and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UploadError {
    /// It is longer than [`BODY_BYTES_MAX`].
    #[error("body too large")]
    TooLarge,
    /// It took too long.
    #[error("body not there in time")]
    Timeout,
    /// The client's connection broke, or did not keep to HTTP.
    #[error("body broken off")]
    Incomplete,
}

/// A body on its way. Ends without trailers: they could name any header, after ours were set.
pub(super) struct UploadBody(Option<State>);

struct State {
    body: Incoming,
    bytes_left: u64,
    limit: Pin<Box<Sleep>>,
    status: Arc<UploadStatus>,
}

/// What became of an upload, for the one who waits for the response to it.
#[derive(Default)]
pub(super) struct UploadStatus {
    failure: OnceLock<UploadError>,
    failed: Notify,
    over: Notify,
}

impl UploadStatus {
    /// Waits until something goes wrong on the client's side. For one waiter.
    pub(super) async fn failed(&self) -> UploadError {
        loop {
            if let Some(failure) = self.failure.get() {
                return *failure;
            }
            self.failed.notified().await;
        }
    }

    /// Waits until nothing more of the body is sent: it is all there, or nobody wants the rest of it. For one waiter.
    pub(super) async fn over(&self) {
        self.over.notified().await;
    }
}

impl UploadBody {
    /// Begins to take `body`. With its status, unless there is nothing to it. Refuses one that says that it is too large.
    pub(super) fn begin(body: Incoming, limit: Duration) -> Result<(Self, Option<Arc<UploadStatus>>), UploadError> {
        if body.is_end_stream() {
            return Ok((Self(None), None));
        }
        if body.size_hint().lower() > BODY_BYTES_MAX {
            return Err(UploadError::TooLarge);
        }
        let status = Arc::new(UploadStatus::default());
        let state =
            State { body, bytes_left: BODY_BYTES_MAX, limit: Box::pin(sleep(limit)), status: Arc::clone(&status) };
        Ok((Self(Some(state)), Some(status)))
    }
}

impl State {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(UploadError::Incomplete))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return self.limit.as_mut().poll(cx).map(|()| Some(Err(UploadError::Timeout))),
            };
            let Ok(data) = frame.into_data() else { continue };
            return Poll::Ready(Some(match self.bytes_left.checked_sub(data.len() as u64) {
                Some(left) => {
                    self.bytes_left = left;
                    Ok(data)
                }
                None => Err(UploadError::TooLarge),
            }));
        }
    }

    /// Says what went wrong to who waits for it, and ends when the backend may learn of it too.
    fn poll_failed(&mut self, failure: UploadError, cx: &mut Context<'_>) -> Poll<()> {
        if self.status.failure.set(failure).is_ok() {
            self.status.failed.notify_one();
            self.limit.as_mut().reset(Instant::now() + TAKEN_BACK_AFTER);
        }
        self.limit.as_mut().poll(cx)
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(state) = &mut self.0 else { return Poll::Ready(None) };
        let piece = match state.status.failure.get() {
            Some(failure) => Some(Err(*failure)),
            None => std::task::ready!(state.poll(cx)),
        };
        match piece {
            Some(Ok(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Err(failure)) => {
                std::task::ready!(state.poll_failed(failure, cx));
                self.0 = None;
                Poll::Ready(Some(Err(failure)))
            }
            None => {
                self.0 = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|state| state.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |state| state.body.size_hint())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.status.over.notify_one();
    }
}
