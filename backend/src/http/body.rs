//! Bodies: raw bytes up to a limit, and JSON. A rejected body is never echoed nor logged.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rocket::Request;
use rocket::data::{self, ByteUnit, Data, FromData, ToByteUnit};
use rocket::http::Status;
use rocket::outcome::Outcome;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use crate::http::body_budget::{BodyBudget, no_room};
use crate::http::endpoint::{Argument, Body, Operation, schema_of, schema_of_file};
use crate::http::error::ApiError;

/// The largest JSON body of nearly all routes: they have no field that grows.
pub const JSON_BYTES_MAX: usize = 64 << 10;

/// How much room is made for a body that does not say its length.
const FIRST_BYTES: usize = 8 << 10;

/// How long a whole body may take: the relay is near, and one that stops half-way holds its share of the budget.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body of type `T`: 415 for another media type, 413 past [`JSON_BYTES_MAX`], 400 `invalid_json`, and 422
/// `invalid_parameter` with the parameter's name for JSON that is not a `T`. Where a route takes more, it says so.
pub struct JsonBody<T, const BYTES_MAX: usize = JSON_BYTES_MAX>(pub T);

#[rocket::async_trait]
impl<'r, T: DeserializeOwned, const BYTES_MAX: usize> FromData<'r> for JsonBody<T, BYTES_MAX> {
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        match read_json(request, data, BYTES_MAX).await.and_then(|body| parse(&body)) {
            Ok(value) => Outcome::Success(Self(value)),
            Err(error) => refuse(request, error),
        }
    }
}

impl<T: JsonSchema, const BYTES_MAX: usize> Argument for JsonBody<T, BYTES_MAX> {
    fn describe(operation: &mut Operation) {
        describe::<T>(operation, true, BYTES_MAX);
    }
}

/// A body that may be left out, with its `Content-Type`; else as [`JsonBody`].
pub struct OptionalJsonBody<T>(pub T);

#[rocket::async_trait]
impl<'r, T: DeserializeOwned + Default> FromData<'r> for OptionalJsonBody<T> {
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        let read = async {
            let is_json = request.content_type().is_some_and(|given| given.is_json());
            match read(request, data, JSON_BYTES_MAX).await? {
                body if body.is_empty() => Ok(T::default()),
                _ if !is_json => Err(ApiError::unsupported_media_type()),
                body => parse(&body),
            }
        };
        match read.await {
            Ok(value) => Outcome::Success(Self(value)),
            Err(error) => refuse(request, error),
        }
    }
}

/// The body of a request that needs no more to be said.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Nothing {}

impl<T: JsonSchema> Argument for OptionalJsonBody<T> {
    fn describe(operation: &mut Operation) {
        describe::<T>(operation, false, JSON_BYTES_MAX);
    }
}

/// What there is to say of a JSON body of type `T`, of at most `bytes_max` bytes.
pub fn describe<T: JsonSchema>(operation: &mut Operation, is_required: bool, bytes_max: usize) {
    operation.body = Some(Body { media_types: &["application/json"], schema: schema_of::<T>, is_required });
    refuse_unreadable(operation, bytes_max);
    operation.refuse(invalid_json());
    operation.refuse(ApiError::unsupported_media_type());
    operation.refuse(ApiError::of_status(Status::UnprocessableEntity));
}

/// What is refused of any body.
pub fn refuse_unreadable(operation: &mut Operation, bytes_max: usize) {
    operation.refuse(incomplete_body());
    operation.refuse(ApiError::body_too_large(bytes_max));
    operation.refuse(no_room());
}

/// The bytes of a body that says of itself that it is JSON, at most `bytes_max`.
pub async fn read_json(request: &Request<'_>, data: Data<'_>, bytes_max: usize) -> Result<Bytes, ApiError> {
    if !request.content_type().is_some_and(|given| given.is_json()) {
        return Err(ApiError::unsupported_media_type());
    }
    read(request, data, bytes_max).await
}

/// Ends a data guard with `error` as the answer.
pub fn refuse<'r, T: FromData<'r, Error = ()>>(request: &Request<'_>, error: ApiError) -> data::Outcome<'r, T> {
    Outcome::Error((error.refuse(request), ()))
}

/// The body of a request that came on a connection, until somebody reads it. Rocket's own [`Data`] is then empty: it would
/// have to be in memory before it is known whether anybody wants it.
#[derive(Default)]
pub struct IncomingBody(Mutex<Option<Incoming>>);

impl IncomingBody {
    /// Gives `request` its body.
    pub fn attach(request: &Request<'_>, body: Incoming) {
        request.local_cache(|| Self(Mutex::new(Some(body))));
    }

    fn take(request: &Request<'_>) -> Option<Incoming> {
        request.local_cache(Self::default).0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body as it comes, for who writes it elsewhere than into memory.
pub struct StreamedBody<'r> {
    /// How many bytes it is to have, as its sender says.
    pub announced: Option<u64>,
    stream: Pin<Box<dyn AsyncRead + Send + 'r>>,
}

#[rocket::async_trait]
impl<'r> FromData<'r> for StreamedBody<'r> {
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        let announced = request.headers().get_one("content-length").and_then(|length| length.parse().ok());
        let stream: Pin<Box<dyn AsyncRead + Send + 'r>> = match IncomingBody::take(request) {
            Some(body) => Box::pin(StreamReader::new(body.into_data_stream().map_err(io::Error::other))),
            // It is for whoever reads it to say how much is too much.
            None => Box::pin(data.open(ByteUnit::max_value())),
        };
        Outcome::Success(Self { announced, stream })
    }
}

impl StreamedBody<'_> {
    /// The next bytes of it, into the room that `piece` has; none at its end. A sender that stops half-way is not waited
    /// for.
    pub async fn read(&mut self, piece: &mut BytesMut) -> Result<usize, ApiError> {
        let read = timeout(BODY_TIMEOUT, self.stream.read_buf(piece)).await;
        read.ok().and_then(Result::ok).ok_or_else(incomplete_body)
    }
}

impl Argument for StreamedBody<'_> {
    fn describe(operation: &mut Operation) {
        operation.body =
            Some(Body { media_types: &["application/octet-stream"], schema: schema_of_file, is_required: true });
        operation.refuse(incomplete_body());
    }
}

/// The whole body, if it has no more than `bytes_max` bytes and there is room for it. What is more is not read: the
/// connection sees to it that its sender can still read why.
pub async fn read(request: &Request<'_>, data: Data<'_>, bytes_max: usize) -> Result<Bytes, ApiError> {
    let whole = async {
        match IncomingBody::take(request) {
            Some(body) => {
                let pieces = body.into_data_stream().map_err(io::Error::other);
                read_all(request, StreamReader::new(pieces), bytes_max).await
            }
            None => read_all(request, data.open((bytes_max + 1).bytes()), bytes_max).await,
        }
    };
    timeout(BODY_TIMEOUT, whole).await.unwrap_or_else(|_| Err(incomplete_body()))
}

async fn read_all(
    request: &Request<'_>,
    mut stream: impl AsyncRead + Unpin,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let announced = request.headers().get_one("content-length").and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::body_too_large(bytes_max));
    }
    // Before anything is read of it.
    let mut share = BodyBudget::of(request).share(announced.unwrap_or_default()).await?;
    let mut body = BytesMut::with_capacity(announced.map_or(FIRST_BYTES, |length| length + 1));
    loop {
        let more = stream.read_buf(&mut body).await.map_err(|_| incomplete_body())?;
        if body.len() > bytes_max {
            return Err(ApiError::body_too_large(bytes_max));
        }
        if more == 0 {
            break;
        }
        if body.len() == body.capacity() {
            // As much again: what it takes until then is counted before it is taken.
            share.grow_to(2 * body.len())?;
            body.reserve(body.len());
        }
    }
    share.keep_with(request);
    Ok(body.freeze())
}

fn incomplete_body() -> ApiError {
    ApiError::new(Status::BadRequest, "incomplete_body", "the body ended before all of it had come")
}

/// Reads a JSON body.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| if error.inner().is_data() { not_of_the_type(&error) } else { invalid_json() })?;
    json.end().map_err(|_| invalid_json())?;
    Ok(value)
}

fn invalid_json() -> ApiError {
    ApiError::new(Status::BadRequest, "invalid_json", "the body is not JSON")
}

/// JSON, but not what the route takes. serde's own text is not passed on: it quotes what was sent.
fn not_of_the_type(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let mut field = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.as_str()),
            _ => None,
        })
        .collect::<Vec<_>>();
    let said = error.inner().to_string();
    let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    field.extend(missing);
    let message = if missing.is_some() { "this parameter is missing" } else { "this parameter is not of its type" };
    match field.as_slice() {
        [] => ApiError::new(Status::UnprocessableEntity, "invalid_parameter", "the body is not a JSON object"),
        field => ApiError::invalid_parameter(Cow::Owned(field.join(".")), message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        amount: i64,
        buyer: Option<Buyer>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Buyer {
        name: String,
    }

    fn refusal(body: &str) -> (u16, &'static str, Option<String>) {
        let error = parse::<Order>(body.as_bytes()).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        (error.status.code, error.code, error.param.map(Cow::into_owned))
    }

    #[test]
    fn a_body_of_the_type_is_read_and_unknown_members_are_no_fault() {
        assert_eq!(
            parse::<Order>(br#" {"amount": 5, "buyer": null, "colour": "red"} "#).unwrap(),
            Order { amount: 5, buyer: None }
        );
    }

    #[test]
    fn what_is_not_json_is_400() {
        for body in ["", "{", "hunter2", r#"{"amount": 5} hunter2"#, r#"{"amount": 5,}"#] {
            assert_eq!(refusal(body), (400, "invalid_json", None), "{body}");
        }
    }

    #[test]
    fn json_of_another_shape_is_422_and_names_the_parameter() {
        let param = |name: &str| (422, "invalid_parameter", Some(name.to_owned()));
        assert_eq!(refusal(r#"{"amount": "hunter2"}"#), param("amount"));
        assert_eq!(refusal("{}"), param("amount"));
        assert_eq!(refusal(r#"{"amount": 5, "buyer": {}}"#), param("buyer.name"));
        assert_eq!(refusal(r#"{"amount": 5, "buyer": {"name": ["hunter2"]}}"#), param("buyer.name"));
        assert_eq!(refusal(r#""hunter2""#), (422, "invalid_parameter", None));
    }
}
