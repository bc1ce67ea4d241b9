//! One listener and its connections: how many, how long each may take, and how they end when the relay does.
//!
//! Errors of a connection end with it; nobody else hears of them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::stall::Stall;
use super::{Limits, Phase};
use crate::body::{Body, BoxError};
use crate::public_proxy::Peer;

/// Bytes of a request's head above which hyper answers by itself; what we answer in our own form stays well below.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How soon the beginning of a connection is looked at again that came in pieces; each time later by as much again, so
/// that those who send no more than that cost nothing.
const PEEK_AGAIN_AFTER: Duration = Duration::from_millis(2);
/// Requests at a time on one HTTP/2 connection. A desktop app or a proxy in front needs a handful; streams count.
const HTTP2_STREAMS_MAX: u32 = 256;
/// What one HTTP/2 request may send before we take it: a usual event fits, and none of 10,000 holds more than this.
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
/// As above, for all requests of a connection together.
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of an answer to a client that does not take it is held.
const HTTP2_SEND_BYTES_MAX: usize = 64 * 1024;
/// A quiet HTTP/2 connection is asked for a sign of life this often, and given up when none comes in as long again.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(30);

/// Between two tries to accept while the process is out of something, descriptors above all: from, to.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// An answer on its way. Boxed: a connection keeps room for it as long as it lives, and most are idle.
pub(super) type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// One listener.
pub(super) struct Connections<H> {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    pub(super) connections_max: usize,
    pub(super) handler: H,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) open: Gauge,
}

impl<H> Connections<H>
where
    H: Fn(Request<Incoming>, Peer) -> Answering + Send + Sync + 'static,
{
    /// Accepts until the relay drains, then returns when every connection has ended.
    pub(super) async fn serve(self, listener: TcpListener) {
        let this = Arc::new(self);
        let mut phase = this.phase.clone();
        let permits = Arc::new(Semaphore::new(this.connections_max));
        loop {
            // The place first: a connection that we could not serve waits in the kernel's queue.
            let (permit, stream, addr) = tokio::select! {
                accepted = accept(&listener, &permits) => accepted,
                () = left_serving(&mut phase) => break,
            };
            let this = Arc::clone(&this);
            tokio::spawn(async move {
                this.open.increment(1);
                this.connection(stream, addr).await;
                this.open.decrement(1);
                drop(permit);
            });
        }
        drop(listener);
        let all = u32::try_from(this.connections_max).unwrap_or(u32::MAX);
        tokio::select! {
            _ = permits.acquire_many(all) => {}
            () = cut(&mut phase) => {}
        }
    }

    async fn connection(&self, stream: TcpStream, addr: SocketAddr) {
        // An error means that the other end is gone already, which the first read will show.
        let _ = stream.set_nodelay(true);
        let peer = Peer { addr: addr.ip(), tls: self.tls.is_some() };
        // What most connections do not need is in boxes, so that they keep no room for it.
        if let Some(tls) = &self.tls {
            return Box::pin(self.https(tls, stream, peer)).await;
        }
        match self.within_head_wait(version(&stream)).await {
            Some(Version::HTTP_2) => Box::pin(self.http2(TokioIo::new(stream), peer)).await,
            Some(_) => self.http1(TokioIo::new(stream), peer).await,
            None => {}
        }
    }

    async fn https(&self, tls: &TlsAcceptor, stream: TcpStream, peer: Peer) {
        let Some(Ok(stream)) = self.within_head_wait(tls.accept(stream)).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(TokioIo::new(stream), peer).await;
        } else {
            self.http1(TokioIo::new(stream), peer).await;
        }
    }

    /// Waits for what comes before the first request, but not for ever, and not when the relay drains.
    async fn within_head_wait<T>(&self, coming: impl Future<Output = T>) -> Option<T> {
        let mut phase = self.phase.clone();
        tokio::select! {
            come = tokio::time::timeout(self.limits.head_wait, coming) => come.ok(),
            () = left_serving(&mut phase) => None,
        }
    }

    async fn http1<I>(&self, io: I, peer: Peer)
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let answering = (self.handler)(request, peer);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Also the longest that a connection is idle between two requests.
            .header_read_timeout(self.limits.head_wait)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(Stall::new(io, self.limits.write_wait), service);
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            // Whether it ended well is of no interest to anyone here.
            _ = connection.as_mut() => return,
            () = left_serving(&mut phase) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = cut(&mut phase) => {}
        }
    }

    async fn http2<I>(&self, io: I, peer: Peer)
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let requests = Arc::new(Requests::default());
        let service = service_fn(|request| {
            let open = requests.begin();
            let answering = (self.handler)(request, peer);
            async move { Ok::<_, Infallible>(answering.await.map(|body| Counted { body, _open: open })) }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(HTTP2_PING_EVERY)
            .keep_alive_timeout(HTTP2_PING_EVERY)
            .serve_connection(Stall::new(io, self.limits.write_wait), service);
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = left_serving(&mut phase) => connection.as_mut().graceful_shutdown(),
            () = requests.end(&self.limits) => connection.as_mut().graceful_shutdown(),
        }
        // A client that does not take the farewell is not waited for, once it has nothing under way.
        tokio::select! {
            _ = connection => {}
            () = requests.end(&self.limits) => {}
            () = cut(&mut phase) => {}
        }
    }
}

/// Which version of HTTP a client speaks, by its first bytes, which are left where they are. hyper-util finds that out by
/// reading them, without a limit of time and at twice the memory for as long as the connection lives.
async fn version(stream: &TcpStream) -> Version {
    let mut first = [0; HTTP2_PREFACE.len()];
    let mut pause = PEEK_AGAIN_AFTER;
    loop {
        // An error will show again at the first read.
        let Ok(bytes) = stream.peek(&mut first).await else { return Version::HTTP_11 };
        if first[..bytes] == *HTTP2_PREFACE {
            return Version::HTTP_2;
        }
        if bytes == 0 || !HTTP2_PREFACE.starts_with(&first[..bytes]) {
            return Version::HTTP_11;
        }
        // A beginning of either: there is no bell for more bytes than there are.
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    let (mut pause, pause_max) = ACCEPT_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => return (permit, stream, addr),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors, most likely: trying again at once would only keep a core busy.
                warn!("Could not accept a connection: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(pause_max);
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Returns when the relay drains, or has ended.
async fn left_serving(phase: &mut watch::Receiver<Phase>) {
    // An error means that the relay is gone.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

async fn cut(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Cut).await;
}

/// The requests of one HTTP/2 connection. Those of HTTP/1 hyper watches by itself.
#[derive(Default)]
struct Requests {
    begun: AtomicUsize,
    open: AtomicUsize,
}

impl Requests {
    fn begin(self: &Arc<Self>) -> Open {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Returns when no request has come in the time for the first, or, later, none was there in the time to be idle.
    async fn end(&self, limits: &Limits) {
        let mut seen = self.begun.load(Ordering::Relaxed);
        tokio::time::sleep(if seen == 0 { limits.head_wait } else { limits.idle_wait }).await;
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            if begun == seen && self.open.load(Ordering::Relaxed) == 0 {
                return;
            }
            seen = begun;
            tokio::time::sleep(limits.idle_wait).await;
        }
    }
}

/// A request that has begun and not ended.
struct Open(Arc<Requests>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body; the request is open for as long as it is.
struct Counted {
    body: Body,
    /// Held until the body is dropped.
    _open: Open,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
