//! `Idempotency-Key`: a POST that is sent twice is done once, and answered the same twice.
//!
//! A route takes an [`IdempotentBody`] and does its work in [`IdempotentBody::once`]. What it writes and what it answers are
//! one transaction, by [`Attempt::touching`] and [`Attempt::answer`]. Answers and refusals are remembered; what failed on our side, or elsewhere in a way that may
//! pass, is not: the same key then tries again.

use std::borrow::Cow;
use std::io::Cursor;
use std::marker::PhantomData;

use rocket::Request;
use rocket::data::{self, Data, FromData};
use rocket::http::{ContentType, Status};
use rocket::outcome::Outcome;
use rocket::response::{self, Responder, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollgate_db::UnitOfWork;
use tollgate_domain::apply::Touched;
use tollgate_domain::idempotency::{self, Claim, Known, Refused};
use tollgate_domain::settings::Settings;
use tollgate_shared::ids;
use tracing::warn;

use crate::app::App;
use crate::http::auth::User;
use crate::http::body::{self, JSON_BYTES_MAX};
use crate::http::context::RequestContext;
use crate::http::endpoint::{Answers, Argument, Operation, Parameter, Success, schema_of};
use crate::http::error::ApiError;

#[cfg(test)]
mod tests;

/// The header that names a request.
pub const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";

/// The longest key: as long as Stripe's.
const KEY_CHARACTERS_MAX: usize = 255;

/// A JSON body, as [`JsonBody`](body::JsonBody) reads it, of a request that may have an `Idempotency-Key`. An empty one is `{}`.
/// It has at most `BYTES_MAX` bytes.
pub struct IdempotentBody<T, const BYTES_MAX: usize = JSON_BYTES_MAX> {
    body: T,
    named: Option<Named>,
}

/// A request with a key.
struct Named {
    key: String,
    /// The route as we wrote it, with its method.
    route: String,
    path: String,
    /// The body, spelt in one way.
    body: String,
}

/// One attempt to do a request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// None for a request without a key.
    claim: Option<Claim>,
    action: String,
}

/// What a route answers, whether now or again: a `T`, or what was refused.
#[derive(Debug)]
pub struct Answer<T> {
    status: Status,
    body: Vec<u8>,
    /// Whether an earlier request was answered so.
    replayed: bool,
    /// Whether it is remembered already, where it is to be.
    remembered: bool,
    shows: PhantomData<fn() -> T>,
}

#[rocket::async_trait]
impl<'r, T: DeserializeOwned, const BYTES_MAX: usize> FromData<'r> for IdempotentBody<T, BYTES_MAX> {
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        match Self::read(request, data).await {
            Ok(read) => Outcome::Success(read),
            Err(error) => body::refuse(request, error),
        }
    }
}

impl<T: DeserializeOwned, const BYTES_MAX: usize> IdempotentBody<T, BYTES_MAX> {
    async fn read(request: &Request<'_>, data: Data<'_>) -> Result<Self, ApiError> {
        let key = key_of(request)?;
        let bytes = body::read_json(request, data, BYTES_MAX).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let body = body::parse(bytes)?;
        let named = key.map(|key| Named {
            key,
            route: format!("{} {}", request.method(), request.route().map_or("-", |route| route.uri.as_str())),
            path: request.uri().path().to_string(),
            // It was read before, so that it is JSON; names are in order.
            body: body::parse::<Value>(bytes).unwrap_or_default().to_string(),
        });
        Ok(Self { body, named })
    }
}

/// The key that `request` has, if any.
fn key_of(request: &Request<'_>) -> Result<Option<String>, ApiError> {
    let mut given = request.headers().get(IDEMPOTENCY_KEY_HEADER);
    let (Some(key), another) = (given.next(), given.next()) else { return Ok(None) };
    let is_readable = another.is_none()
        && !key.trim().is_empty()
        && key.chars().count() <= KEY_CHARACTERS_MAX
        && !key.chars().any(char::is_control);
    let message = "`Idempotency-Key` has to be one text of 1 to 255 characters, best a random one";
    is_readable
        .then(|| Some(key.to_owned()))
        .ok_or_else(|| ApiError::invalid_parameter(IDEMPOTENCY_KEY_HEADER, message))
}

impl<T, const BYTES_MAX: usize> IdempotentBody<T, BYTES_MAX> {
    /// What was sent, for a look before anything is done.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Does the request of `user` by `act`, unless it was done before: then the answer is that one.
    pub async fn once<V, R>(
        self,
        app: &App,
        user: &User,
        act: impl FnOnce(T, Attempt) -> R + Send,
    ) -> Result<Answer<V>, ApiError>
    where
        R: Future<Output = Result<Answer<V>, ApiError>> + Send,
    {
        self.once_for(app, &user.id, act).await
    }

    /// The same for whoever is called `caller`, who need not be a user: keys are each caller's own.
    pub async fn once_for<V, R>(
        self,
        app: &App,
        caller: &str,
        act: impl FnOnce(T, Attempt) -> R + Send,
    ) -> Result<Answer<V>, ApiError>
    where
        R: Future<Output = Result<Answer<V>, ApiError>> + Send,
    {
        let Self { body, named } = self;
        let action = ids::new_id("act", app.clock.now(), &app.rng);
        let Some(named) = named else { return act(body, Attempt { claim: None, action }).await };
        let request = idempotency::Request::new(caller, &named.route, &named.key, &named.path, named.body.as_bytes());
        let touched = Touched::request(&request.id);
        let sealer = &app.settings.sealer;
        let (known, _) = app.write(&touched, |work| idempotency::claim(work, sealer, &request, &action)).await?;
        let attempt = match known {
            Known::Answered(answer) => return Ok(Answer::again(answer)),
            Known::Claimed(claim) => Attempt::of(claim),
        };
        let done = act(body, attempt.clone()).await;
        attempt.settle(app, &done).await;
        done
    }
}

impl Attempt {
    fn of(claim: Claim) -> Self {
        // Another use of the key, a day later, is another action.
        let action = format!("{}.{}", claim.id, claim.first_at.timestamp_micros());
        Self { claim: Some(claim), action }
    }

    /// A name of what is done, the same for each attempt to do it: what a call to somebody else is keyed by. Of a request
    /// without a key it is another one each time.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Whether the caller gave it a name.
    pub fn is_named(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether an earlier attempt at the same request, by its name, was not answered: it may have been done.
    pub fn is_repeat(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_repeat)
    }

    /// What an earlier attempt at the same request was about, if it came so far.
    pub fn subject(&self) -> Option<&str> {
        self.claim.as_ref()?.subject.as_deref()
    }

    /// Notes what it is about before anything is done, so that an attempt after this one is about nothing else.
    pub async fn note_subject(&self, app: &App, subject: &str) -> Result<(), ApiError> {
        let Some(claim) = self.claim.as_ref().filter(|claim| claim.subject.is_none()) else { return Ok(()) };
        let touched = Touched::request(&claim.id);
        app.write(&touched, |work| idempotency::note_subject(work, claim, subject)).await?;
        Ok(())
    }

    /// What is touched, with the row that the answer is remembered in.
    pub fn touching(&self, touched: Touched) -> Touched {
        let requests = self.claim.iter().map(|claim| claim.id.clone()).collect();
        Touched { requests, ..touched }
    }

    /// The answer `body`, which is remembered with what `work` writes. 409 where another attempt has taken over meanwhile:
    /// then nothing may be written.
    pub fn answer<V: Serialize>(
        &self,
        work: &mut UnitOfWork,
        settings: &Settings,
        status: Status,
        body: &V,
    ) -> Result<Answer<V>, ApiError> {
        let answer = Answer { remembered: self.claim.is_some(), ..Answer::new(status, body) };
        if let Some(claim) = &self.claim {
            idempotency::answer(work, &settings.sealer, claim, &answer.to_remember())?;
        }
        Ok(answer)
    }

    /// Remembers what was not remembered by itself: a refusal, and an answer that was written with nothing. What may pass
    /// is left to the next attempt.
    async fn settle<V>(&self, app: &App, done: &Result<Answer<V>, ApiError>) {
        let Some(claim) = &self.claim else { return };
        let answer = match done {
            Ok(answer) if answer.remembered => return,
            Ok(answer) => Some(answer.to_remember()),
            Err(error) => refusal(error),
        };
        let touched = Touched::request(&claim.id);
        let settled = app.write(&touched, |work| {
            if let Some(answer) = &answer {
                return idempotency::answer(work, &app.settings.sealer, claim, answer);
            }
            idempotency::release(work, claim);
            Ok(())
        });
        if let Err(failure) = settled.await {
            warn!(
                "could not settle a request with an Idempotency-Key, which is free again in half a minute: {failure}"
            );
        }
    }
}

/// A refusal as it is remembered, if it would be the same again.
fn refusal(error: &ApiError) -> Option<idempotency::Answer> {
    let is_final =
        (400..500).contains(&error.status.code) && error.status != Status::TooManyRequests && error.code != IN_PROGRESS;
    let body = || json!({ "error": error.detail("") }).to_string().into_bytes();
    is_final.then(|| idempotency::Answer { status: error.status.code, body: body() })
}

impl<T: Serialize> Answer<T> {
    /// An answer that is written with nothing: [`IdempotentBody::once`] sees to it that it is remembered.
    pub fn new(status: Status, body: &T) -> Self {
        let body = serde_json::to_vec(body).expect("what is shown is always JSON");
        Self { status, body, replayed: false, remembered: false, shows: PhantomData }
    }
}

impl<T> Answer<T> {
    fn again(answer: idempotency::Answer) -> Self {
        let status = Status::new(answer.status);
        Self { status, body: answer.body, replayed: true, remembered: true, shows: PhantomData }
    }

    fn to_remember(&self) -> idempotency::Answer {
        idempotency::Answer { status: self.status.code, body: self.body.clone() }
    }

    /// The body. A refusal that is given again is one of this request.
    fn body_for<'a>(&'a self, request_id: &str) -> Cow<'a, [u8]> {
        if self.replayed && self.status.code >= 400 {
            let mut body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
            if let Some(id) = body.pointer_mut("/error/requestId") {
                *id = request_id.into();
            }
            return body.to_string().into_bytes().into();
        }
        Cow::Borrowed(&self.body)
    }
}

impl<'r, T> Responder<'r, 'static> for Answer<T> {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let body = self.body_for(RequestContext::of(request).request_id.as_str()).into_owned();
        let mut response = Response::build();
        response
            .status(self.status)
            .header(ContentType::JSON)
            // It may hold a secret.
            .raw_header("Cache-Control", "no-store")
            .sized_body(body.len(), Cursor::new(body));
        if self.replayed {
            response.raw_header("Idempotent-Replayed", "true");
        }
        response.ok()
    }
}

impl<T: JsonSchema, const BYTES_MAX: usize> Argument for IdempotentBody<T, BYTES_MAX> {
    fn describe(operation: &mut Operation) {
        body::describe::<T>(operation, true, BYTES_MAX);
        let key =
            "A name for what is asked: the same request under it is done once, and answered the same for 24 hours.";
        operation.parameters.push(Parameter::header(IDEMPOTENCY_KEY_HEADER, 1..=KEY_CHARACTERS_MAX, key));
        operation.refuse(Refused::InProgress);
        operation.refuse(Refused::Mismatch);
        operation.refuse(ApiError::database_unavailable());
    }
}

impl<T: JsonSchema> Answers for Answer<T> {
    fn describe(operation: &mut Operation) {
        operation.successes.push(Success {
            status: Status::Ok,
            content: Some(("application/json", schema_of::<T>)),
            headers: &[("Idempotent-Replayed", "`true` where it was done by an earlier request.")],
        });
    }
}

const IN_PROGRESS: &str = "idempotency_in_progress";

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Mismatch => Self::new(
                Status::UnprocessableEntity,
                "idempotency_mismatch",
                "this Idempotency-Key was used for another request; take a new one for each thing that is to be done",
            ),
            Refused::InProgress => Self::new(
                Status::Conflict,
                IN_PROGRESS,
                "the first request with this Idempotency-Key is not answered yet; ask again shortly",
            ),
            Refused::Sealed => Self::internal_because("sealed", "an answer that is remembered cannot be decrypted"),
        }
    }
}
