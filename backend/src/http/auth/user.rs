//! Whoever signed in at the company's own application.

use rocket::Request;
use rocket::request::{self, FromRequest};

use super::token::{Claims, TokenError};
use super::{bearer, outcome};
use crate::app::App;
use crate::http::error::ApiError;

/// A user, who showed a JWT that is signed under one of `AUTH_SECRET`.
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
        outcome(request, claims(request).and_then(|claims| Self::of(&claims)))
    }
}

impl User {
    fn of(claims: &Claims) -> Result<Self, ApiError> {
        let id = claims.subject().ok_or(TokenError::NoSubject)?.to_owned();
        Ok(Self { id, is_admin: claims.is_admin() })
    }
}

/// What the bearer token of `request` says, if it is one that counts.
pub(super) fn claims(request: &Request<'_>) -> Result<Claims, ApiError> {
    let app = App::of(request);
    let token = bearer::of(request).ok_or_else(|| ApiError::unauthorized("sign in, or send a valid token"))?;
    Ok(Claims::of_token(token, &app.config.auth_secrets, app.clock.now())?)
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        Self::unauthorized(format!("the token cannot be taken: {error}"))
    }
}
