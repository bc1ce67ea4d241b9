//! The public pass-through: what of the backend everyone may reach, and how.
//!
//! A request's target is judged (`target`) and then sent as it is; headers that only the relay may set are set anew
//! (`headers`, `forwarded`); which web pages may read the response is decided here and nowhere else (`cors`). Bodies
//! are streamed both ways: nothing is gathered, nothing is written down, and of a path only its prefix is ever logged,
//! since licence keys are part of some.
//!
//! A stream of events gets special care, because a browser's `EventSource` reconnects after an end and gives up for
//! good after any status but 200 (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): when the backend is
//! away or busy, a stream is told when to reconnect and ends.

mod backend;
mod config;
mod cors;
mod early_response;
mod forwarded;
mod headers;
mod response_body;
mod target;
mod upload;

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use tokio_util::sync::CancellationToken;
use tollgate_shared::{Clock, ErrorBody, RequestId, Rng, Secret, relay_proof};
use tracing::debug;

pub use backend::NoRootCertificates;
pub use config::{ProxyConfig, TimeLimits};
pub use cors::Origins;
pub use forwarded::{Client, Network, Peer, TrustedProxies, is_host};

use self::backend::{Backend, SendError};
use self::response_body::{BoundedBody, Stream};
use self::target::{Refusal, Target};
use self::upload::UploadError;
use crate::body::{Body, empty, error_response, full};
use crate::metrics::{Fault, Refusals};

/// How long a client should wait that found the backend away, in seconds: about what a restart takes.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");
/// Between these many milliseconds a stream is told to reconnect; spread, so that all who lost theirs at one moment do
/// not come back at one.
const STREAM_RETRY_MS: (f64, f64) = (2_000.0, 10_000.0);
/// What our routes are asked by. Others have no use here, and `TRACE` would show what proxies add.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The public pass-through. Cheap to clone; clones share their connections to the backend.
#[derive(Clone)]
pub struct PublicProxy {
    backend: Backend,
    origins: Origins,
    trusted: TrustedProxies,
    /// Shows the backend that what we say of clients comes from us.
    proof: HeaderValue,
    drain: CancellationToken,
    meters: Meters,
    refusals: Arc<Refusals>,
    clock: Clock,
    rng: Rng,
}

/// Metrics.
#[derive(Clone)]
struct Meters {
    /// Requests by what became of them.
    answered: Counter,
    refused: Counter,
    unavailable: Counter,
    /// Responses of the backend that were passed on, by the first digit of their status: 1 to 5.
    classes: [Counter; 5],
    /// Streams that are open now.
    streams: Gauge,
}

/// A public request, as far as it is not for the backend to judge.
struct PublicRequest<'a> {
    target: Target<'a>,
    method: &'a Method,
    request_id: &'a RequestId,
    is_stream: bool,
}

impl PublicProxy {
    /// A pass-through to the backend of `config`, to which `key` is ours. Its metrics are those of the recorder that is in
    /// place now.
    pub fn new(
        config: &ProxyConfig,
        key: &Secret,
        refusals: Arc<Refusals>,
        clock: Clock,
        rng: Rng,
    ) -> Result<Self, NoRootCertificates> {
        describe_counter!("tollgate_relay_passed_requests_total", "Public requests, by what became of them.");
        describe_counter!(
            "tollgate_relay_passed_responses_total",
            "Responses of the backend that were passed on, by class of status."
        );
        describe_gauge!("tollgate_relay_streams", "Streams of events that are open.");
        let requests = |outcome| counter!("tollgate_relay_passed_requests_total", "outcome" => outcome);
        let meters = Meters {
            answered: requests("answered"),
            refused: requests("refused"),
            unavailable: requests("unavailable"),
            classes: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| counter!("tollgate_relay_passed_responses_total", "class" => class)),
            streams: gauge!("tollgate_relay_streams"),
        };
        let (origins, trusted) = (config.origins.clone(), config.trusted.clone());
        let mut proof =
            HeaderValue::from_str(relay_proof::of(key).expose()).expect("hexadecimal digits are visible ASCII");
        proof.set_sensitive(true);
        Ok(Self {
            backend: Backend::new(config)?,
            origins,
            trusted,
            proof,
            drain: CancellationToken::new(),
            meters,
            refusals,
            clock,
            rng,
        })
    }

    /// Responds to everything on the public listener that is not a webhook: preflights, the public prefixes by the
    /// backend, 404 for the rest. Never fails. The `X-Request-Id` of the response is for the caller to set, as on all
    /// of its responses.
    pub async fn serve(&self, request: Request<Incoming>, peer: Peer, request_id: RequestId) -> Response<Body> {
        let (Parts { method, uri, version, headers, .. }, body) = request.into_parts();
        let target = match Target::of(&uri, version, &headers) {
            Ok(target) => target,
            Err(refusal) => return self.refuse(refusal, &request_id),
        };
        let grant = self.origins.grant(target.prefix.readers, &headers);
        if cors::is_preflight(&method, &headers) {
            let mut response = Response::new(empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            grant.write_preflight(response.headers_mut());
            return response;
        }
        let is_stream = target.is_stream(&method, &headers);
        let asked = PublicRequest { target, method: &method, request_id: &request_id, is_stream };
        let mut response = self.public(&asked, &uri, headers, body, peer).await;
        grant.write(response.headers_mut());
        response
    }

    /// Ends all streams, and any that begins from now on; other responses go on to their end.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    fn refuse(&self, refusal: Refusal, request_id: &RequestId) -> Response<Body> {
        let (status, code, message) = match refusal {
            Refusal::NotPublic => (StatusCode::NOT_FOUND, "not_found", "there is no such route"),
            Refusal::TooLong => (StatusCode::URI_TOO_LONG, "target_too_long", "the path and query are too long"),
            Refusal::Hosts => (StatusCode::BAD_REQUEST, "invalid_host", "there is more than one Host header; send one"),
        };
        let mut response = self.error(status, code, message, &refusal, request_id);
        cors::vary_by_origin(response.headers_mut());
        response
    }

    /// Responds to a request of a public prefix.
    async fn public(
        &self,
        asked: &PublicRequest<'_>,
        uri: &Uri,
        headers: HeaderMap,
        body: Incoming,
        peer: Peer,
    ) -> Response<Body> {
        if !METHODS.contains(asked.method) {
            let (status, message) = (StatusCode::METHOD_NOT_ALLOWED, "no route takes this method");
            let mut response = self.error(status, "method_not_allowed", message, &message, asked.request_id);
            response.headers_mut().insert(ALLOW, cors::METHODS);
            return response;
        }
        let client = self.trusted.resolve_with_authority(&peer, uri.authority(), &headers);
        let mut request = Request::new(body);
        request.method_mut().clone_from(asked.method);
        request.uri_mut().clone_from(uri);
        *request.headers_mut() = headers::for_backend(headers, &client, &self.proof, asked.request_id, &self.rng);

        let began = self.clock.now();
        let response = self.backend.send(request, asked.is_stream).await;
        let ms = (self.clock.now() - began).num_milliseconds().max(0);
        match response {
            Ok(response) => self.pass(asked, response, ms),
            Err(problem) => self.failure_response(asked, &problem, ms),
        }
    }

    /// Passes a response on.
    fn pass(&self, asked: &PublicRequest<'_>, response: Response<Incoming>, ms: i64) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let PublicRequest { target, method, request_id, is_stream } = asked;
        let (status, prefix) = (head.status.as_u16(), target.prefix.path);
        if let Some(class) = self.meters.classes.get((status / 100).wrapping_sub(1) as usize) {
            class.increment(1);
        }
        if *is_stream && stops_a_stream(head.status) {
            self.meters.unavailable.increment(1);
            let why = format!("backend answered a stream with {status}: told the client to reconnect");
            self.refusals.refused(Fault::Ours, "stream_unavailable", request_id, &why);
            return self.tell_to_reconnect();
        }
        self.meters.answered.increment(1);
        debug!(%request_id, %method, prefix, status, ms, "backend answered {method} {prefix} with {status}");
        headers::for_client(&mut head.headers);
        let body = if is_event_stream(&head.headers) {
            Stream::new(body, &self.drain, &self.meters.streams).boxed_unsync()
        } else {
            BoundedBody::new(body, self.backend.piece_limit()).boxed_unsync()
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// The response for a backend that gave none.
    fn failure_response(&self, asked: &PublicRequest<'_>, problem: &SendError, ms: i64) -> Response<Body> {
        let PublicRequest { target, method, request_id, is_stream } = asked;
        let prefix = target.prefix.path;
        let why = format!("{method} {prefix} after {ms} ms: {problem}");
        let refuse = |status, code, message| self.error(status, code, message, &why, request_id);
        match problem {
            SendError::Upload(UploadError::TooLarge) => {
                refuse(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large; send at most 10 MiB")
            }
            SendError::Upload(UploadError::Timeout) => {
                refuse(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not come in time; send it again")
            }
            SendError::Upload(UploadError::Incomplete) => {
                refuse(StatusCode::BAD_REQUEST, "body_incomplete", "the body broke off; send it again")
            }
            SendError::Unreachable(_) | SendError::Timeout | SendError::Switched => {
                self.meters.unavailable.increment(1);
                self.refusals.refused(Fault::Ours, "backend_unavailable", request_id, &why);
                if *is_stream {
                    return self.tell_to_reconnect();
                }
                let message = "the service is not available at the moment; try again in a few seconds";
                let mut response = error(StatusCode::BAD_GATEWAY, "backend_unavailable", message, request_id);
                response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
                response
            }
        }
    }

    /// An error of the client's. `why` is for the log.
    fn error(
        &self,
        status: StatusCode,
        code: &'static str,
        message: &str,
        why: &dyn Display,
        request_id: &RequestId,
    ) -> Response<Body> {
        self.meters.refused.increment(1);
        self.refusals.refused(Fault::Client, code, request_id, why);
        error(status, code, message, request_id)
    }

    /// A stream that only says when to reconnect.
    fn tell_to_reconnect(&self) -> Response<Body> {
        let (earliest, latest) = STREAM_RETRY_MS;
        let retry_ms = (earliest + self.rng.unit() * (latest - earliest)) as u64;
        let mut response = Response::new(full(Bytes::from(format!("retry: {retry_ms}\n\n"))));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        response
    }
}

fn error(status: StatusCode, code: &str, message: &str, request_id: &RequestId) -> Response<Body> {
    error_response(status, &ErrorBody::new(code, message, Some(request_id.as_str())))
}

/// Whether a response says "not now" in a way that would end a browser's stream for good.
fn stops_a_stream(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

#[cfg(test)]
mod tests;
