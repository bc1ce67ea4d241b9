//! What a token says, whatever kind of token it is, once it is known to be good.

use chrono::Duration;
use serde::Deserialize;
use serde_json::Value;
use tollgate_shared::Timestamp;

/// How far apart our clock and the issuer's may be: as much as Auth.js allows.
const LEEWAY: Duration = Duration::seconds(15);

/// The longest token that is looked at: a session of Auth.js fills four cookies, and few do.
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;

/// The longest id of a user, and the longest name and address: more than any that a sign-in library makes.
const CHARACTERS_MAX: usize = 255;

/// Who the audit trail names for an admin whose token does not say who it is of.
const UNNAMED_ADMIN: &str = "admin";

/// What a token says.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Claims {
    /// Seconds since the Unix epoch, which may have a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
    sub: Option<String>,
    iss: Option<Value>,
    aud: Option<Value>,
    jti: Option<Value>,
    /// Anything but the text `admin` is no role of ours, whatever its type.
    role: Option<Value>,
    name: Option<Value>,
    email: Option<Value>,
    email_verified: Option<Value>,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// It is neither a JWT nor a session, or its claims are not of their types. A session that Auth.js keeps in its
    /// database is only a name, which says nothing to us.
    #[error("it is neither a signed JSON Web Token nor an encrypted session of Auth.js")]
    Unreadable,
    /// It is longer than any that is meant for us.
    #[error("it is too long")]
    TooLong,
    /// An algorithm that is not taken, or not without `AUTH_JWKS_URL`.
    #[error("its algorithm is not taken here")]
    WrongAlgorithm,
    /// No key of ours made it.
    #[error("it was not made with a key that is taken here")]
    WrongKey,
    /// The keys of `AUTH_JWKS_URL` are not there, so that nobody can say.
    #[error("the keys that tokens are signed with cannot be fetched at the moment")]
    NoKeys,
    /// It wants extensions to be understood of which we know none.
    #[error("its header has `crit`")]
    Critical,
    /// It would be good for ever.
    #[error("it has no `exp`")]
    NoExpiry,
    /// It is over.
    #[error("it has expired")]
    Expired,
    /// It is not good yet.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It was not issued by `AUTH_ISSUER`.
    #[error("its `iss` is not the one that is taken here")]
    WrongIssuer,
    /// It was not issued for `AUTH_AUDIENCE`.
    #[error("its `aud` is not the one that is taken here")]
    WrongAudience,
    /// It says of nobody that it is theirs.
    #[error("it has no `sub`, or not one of 1 to 255 characters")]
    NoSubject,
}

impl Claims {
    /// The same, if they count at `now`.
    pub(super) fn at(self, now: Timestamp) -> Result<Self, TokenError> {
        let seconds = |at: Timestamp| at.timestamp_micros() as f64 / 1e6;
        let expires_at = self.exp.ok_or(TokenError::NoExpiry)?;
        if expires_at <= seconds(now - LEEWAY) {
            return Err(TokenError::Expired);
        }
        if self.nbf.is_some_and(|begin| begin > seconds(now + LEEWAY)) {
            return Err(TokenError::NotYetValid);
        }
        Ok(self)
    }

    /// The same, if they were issued by `issuer` and for `audience`, where those are given.
    pub(super) fn bound_to(self, issuer: Option<&str>, audience: Option<&str>) -> Result<Self, TokenError> {
        let is = |claim: &Value, text: &str| claim.as_str() == Some(text);
        if issuer.is_some_and(|issuer| !self.iss.as_ref().is_some_and(|claim| is(claim, issuer))) {
            return Err(TokenError::WrongIssuer);
        }
        let is_among = |audience: &str| match &self.aud {
            Some(Value::Array(several)) => several.iter().any(|one| is(one, audience)),
            Some(one) => is(one, audience),
            None => false,
        };
        if audience.is_some_and(|audience| !is_among(audience)) {
            return Err(TokenError::WrongAudience);
        }
        Ok(self)
    }

    /// Whose it is.
    pub(super) fn subject(&self) -> Option<&str> {
        self.sub.as_deref().filter(|sub| is_readable(sub))
    }

    /// The token's own name.
    pub(super) fn name_of_token(&self) -> Option<&str> {
        self.jti.as_ref().and_then(Value::as_str).filter(|jti| is_readable(jti))
    }

    /// What its user is called.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_ref().and_then(Value::as_str).map(str::trim).filter(|name| is_readable(name))
    }

    /// Its user's e-mail address, which nobody may have checked.
    pub(super) fn email(&self) -> Option<&str> {
        self.email.as_ref().and_then(Value::as_str).filter(|email| is_readable(email) && email.contains('@'))
    }

    /// The same, if the issuer has checked that it is the user's.
    pub(super) fn verified_email(&self) -> Option<&str> {
        self.email().filter(|_| self.email_verified == Some(Value::Bool(true)))
    }

    /// Whether it says what its user may do at all.
    pub(super) fn has_role(&self) -> bool {
        self.role.is_some()
    }

    /// Who the audit trail names, if it is an operator's.
    pub(super) fn operator(&self) -> Option<String> {
        self.is_admin().then(|| self.subject().unwrap_or(UNNAMED_ADMIN).to_owned())
    }

    /// Whether it is an operator's.
    pub(super) fn is_admin(&self) -> bool {
        self.role.as_ref().and_then(Value::as_str) == Some("admin")
    }
}

fn is_readable(text: &str) -> bool {
    (1..=CHARACTERS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate_shared::clock::from_unix;

    use super::*;

    const NOW: i64 = 1_750_000_000;

    fn claims(claims: Value) -> Claims {
        serde_json::from_value(claims).unwrap()
    }

    fn at_now(given: Value) -> Result<(), TokenError> {
        claims(given).at(from_unix(NOW).unwrap()).map(drop)
    }

    #[test]
    fn only_the_text_admin_is_the_role_of_an_operator() {
        let is_admin = |role: Value| claims(json!({ "role": role })).is_admin();
        assert!(is_admin(json!("admin")));
        for other in
            [json!("Admin"), json!(" admin"), json!(["admin"]), json!({ "admin": true }), json!(1), json!(null)]
        {
            assert!(!is_admin(other.clone()), "{other}");
        }
    }

    #[test]
    fn a_token_ends_and_begins_within_fifteen_seconds() {
        let expiring = |exp: Value| at_now(json!({ "exp": exp }));
        assert_eq!(expiring(json!(NOW - 14)), Ok(()));
        assert_eq!(expiring(json!(NOW as f64 - 14.5)), Ok(()));
        for over in [json!(NOW - 15), json!(0), json!(-1), json!(-1e300)] {
            assert_eq!(expiring(over.clone()), Err(TokenError::Expired), "{over}");
        }
        let beginning = |nbf: i64| at_now(json!({ "exp": NOW + 60, "nbf": nbf }));
        assert_eq!(beginning(NOW + 15), Ok(()));
        assert_eq!(beginning(NOW + 16), Err(TokenError::NotYetValid));
    }

    #[test]
    fn a_token_without_an_end_is_refused() {
        assert_eq!(at_now(json!({ "sub": "user_1" })), Err(TokenError::NoExpiry));
        assert_eq!(at_now(json!({ "sub": "user_1", "exp": null })), Err(TokenError::NoExpiry));
    }

    #[test]
    fn a_token_of_another_issuer_or_audience_is_refused() {
        let bound = |given: Value, issuer: Option<&str>, audience: Option<&str>| {
            claims(given).bound_to(issuer, audience).map(drop)
        };
        let (ours, theirs) = (json!({ "iss": "us", "aud": "api" }), json!({ "iss": "them", "aud": ["web", "app"] }));
        for given in [&ours, &theirs, &json!({}), &json!({ "iss": 1, "aud": 2 })] {
            assert_eq!(bound(given.clone(), None, None), Ok(()), "{given}");
        }
        assert_eq!(bound(ours, Some("us"), Some("api")), Ok(()));
        assert_eq!(bound(json!({ "iss": "us", "aud": ["web", "api"] }), Some("us"), Some("api")), Ok(()));
        for other in [json!({}), json!({ "iss": "them" }), json!({ "iss": "us/" }), json!({ "iss": ["us"] })] {
            assert_eq!(bound(other.clone(), Some("us"), None), Err(TokenError::WrongIssuer), "{other}");
        }
        for other in [json!({}), json!({ "aud": [] }), json!({ "aud": "apis" }), json!({ "aud": [["api"]] }), theirs] {
            assert_eq!(bound(other.clone(), None, Some("api")), Err(TokenError::WrongAudience), "{other}");
        }
    }

    #[test]
    fn an_address_is_verified_where_the_claim_is_true_and_nothing_else() {
        let verified = |claim: Value| {
            let claims = claims(json!({ "email": "ada@example.com", "email_verified": claim }));
            assert_eq!(claims.email(), Some("ada@example.com"));
            claims.verified_email().is_some()
        };
        assert!(verified(json!(true)));
        for other in [json!(false), json!("true"), json!(1), json!(null), json!("2025-01-01"), json!([true])] {
            assert!(!verified(other.clone()), "{other}");
        }
        for no_address in [json!(null), json!(""), json!("ada"), json!(5), json!(["ada@example.com"]), json!("a\n@b")] {
            assert_eq!(claims(json!({ "email": no_address, "email_verified": true })).verified_email(), None);
        }
    }

    #[test]
    fn a_subject_is_one_to_255_printable_characters() {
        let subject = |sub: &str| claims(json!({ "sub": sub })).subject().map(str::to_owned);
        assert_eq!(subject(&"é".repeat(255)), Some("é".repeat(255)));
        for bad in ["", &"a".repeat(256), "user\n1", "\0"] {
            assert_eq!(subject(bad), None, "{bad:?}");
        }
    }
}
