//! What a webhook is answered with.

use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;
use tollgate_shared::signing::{SignatureError, TOLERANCE_SECONDS};
use tollgate_shared::{ErrorBody, RequestId};

use super::reading::BodyError;
use crate::body::{Body, error_response, json_response};
use crate::metrics::Fault;

/// How long to wait after `overloaded`, in seconds: no body may take much longer.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("10");

/// What a webhook is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WebhookResponse {
    /// The event is durable.
    Received {
        event_id: String,
    },
    /// The backend failed, and Stripe is to send the event again.
    BackendFailed(StatusCode),
    /// Neither backend nor journal could take the event.
    NotDurable,
    Unsigned(SignatureError),
    /// The body is no event.
    Malformed,
    Unread(BodyError),
}

/// Every code that a webhook can be answered with: the labels of its counter.
pub const RESPONSE_CODES: [&str; 12] = [
    "received",
    "backend_failed",
    "not_durable",
    "missing_signature",
    "malformed_signature",
    "signature_mismatch",
    "timestamp_out_of_tolerance",
    "malformed_event",
    "body_too_large",
    "request_timeout",
    "body_incomplete",
    "overloaded",
];

impl WebhookResponse {
    /// Whose fault it is that the event was not even looked at: `None` when it was.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Received { .. } | Self::BackendFailed(_) | Self::NotDurable => None,
            Self::Unread(BodyError::Overloaded) => Some(Fault::Ours),
            Self::Unsigned(_) | Self::Malformed | Self::Unread(_) => Some(Fault::Client),
        }
    }

    /// The code that it is counted by, and that an error has.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Received { .. } => "received",
            Self::BackendFailed(_) => "backend_failed",
            Self::NotDurable => "not_durable",
            Self::Unsigned(SignatureError::Missing) => "missing_signature",
            Self::Unsigned(SignatureError::Malformed(_)) => "malformed_signature",
            Self::Unsigned(SignatureError::Mismatch) => "signature_mismatch",
            Self::Unsigned(SignatureError::TooOld) => "timestamp_out_of_tolerance",
            Self::Malformed => "malformed_event",
            Self::Unread(BodyError::TooLarge) => "body_too_large",
            Self::Unread(BodyError::Timeout) => "request_timeout",
            Self::Unread(BodyError::Incomplete) => "body_incomplete",
            Self::Unread(BodyError::Overloaded) => "overloaded",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Received { .. } => StatusCode::OK,
            Self::BackendFailed(status) => *status,
            Self::NotDurable | Self::Unread(BodyError::Overloaded) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unsigned(_) | Self::Malformed | Self::Unread(BodyError::Incomplete) => StatusCode::BAD_REQUEST,
            Self::Unread(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread(BodyError::Timeout) => StatusCode::REQUEST_TIMEOUT,
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Received { .. } => "received".into(),
            Self::BackendFailed(_) => "the backend failed; send the event again".into(),
            Self::NotDurable => {
                "the event could not be persisted and the backend has not confirmed it; send it again".into()
            }
            Self::Unsigned(SignatureError::Missing) => {
                "there is no Stripe-Signature header; only Stripe's signed webhooks are taken here".into()
            }
            Self::Unsigned(SignatureError::Malformed(fault)) => {
                format!(
                    "the Stripe-Signature header {fault}; it has to arrive as Stripe sends it: `t=…,v1=…` in one line"
                )
            }
            Self::Unsigned(SignatureError::Mismatch) => {
                "no signature is that of this body under a secret of ours; compare the endpoint's signing secret with \
                 STRIPE_WEBHOOK_SECRET"
                    .into()
            }
            Self::Unsigned(SignatureError::TooOld) => {
                format!(
                    "the signature was made more than {TOLERANCE_SECONDS} seconds ago; send the event again, signed anew"
                )
            }
            Self::Malformed => {
                "the body has to be a JSON object with a string `id` of 1 to 255 characters and a string `type`".into()
            }
            Self::Unread(BodyError::TooLarge) => "the body is longer than RELAY_BODY_BYTES_MAX allows".into(),
            Self::Unread(BodyError::Timeout) => "the body did not come in time; send it again".into(),
            Self::Unread(BodyError::Incomplete) => "the body broke off; send it again".into(),
            Self::Unread(BodyError::Overloaded) => {
                "too many long bodies are being sent at the moment; send the event again in a few seconds".into()
            }
        }
    }

    pub(super) fn into_response(self, request_id: &RequestId) -> Response<Body> {
        let status = self.status();
        match self {
            Self::Received { event_id } => {
                let received = serde_json::to_vec(&Received { received: true, event_id: &event_id });
                json_response(status, received.expect("a text and a truth value are always JSON"))
            }
            refused => {
                let body = ErrorBody::new(refused.code(), &refused.message(), Some(request_id.as_str()));
                let mut response = error_response(status, &body);
                if refused == Self::Unread(BodyError::Overloaded) {
                    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
                }
                response
            }
        }
    }
}

/// The body of the answer to an event that was taken.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Received<'a> {
    received: bool,
    event_id: &'a str,
}

#[cfg(test)]
mod tests {
    use tollgate_shared::signing::HeaderFault;

    use super::*;

    #[test]
    fn every_answer_is_counted() {
        let unread = [BodyError::TooLarge, BodyError::Timeout, BodyError::Incomplete, BodyError::Overloaded]
            .map(WebhookResponse::Unread);
        let unsigned = [
            SignatureError::Missing,
            SignatureError::Malformed(HeaderFault::Blanks),
            SignatureError::Mismatch,
            SignatureError::TooOld,
        ]
        .map(WebhookResponse::Unsigned);
        let others = [
            WebhookResponse::Received { event_id: String::new() },
            WebhookResponse::BackendFailed(StatusCode::BAD_GATEWAY),
            WebhookResponse::NotDurable,
            WebhookResponse::Malformed,
        ];
        for response in unread.into_iter().chain(unsigned).chain(others) {
            assert!(RESPONSE_CODES.contains(&response.code()), "{response:?}");
        }
    }
}
