//! The connections of the backend's one listener: how many there may be, how long each may take, and how they end when
//! the backend does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rocket::local::asynchronous::Client;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_shared::http_version::speaks_http2;
use tollgate_shared::tls::Tls;
use tracing::{debug, error};

use super::exchange;

/// How long a connection may take to send its first byte, to finish a TLS handshake, and to show its version of HTTP.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request's head may take, and how long an HTTP/1 connection may be idle between two requests: longer than
/// the relay keeps one, so that it is the relay that ends them.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a client may leave what it was sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a client that still sends when all is said is listened to; and when the backend ends.
const LINGER_TIMEOUT: Duration = Duration::from_secs(30);
const LINGER_TIMEOUT_AT_STOP: Duration = Duration::from_millis(250);

/// How long a connection waits for its turn when there are too many.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a quiet HTTP/2 connection is asked whether the other side is still there, and how long that may take.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a request's head at most; as many of a response are held for an HTTP/1 client that takes nothing.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What is held of a response for an HTTP/2 client that takes nothing.
const HTTP2_SEND_BYTES_MAX: usize = 16 << 10;

/// How long to wait before the next connection is accepted when one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// How often it is said that none can be accepted.
const ACCEPT_ERROR_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Those that have not said anything; when one more comes, the oldest of them is closed.
    pub(super) silent_max: usize,
    /// Those that have. One more waits for its turn.
    pub(super) talking_max: usize,
}

impl Limits {
    /// As many as fit into so many file descriptors, beside those that the process needs itself.
    pub(super) fn of_descriptors(descriptors_max: usize) -> Self {
        const OUR_OWN: usize = 48;
        let free = descriptors_max.saturating_sub(OUR_OWN);
        Self { silent_max: (free / 4).clamp(4, 4096), talking_max: (free / 4 * 3).clamp(4, 65_536) }
    }
}

/// What a connection needs to know.
struct Context {
    client: &'static Client,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    turns: Arc<Semaphore>,
}

/// Accepts connections and has their requests answered by `client`, until `stop` is cancelled; then ends when the
/// requests in flight are answered and their connections closed.
pub(super) async fn serve(
    listener: TcpListener,
    client: &'static Client,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    stop: CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(limits.talking_max));
    let context = Arc::new(Context { client, tls, stop: stop.clone(), turns });
    let open = TaskTracker::new();
    stop.run_until_cancelled(accept(listener, &context, limits.silent_max, &open)).await;
    open.close();
    open.wait().await;
}

async fn accept(listener: TcpListener, context: &Arc<Context>, silent_max: usize, open: &TaskTracker) {
    let mut silent: VecDeque<oneshot::Sender<()>> = VecDeque::new();
    let mut last_said: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                silent.retain(|connection| !connection.is_closed());
                while silent.len() >= silent_max {
                    // Dropping it closes the connection.
                    silent.pop_front();
                    metrics::counter!("tollgate_backend_connections_closed_total", "reason" => "silent").increment(1);
                }
                let (keep, closed) = oneshot::channel();
                silent.push_back(keep);
                let context = Arc::clone(context);
                open.spawn(async move { context.connection(stream, peer, closed).await });
            }
            Err(failure) => {
                if last_said.is_none_or(|at| at.elapsed() >= ACCEPT_ERROR_INTERVAL) {
                    last_said = Some(Instant::now());
                    error!("could not accept a connection: {failure}");
                }
                // The descriptors may have run out, and the silent are the first to spare theirs.
                silent.pop_front();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Context {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, mut closed: oneshot::Receiver<()>) {
        let mut first = [0];
        let has_spoken = tokio::select! {
            seen = timeout(BEGIN_TIMEOUT, stream.peek(&mut first)) => matches!(seen, Ok(Ok(1))),
            _ = &mut closed => false,
            () = self.stop.cancelled() => false,
        };
        if !has_spoken {
            return debug!("closed a connection that said nothing");
        }
        drop(closed);
        let Ok(Ok(_turn)) = timeout(TURN_TIMEOUT, self.turns.acquire()).await else {
            metrics::counter!("tollgate_backend_connections_closed_total", "reason" => "too_many").increment(1);
            return;
        };
        // An error means that the other end is gone already, which the first read will show.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => {
                if let Ok(is_http2) = timeout(BEGIN_TIMEOUT, speaks_http2(&stream)).await {
                    self.speak(stream, is_http2, peer).await;
                }
            }
            // In a box, so that the connections of those who have no certificate keep no room for it.
            Some(tls) => {
                if let Ok(Ok(stream)) = timeout(BEGIN_TIMEOUT, Box::pin(tls.acceptor().accept(stream))).await {
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    Box::pin(self.speak(stream, is_http2, peer)).await;
                }
            }
        }
    }

    async fn speak<I: AsyncRead + AsyncWrite + Send + 'static>(&self, io: I, is_http2: bool, peer: SocketAddr) {
        let mut io = TimeoutStream::new(io);
        io.set_write_timeout(Some(WRITE_TIMEOUT));
        let io = Box::pin(io);
        // Whether it ended well is of no interest to anyone here.
        if is_http2 {
            let _ = Box::pin(self.http2(io, peer)).await;
        } else if let Ok(io) = self.http1(io, peer).await {
            let patience = if self.stop.is_cancelled() { LINGER_TIMEOUT_AT_STOP } else { LINGER_TIMEOUT };
            let _ = timeout(patience, linger(io)).await;
        }
    }

    /// Gives back the connection's bytes when all is said.
    async fn http1<I>(&self, io: I, peer: SocketAddr) -> hyper::Result<I>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = self.client;
        let service = service_fn(move |request: Request<Incoming>| {
            Box::pin(async move { Ok::<_, Infallible>(exchange::answer(client, request, peer).await) })
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service);
        let mut stop = pin!(self.stop.cancelled());
        let mut is_stopping = false;
        poll_fn(|cx| {
            if !is_stopping && stop.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            connection.poll_without_shutdown(cx)
        })
        .await?;
        Ok(connection.into_parts().io.into_inner())
    }

    async fn http2<I>(&self, io: I, peer: SocketAddr) -> hyper::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = self.client;
        let service = service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(exchange::answer(client, request, peer).await)
        });
        // No limit of streams: each is one of the relay's clients, and the relay has its own.
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(None)
            .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// Ends a connection after its last response. Closed with bytes unread it would be reset, and a client that still sends
/// would never see why it was refused.
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    io.shutdown().await?;
    let mut unread = [0; 4096];
    while io.read(&mut unread).await? > 0 {}
    Ok(())
}
