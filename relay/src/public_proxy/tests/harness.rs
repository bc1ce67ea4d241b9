//! A backend, a relay before it and a client, over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tollgate_shared::{Clock, RequestId, Rng, Secret};

use super::super::{Origins, Peer, ProxyConfig, PublicProxy, TimeLimits, TrustedProxies};
use crate::backend::address::{BackendHttp, BackendUrl};
use crate::body::{Body, BoxError, empty, full};
use crate::metrics::Metrics;

pub(super) const BOTH: [BackendHttp; 2] = [BackendHttp::Two, BackendHttp::One];

/// Far more than anything here takes: a test that waits for what never comes fails instead of hanging.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("what is waited for never came")
}

pub(super) struct Backend {
    pub(super) addr: SocketAddr,
    /// Connections taken so far.
    pub(super) connections: Arc<AtomicUsize>,
    accepting: tokio::task::AbortHandle,
}

impl Backend {
    pub(super) async fn start<F>(
        http: BackendHttp,
        handle: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().unwrap(), http, handle).await
    }

    pub(super) async fn start_at<F>(
        addr: SocketAddr,
        http: BackendHttp,
        handle: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            // Dropped with this task: the connections go when the backend goes.
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                taken.fetch_add(1, Ordering::SeqCst);
                let handle = handle.clone();
                let service = service_fn(move |request| {
                    let response = handle(request);
                    async move { Ok::<_, Infallible>(response.await) }
                });
                let io = TokioIo::new(socket);
                // How a connection ends is the client's to notice.
                match http {
                    BackendHttp::Two => serving.spawn(async move {
                        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await;
                    }),
                    BackendHttp::One => serving.spawn(async move {
                        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                    }),
                };
            }
        });
        Self { addr, connections, accepting: accepting.abort_handle() }
    }

    pub(super) fn stop(&self) {
        self.accepting.abort();
    }
}

/// A way to a backend that can be shut: what is sent waits, as for a machine that stands still.
pub(super) struct Gate {
    pub(super) addr: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Gate {
    pub(super) async fn before(backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let is_open = watch::Sender::new(true);
        let gate = is_open.subscribe();
        tokio::spawn(async move {
            loop {
                let (mut sent, mut answered) = listener.accept().await.unwrap().0.into_split();
                let (mut responses, mut taken) = TcpStream::connect(backend).await.unwrap().into_split();
                let mut gate = gate.clone();
                tokio::spawn(async move { tokio::io::copy(&mut responses, &mut answered).await });
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    loop {
                        let read = sent.read(&mut bytes).await.unwrap_or(0);
                        let open = gate.wait_for(|is_open| *is_open).await.is_ok();
                        if read == 0 || !open || taken.write_all(&bytes[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { addr, is_open }
    }

    pub(super) fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub(super) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

/// An address at which nobody listens, nor will while the socket is held.
pub(super) fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

pub(super) fn config(backend: SocketAddr, http: BackendHttp) -> ProxyConfig {
    ProxyConfig {
        backend: BackendUrl::parse(&format!("http://{backend}")).unwrap(),
        http,
        origins: Origins::parse("https://app.example").unwrap(),
        trusted: TrustedProxies::default(),
        times: TimeLimits::default(),
    }
}

pub(super) struct TestRelay {
    pub(super) addr: SocketAddr,
    pub(super) proxy: PublicProxy,
    client: Client<HttpConnector, Body>,
}

impl TestRelay {
    pub(super) async fn before(backend: SocketAddr, http: BackendHttp) -> Self {
        Self::of(&config(backend, http)).await
    }

    pub(super) async fn of(config: &ProxyConfig) -> Self {
        let proxy = PublicProxy::new(
            config,
            &Secret::new("internal"),
            Metrics::new(0, &[]).refusals,
            Clock::system(),
            Rng::seeded(7),
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (socket, peer) = listener.accept().await.unwrap();
                let proxy = serving.clone();
                let service = service_fn(move |request| {
                    let proxy = proxy.clone();
                    let peer = Peer { addr: peer.ip(), tls: false };
                    async move {
                        let id = RequestId::parse("req_of_test").unwrap();
                        Ok::<_, Infallible>(proxy.serve(request, peer, id).await)
                    }
                });
                tokio::spawn(async move {
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { addr, proxy, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(super) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{target}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).unwrap()
    }

    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Response<Incoming> {
        soon(self.client.request(self.request(method, target, headers, body))).await.unwrap()
    }

    pub(super) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        self.send("GET", target, headers, empty()).await
    }

    /// Asks over a connection of its own and goes, without waiting for a response.
    pub(super) async fn leave(&self, request: &[u8]) {
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        socket.write_all(request).await.unwrap();
    }

    /// Asks over a connection of its own, byte for byte, and reads to its end.
    pub(super) async fn raw(&self, request: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut response = Vec::new();
        soon(socket.read_to_end(&mut response)).await.unwrap();
        String::from_utf8_lossy(&response).into_owned()
    }
}

/// What is to be sent of a body.
pub(super) type Pieces = mpsc::UnboundedSender<Result<&'static str, BoxError>>;

/// A body that is sent as the test goes; it ends when the sender is dropped.
pub(super) fn piecewise() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let pieces = futures_util::stream::unfold(receiver, |mut receiver: mpsc::UnboundedReceiver<_>| async move {
        let piece: Result<&'static str, BoxError> = receiver.recv().await?;
        Some((piece.map(|piece| Frame::data(Bytes::from_static(piece.as_bytes()))), receiver))
    });
    (sender, StreamBody::new(pieces).boxed_unsync())
}

pub(super) fn respond(status: u16, headers: &[(&'static str, &'static str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

pub(super) fn text(text: impl Into<Bytes>) -> Body {
    full(text)
}

pub(super) async fn next_piece(body: &mut Incoming) -> Option<Result<String, hyper::Error>> {
    let frame = soon(body.frame()).await?;
    Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()))
}

pub(super) async fn whole(response: Response<Incoming>) -> String {
    let bytes = soon(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The code of an error in the one shape that all errors have.
pub(super) async fn code(response: Response<Incoming>) -> String {
    let body: tollgate_shared::ErrorBody = serde_json::from_str(&whole(response).await).unwrap();
    assert_eq!(body.error.request_id.as_deref(), Some("req_of_test"));
    body.error.code
}

pub(super) fn large(bytes: usize) -> Body {
    Full::new(Bytes::from(vec![b'a'; bytes])).map_err(|never| match never {}).boxed_unsync()
}
