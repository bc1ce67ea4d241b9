//! Whoever signed in at the company's own application.

use std::convert::Infallible;

use rocket::Request;
use rocket::http::{Method, Status};
use rocket::request::{self, FromRequest};

use super::authenticator::{Authenticator, SignIn};
use super::claims::{Claims, TokenError};
use super::{outcome, sign_in};
use crate::app::App;
use crate::http::endpoint::{Argument, Operation, Place, Scheme};
use crate::http::error::ApiError;

/// A user, who showed a token of their own: a signed JWT, a session of Auth.js, or the visit that a link was exchanged for. What would change something has to be
/// JSON, so that no form of another site reaches it with the user's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The token's `sub`.
    pub id: String,
    /// Whether the token's `role` is `admin`.
    pub is_admin: bool,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for User {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        outcome(request, user(request).await)
    }
}

/// Whoever signed in, or why nobody did: for routes that are also for those who show something else.
pub struct MaybeUser(pub Result<User, ApiError>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for MaybeUser {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Infallible> {
        request::Outcome::Success(Self(user(request).await))
    }
}

impl Argument for MaybeUser {
    fn describe(operation: &mut Operation) {
        User::describe(operation);
        operation.is_access_optional = true;
    }
}

async fn user(request: &Request<'_>) -> Result<User, ApiError> {
    let SignIn { claims, .. } = Authenticator::sign_in(request).await?;
    let user = User::of(&claims)?;
    refuse_forms(request)?;
    match sign_in::settle(App::of(request), &user.id, &claims).await {
        // Whatever needs the database says so itself; what is refused anyhow need not wait for it.
        Err(error) if error == ApiError::database_unavailable() => {}
        settled => settled?,
    }
    Ok(user)
}

impl User {
    fn of(claims: &Claims) -> Result<Self, ApiError> {
        let id = claims.subject().ok_or(TokenError::NoSubject)?.to_owned();
        Ok(Self { id, is_admin: claims.is_admin() })
    }
}

/// 415 for what another site could send without asking first: a request that would change something and is not JSON. A
/// browser asks before it sends JSON, or a `DELETE`, to another site, and the relay answers only the listed ones.
pub fn refuse_forms(request: &Request<'_>) -> Result<(), ApiError> {
    let content_type = request.content_type();
    let is_safe = match request.method() {
        Method::Get | Method::Head | Method::Options => true,
        Method::Delete => content_type.is_none_or(|given| given.is_json()),
        // A form never is a `PUT` of bytes, and a browser asks before it sends one to another site.
        Method::Put if content_type.is_some_and(|given| given.is_binary()) => true,
        _ => content_type.is_some_and(|given| given.is_json()),
    };
    is_safe.then_some(()).ok_or_else(ApiError::unsupported_media_type)
}

/// A session of Auth.js.
pub(super) const SESSION: Scheme = Scheme {
    name: "session",
    place: Place::Cookie("authjs.session-token"),
    description: "A session of Auth.js, version 4 or 5, by any of the names that its cookies have, in one piece or several.",
};

/// What users show.
const USER: &[Scheme] = &[
    Scheme {
        name: "userToken",
        place: Place::Bearer,
        description: "A JWT under AUTH_SECRET or a key of AUTH_JWKS_URL, or a session of Auth.js.",
    },
    SESSION,
];

impl Argument for User {
    fn describe(operation: &mut Operation) {
        operation.access.extend(USER);
        refuse_strangers(operation);
    }
}

/// What is refused to whoever does not show who they are, and to forms.
pub(super) fn refuse_strangers(operation: &mut Operation) {
    operation.refuse(ApiError::of_status(Status::Unauthorized));
    operation.refuse(TokenError::NoKeys);
    if operation.is_unsafe() {
        operation.refuse(ApiError::unsupported_media_type());
    }
}
