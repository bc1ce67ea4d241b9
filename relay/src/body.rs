//! The bodies that the relay answers with: its own small ones, and what is passed through from the backend.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tollgate_shared::ErrorBody;

/// Why a body that was passed through ended early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Every answer's body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// An answer of JSON.
pub fn json_response(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer that is an error, in the one shape that all errors have.
pub fn error_response(status: StatusCode, body: &ErrorBody) -> Response<Body> {
    json_response(status, body.to_json())
}
