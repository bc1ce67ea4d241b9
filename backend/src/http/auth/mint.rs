//! Tokens of our own: for development, what the company's application would sign; and those of links to the account page.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use chrono::Duration;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use tollgate_shared::{Secret, Timestamp};

use crate::config::Config;

/// Whom a token is for.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The user's id.
    pub id: &'a str,
    /// The user's e-mail address, as a verified one.
    pub email: Option<&'a str>,
    /// Whether the role is `admin`.
    pub is_admin: bool,
}

/// What a token of ours says.
#[derive(Serialize)]
pub(super) struct Minted<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    iat: i64,
    exp: i64,
}

impl<'a> Minted<'a> {
    /// Whose it is, with a verified e-mail address if there is one, from `now` on for `lasts`.
    pub(super) fn new(sub: &'a str, email: Option<&'a str>, now: Timestamp, lasts: Duration) -> Self {
        let (iat, exp) = (now.timestamp(), (now + lasts).timestamp());
        let email_verified = email.map(|_| true);
        Self { sub, role: None, email, email_verified, iss: None, aud: None, jti: None, iat, exp }
    }

    /// The same under a name of its own.
    pub(super) fn named(self, jti: &'a str) -> Self {
        Self { jti: Some(jti), ..self }
    }
}

/// A JWT under HS256 and the first of `AUTH_SECRET`, which is good from `now` for `lasts`.
pub fn token(config: &Config, now: Timestamp, lasts: Duration, of: &Subject<'_>) -> String {
    let claims = Minted {
        role: Some(if of.is_admin { "admin" } else { "user" }),
        iss: config.auth_issuer.as_deref(),
        aud: config.auth_audience.as_deref(),
        ..Minted::new(of.id, of.email, now, lasts)
    };
    sign(config.auth_secrets.first(), &claims)
}

/// A JWT under HS256 and `secret`.
pub(super) fn sign(secret: &Secret, claims: &Minted<'_>) -> String {
    let claims = serde_json::to_vec(claims).expect("texts and numbers are JSON");
    let [header, claims] = [br#"{"alg":"HS256","typ":"JWT"}"#, &*claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("a key of HMAC may have any length");
    let signature = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
