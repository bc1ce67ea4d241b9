//! A connection to a backend over HTTP/1.1 that may respond before it has the whole of a request, and close.
//!
//! It does so to refuse an upload: a token has expired, or the body is too long. What is sent to it after that fails, and
//! hyper gives the request up at the first write that does, though the response may be there already and be read. So a
//! write that fails is not an error here: what is sent from then on goes nowhere, and reading tells what came of the
//! request: the response, or the end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// A connection on which a response is waited for though the request could not be sent to its end.
pub(super) struct EarlyResponse<I> {
    io: I,
    /// Only where responses come in the order of requests: over HTTP/2 the other end says when it wants no more.
    is_patient: bool,
    /// A write has failed.
    is_broken: bool,
}

impl<I> EarlyResponse<I> {
    pub(super) fn new(io: I, is_patient: bool) -> Self {
        Self { io, is_patient, is_broken: false }
    }

    /// What a write of `bytes` comes to.
    fn written(&mut self, bytes: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(_)) if self.is_patient => {
                self.is_broken = true;
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

impl<I: Read + Unpin> Read for EarlyResponse<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: Write + Unpin> Write for EarlyResponse<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(buf.len(), written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        if self.is_broken {
            return Poll::Ready(Ok(bytes));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(bytes, written)
    }
}

impl<I: Connection> Connection for EarlyResponse<I> {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}
