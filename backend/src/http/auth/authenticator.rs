//! Who sent a request, by the token that came with it.

use rocket::Request;
use rocket::http::{Cookie, Status};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::Timestamp;
use tracing::error;

use super::bearer;
use super::claims::{Claims, TokenError};
use super::download::DownloadKeys;
use super::link::{self, Link, LinkKeys, VISIT_COOKIE};
use super::session::{SessionKeys, cookie, session_cookies};
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
    links: LinkKeys,
    downloads: DownloadKeys,
}

/// A token that counts.
pub(super) struct SignIn {
    /// What it says.
    pub(super) claims: Claims,
    /// What it is.
    pub(super) by: SignedInBy,
}

/// How somebody signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SignedInBy {
    /// By a bearer token.
    Token,
    /// By the session of Auth.js in its cookie.
    Session,
    /// By a link to the account page.
    Link,
}

impl SignIn {
    /// Whether it came in a cookie, which a browser sends by itself.
    pub(super) fn is_by_cookie(&self) -> bool {
        self.by != SignedInBy::Token
    }
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
            links: LinkKeys::of(&config.auth_secrets),
            downloads: DownloadKeys::of(&config.auth_secrets),
        }
    }

    /// Who sent `request`. A bearer token goes before a cookie: whoever sends one means it. So does a link that was followed,
    /// before the session that was there already.
    pub(super) async fn sign_in(request: &Request<'_>) -> Result<SignIn, ApiError> {
        let authenticator: &Self = request.rocket().state().expect("`server::rocket` manages one");
        let now = App::of(request).clock.now();
        if let Some(token) = bearer::of(request) {
            return Ok(SignIn { claims: authenticator.read(token, now).await?, by: SignedInBy::Token });
        }
        let mut refusal = ApiError::unauthorized("sign in, or send a valid token");
        if let Some(token) = cookie(request.headers().get("cookie"), VISIT_COOKIE) {
            match authenticator.links.visit(token, now).await {
                Ok(claims) => return Ok(SignIn { claims, by: SignedInBy::Link }),
                Err(error) => refusal = error.into(),
            }
        }
        for (index, (cookie, token)) in session_cookies(request.headers().get("cookie")).into_iter().enumerate() {
            match authenticator.sessions.open(&token, Some(cookie), now) {
                Ok(claims) => return Ok(SignIn { claims, by: SignedInBy::Session }),
                // Another may be good; what is said is what is wrong with the newest.
                Err(error) if index == 0 => refusal = error.into(),
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// What a token says that was shown as such: a signed JWT, or a session of Auth.js.
    async fn read(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let is_session = token.bytes().filter(|byte| *byte == b'.').count() == 4;
        if is_session { self.sessions.open(token, None, now) } else { self.tokens.read(token, now).await }
    }

    /// What the operator is called whose token this is; 403 where it is another user's.
    pub async fn operator(&self, token: &str, now: Timestamp) -> Result<String, ApiError> {
        self.read(token, now).await?.operator().ok_or_else(not_an_operator)
    }

    /// How `request` is signed in, if it is.
    pub async fn signed_in_by(request: &Request<'_>) -> Option<SignedInBy> {
        Self::sign_in(request).await.ok().map(|sign_in| sign_in.by)
    }

    /// The link that `token` is of. Whether it was used before is another question.
    pub async fn open_link(&self, token: &str, now: Timestamp) -> Result<Link, ApiError> {
        self.links.open(token, now).await.map_err(bad_link)
    }

    /// The same of a link to the console.
    pub async fn open_console_link(&self, token: &str, now: Timestamp) -> Result<Link, ApiError> {
        self.links.open_console(token, now).await.map_err(bad_link)
    }

    /// The cookie with which whoever followed `link` is signed in.
    pub fn begin_visit(&self, link: &Link, now: Timestamp, is_secure: bool) -> Cookie<'static> {
        self.links.begin_visit(link, now, is_secure)
    }

    /// A token for what a licence may download, for a short time.
    pub fn download_token(&self, license_id: &str, now: Timestamp) -> String {
        self.downloads.token(license_id, now)
    }

    /// The licence that such a token is for, if it is good.
    pub async fn open_download(&self, token: &str, now: Timestamp) -> Option<String> {
        self.downloads.open(token, now).await.ok()
    }

    /// The cookie that signs them out.
    pub fn end_visit(is_secure: bool) -> Cookie<'static> {
        link::ended_visit(is_secure)
    }
}

/// 403: whoever asks is signed in, and no operator.
pub(super) fn not_an_operator() -> ApiError {
    ApiError { message: "this is for operators".into(), ..ApiError::forbidden() }
}

fn bad_link(error: TokenError) -> ApiError {
    ApiError::unauthorized(format!("the link is not good: {error}"))
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
