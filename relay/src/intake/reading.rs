//! A webhook's body, read whole within limits: of its own length, of time, and of what all bodies together may take.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Request, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// What all bodies that are being read or worked on may take. Only what has come is counted, not what was announced, so
/// that it costs as much to fill it up as it does to be filled up.
const READING_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What one permit stands for.
const PERMIT_BYTES: usize = 1024;

/// How much of a body that is too long is still taken from the connection after the answer: if it were closed with bytes
/// unread, the client's kernel might throw our answer away (RFC 9112, section 9.6).
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long that may take.
const LINGER_WAIT: Duration = Duration::from_secs(2);

/// How long a client may take for a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyWaits {
    /// From one piece to the next.
    pub piece: Duration,
    /// In all.
    pub whole: Duration,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    /// The client went away in the middle of it, or what it sent is not HTTP.
    Broken,
    /// Too much is being read at the same time.
    Crowded,
}

/// A body, and its share of the memory for bodies.
pub(super) struct Read {
    pub(super) bytes: Bytes,
    #[expect(dead_code, reason = "held until the event is answered")]
    share: Option<OwnedSemaphorePermit>,
}

/// Reads bodies.
pub(super) struct Reader {
    bytes_max: usize,
    waits: BodyWaits,
    memory: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(bytes_max: usize, waits: BodyWaits) -> Self {
        Self { bytes_max, waits, memory: Arc::new(Semaphore::new(READING_BYTES_MAX / PERMIT_BYTES)) }
    }

    /// Reads the body of `request` to its end, unless it is too long for that.
    pub(super) async fn read(&self, request: Request<Incoming>) -> Result<Read, Unread> {
        let (head, mut body) = request.into_parts();
        if announced_length(&head.headers).is_some_and(|length| length > self.bytes_max as u64) {
            linger(body, head.version, &head.headers);
            return Err(Unread::TooLarge);
        }
        let by = Instant::now() + self.waits.whole;
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        let mut share = None;
        loop {
            let piece_by = by.min(Instant::now() + self.waits.piece);
            let frame = timeout_at(piece_by, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
            let frame = match frame.await.map_err(|_| Unread::TooSlow)? {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Err(Unread::Broken),
            };
            // Trailers say nothing that we read.
            let Ok(piece) = frame.into_data() else { continue };
            if first.len() + more.len() + piece.len() > self.bytes_max {
                linger(body, head.version, &head.headers);
                return Err(Unread::TooLarge);
            }
            self.take_share(&mut share, piece.len(), by).await?;
            // Most bodies come in one piece, which then is not copied.
            if first.is_empty() && more.is_empty() {
                first = piece;
            } else {
                if more.is_empty() {
                    more.extend_from_slice(&std::mem::take(&mut first));
                }
                more.extend_from_slice(&piece);
            }
            if body.is_end_stream() {
                break;
            }
        }
        Ok(Read { bytes: if more.is_empty() { first } else { more.freeze() }, share })
    }

    async fn take_share(
        &self,
        share: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
        by: Instant,
    ) -> Result<(), Unread> {
        let permits = u32::try_from(bytes / PERMIT_BYTES + 1).map_err(|_| Unread::TooLarge)?;
        let taken = Arc::clone(&self.memory).acquire_many_owned(permits);
        let taken = timeout_at(by, taken).await.map_err(|_| Unread::Crowded)?.map_err(|_| Unread::Crowded)?;
        match share {
            Some(share) => share.merge(taken),
            None => *share = Some(taken),
        }
        Ok(())
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Takes some more of `body` and throws it away, while the answer is sent.
fn linger(mut body: Incoming, version: Version, headers: &HeaderMap) {
    // In HTTP/2 a stream is ended without harm to its answer; and who waits for a "100 Continue" sends nothing.
    if version == Version::HTTP_2 || headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER_WAIT, async move {
        let mut taken = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > LINGER_BYTES_MAX {
                return;
            }
        }
    }));
}
