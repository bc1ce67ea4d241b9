//! One listener and its connections: how many, how long each may take, and how they end when the relay does.
//!
//! Errors of a connection end with it; nobody else hears of them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
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
#[derive(Clone)]
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
    H: Fn(Request<Incoming>, Peer) -> Answering + Clone + Send + Sync + 'static,
{
    /// Accepts until the relay drains, then returns when every connection has ended.
    pub(super) async fn serve(mut self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(self.connections_max));
        loop {
            let mut phase = self.phase.clone();
            // The place first: a connection that we could not serve waits in the kernel's queue.
            let (permit, stream, addr) = tokio::select! {
                accepted = accept(&listener, &permits) => accepted,
                () = left_serving(&mut phase) => break,
            };
            let connection = self.clone();
            tokio::spawn(async move {
                connection.open.increment(1);
                connection.connection(stream, addr).await;
                connection.open.decrement(1);
                drop(permit);
            });
        }
        drop(listener);
        let all = u32::try_from(self.connections_max).unwrap_or(u32::MAX);
        tokio::select! {
            _ = permits.acquire_many(all) => {}
            () = cut(&mut self.phase) => {}
        }
    }

    async fn connection(&self, stream: TcpStream, addr: SocketAddr) {
        // An error means that the other end is gone already, which the first read will show.
        let _ = stream.set_nodelay(true);
        let peer = Peer { addr: addr.ip(), tls: self.tls.is_some() };
        let Some(tls) = &self.tls else { return self.http(TokioIo::new(stream), peer).await };
        let mut phase = self.phase.clone();
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(self.limits.head_wait, tls.accept(stream)) => handshake,
            () = left_serving(&mut phase) => return,
        };
        if let Ok(Ok(stream)) = handshake {
            self.http(TokioIo::new(stream), peer).await;
        }
    }

    async fn http<I>(&self, io: I, peer: Peer)
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let requests = Arc::new(Requests::default());
        let service = service_fn(|request: Request<Incoming>| {
            let http2 = request.version() == Version::HTTP_2;
            let open = requests.begin(http2);
            let answering = (self.handler)(request, peer);
            async move {
                let response = answering.await;
                Ok::<_, Infallible>(if http2 {
                    response.map(|body| Counted { body, open }.boxed_unsync())
                } else {
                    response
                })
            }
        });
        let builder = self.builder();
        let mut connection = std::pin::pin!(builder.serve_connection(Stall::new(io, self.limits.write_wait), service));
        let mut phase = self.phase.clone();
        let mut wait = self.limits.head_wait;
        let mut seen = 0;
        let mut ending = *phase.borrow() != Phase::Serving;
        if ending {
            return;
        }
        loop {
            tokio::select! {
                biased;
                // Whether it ended well is of no interest to anyone here.
                _ = connection.as_mut() => return,
                changed = phase.changed() => {
                    if changed.is_err() || *phase.borrow() == Phase::Cut {
                        return;
                    }
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tokio::time::sleep(wait) => match requests.look(seen) {
                    // Not one request, nor even the version it would have.
                    Look::Silent => return,
                    // hyper's own limit of the time between requests is enough.
                    Look::Http1 => wait = Duration::MAX,
                    Look::Busy(now) => {
                        seen = now;
                        wait = self.limits.idle_wait;
                    }
                    Look::Idle if ending => return,
                    Look::Idle => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                },
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // Also the longest that a connection is idle between two requests.
            .header_read_timeout(self.limits.head_wait)
            .max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(HTTP2_PING_EVERY)
            .keep_alive_timeout(HTTP2_PING_EVERY);
        builder
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

/// The requests of one connection. Those of HTTP/1 are only noticed: hyper watches them by itself.
#[derive(Default)]
struct Requests {
    http1: AtomicBool,
    begun: AtomicUsize,
    open: AtomicUsize,
}

enum Look {
    Silent,
    Http1,
    Busy(usize),
    Idle,
}

impl Requests {
    fn begin(self: &Arc<Self>, http2: bool) -> Option<Open> {
        if !http2 {
            self.http1.store(true, Ordering::Relaxed);
            return None;
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Open(Arc::clone(self)))
    }

    /// How the connection was used since `seen` requests had begun.
    fn look(&self, seen: usize) -> Look {
        let begun = self.begun.load(Ordering::Relaxed);
        if self.http1.load(Ordering::Relaxed) {
            Look::Http1
        } else if begun == 0 {
            Look::Silent
        } else if begun > seen || self.open.load(Ordering::Relaxed) > 0 {
            Look::Busy(begun)
        } else {
            Look::Idle
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
    #[expect(dead_code, reason = "held until the body is dropped")]
    open: Option<Open>,
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
