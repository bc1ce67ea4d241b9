//! Who may call a route: a guard in its signature.
//!
//! | guard | who |
//! |---|---|
//! | [`Internal`], [`Intake`] | a service on the private network; the relay |
//! | [`User`] | whoever signed in at the company's own application, or by a link |
//! | [`Operator`] | a user with the role `admin`, whoever holds `ADMIN_API_KEY`, or who signed in at the console |
//! | [`Cron`] | whatever holds `CRON_SECRET` |

mod authenticator;
mod bearer;
mod claims;
pub mod console;
mod cron;
mod download;
mod internal;
pub mod link;
pub mod mint;
mod operator;
mod remembered;
mod session;
mod sign_in;
mod spend;
#[cfg(test)]
mod tests;
mod token;
mod user;

use rocket::Request;
use rocket::outcome::Outcome;
use rocket::request;

pub use self::authenticator::{Authenticator, SignedInBy};
pub use self::cron::Cron;
pub use self::internal::{INTERNAL_KEY_HEADER, Intake, Internal};
pub use self::operator::{ByConsole, ForOperators, Operator, readable_name};
pub use self::remembered::Remembered;
pub use self::spend::spend;
pub use self::user::{MaybeUser, User, refuse_forms};
use crate::app::App;
use crate::http::error::ApiError;

/// Ends a guard with `error` as the answer.
fn refuse<T>(request: &Request<'_>, error: ApiError) -> request::Outcome<T, ()> {
    Outcome::Error((error.refuse(request), ()))
}

/// Ends a guard with what it found.
fn outcome<T>(request: &Request<'_>, found: Result<T, ApiError>) -> request::Outcome<T, ()> {
    found.map_or_else(|error| refuse(request, error), Outcome::Success)
}

/// Whether `request` came by https, as far as is known: nobody is hurt but who says it wrongly of himself.
pub fn is_secure(request: &Request<'_>) -> bool {
    request.headers().get_one("x-forwarded-proto") == Some("https") || App::of(request).config.tls.is_some()
}
