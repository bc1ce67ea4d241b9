//! What the public listener answers.
//!
//! - `POST /api/webhooks/stripe`, `/api/stripe/webhooks`, `/api/stripe/webhooks/handler`: the intake. Other methods: 405.
//! - everything else: the pass-through.
//!
//! Here is also what all answers have in common: their request id, the one form of errors, a panic's too.

pub mod admin;

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
use crate::public_proxy::{Peer, PublicProxy, TrustedProxies};

/// Where Stripe sends events. The first is the documented one; the others are what earlier products had.
const WEBHOOK_PATHS: [&str; 3] = ["/api/webhooks/stripe", "/api/stripe/webhooks", "/api/stripe/webhooks/handler"];

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
    /// The present.
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
        if self.require_https && !self.trusted.resolve(&peer, request.headers()).https {
            let message = "only https is served here; use the https address";
            return problem(StatusCode::FORBIDDEN, "https_required", message, request_id);
        }
        if too_many_headers(request.headers()) {
            let message = "the headers are too many or too long";
            return problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message, request_id);
        }
        if !is_webhook(&request) {
            return self.proxy.serve(request, peer, request_id.clone()).await;
        }
        if request.method() != Method::POST {
            let message = "webhooks are sent with POST";
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, request_id);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        self.intake.take(request, request_id).await
    }
}

/// What `answering` comes to, or the answer to a request that makes it panic.
async fn shielded(answering: impl Future<Output = Response<Body>>, request_id: &RequestId) -> Response<Body> {
    AssertUnwindSafe(answering).catch_unwind().await.unwrap_or_else(|_| {
        error!(%request_id, "A request made us panic");
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
    ours && WEBHOOK_PATHS.contains(&uri.path())
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
