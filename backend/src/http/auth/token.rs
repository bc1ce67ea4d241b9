//! A signed token of the company's own application: a JWT (RFC 7519, with the care that RFC 8725 asks for), under HS256 and
//! one of `AUTH_SECRET`, or under a key of `AUTH_JWKS_URL`.
//!
//! `jsonwebtoken` takes it apart. The signature is checked by the cryptography that the rest of Tollgate uses: that crate's
//! own would bring three elliptic curves and an RSA with an open advisory. The times are judged here, since it knows no
//! clock but the system's.

pub(super) mod jwks;
mod verify;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use tollgate_shared::{Secrets, Timestamp};

use self::jwks::Jwks;
use super::claims::{Claims, TOKEN_BYTES_MAX, TokenError};

/// What JWTs are checked with.
pub(super) struct TokenKeys {
    secrets: Vec<DecodingKey>,
    jwks: Option<Jwks>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl TokenKeys {
    /// Those of `secrets` and `jwks`, for tokens of `issuer` and for `audience` alone where those are given.
    pub(super) fn new(secrets: &Secrets, jwks: Option<Jwks>, issuer: Option<String>, audience: Option<String>) -> Self {
        let secrets = secrets.iter().map(|secret| DecodingKey::from_secret(secret.expose().as_bytes())).collect();
        Self { secrets, jwks, issuer, audience }
    }

    /// What `token` says at `now`, if one of the keys signed it. The algorithm says which they may be, so that no public
    /// key is ever taken for a secret.
    pub(super) async fn read(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|_| TokenError::Unreadable)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let claims = match (header.alg, &self.jwks) {
            (Algorithm::HS256, _) => verified(token, header.alg, &self.secrets)?,
            (Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA, Some(jwks)) => {
                let keys = jwks.keys(header.alg, header.kid.as_deref(), now).await?;
                verified(token, header.alg, &keys)?
            }
            _ => return Err(TokenError::WrongAlgorithm),
        };
        claims.at(now)?.bound_to(self.issuer.as_deref(), self.audience.as_deref())
    }
}

/// What `token` says, if one of `keys` signed it under `algorithm`.
fn verified(token: &str, algorithm: Algorithm, keys: &[DecodingKey]) -> Result<Claims, TokenError> {
    verify::use_our_cryptography();
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    for key in keys {
        match decode::<Claims>(token, key, &validation) {
            Ok(decoded) => return Ok(decoded.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
            Err(_) => return Err(TokenError::Unreadable),
        }
    }
    Err(TokenError::WrongKey)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::proptest;
    use serde_json::{Value, json};
    use tollgate_shared::clock::from_unix;

    use super::*;
    use crate::testing::sign_token;

    const NOW: i64 = 1_750_000_000;

    fn judged(header: Value, claims: Value, secret: &str, secrets: &str) -> Result<Claims, TokenError> {
        read(&sign_token(&header, &claims, secret), secrets)
    }

    fn read(token: &str, secrets: &str) -> Result<Claims, TokenError> {
        let keys = TokenKeys::new(&Secrets::parse(secrets).unwrap(), None, None, None);
        keys.read(token, from_unix(NOW).unwrap()).now_or_never().expect("a secret is there already")
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
        let by_another = judged(json!({ "alg": "HS256" }), json!({ "exp": NOW + 60 }), "older", "new,old");
        assert_eq!(by_another.unwrap_err(), TokenError::WrongKey);
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
    fn a_token_whose_times_are_no_numbers_is_refused() {
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
        assert_eq!(read(&format!("{unsigned}."), "secret").unwrap_err(), TokenError::WrongKey);
        for token in ["", ".", "..", "...", unsigned, &format!("{signed}.x"), "hunter2"] {
            assert_eq!(read(token, "secret").unwrap_err(), TokenError::Unreadable, "{token}");
        }
    }

    #[test]
    fn a_token_that_wants_extensions_understood_is_refused() {
        for crit in [json!(["b64"]), json!(["exp"]), json!([])] {
            let header = json!({ "alg": "HS256", "b64": true, "crit": crit });
            assert_eq!(with_header(header), TokenError::Critical, "{crit}");
        }
    }

    #[test]
    fn a_token_of_another_length_than_any_of_ours_is_not_looked_at() {
        let claims = |filler: usize| json!({ "exp": NOW + 60, "filler": "a".repeat(filler) });
        assert!(with_claims(claims(10_000)).is_ok());
        assert_eq!(with_claims(claims(TOKEN_BYTES_MAX)).unwrap_err(), TokenError::TooLong);
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_or_makes_it_panic(text: String, header: String, claims: String) {
            assert!(read(&text, "secret").is_err());
            assert!(read(&format!("{header}.{claims}.{text}"), "secret").is_err());
        }
    }
}
