//! A relay on free ports with a folder of its own, and a Stripe that signs.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_shared::backoff::Backoff;
use tollgate_shared::env::Env;
use tollgate_shared::{Clock, Rng, Secret, signing};

use super::backend::{Backend, until, within};
use crate::config::Config;
use crate::server::Relay;

pub(super) const SECRET: &str = "whsec_first";
pub(super) const OTHER_SECRET: &str = "whsec_second";
pub(super) const PATH: &str = "/api/webhooks/stripe";

/// A relay that is yet to be started, and its folder.
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) dir: TempDir,
}

impl Setup {
    /// With these variables beside the needed ones, and intervals that are short.
    pub(super) fn with(backend: &Backend, variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://{}", backend.addr);
        let secrets = format!("{SECRET},{OTHER_SECRET}");
        let needed = [
            ("RELAY_ADDR", "127.0.0.1:0"),
            ("RELAY_ADMIN_ADDR", "127.0.0.1:0"),
            ("RELAY_DATA_DIR", dir.path().to_str().unwrap()),
            ("STRIPE_WEBHOOK_SECRET", &secrets),
            ("INTERNAL_API_KEY", "internal,older"),
            ("BACKEND_URL", &url),
            // What the backend says is waited for as long as it takes, unless a test is about the deadline.
            ("RELAY_FORWARD_DEADLINE_MS", "30000"),
        ];
        let all = needed.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut config = Config::from_env(&Env::from_vars(all)).unwrap();
        config.bounds.repeats = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(100) };
        config.bounds.ready_interval = Duration::from_millis(20);
        Self { config, dir }
    }

    pub(super) async fn start(self) -> TestRelay {
        let inner = Relay::start(self.config.clone(), Clock::system(), Rng::system()).await.unwrap();
        TestRelay { inner, setup: self, client: client() }
    }
}

fn client() -> reqwest::Client {
    // Every test has its own, so that no connection of another is in the way.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    // Each request has a connection of its own: one that was kept could be ended by the relay at just that moment.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    client.tls_backend_preconfigured(tls).build().unwrap()
}

/// A relay that runs.
pub(super) struct TestRelay {
    pub(super) inner: Relay,
    pub(super) setup: Setup,
    pub(super) client: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub(super) struct TestResponse {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl TestResponse {
    pub(super) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = within(request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: within(response.text()).await.unwrap() }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub(super) fn request_id(&self) -> &str {
        self.headers["x-request-id"].to_str().unwrap()
    }

    /// Status and code of an error, whose form is checked.
    pub(super) fn error(&self) -> (u16, String) {
        let body = self.json();
        let error = &body["error"];
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        assert_eq!(error.as_object().unwrap().len(), 4, "{body}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
        assert_eq!((&error["param"], &error["requestId"]), (&Value::Null, &json!(self.request_id())));
        assert_eq!(self.headers["content-type"], "application/json");
        (self.status, error["code"].as_str().unwrap().to_owned())
    }
}

impl TestRelay {
    /// The default one.
    pub(super) async fn with(backend: &Backend) -> Self {
        Setup::with(backend, &[]).start().await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.inner.addr)
    }

    pub(super) async fn get(&self, path: &str) -> TestResponse {
        TestResponse::of(self.client.get(self.url(path))).await
    }

    pub(super) async fn admin(&self, path: &str) -> TestResponse {
        TestResponse::of(self.client.get(format!("http://{}{path}", self.inner.admin_addr))).await
    }

    /// A request with an event, signed now.
    pub(super) fn event(&self, id: &str, event_type: &str) -> reqwest::RequestBuilder {
        self.signed(PATH, event(id, event_type))
    }

    pub(super) fn signed(&self, path: &str, body: String) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).header("stripe-signature", signature(&body)).body(body)
    }

    /// Sends an event that is taken.
    pub(super) async fn take(&self, id: &str) {
        let response = TestResponse::of(self.event(id, "invoice.paid")).await;
        assert_eq!((response.status, response.body), (200, format!(r#"{{"received":true,"eventId":"{id}"}}"#)));
    }

    /// Ends the relay, and starts another one on its folder.
    pub(super) async fn restart(self) -> Self {
        within(self.inner.drain()).await;
        self.setup.start().await
    }

    /// Waits until the journal has nothing unconfirmed.
    pub(super) async fn wait_until_all_is_confirmed(&self) {
        until(|| self.inner.journal.stats().unconfirmed == 0).await;
    }

    pub(super) async fn connect(&self) -> Raw {
        Raw::connect(self.inner.addr).await
    }
}

pub(super) fn event(id: &str, event_type: &str) -> String {
    json!({"id": id, "object": "event", "type": event_type, "data": {"object": {}}}).to_string()
}

pub(super) fn signature(body: &str) -> String {
    signing::sign(&Secret::new(SECRET), Clock::system().now().timestamp(), body.as_bytes())
}

/// A connection that is written and read by hand.
pub(super) struct Raw(pub(super) TcpStream);

impl Raw {
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        Self(within(TcpStream::connect(addr)).await.unwrap())
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads until `end` has come; fails if the connection ends before.
    pub(super) async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(end) {
            let byte = within(self.0.read_u8()).await.unwrap_or_else(|_| {
                panic!("the connection ended after {:?}", String::from_utf8_lossy(&read));
            });
            read.push(byte);
        }
        String::from_utf8(read).unwrap()
    }

    /// Reads until the other end closes the connection.
    pub(super) async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        // It may also be reset, when it was closed with bytes of ours unread.
        let _ = within(self.0.read_to_end(&mut read)).await;
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// The head of a webhook by hand.
pub(super) fn head(body: &str, length: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nhost: relay\r\nstripe-signature: {}\r\n{length}\r\n\r\n", signature(body))
}
