//! Under whose name pushes are sent: RFC 8292 (VAPID), a key pair whose public half browsers are told when they subscribe, and
//! with which each push is signed.

use std::fmt;

use base64::Engine as _;
use chrono::TimeDelta;
use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use reqwest::Url;
use serde::Serialize;
use tollgate_shared::{Rng, Timestamp};
use zeroize::Zeroizing;

use super::encryption::{BASE64, draw_key, point};

/// How long a signature is good for: half of what it may be, for whoever's clock is wrong.
const LASTS: TimeDelta = TimeDelta::hours(12);

/// A private key. `Debug` does not show it.
#[derive(Clone)]
pub struct VapidKey(SecretKey);

#[derive(Serialize)]
struct Claims<'c> {
    aud: &'c str,
    exp: i64,
    sub: &'c str,
}

impl VapidKey {
    /// A new one.
    pub fn draw(rng: &Rng) -> Self {
        Self(draw_key(rng))
    }

    /// Reads what [`VapidKey::private_key`] and most other tools print: 32 bytes, base64url.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
        SecretKey::from_slice(&bytes).ok().map(Self)
    }

    /// The key itself, for `VAPID_PRIVATE_KEY`.
    pub fn private_key(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(Zeroizing::new(<[u8; 32]>::from(self.0.to_bytes()))))
    }

    /// What browsers are told: an uncompressed point, base64url.
    pub fn public_key(&self) -> String {
        BASE64.encode(point(&self.0.public_key()))
    }

    /// The `Authorization` of a push to `endpoint`.
    pub(super) fn authorization(&self, subject: &str, endpoint: &Url, now: Timestamp) -> String {
        let audience = endpoint.origin().ascii_serialization();
        let claims = Claims { aud: &audience, exp: (now + LASTS).timestamp(), sub: subject };
        let claims = serde_json::to_vec(&claims).expect("texts and a number are JSON");
        let message = format!("{}.{}", BASE64.encode(br#"{"typ":"JWT","alg":"ES256"}"#), BASE64.encode(claims));
        let signature: Signature = SigningKey::from(&self.0).sign(message.as_bytes());
        format!("vapid t={message}.{},k={}", BASE64.encode(signature.to_bytes()), self.public_key())
    }
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VapidKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8291, 5: a private key and its public one.
    const PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
    const PUBLIC: &str = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";

    #[test]
    fn a_public_key_follows_from_its_private_one() {
        let key = VapidKey::parse(PRIVATE).unwrap();
        assert_eq!((key.public_key().as_str(), key.private_key().as_str()), (PUBLIC, PRIVATE));
        assert_eq!(VapidKey::parse(&format!("{PRIVATE}=")).unwrap().public_key(), PUBLIC);
    }

    #[test]
    fn a_new_key_is_read_again_as_it_was_printed() {
        let key = VapidKey::draw(&Rng::seeded(1));
        assert_eq!(VapidKey::parse(&key.private_key()).unwrap().public_key(), key.public_key());
        assert_ne!(VapidKey::draw(&Rng::seeded(2)).public_key(), key.public_key());
    }

    #[test]
    fn what_is_no_number_of_the_curve_is_no_key() {
        let zero = BASE64.encode([0; 32]);
        let too_large = BASE64.encode([0xff; 32]);
        for bad in [zero.as_str(), &too_large, "", "yfWPiYE", PUBLIC, "-----BEGIN EC PRIVATE KEY-----"] {
            assert!(VapidKey::parse(bad).is_none(), "{bad}");
        }
    }
}
