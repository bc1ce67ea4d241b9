//! One listener and its connections: how many, how long each may take, and how they end when the relay does.
//!
//! Connection errors are contained: they never affect other connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tollgate_shared::http_version::speaks_http2;
use tollgate_shared::tls::Tls;
use tracing::warn;

use super::client_io::{ClientIo, HeadBudget, Unreadable};
use super::places::{Connection, Place, Places};
use super::streams::{ResponseBody, StreamExecutor};
use crate::body::Body;
use crate::lifecycle::{Phase, aborting, left_serving};
use crate::limits::Limits;
use crate::public_proxy::{Peer, TrustedProxies};
use crate::routes::HasFragment;

/// Bytes of a request's head above which hyper answers by itself; what the routes refuse stays well below.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Requests at a time on one HTTP/2 connection. A browser with several tabs or a proxy in front needs some; streams count.
/// With what each may hold it bounds what a connection holds: 64 × (64 KiB received + 16 KiB handed over + 16 KiB to send).
const HTTP2_STREAMS_MAX: u32 = 64;
/// What one HTTP/2 request may send before we take it: a usual event fits, and none of 10,000 holds more than this.
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
/// As above, for all requests of a connection together.
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of a response to a client that does not take it is held.
const HTTP2_SEND_BYTES_MAX: usize = 16 * 1024;
/// A quiet HTTP/2 connection is asked for a sign of life this often, and given up when none comes in as long again.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Between two tries to accept while the process is out of something, descriptors above all: from, to.
const ACCEPT_RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A response on its way. Boxed: a connection keeps room for it as long as it lives, and most are idle.
pub(super) type Responding = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// One listener.
pub(super) struct Connections<H> {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) limits: Limits,
    pub(super) places: Arc<Places>,
    /// Whose connections are everybody's, so that they have no share.
    pub(super) trusted: TrustedProxies,
    pub(super) handler: H,
    pub(super) unreadable: Unreadable,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) heads: Arc<HeadBudget>,
}

impl<H> Connections<H>
where
    H: Fn(Request<Incoming>, Peer) -> Responding + Send + Sync + 'static,
{
    /// Accepts until the relay drains, then returns when every connection has ended.
    pub(super) async fn serve(self, listener: TcpListener) {
        let this = Arc::new(self);
        let mut phase = this.phase.clone();
        let open = TaskTracker::new();
        loop {
            let (stream, addr, place) = tokio::select! {
                accepted = this.accept(&listener) => accepted,
                () = left_serving(&mut phase) => break,
            };
            let this = Arc::clone(&this);
            open.spawn(async move { this.connection(stream, addr, &place).await });
        }
        drop(listener);
        open.close();
        tokio::select! {
            () = open.wait() => {}
            () = aborting(&mut phase) => {}
        }
    }

    /// The next connection that there is a place for. While there is none, the others wait in the kernel's queue.
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, IpAddr, Place) {
        let (mut delay, delay_max) = ACCEPT_RETRY_DELAY;
        loop {
            match listener.accept().await {
                Ok((stream, addr)) => {
                    let addr = addr.ip().to_canonical();
                    if let Some(place) = self.places.take(addr.into(), self.trusted.trusts(addr)).await {
                        return (stream, addr, place);
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors, most likely: trying again at once would only keep a core busy.
                    warn!("could not accept a connection: {error}");
                    sleep(delay).await;
                    delay = (delay * 2).min(delay_max);
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, addr: IpAddr, place: &Place) {
        // An error means that the other end is gone already, which the first read will show.
        let _ = stream.set_nodelay(true);
        let peer = Peer { addr, tls: self.tls.is_some() };
        // What most connections do not need is in boxes, so that they keep no room for it.
        if let Some(tls) = &self.tls {
            return Box::pin(self.https(tls, stream, peer, place)).await;
        }
        match self.before_first_request(speaks_http2(&stream), place).await {
            Some(true) => Box::pin(self.http2(stream, peer, place)).await,
            Some(false) => self.http1(stream, peer, place).await,
            None => {}
        }
    }

    async fn https(&self, tls: &Tls, stream: TcpStream, peer: Peer, place: &Place) {
        let handshake = tls.acceptor().accept(stream);
        let Some(Ok(stream)) = self.before_first_request(handshake, place).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream, peer, place).await;
        } else {
            self.http1(stream, peer, place).await;
        }
    }

    /// Waits for what comes before the first request, but not forever, and not when the place is needed or the relay
    /// drains.
    async fn before_first_request<T>(&self, coming: impl Future<Output = T>, place: &Place) -> Option<T> {
        let mut phase = self.phase.clone();
        tokio::select! {
            come = timeout(self.limits.head_timeout, coming) => come.ok(),
            () = place.evicted() => None,
            () = left_serving(&mut phase) => None,
        }
    }

    fn io<I>(&self, io: I, place: &Place, unreadable: Option<Unreadable>) -> TokioIo<ClientIo<I>> {
        let (connection, heads) = (Arc::clone(&place.connection), Arc::clone(&self.heads));
        TokioIo::new(ClientIo::new(io, self.limits.write_timeout, connection, heads, unreadable))
    }

    async fn http1<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, io: I, peer: Peer, place: &Place) {
        let service = service_fn(|mut request: Request<Incoming>| {
            if place.connection.take_fragment() {
                request.extensions_mut().insert(HasFragment);
            }
            let open = place.begin();
            let responding = (self.handler)(request, peer);
            async move { Ok::<_, Infallible>(responding.await.map(|body| ResponseBody::new(body, None, open))) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Also the longest that a connection is idle between two requests.
            .header_read_timeout(self.limits.head_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(self.io(io, place, Some(Arc::clone(&self.unreadable))), service);
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            // Whether it ended well is of no interest to anyone here.
            _ = connection.as_mut() => return,
            () = place.evicted() => return,
            () = left_serving(&mut phase) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = aborting(&mut phase) => {}
        }
    }

    async fn http2<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, io: I, peer: Peer, place: &Place) {
        let executor = StreamExecutor::new(self.limits.write_timeout);
        let service = service_fn(|request| {
            let (open, handover) = (place.begin(), executor.stream());
            let responding = (self.handler)(request, peer);
            async move { Ok::<_, Infallible>(responding.await.map(|body| ResponseBody::new(body, Some(handover), open))) }
        });
        let connection = http2::Builder::new(executor.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_INTERVAL)
            .serve_connection(self.io(io, place, None), service);
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = place.evicted() => return,
            () = left_serving(&mut phase) => connection.as_mut().graceful_shutdown(),
            () = idle(&place.connection, &self.limits) => connection.as_mut().graceful_shutdown(),
        }
        // A client that does not take the farewell is not waited for, once it has no request open.
        tokio::select! {
            _ = connection => {}
            () = idle(&place.connection, &self.limits) => {}
            () = aborting(&mut phase) => {}
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Returns when no request has come in the time for the first, or, later, none was there in the time to be idle.
async fn idle(connection: &Connection, limits: &Limits) {
    let mut seen = connection.begun();
    sleep(if seen == 0 { limits.head_timeout } else { limits.idle_timeout }).await;
    loop {
        let begun = connection.begun();
        if begun == seen && !connection.is_in_use() {
            return;
        }
        seen = begun;
        sleep(limits.idle_timeout).await;
    }
}
