//! What the private listener answers.
//!
//! - `GET /live`: 200 while the process runs.
//! - `GET /ready`: 200 while events can be taken, which is when the journal can append and the relay is not stopping;
//!   else 503. Whether the backend is there makes no difference.
//! - `GET /metrics`: metrics in the Prometheus text format.

use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;
use tollgate_journal::Journal;
use tollgate_shared::request_id::REQUEST_ID_HEADER;
use tollgate_shared::{Clock, RequestId, Rng};

use super::{INVALID_HOST, names_one_host, problem};
use crate::body::{Body, full, json_response};
use crate::lifecycle::Phase;
use crate::metrics::Metrics;

/// Everything that the private listener works with.
pub struct Admin {
    /// Asked whether it can append.
    pub journal: Journal,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the relay is stopping.
    pub phase: watch::Receiver<Phase>,
    /// Source of the current time.
    pub clock: Clock,
    /// For request ids.
    pub rng: Rng,
}

impl Admin {
    /// Answers one request. Never fails.
    pub fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let given = request.headers().get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
        let request_id = RequestId::adopt(given, self.clock.now(), &self.rng);
        let mut response = match (request.uri().path(), request.method()) {
            _ if !names_one_host(request) => {
                problem(StatusCode::BAD_REQUEST, "invalid_host", INVALID_HOST, &request_id)
            }
            ("/live" | "/ready" | "/metrics", method) if method != Method::GET && method != Method::HEAD => {
                let message = "this is only read, with GET";
                let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, &request_id);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
            ("/live", _) => json_response(StatusCode::OK, r#"{"status":"live"}"#),
            ("/ready", _) => self.ready(&request_id),
            ("/metrics", _) => self.metrics(),
            _ => problem(StatusCode::NOT_FOUND, "not_found", "there is no such route", &request_id),
        };
        let id = HeaderValue::from_str(request_id.as_str()).expect("a request id is visible ASCII");
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
        response
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
