//! The bytes of a client's connection, and what hyper does not see to: a client that takes nothing, heads that are never
//! finished, fragments, and the bare statuses that hyper refuses by itself what is no request.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use metrics::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio::time::Sleep;
use tollgate_shared::telemetry::Seldom;
use tracing::warn;

use super::places::{Connection, WARN_INTERVAL};

/// What a head may have without being counted: what nearly all have, and what a connection keeps room for anyhow.
const HEAD_BYTES_FREE: usize = 8 * 1024;
/// What all unfinished heads that are longer than that may have together.
const HEADS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The memory for unfinished heads.
pub(super) struct HeadBudget {
    bytes_left: AtomicUsize,
    /// Connections that were closed because there was none left.
    refused: Counter,
    warned: Seldom,
}

impl HeadBudget {
    /// `refused` counts the connections that are closed for want of it.
    pub(super) fn new(refused: Counter) -> Self {
        Self { bytes_left: AtomicUsize::new(HEADS_BYTES_MAX), refused, warned: Seldom::new(WARN_INTERVAL) }
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            self.refused.increment(1);
            if let Some(held_back) = self.warned.again(Instant::now().into_std()) {
                warn!(held_back, "connections are closed: unfinished request heads take too much memory");
            }
        }
        taken.is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.bytes_left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Makes the response to what is no request, in the form of all errors. Given the status that hyper refuses it with.
pub(super) type Unreadable = Arc<dyn Fn(StatusCode) -> Vec<u8> + Send + Sync>;

/// One connection's bytes.
pub(super) struct ClientIo<I> {
    io: I,
    /// No write waits longer than that.
    write_timeout: Duration,
    /// While a write waits: until when.
    timer: Option<Pin<Box<Sleep>>>,
    connection: Arc<Connection>,
    head: Head,
    /// Over HTTP/1 only: of HTTP/2, hyper makes the frames by itself.
    unreadable: Option<Unreadable>,
    /// What is sent instead of hyper's own response.
    instead: Bytes,
}

/// What has come of a request's head.
struct Head {
    budget: Arc<HeadBudget>,
    /// How many requests had begun when it did.
    begun: usize,
    bytes: usize,
    /// As many of them as were taken from the budget.
    counted: usize,
}

impl Head {
    fn restart(&mut self, begun: usize) {
        if self.counted > 0 {
            self.budget.give_back(std::mem::take(&mut self.counted));
        }
        (self.begun, self.bytes) = (begun, 0);
    }

    /// Counts what has come so far: more is wanted, so that it is not finished.
    fn count(&mut self) -> bool {
        let more = self.bytes.saturating_sub(HEAD_BYTES_FREE).saturating_sub(self.counted);
        let has_room = more == 0 || self.budget.take(more);
        if has_room {
            self.counted += more;
        }
        has_room
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.budget.give_back(self.counted);
    }
}

impl<I> ClientIo<I> {
    pub(super) fn new(
        io: I,
        write_timeout: Duration,
        connection: Arc<Connection>,
        heads: Arc<HeadBudget>,
        unreadable: Option<Unreadable>,
    ) -> Self {
        let head = Head { budget: heads, begun: 0, bytes: 0, counted: 0 };
        Self { io, write_timeout, timer: None, connection, head, unreadable, instead: Bytes::new() }
    }

    fn limit<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.write_timeout)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The end of a head, if it has come: a request has begun since, or something is written.
    fn settle_head(&mut self, is_writing: bool) {
        let begun = self.connection.begun();
        if is_writing || begun != self.head.begun {
            self.head.restart(begun);
        }
    }

    /// Whether `written` is hyper's own response, which then is replaced.
    fn replace(&mut self, written: &[u8]) -> bool {
        let Some(unreadable) = &self.unreadable else { return false };
        let Some(status) = hypers_own(written) else { return false };
        self.instead = unreadable(status).into();
        true
    }
}

impl<I: AsyncWrite + Unpin> ClientIo<I> {
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.instead);
            let written = ready!(self.limit(cx, written))?;
            self.instead.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// The status, if this is a response that hyper makes by itself. It has a length of 0, which no error of ours has.
fn hypers_own(written: &[u8]) -> Option<StatusCode> {
    let rest = written.strip_prefix(b"HTTP/1.")?.get(1..)?;
    let status = match rest.get(..4)? {
        b" 400" => StatusCode::BAD_REQUEST,
        b" 414" => StatusCode::URI_TOO_LONG,
        b" 431" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => return None,
    };
    // Every response of ours has an id, and its head is far shorter than this.
    let head = String::from_utf8_lossy(&written[..written.len().min(1024)]).to_ascii_lowercase();
    (head.contains("content-length: 0") && !head.contains("x-request-id")).then_some(status)
}

/// Whether `read` begins with the first line of a request whose target has a fragment. What is seen of a line only in
/// part, because it came in pieces or behind another request, is taken for one without.
fn has_fragment(read: &[u8]) -> bool {
    let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    !method.is_empty()
        && method.iter().all(u8::is_ascii_uppercase)
        && version.starts_with(b"HTTP/1.")
        && target.contains(&b'#')
}

impl<I: AsyncRead + Unpin> AsyncRead for ClientIo<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.settle_head(false);
        if !this.head.count() {
            return Poll::Ready(Err(io::Error::other("unfinished heads take too much memory")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if !this.connection.is_in_use() {
            let read = &buf.filled()[before..];
            if this.head.bytes == 0 && this.unreadable.is_some() && has_fragment(read) {
                this.connection.note_fragment();
            }
            this.head.bytes += read.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for ClientIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.settle_head(true);
        ready!(self.poll_instead(cx))?;
        if self.replace(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.limit(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.limit(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.limit(cx, shut)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.settle_head(true);
        ready!(self.poll_instead(cx))?;
        if bufs.first().is_some_and(|first| self.replace(first)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.limit(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_of_hypers_own_is_told_from_ours() {
        let of_hyper = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(hypers_own(of_hyper), Some(StatusCode::BAD_REQUEST));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\nx-request-id: req_1\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400",
            b"HTTP/1.1",
            b"",
        ] {
            assert_eq!(hypers_own(other), None);
        }
    }

    #[test]
    fn a_fragment_is_seen_in_the_target_and_nowhere_else() {
        for with in ["GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", "POST /?a#b HTTP/1.0\n", "GET http://a/#b HTTP/1.1"] {
            assert!(has_fragment(with.as_bytes()), "{with}");
        }
        for without in
            ["GET /a HTTP/1.1\r\nreferer: /a#b\r\n", "GET /a#b", "referer: /a#b HTTP/1.1\r\n", "a#b c#d HTTP/1.1", ""]
        {
            assert!(!has_fragment(without.as_bytes()), "{without}");
        }
    }

    #[test]
    fn only_heads_that_are_long_and_unfinished_are_counted() {
        let budget = Arc::new(HeadBudget::new(Counter::noop()));
        let mut heads: Vec<_> = (0..=(HEADS_BYTES_MAX / (56 * 1024)))
            .map(|_| Head { budget: Arc::clone(&budget), begun: 0, bytes: 64 * 1024, counted: 0 })
            .collect();
        let refused = heads.iter_mut().filter_map(|head| (!head.count()).then_some(())).count();
        assert_eq!(refused, 1);
        let mut usual = Head { budget: Arc::clone(&budget), begun: 0, bytes: HEAD_BYTES_FREE, counted: 0 };
        assert!(usual.count());
        // One that is finished makes room.
        heads[0].restart(1);
        assert!(heads.last_mut().unwrap().count());
        drop(heads);
        assert_eq!(budget.bytes_left.load(Ordering::Relaxed), HEADS_BYTES_MAX);
    }
}
