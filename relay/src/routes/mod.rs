//! What the public listener answers.
//!
//! - `POST /api/webhooks/stripe`, `/api/stripe/webhooks`, `/api/stripe/webhooks/handler`, each with one slash more at its
//!   end too: the intake. Other methods: 405.
//! - everything else: the pass-through.
//!
//! Here is also what all answers have in common: their request id, the one form of errors, a panic's too.

pub mod admin;
pub mod unreadable;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{ALLOW, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tollgate_shared::request_id::REQUEST_ID_HEADER;
use tollgate_shared::{Clock, ErrorBody, RequestId, Rng};
use tracing::error;

use crate::body::{Body, error_response};
use crate::intake::Intake;
use crate::metrics::{Fault, Refusals};
use crate::public_proxy::{Peer, PublicProxy, TrustedProxies, is_host};

/// Where Stripe sends events. The first is the documented one; the others are what earlier products had.
const WEBHOOK_PATHS: [&str; 3] = ["/api/webhooks/stripe", "/api/stripe/webhooks", "/api/stripe/webhooks/handler"];

const INVALID_HOST: &str = "the Host header has to name one host, and has to be there once";

/// Headers of one request. A browser behind two proxies sends some 40.
const HEADERS_MAX: usize = 80;
/// Names and values of a request's headers together. Session cookies can take several KB.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Everything that the public listener works with.
pub struct Public {
    /// Takes webhooks.
    pub intake: Intake,
    /// Takes the rest.
    pub proxy: PublicProxy,
    /// Whose word on https is believed.
    pub trusted: TrustedProxies,
    /// Whether plain requests are refused.
    pub require_https: bool,
    /// Counts and logs what is refused.
    pub refusals: Arc<Refusals>,
    /// Source of the current time.
    pub clock: Clock,
    /// For request ids.
    pub rng: Rng,
}

impl Public {
    /// Answers one request. Never fails.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let given = request.headers().get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
        let request_id = RequestId::adopt(given, self.clock.now(), &self.rng);
        let mut response = shielded(self.route(request, peer, &request_id), &request_id).await;
        let id = HeaderValue::from_str(request_id.as_str()).expect("a request id is visible ASCII");
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
        response
    }

    async fn route(&self, request: Request<Incoming>, peer: Peer, request_id: &RequestId) -> Response<Body> {
        if !names_one_host(&request) {
            return self.refuse(StatusCode::BAD_REQUEST, "invalid_host", INVALID_HOST, request_id);
        }
        if self.require_https && !self.trusted.resolve(&peer, request.headers()).https {
            let message = "only https is served here; use the https address";
            return self.refuse(StatusCode::FORBIDDEN, "https_required", message, request_id);
        }
        if too_many_headers(request.headers()) {
            let message = "the headers are too many or too long";
            return self.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message, request_id);
        }
        if request.extensions().get::<HasFragment>().is_some() {
            // What was sent is not what we were given, so it cannot be judged.
            return self.refuse(StatusCode::NOT_FOUND, "not_found", "there is no such route", request_id);
        }
        if !is_webhook(&request) {
            return self.proxy.serve(request, peer, request_id.clone()).await;
        }
        if request.method() != Method::POST {
            let message = "webhooks are sent with POST";
            let mut response = self.refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, request_id);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let network = self.trusted.client_addr(&peer, request.headers()).into();
        self.intake.take(request, network, request_id).await
    }

    fn refuse(&self, status: StatusCode, code: &'static str, message: &str, request_id: &RequestId) -> Response<Body> {
        self.refusals.refused(Fault::Client, code, request_id, &message);
        problem(status, code, message, request_id)
    }
}

/// What `responding` comes to, or the response to a request that makes it panic.
async fn shielded(responding: impl Future<Output = Response<Body>>, request_id: &RequestId) -> Response<Body> {
    AssertUnwindSafe(responding).catch_unwind().await.unwrap_or_else(|_| {
        error!(%request_id, "request handler panicked");
        let message = "something went wrong here; try again";
        problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message, request_id)
    })
}

fn is_webhook(request: &Request<Incoming>) -> bool {
    // A target that names another host than the Host header is not for us; the pass-through says so.
    let uri = request.uri();
    let ours = match (uri.authority(), request.headers().get(HOST)) {
        (Some(authority), Some(host)) => host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()),
        (Some(_), None) => request.version() == Version::HTTP_2,
        (None, _) => true,
    };
    let path = uri.path();
    ours && WEBHOOK_PATHS.contains(&path.strip_suffix('/').unwrap_or(path))
}

/// Marks a request whose target had a `#fragment`: hyper drops it without a word.
#[derive(Clone, Copy, Debug)]
pub struct HasFragment;

/// Whether a request says in one way only which host it is for, as it has to (RFC 9112, section 3.2; RFC 9113, section
/// 8.3.1). HTTP/1.0 knew no hosts.
fn names_one_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => match request.version() {
            Version::HTTP_2 => request.uri().authority().is_some(),
            version => version == Version::HTTP_10,
        },
        (Some(host), None) => host.to_str().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    }
}

fn too_many_headers(headers: &HeaderMap) -> bool {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX
}

fn problem(status: StatusCode, code: &str, message: &str, request_id: &RequestId) -> Response<Body> {
    error_response(status, &ErrorBody::new(code, message, Some(request_id.as_str())))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_in_the_form_of_all_errors_without_what_it_said() {
        let request_id = RequestId::parse("req_panic").unwrap();
        let response = shielded(async { panic!("with the payload") }, &request_id).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let expected = br#"{"error":{"code":"internal_error","message":"something went wrong here; try again","param":null,"requestId":"req_panic"}}"#;
        assert_eq!(body, expected[..]);
    }
}
