//! A plain HTTP client that sends what it is told, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing that a test asks for takes longer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// One response, whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
}

impl Response {
    /// The body as JSON; panics with what it is instead.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} is no JSON: {:?}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The code of the error body that all errors have, or what there is instead.
    pub fn error_code(&self) -> String {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|body| body["error"]["code"].as_str().map(str::to_owned))
            .unwrap_or_else(|| format!("no error body: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// A header's text, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// No response from the far side: refused, cut, or too late.
#[derive(Debug)]
pub struct NoResponse(pub String);

/// Keeps connections and knows no proxy, no cookie and no redirect.
#[derive(Clone, Debug)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Default for Http {
    fn default() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

impl Http {
    /// Sends one request and reads its response whole.
    pub async fn try_send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response, NoResponse> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).map_err(|error| NoResponse(error.to_string()))?;
        let exchange = async {
            let response = self.0.request(request).await.map_err(|error| NoResponse(format!("{error:?}")))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| NoResponse(error.to_string()))?.to_bytes();
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(RESPONSE_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(NoResponse("too late".to_owned())))
    }

    /// As [`Http::try_send`], for a far side that has to be there.
    pub async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        let shown = format!("{method} {url}");
        self.try_send(method, url, headers, body).await.unwrap_or_else(|error| panic!("{shown}: {}", error.0))
    }

    /// `GET`.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Response {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    /// `POST`.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        self.send(Method::POST, url, headers, body).await
    }
}

/// Sends `request` as it stands over a connection of its own and reads until the far side is done: for targets and
/// headers that a proper client refuses to send. The request has to ask for `Connection: close`.
pub async fn raw(to: SocketAddr, request: &[u8]) -> Response {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(request).await?;
        let mut response = Vec::new();
        // A far side that refused early may reset what it has not read: what it said before that counts.
        let read = stream.read_to_end(&mut response).await;
        if response.is_empty() {
            read?;
        }
        std::io::Result::Ok(response)
    };
    let response = tokio::time::timeout(RESPONSE_TIMEOUT, exchange).await.expect("a raw request is answered");
    parse(&response.expect("the far side is there"))
}

fn parse(response: &[u8]) -> Response {
    let text = String::from_utf8_lossy(response);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no HTTP response: {text:?}"));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value.trim())) {
            headers.append(name, value);
        }
    }
    Response { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
}
