//! Callers on the private network, which show a key in `X-Internal-API-Key`.

use rocket::Request;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use tollgate_shared::Secrets;

use super::refuse;
use crate::app::App;
use crate::http::endpoint::{Argument, Operation, Place, Scheme};
use crate::http::error::ApiError;

/// The header of callers on the private network.
pub const INTERNAL_KEY_HEADER: &str = "x-internal-api-key";

/// A service on the private network, which showed one of `INTERNAL_API_KEY`.
pub struct Internal(());

/// The relay, handing over events: it showed `RELAY_INTERNAL_SECRET`, which is then the only key that the intake takes
/// and opens nothing else; where that is not set, one of `INTERNAL_API_KEY`.
pub struct Intake(());

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Internal {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        shows_one_of(&App::of(request).config.internal_keys, request, Self(()))
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Intake {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        shows_one_of(&App::of(request).config.intake_keys, request, Self(()))
    }
}

fn shows_one_of<T>(keys: &Secrets, request: &Request<'_>, guard: T) -> request::Outcome<T, ()> {
    let mut given = request.headers().get(INTERNAL_KEY_HEADER);
    // A header that comes twice says two things: it is not looked at.
    match (given.next(), given.next()) {
        (Some(key), None) if keys.matches(key.as_bytes()) => Outcome::Success(guard),
        _ => refuse(request, ApiError::forbidden()),
    }
}

/// What such callers show.
const INTERNAL: &[Scheme] = &[Scheme {
    name: "internalKey",
    place: Place::Header("X-Internal-API-Key"),
    description: "One of INTERNAL_API_KEY. The webhook intake takes RELAY_INTERNAL_SECRET instead, where that is set.",
}];

impl Argument for Internal {
    fn describe(operation: &mut Operation) {
        operation.access.extend(INTERNAL);
        operation.refuse(ApiError::forbidden());
    }
}

impl Argument for Intake {
    fn describe(operation: &mut Operation) {
        Internal::describe(operation);
    }
}
