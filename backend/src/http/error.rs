//! What a route answers when it refuses or fails: the error body that both tiers share, and nothing that the caller
//! sent or the database said.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::OnceLock;

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use serde::Serialize;
use serde_json::Value;
use tollgate_shared::ErrorBody;
use tollgate_shared::error_body::ErrorDetail;
use tollgate_shared::request_id::REQUEST_ID_HEADER;
use tracing::error;

use crate::http::context::RequestContext;
use crate::write::WriteError;
use tollgate_db::DbError;

/// An answer that is not a success. Made by a verb's error, by a guard, or by one of the constructors here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: Status,
    /// What a program decides by.
    pub code: &'static str,
    /// What is wrong and what to do, for a person. Never what the caller sent.
    pub message: Cow<'static, str>,
    /// The parameter at fault, by the name it has in our documentation.
    pub param: Option<Cow<'static, str>>,
    /// Seconds after which a repeat makes sense, for `Retry-After`.
    pub retry_after_seconds: Option<u32>,
    /// What the log says of it, beside the request's id; for nobody outside.
    pub cause: Option<Box<Cause>>,
    /// What else the caller has to know, for the few codes that say more.
    pub more: Option<Box<More>>,
}

/// Why a request failed on our side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A word to search for.
    pub reason: &'static str,
    /// The rest. Holds no value of a row.
    pub text: String,
}

/// Another member of the error's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct More {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub value: Value,
}

/// How long a caller should leave a database that is away alone, in seconds.
const DATABASE_RETRY_SECONDS: u32 = 5;

impl ApiError {
    /// An error with a code of its own.
    pub fn new(status: Status, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), param: None, retry_after_seconds: None, cause: None, more: None }
    }

    /// 404: no such route, or no such object. `what` completes "there is no …".
    pub fn not_found(what: &str) -> Self {
        Self::new(Status::NotFound, "not_found", format!("there is no {what}"))
    }

    /// 401: the caller did not show who it is. `message` says how it would.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::Unauthorized, "unauthorized", message)
    }

    /// 403: the caller did not show that it may call this route.
    pub fn forbidden() -> Self {
        Self::new(Status::Forbidden, "forbidden", "send the internal API key in X-Internal-API-Key")
    }

    /// 422: `param` is not what it should be. `message` says what it should be.
    pub fn invalid_parameter(param: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..Self::new(Status::UnprocessableEntity, "invalid_parameter", message) }
    }

    /// 429: the caller asked too often, and may ask again after so many seconds.
    pub fn rate_limited(retry_after_seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(Status::TooManyRequests, "rate_limited", "this was asked too often; try again a little later")
        }
    }

    /// 404: the user is no customer yet.
    pub fn no_customer() -> Self {
        Self::new(
            Status::NotFound,
            "no_customer",
            "you have bought nothing yet: this comes with the first purchase, at the checkout",
        )
    }

    /// The same, saying something more.
    pub fn with_more(self, name: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("what is shown is always JSON");
        Self { more: Some(Box::new(More { name, value })), ..self }
    }

    /// 413: the body has more than `bytes_max` bytes.
    pub fn body_too_large(bytes_max: usize) -> Self {
        Self::new(
            Status::PayloadTooLarge,
            "body_too_large",
            format!("the body is larger than the {bytes_max} bytes that this route takes"),
        )
    }

    /// 503: the database cannot be reached, or is not migrated.
    pub fn database_unavailable() -> Self {
        Self {
            retry_after_seconds: Some(DATABASE_RETRY_SECONDS),
            ..Self::new(
                Status::ServiceUnavailable,
                "database_unavailable",
                "the database is not available at the moment; try again shortly",
            )
        }
    }

    /// 500: our fault. The log line with the request's id says more.
    pub fn internal() -> Self {
        Self::new(
            Status::InternalServerError,
            "internal_error",
            "something went wrong on our side; the log has more under the request id",
        )
    }

    /// 500: our fault, with what the log is to say of it.
    pub fn internal_because(reason: &'static str, text: impl Into<String>) -> Self {
        Self { cause: Some(Box::new(Cause { reason, text: text.into() })), ..Self::internal() }
    }

    /// The error of a status that Rocket itself decided on.
    pub fn of_status(status: Status) -> Self {
        match status.code {
            401 => Self::unauthorized("sign in, or send a valid token"),
            403 => Self::forbidden(),
            404 => Self::not_found("such route"),
            405 => Self::new(status, "method_not_allowed", "this route does not take that method"),
            413 => Self::new(status, "body_too_large", "the body is larger than this route takes"),
            415 => Self::unsupported_media_type(),
            422 => Self::new(status, "invalid_parameter", "a parameter is not what this route takes"),
            503 => Self::new(status, "unavailable", "this is not available at the moment; try again shortly"),
            400..500 => Self::new(status, "bad_request", "the request cannot be read"),
            _ => Self { status, ..Self::internal() },
        }
    }

    /// 415: the body's `Content-Type` is not `application/json`.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            Status::UnsupportedMediaType,
            "unsupported_media_type",
            "send the body as JSON, with Content-Type: application/json",
        )
    }

    /// Notes why a guard refuses `request`, for the catcher to answer; the first reason stays. Gives the status to end with.
    pub fn refuse(self, request: &Request<'_>) -> Status {
        let status = self.status;
        let _ = request.local_cache(Refusal::default).0.set(self);
        status
    }

    /// Why a guard refused `request`.
    pub fn refusal<'r>(request: &'r Request<'_>) -> Option<&'r Self> {
        request.local_cache(Refusal::default).0.get()
    }

    /// The inside of the error body for the request with this id.
    pub fn detail(&self, request_id: &str) -> ErrorDetail {
        let body = ErrorBody::new(self.code, &self.message, Some(request_id));
        let body = match &self.param {
            Some(param) => body.with_param(param),
            None => body,
        };
        match self.more.as_deref() {
            Some(More { name, value }) => body.with_more(name, value.clone()).error,
            None => body.error,
        }
    }
}

/// What a request keeps of a guard's refusal: Rocket hands a catcher the status alone.
#[derive(Default)]
struct Refusal(OnceLock<ApiError>);

impl From<DbError> for ApiError {
    fn from(failure: DbError) -> Self {
        // Why a schema does not fit is logged by whoever tries to migrate it, once, and not at each request.
        if failure.is_transient() || matches!(failure, DbError::Schema(_)) {
            return Self::database_unavailable();
        }
        Self::internal_because(failure.class(), format!("could not use the database: {failure}"))
    }
}

impl From<Infallible> for ApiError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl<E: Into<Self>> From<WriteError<E>> for ApiError {
    fn from(error: WriteError<E>) -> Self {
        match error {
            WriteError::Refused(refusal) => refusal.into(),
            WriteError::Database(failure) => failure.into(),
            WriteError::Panicked => Self::internal_because("panicked", "a rule panicked"),
        }
    }
}

impl<'r> Responder<'r, 'static> for ApiError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let context = RequestContext::of(request);
        if let Some(Cause { reason, text }) = self.cause.as_deref() {
            error!(request_id = %context.request_id, reason, "{text}");
        }
        let body = ErrorBody { error: self.detail(context.request_id.as_str()) }.to_json();
        let mut response = Response::build();
        response
            .status(self.status)
            .header(ContentType::JSON)
            // The access log sets it on every answer; but for a request that Rocket finds unreadable no fairing runs.
            .raw_header(REQUEST_ID_HEADER, context.request_id.to_string())
            .sized_body(body.len(), std::io::Cursor::new(body));
        if self.status == Status::Unauthorized {
            // Such an answer has to name a scheme (RFC 9110); of this one browsers ask nobody for a password.
            response.raw_header("WWW-Authenticate", "Bearer");
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.raw_header("Retry-After", seconds.to_string());
        }
        response.ok()
    }
}
