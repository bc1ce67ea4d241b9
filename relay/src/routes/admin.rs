//! What the private listener answers.
//!
//! - `GET /live`: 200 while the process runs.
//! - `GET /ready`: 200 while events can be taken, which is when the journal can append and the relay is not stopping;
//!   else 503. Whether the backend is there makes no difference.
//! - `GET /metrics`: metrics in the Prometheus text format.
//! - with the internal key: `GET /status`, the same numbers as JSON; `GET /journal`, what it holds, and `POST
//!   /journal/redeliver`, to have some of that delivered again.

mod journal;
mod status;

use std::path::PathBuf;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};
use tollgate_journal::Journal;
use tollgate_shared::request_id::REQUEST_ID_HEADER;
use tollgate_shared::{Clock, RequestId, Rng, Secrets};

use super::{INVALID_HOST, names_one_host, problem, shielded};
use crate::backend::delivery::Backend;
use crate::body::{Body, full, json_response};
use crate::lifecycle::Phase;
use crate::metrics::Metrics;

/// The header that carries the key.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-internal-api-key");

/// How many look through the journal's files at a time: each reads some hundred megabytes where the journal is long.
const LOOKS_MAX: usize = 2;

/// Everything that the private listener works with.
pub struct Admin {
    /// What this relay is called among several.
    pub id: String,
    /// What opens the journal.
    pub keys: Secrets,
    /// Asked whether it can append.
    pub journal: Journal,
    /// Where its files are.
    pub dir: PathBuf,
    /// Where events are delivered again.
    pub backend: Backend,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the relay is stopping.
    pub phase: watch::Receiver<Phase>,
    /// Source of the current time.
    pub clock: Clock,
    /// For request ids.
    pub rng: Rng,
    /// Who may look through the files.
    pub looks: Arc<Semaphore>,
}

/// Why a request is not done.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Refused {
    fn parameter(message: &'static str) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: "invalid_parameter", message }
    }

    fn unreadable() -> Self {
        let message = "the journal cannot be read: see the log";
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "journal_unreadable", message }
    }
}

impl Admin {
    /// As many as may look through the files at a time.
    pub fn looks() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(LOOKS_MAX))
    }

    /// Answers one request. Never fails.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let given = request.headers().get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
        let request_id = RequestId::adopt(given, self.clock.now(), &self.rng);
        let mut response = shielded(self.route(request, &request_id), &request_id).await;
        let id = HeaderValue::from_str(request_id.as_str()).expect("a request id is visible ASCII");
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
        response
    }

    async fn route(&self, request: Request<Incoming>, request_id: &RequestId) -> Response<Body> {
        if !names_one_host(&request) {
            return problem(StatusCode::BAD_REQUEST, "invalid_host", INVALID_HOST, request_id);
        }
        let path = request.uri().path().to_owned();
        let (allowed, message) = match &*path {
            "/live" | "/ready" | "/metrics" | "/status" | "/journal" => ("GET, HEAD", "this is only read, with GET"),
            "/journal/redeliver" => ("POST", "this is done with POST"),
            _ => return problem(StatusCode::NOT_FOUND, "not_found", "there is no such route", request_id),
        };
        if !allowed.split(", ").any(|method| request.method() == method) {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = problem(status, "method_not_allowed", message, request_id);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return response;
        }
        let answered = match &*path {
            "/live" => Ok(json_response(StatusCode::OK, r#"{"status":"live"}"#)),
            "/ready" => Ok(self.ready(request_id)),
            "/metrics" => Ok(self.metrics()),
            _ if !self.has_key(&request) => {
                let message = "send the internal API key in X-Internal-API-Key";
                Err(Refused { status: StatusCode::FORBIDDEN, code: "forbidden", message })
            }
            "/status" => Ok(json_response(StatusCode::OK, status::of(self))),
            "/journal" => journal::list(self, request.uri()).await,
            _ => journal::redeliver(self, request).await,
        };
        answered.unwrap_or_else(|refused| problem(refused.status, refused.code, refused.message, request_id))
    }

    fn has_key(&self, request: &Request<Incoming>) -> bool {
        let mut given = request.headers().get_all(KEY_HEADER).iter();
        matches!((given.next(), given.next()), (Some(key), None) if self.keys.matches(key.as_bytes()))
    }

    fn ready(&self, request_id: &RequestId) -> Response<Body> {
        let message = if *self.phase.borrow() != Phase::Serving {
            "the relay is stopping"
        } else if !self.journal.stats().can_append {
            "the journal takes no events: see the log, and whether the disk is full"
        } else {
            return json_response(StatusCode::OK, r#"{"status":"ready"}"#);
        };
        problem(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message, request_id)
    }

    fn metrics(&self) -> Response<Body> {
        let text = self.metrics.render(&self.journal.stats(), self.clock.now());
        let mut response = Response::new(full(text));
        let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response
    }
}
