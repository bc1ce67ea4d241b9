//! The way to the backend: connections, kept and shared, that give up in time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

use super::config::{ProxyConfig, TimeLimits};
use super::early_response::EarlyResponse;
use super::upload::{UploadBody, UploadError, UploadStatus};
use crate::backend::address::{BackendHttp, BackendUrl};
use crate::body::BoxError;

/// How much of one response may wait here for a client that does not read (the protocol's default).
const STREAM_WINDOW_BYTES: u32 = 65_535;
/// How much of all responses may. The protocol's maximum: were it less, enough clients that do not read would halt the
/// others, who share the connection. What they can take is bounded by their number.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// How much of one request may wait here for the backend.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long the headers of a response may be, half of what a browser takes; and over HTTP/1.1, how much of a response
/// may wait here for a client that does not read.
const HEADER_BYTES_MAX: u32 = 128 * 1024;
/// How often a connection is tried, and how long it may be silent then: one whose other end went without a word (a
/// machine that lost its power) is noticed, and its streams end, within both.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection over HTTP/1.1 is kept: less than the minute after which most servers close theirs, so
/// that they seldom do it under a request.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// How many of those are kept. More at a time are possible; they are closed when they are done.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long after a failure to connect there is no other attempt. Requests that waited for the one that failed would
/// make theirs one after the other, each waiting for those before it.
const RECONNECT_COOLDOWN: Duration = Duration::from_millis(100);

/// How many requests whose clients are gone may wait for the backend to begin its response: see [`DetachedRequest`].
/// Each is a few kilobytes.
const ABANDONED_MAX: usize = 4096;

/// Why there is no response to pass on.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The client did not send all of its request.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The backend could not be reached, or broke off before its response began.
    #[error("the backend cannot be reached: {}", chain(.0))]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    /// The backend took the request and said nothing.
    #[error("the backend did not answer in time")]
    Timeout,
    /// The backend responded as only a server to its own client may.
    #[error("the backend switched protocols unasked")]
    Switched,
}

/// The certificates of this machine's authorities cannot be read, and the backend is to be reached by https.
#[derive(Debug, thiserror::Error)]
#[error("cannot read this machine's root certificates")]
pub struct NoRootCertificates(#[source] std::io::Error);

/// The backend as a server. Clones share its connections.
#[derive(Clone)]
pub(super) struct Backend {
    /// For streams of events. Over HTTP/2 they have a connection of their own: what ends it, or holds it up, is then
    /// nothing that other requests do.
    streams: Client<Connector, UploadBody>,
    others: Client<Connector, UploadBody>,
    abandoned: Arc<Semaphore>,
    url: BackendUrl,
    times: TimeLimits,
}

impl Backend {
    pub(super) fn new(config: &ProxyConfig) -> Result<Self, NoRootCertificates> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEADER_BYTES_MAX as usize)
            .http2_only(config.http == BackendHttp::Two)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_send_buf_size(SEND_BUFFER_BYTES)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        let connector = Connector::new(config)?;
        let abandoned_max = match config.http {
            BackendHttp::Two => ABANDONED_MAX,
            // Each has a connection of its own, which is closed, and that is all.
            BackendHttp::One => 0,
        };
        Ok(Self {
            streams: builder.build(connector.clone()),
            others: builder.build(connector),
            abandoned: Arc::new(Semaphore::new(abandoned_max)),
            url: config.backend.clone(),
            times: config.times,
        })
    }

    /// Sends `request`, whose URI is path and query alone, and waits for the head of the response.
    pub(super) async fn send(
        &self,
        request: Request<Incoming>,
        is_stream: bool,
    ) -> Result<Response<Incoming>, SendError> {
        let (parts, body) = request.into_parts();
        let (upload, status) = UploadBody::begin(body, self.times.upload)?;
        let mut request = Request::new(upload);
        *request.method_mut() = parts.method;
        *request.uri_mut() = self.absolute(parts.uri.path_and_query());
        *request.headers_mut() = parts.headers;

        let client = if is_stream { &self.streams } else { &self.others };
        let sending = DetachedRequest {
            response: Some(client.request(request)),
            abandoned: Arc::clone(&self.abandoned),
            limit: self.times.head,
        };
        let response = tokio::select! {
            response = sending => response?,
            failure = failed(status.as_deref()) => return Err(failure.into()),
            () = self.overdue(status.as_deref()) => return Err(SendError::Timeout),
        };
        if response.status().is_informational() { Err(SendError::Switched) } else { Ok(response) }
    }

    /// Ends when the backend has had all of the request for too long. A backend that takes none of it has as much time
    /// as a client.
    async fn overdue(&self, status: Option<&UploadStatus>) {
        if let Some(status) = status {
            let _ = timeout(self.times.upload, status.over()).await;
        }
        sleep(self.times.head).await;
    }

    /// How long a piece of a response may take.
    pub(super) fn piece_limit(&self) -> Duration {
        self.times.piece
    }

    fn absolute(&self, path_and_query: Option<&PathAndQuery>) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.url.scheme.clone());
        parts.authority = Some(self.url.authority.clone());
        parts.path_and_query = path_and_query.cloned().or_else(|| Some(PathAndQuery::from_static("/")));
        Uri::from_parts(parts).expect("a scheme, an authority and a path are a URI")
    }
}

async fn failed(status: Option<&UploadStatus>) -> UploadError {
    match status {
        Some(status) => status.failed().await,
        None => std::future::pending().await,
    }
}

/// A request that waits for the head of its response. When nobody waits with it any longer, it goes on alone until the
/// backend has begun to respond, and only then is it taken back.
///
/// A server has to protect itself from clients that take back requests before it has seen them (CVE-2023-44487): hyper's
/// ends the connection after 20 of those. The relay's connection is everyone's, so twenty strangers who come and
/// go, or a backend that stood still for a moment, would end it for all.
struct DetachedRequest {
    response: Option<ResponseFuture>,
    abandoned: Arc<Semaphore>,
    limit: Duration,
}

impl Future for DetachedRequest {
    type Output = Result<Response<Incoming>, hyper_util::client::legacy::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = self.response.as_mut().expect("nobody asks again after the response");
        let response = std::task::ready!(Pin::new(response).poll(cx));
        self.response = None;
        Poll::Ready(response)
    }
}

impl Drop for DetachedRequest {
    fn drop(&mut self) {
        let Some(response) = self.response.take() else { return };
        let (Ok(place), Ok(runtime)) = (Arc::clone(&self.abandoned).try_acquire_owned(), Handle::try_current()) else {
            return;
        };
        let limit = self.limit;
        runtime.spawn(async move {
            // Whatever the response is, nobody wants it.
            let _ = timeout(limit, response).await;
            drop(place);
        });
    }
}

/// Connects, within a time, and not again at once after a failure.
#[derive(Clone)]
struct Connector {
    connector: HttpsConnector<HttpConnector>,
    limit: Duration,
    /// What is spoken is HTTP/1.1.
    is_http1: bool,
    failed_at: Arc<Mutex<Option<Instant>>>,
}

/// A connection was tried a moment ago.
#[derive(Debug, thiserror::Error)]
#[error("a connection failed a moment ago")]
struct JustFailed;

impl Connector {
    fn new(config: &ProxyConfig) -> Result<Self, NoRootCertificates> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.times.connect));
        let builder = if config.backend.is_https() {
            let ring = rustls::crypto::ring::default_provider();
            HttpsConnectorBuilder::new().with_provider_and_native_roots(ring).map_err(NoRootCertificates)?.https_only()
        } else {
            // No certificate is ever asked for, so a machine that has none will do.
            let ring = Arc::new(rustls::crypto::ring::default_provider());
            let tls = ClientConfig::builder_with_provider(ring)
                .with_safe_default_protocol_versions()
                .expect("ring has what TLS needs")
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http()
        };
        let connector = match config.http {
            BackendHttp::Two => builder.enable_http2().wrap_connector(tcp),
            BackendHttp::One => builder.enable_http1().wrap_connector(tcp),
        };
        // Once for TCP and once for TLS.
        let is_http1 = config.http == BackendHttp::One;
        Ok(Self { connector, limit: config.times.connect * 2, is_http1, failed_at: Arc::default() })
    }
}

impl Service<Uri> for Connector {
    type Response = EarlyResponse<MaybeHttpsStream<TokioIo<TcpStream>>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, backend: Uri) -> Self::Future {
        let failed_at = Arc::clone(&self.failed_at);
        let last_failure = *failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if last_failure.is_some_and(|at| at.elapsed() < RECONNECT_COOLDOWN) {
            return Box::pin(std::future::ready(Err(JustFailed.into())));
        }
        let is_http1 = self.is_http1;
        let connecting = timeout(self.limit, self.connector.call(backend));
        Box::pin(async move {
            let connected = connecting.await.unwrap_or_else(|elapsed| Err(elapsed.into()));
            *failed_at.lock().unwrap_or_else(PoisonError::into_inner) = connected.is_err().then(Instant::now);
            connected.map(|io| EarlyResponse::new(io, is_http1))
        })
    }
}

/// An error with its causes: hyper's own text leaves them out.
fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
