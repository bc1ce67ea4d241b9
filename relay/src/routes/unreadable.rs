//! What is answered to what is no request: hyper refuses it before any of our code sees it, with a bare status.

use http::StatusCode;
use tollgate_shared::{ErrorBody, RequestId};

/// A response as it goes over an HTTP/1 connection, which ends after it.
pub fn response(status: StatusCode, request_id: &RequestId) -> Vec<u8> {
    let (code, message) = error(status);
    let body = ErrorBody::new(code, message, Some(request_id.as_str())).to_json();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut response = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\n\
         connection: close\r\n\r\n",
        status.as_u16(),
        body.len()
    )
    .into_bytes();
    response.extend_from_slice(&body);
    response
}

/// The code and the message for one of the statuses that hyper refuses with.
pub fn error(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::URI_TOO_LONG => ("target_too_long", "the path and query are too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ("headers_too_large", "the headers are too many or too long"),
        _ => {
            ("malformed_request", "this is not an HTTP request that can be read; check its first line and its headers")
        }
    }
}
