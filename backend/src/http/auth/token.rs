//! A signed token of the company's own application: a JWT under HS256 and one of `AUTH_SECRET` (RFC 7519, with the care
//! that RFC 8725 asks for).
//!
//! `jsonwebtoken` takes it apart and judges its algorithm. The signature is checked by the cryptography that the rest of
//! Tollgate uses: that crate's own would bring three elliptic curves and an RSA with an open advisory. The times are
//! judged here, since it knows no clock but the system's.

use std::sync::Once;

use chrono::Duration;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use tollgate_shared::{Secrets, Timestamp};

/// How far apart our clock and the issuer's may be: as much as Auth.js allows.
const LEEWAY: Duration = Duration::seconds(15);

/// The longest id of a user: more than any that a sign-in library makes.
const SUBJECT_CHARACTERS_MAX: usize = 255;

/// What a token says, once it is known to be good.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    /// Seconds since the Unix epoch, which may have a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
    sub: Option<String>,
    /// Anything but the text `admin` is no role of ours, whatever its type.
    role: Option<Value>,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// It is no JWT, or its claims are not of their types.
    #[error("it is not a JSON Web Token that can be read")]
    Unreadable,
    /// The one algorithm is HS256.
    #[error("its algorithm is not HS256")]
    WrongAlgorithm,
    /// No secret of ours signed it.
    #[error("it was not signed with AUTH_SECRET")]
    WrongSignature,
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
    /// It says of nobody that it is theirs.
    #[error("it has no `sub`, or not one of 1 to 255 characters")]
    NoSubject,
}

impl Claims {
    /// What `token` says at `now`, if one of `secrets` signed it.
    pub(super) fn of_token(token: &str, secrets: &Secrets, now: Timestamp) -> Result<Self, TokenError> {
        use_our_cryptography();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let mut refusal = TokenError::WrongSignature;
        for secret in secrets.iter() {
            match decode::<Self>(token, &DecodingKey::from_secret(secret.expose().as_bytes()), &validation) {
                Ok(decoded) if decoded.header.crit.is_some() => return Err(TokenError::Critical),
                Ok(decoded) => return decoded.claims.at(now),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::InvalidAlgorithm => refusal = TokenError::WrongAlgorithm,
                    _ => refusal = TokenError::Unreadable,
                },
            }
        }
        Err(refusal)
    }

    fn at(self, now: Timestamp) -> Result<Self, TokenError> {
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

    /// Whose it is.
    pub(super) fn subject(&self) -> Option<&str> {
        let is_readable = |sub: &&str| {
            let characters = sub.chars().count();
            (1..=SUBJECT_CHARACTERS_MAX).contains(&characters) && !sub.chars().any(char::is_control)
        };
        self.sub.as_deref().filter(is_readable)
    }

    /// Whether it is an operator's.
    pub(super) fn is_admin(&self) -> bool {
        self.role.as_ref().and_then(Value::as_str) == Some("admin")
    }
}

/// Says which cryptography `jsonwebtoken` uses, once a process.
fn use_our_cryptography() {
    static SAID: Once = Once::new();
    // Nobody else in the process uses it, so that nobody can have said otherwise.
    SAID.call_once(|| {
        let _ = CRYPTOGRAPHY.install_default();
    });
}

static CRYPTOGRAPHY: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256::new(key.try_get_as_bytes()?))),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a key of HMAC may have any length"))
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // Compared in constant time.
        self.0.clone().chain_update(message).verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use serde_json::json;
    use tollgate_shared::clock::from_unix;

    use super::*;
    use crate::testing::sign_token;

    const NOW: i64 = 1_750_000_000;

    fn judged(header: Value, claims: Value, secret: &str, secrets: &str) -> Result<Claims, TokenError> {
        read(&sign_token(&header, &claims, secret), secrets)
    }

    fn read(token: &str, secrets: &str) -> Result<Claims, TokenError> {
        Claims::of_token(token, &Secrets::parse(secrets).unwrap(), from_unix(NOW).unwrap())
    }

    fn with_claims(claims: Value) -> Result<Claims, TokenError> {
        judged(json!({ "alg": "HS256", "typ": "JWT" }), claims, "secret", "secret")
    }

    fn with_header(header: Value) -> TokenError {
        judged(header, json!({ "sub": "user_1", "exp": NOW + 60 }), "secret", "secret").unwrap_err()
    }

    #[test]
    fn a_token_under_any_of_the_secrets_says_whose_it_is() {
        for secret in ["new", "old"] {
            let claims = json!({ "sub": "user_1", "exp": NOW + 60, "aud": "somebody", "iss": "https://example.com" });
            let claims = judged(json!({ "alg": "HS256" }), claims, secret, "new,old").unwrap();
            assert_eq!((claims.subject(), claims.is_admin()), (Some("user_1"), false));
        }
        assert_eq!(
            judged(json!({ "alg": "HS256" }), json!({ "exp": NOW + 60 }), "older", "new,old").unwrap_err(),
            TokenError::WrongSignature
        );
    }

    /// Signed in Python.
    #[test]
    fn a_token_made_elsewhere_is_read() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\
                     .eyJzdWIiOiJ1c2VyXzEiLCJyb2xlIjoiYWRtaW4iLCJleHAiOjE3NTAwMDAwNjB9\
                     .72Esh8qou3XZticdPoKjO_ODRU6roNnkSrETPgi6wLU";
        let claims = read(token, "a secret of the tests").unwrap();
        assert_eq!((claims.subject(), claims.is_admin()), (Some("user_1"), true));
    }

    #[test]
    fn only_the_text_admin_is_the_role_of_an_operator() {
        let is_admin = |role: Value| with_claims(json!({ "exp": NOW + 60, "role": role })).unwrap().is_admin();
        assert!(is_admin(json!("admin")));
        for other in
            [json!("Admin"), json!(" admin"), json!(["admin"]), json!({ "admin": true }), json!(1), json!(null)]
        {
            assert!(!is_admin(other.clone()), "{other}");
        }
    }

    #[test]
    fn a_token_ends_and_begins_within_fifteen_seconds() {
        let expiring = |exp: Value| with_claims(json!({ "exp": exp })).map(drop);
        assert_eq!(expiring(json!(NOW - 14)), Ok(()));
        assert_eq!(expiring(json!(NOW as f64 - 14.5)), Ok(()));
        for over in [json!(NOW - 15), json!(0), json!(-1), json!(-1e300)] {
            assert_eq!(expiring(over.clone()), Err(TokenError::Expired), "{over}");
        }
        let beginning = |nbf: i64| with_claims(json!({ "exp": NOW + 60, "nbf": nbf })).map(drop);
        assert_eq!(beginning(NOW + 15), Ok(()));
        assert_eq!(beginning(NOW + 16), Err(TokenError::NotYetValid));
    }

    #[test]
    fn a_token_without_an_end_is_refused() {
        assert_eq!(with_claims(json!({ "sub": "user_1" })).unwrap_err(), TokenError::NoExpiry);
        assert_eq!(with_claims(json!({ "sub": "user_1", "exp": null })).unwrap_err(), TokenError::NoExpiry);
        assert_eq!(with_claims(json!({ "exp": NOW.to_string() })).unwrap_err(), TokenError::Unreadable);
        assert_eq!(with_claims(json!({ "exp": NOW + 60, "nbf": "now" })).unwrap_err(), TokenError::Unreadable);
    }

    #[test]
    fn another_algorithm_is_refused_though_the_secret_signed_it() {
        for algorithm in ["RS256", "PS256", "ES256", "EdDSA", "HS384", "HS512"] {
            assert_eq!(with_header(json!({ "alg": algorithm })), TokenError::WrongAlgorithm, "{algorithm}");
        }
        for none in [json!({ "alg": "none" }), json!({ "alg": "hs256" }), json!({ "alg": null }), json!({}), json!([])]
        {
            assert_eq!(with_header(none.clone()), TokenError::Unreadable, "{none}");
        }
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        let signed = sign_token(&json!({ "alg": "HS256" }), &json!({ "exp": NOW + 60 }), "secret");
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        assert_eq!(read(&format!("{unsigned}."), "secret").unwrap_err(), TokenError::WrongSignature);
        for token in ["", ".", "..", "...", unsigned, &format!("{signed}.x"), "hunter2"] {
            assert_eq!(read(token, "secret").unwrap_err(), TokenError::Unreadable, "{token}");
        }
    }

    #[test]
    fn a_token_that_wants_extensions_understood_is_refused() {
        for crit in [json!(["b64"]), json!(["exp"]), json!([])] {
            assert_eq!(
                with_header(json!({ "alg": "HS256", "b64": true, "crit": crit })),
                TokenError::Critical,
                "{crit}"
            );
        }
    }

    #[test]
    fn a_subject_is_one_to_255_printable_characters() {
        let subject =
            |sub: &str| with_claims(json!({ "exp": NOW + 60, "sub": sub })).unwrap().subject().map(str::to_owned);
        assert_eq!(subject(&"é".repeat(255)), Some("é".repeat(255)));
        for bad in ["", &"a".repeat(256), "user\n1", "\0"] {
            assert_eq!(subject(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_or_makes_it_panic(text: String, header: String, claims: String) {
            assert!(read(&text, "secret").is_err());
            assert!(read(&format!("{header}.{claims}.{text}"), "secret").is_err());
        }
    }
}
