//! Who sent a request, by the token that came with it.

use rocket::Request;
use rocket::http::Status;
use tracing::error;

use super::bearer;
use super::claims::{Claims, TokenError};
use super::session::{SessionKeys, session_cookies};
use super::token::TokenKeys;
use super::token::jwks::Jwks;
use crate::app::App;
use crate::http::error::ApiError;

/// How soon a repeat makes sense while the issuer's keys cannot be fetched, in seconds.
const KEYS_RETRY_SECONDS: u32 = 5;

/// What tokens are checked with.
pub struct Authenticator {
    tokens: TokenKeys,
    sessions: SessionKeys,
}

/// A token that counts.
pub(super) struct SignIn {
    /// What it says.
    pub(super) claims: Claims,
    /// Whether it came in a cookie, which a browser sends by itself.
    pub(super) is_by_cookie: bool,
}

impl Authenticator {
    /// That of `app`. Starts to fetch the keys of `AUTH_JWKS_URL`, if there is one.
    pub fn start(app: &App) -> Self {
        let config = &app.config;
        let jwks = config.auth_jwks_url.clone().and_then(|url| {
            Jwks::at(url).map_err(|error| error!("tokens under AUTH_JWKS_URL are refused: {error:#}")).ok()
        });
        if let Some(jwks) = &jwks {
            jwks.start(app);
        }
        let (issuer, audience) = (config.auth_issuer.clone(), config.auth_audience.clone());
        Self {
            tokens: TokenKeys::new(&config.auth_secrets, jwks, issuer, audience),
            sessions: SessionKeys::of(&config.auth_secrets),
        }
    }

    /// Who sent `request`. A bearer token goes before a cookie: whoever sends one means it.
    pub(super) async fn sign_in(request: &Request<'_>) -> Result<SignIn, ApiError> {
        let authenticator: &Self = request.rocket().state().expect("`server::rocket` manages one");
        let now = App::of(request).clock.now();
        if let Some(token) = bearer::of(request) {
            let is_session = token.bytes().filter(|byte| *byte == b'.').count() == 4;
            let claims = if is_session {
                authenticator.sessions.open(token, None, now)
            } else {
                authenticator.tokens.read(token, now).await
            };
            return Ok(SignIn { claims: claims?, is_by_cookie: false });
        }
        let mut refusal = ApiError::unauthorized("sign in, or send a valid token");
        for (index, (cookie, token)) in session_cookies(request.headers().get("cookie")).into_iter().enumerate() {
            match authenticator.sessions.open(&token, Some(cookie), now) {
                Ok(claims) => return Ok(SignIn { claims, is_by_cookie: true }),
                // Another may be good; what is said is what is wrong with the newest.
                Err(error) if index == 0 => refusal = error.into(),
                Err(_) => {}
            }
        }
        Err(refusal)
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let message = format!("the token cannot be taken: {error}");
        match error {
            TokenError::NoKeys => Self {
                retry_after_seconds: Some(KEYS_RETRY_SECONDS),
                ..Self::new(Status::ServiceUnavailable, "auth_unavailable", message)
            },
            _ => Self::unauthorized(message),
        }
    }
}
