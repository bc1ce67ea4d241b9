//! The name that a caller gives an action: `Idempotency-Key`.

use rocket::Request;
use rocket::request::{self, FromRequest};

use crate::http::error::ApiError;

/// The longest one that is taken: as Stripe has it.
const KEY_CHARACTERS_MAX: usize = 255;

/// The caller's `Idempotency-Key`, if there is one.
#[derive(Clone, Copy)]
pub(super) struct NamedKey<'r>(pub(super) Option<&'r str>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for NamedKey<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        let key = request.headers().get_one("idempotency-key");
        if key.is_some_and(|key| key.is_empty() || key.len() > KEY_CHARACTERS_MAX) {
            let message = format!("an `Idempotency-Key` has 1 to {KEY_CHARACTERS_MAX} characters");
            let error = ApiError::invalid_parameter("Idempotency-Key", message);
            return request::Outcome::Error((error.refuse(request), ()));
        }
        request::Outcome::Success(Self(key))
    }
}
