//! A webhook's body, read whole within limits: of its own length, of time, and of the memory for all bodies.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Request, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use metrics::Gauge;
use tokio::time::{Instant, timeout, timeout_at};

use super::memory::{BodyMemory, Memory, Share};
use crate::public_proxy::Network;

/// How much of a body that is not wanted is still taken from the connection after the response: if it were closed with
/// bytes unread, the client's kernel might throw our response away (RFC 9112, section 9.6).
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long that may take.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may take for a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyTimeouts {
    /// From one piece to the next.
    pub piece: Duration,
    /// In all.
    pub whole: Duration,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is longer than allowed.
    TooLarge,
    /// It did not come in time.
    Timeout,
    /// The client went away in the middle of it, or what it sent is not HTTP.
    Incomplete,
    /// Too much is being read at the same time.
    Overloaded,
}

/// A body, and its share of the memory for bodies.
pub(super) struct Read {
    pub(super) bytes: Bytes,
    #[expect(dead_code, reason = "held until the event is answered")]
    share: Share,
}

/// Reads bodies.
pub(super) struct Reader {
    bytes_max: usize,
    timeouts: BodyTimeouts,
    memory: Arc<Memory>,
}

impl Reader {
    /// `held` shows how many bytes are held.
    pub(super) fn new(bytes_max: usize, timeouts: BodyTimeouts, memory: BodyMemory, held: Gauge) -> Self {
        Self { bytes_max, timeouts, memory: Arc::new(Memory::new(memory, held)) }
    }

    /// Reads the body of a request that came from `network` to its end, unless it is too long for that.
    pub(super) async fn read(&self, request: Request<Incoming>, network: Network) -> Result<Read, BodyError> {
        let (head, mut body) = request.into_parts();
        if announced_length(&head.headers).is_some_and(|length| length > self.bytes_max as u64) {
            discard(body, head.version, &head.headers);
            return Err(BodyError::TooLarge);
        }
        let mut share = self.memory.body(network);
        let by = Instant::now() + self.timeouts.whole;
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        loop {
            let piece_by = by.min(Instant::now() + self.timeouts.piece);
            let frame = timeout_at(piece_by, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
            let frame = match frame.await.map_err(|_| BodyError::Timeout)? {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Err(BodyError::Incomplete),
            };
            // Trailers say nothing that we read.
            let Ok(piece) = frame.into_data() else { continue };
            let bytes = first.len() + more.len() + piece.len();
            if bytes > self.bytes_max {
                discard(body, head.version, &head.headers);
                return Err(BodyError::TooLarge);
            }
            if share.grow_to(bytes).is_err() {
                discard(body, head.version, &head.headers);
                return Err(BodyError::Overloaded);
            }
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
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Takes some more of `body` and throws it away, while the response is sent.
pub(super) fn discard(mut body: Incoming, version: Version, headers: &HeaderMap) {
    // In HTTP/2 a stream is ended without harm to its response; and who waits for a "100 Continue" sends nothing.
    if body.is_end_stream() || version == Version::HTTP_2 || headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(timeout(LINGER_TIMEOUT, async move {
        let mut taken = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > LINGER_BYTES_MAX {
                return;
            }
        }
    }));
}
