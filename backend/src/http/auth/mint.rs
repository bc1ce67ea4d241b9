//! A token of our own, for development: what the company's application would sign.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use chrono::Duration;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use tollgate_shared::Timestamp;

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

#[derive(Serialize)]
struct Minted<'a> {
    sub: &'a str,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: i64,
    exp: i64,
}

/// A JWT under HS256 and the first of `AUTH_SECRET`, which is good from `now` for `lasts`.
pub fn token(config: &Config, now: Timestamp, lasts: Duration, of: &Subject<'_>) -> String {
    let claims = Minted {
        sub: of.id,
        role: if of.is_admin { "admin" } else { "user" },
        email: of.email,
        email_verified: of.email.map(|_| true),
        iss: config.auth_issuer.as_deref(),
        aud: config.auth_audience.as_deref(),
        iat: now.timestamp(),
        exp: (now + lasts).timestamp(),
    };
    let claims = serde_json::to_vec(&claims).expect("texts and numbers are JSON");
    let [header, claims] = [br#"{"alg":"HS256","typ":"JWT"}"#, &*claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let secret = config.auth_secrets.first().expose().as_bytes();
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of HMAC may have any length");
    let signature = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
