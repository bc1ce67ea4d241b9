//! Stripe's signature scheme `v1`: HMAC-SHA256 under the whole endpoint secret over `t`, a full stop and the raw body.
//!
//! The rules are those of the official libraries (stripe-node 23, stripe-python 16), read in their source: any `v1` of
//! any active secret is enough, other schemes are never looked at, an old timestamp is refused and a future one is not.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::{Secret, Secrets, Timestamp};

/// How old a signature may be. The official libraries' default.
pub const TOLERANCE_SECONDS: i64 = 300;

/// How many `v1` values of one header are looked at. Stripe sends one per active secret; a roll has two. A bound on
/// the work that a stranger can ask for.
const SIGNATURES_MAX: usize = 16;

/// Why a body is not from Stripe, as far as we can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no header, or it is empty.
    #[error("no Stripe-Signature header")]
    Missing,
    /// There is no readable `t`, or no `v1`.
    #[error("unreadable Stripe-Signature header")]
    Malformed,
    /// No `v1` is that of any secret.
    #[error("no signature matches the body")]
    Mismatch,
    /// A signature matches, but was made more than [`TOLERANCE_SECONDS`] ago.
    #[error("timestamp too old")]
    TooOld,
}

/// Checks signatures under one or more secrets. Keys are expanded once, here, not for each event.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<Hmac<Sha256>>,
}

impl Verifier {
    /// A verifier for events signed under any of `secrets`.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: secrets.iter().map(keyed).collect() }
    }

    /// Checks `header` (the value of `Stripe-Signature`) over the raw `body`; says which secret matched, by its place in the list.
    pub fn verify(&self, header: &str, body: &[u8], now: Timestamp) -> Result<usize, SignatureError> {
        let header = Header::parse(header)?;
        let secret = self.matching(&header, body).ok_or(SignatureError::Mismatch)?;
        // After the signature, as the official libraries do it: a stranger's old timestamp is a mismatch.
        if now.timestamp().saturating_sub(header.timestamp) > TOLERANCE_SECONDS {
            return Err(SignatureError::TooOld);
        }
        Ok(secret)
    }

    fn matching(&self, header: &Header<'_>, body: &[u8]) -> Option<usize> {
        let mut found = None;
        for (place, key) in self.keys.iter().enumerate() {
            let expected = signature(key.clone(), header.signed_timestamp, body);
            for given in &header.signatures {
                if bool::from(given.ct_eq(&expected)) && found.is_none() {
                    found = Some(place);
                }
            }
        }
        found
    }
}

/// A signature header as Stripe would send it for `body` at `timestamp` (Unix seconds).
pub fn sign(secret: &Secret, timestamp: i64, body: &[u8]) -> String {
    let t = timestamp.to_string();
    format!("t={t},v1={}", hex::encode(signature(keyed(secret), &t, body)))
}

fn keyed(secret: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length")
}

fn signature(mut mac: Hmac<Sha256>, signed_timestamp: &str, body: &[u8]) -> [u8; 32] {
    mac.update(signed_timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// A header that has what verification needs.
struct Header<'a> {
    /// `t`, as written: that text is what was signed.
    signed_timestamp: &'a str,
    timestamp: i64,
    signatures: Vec<[u8; 32]>,
}

impl<'a> Header<'a> {
    fn parse(header: &'a str) -> Result<Self, SignatureError> {
        if header.trim().is_empty() {
            return Err(SignatureError::Missing);
        }
        let mut signed_timestamp = None;
        let mut saw_v1 = false;
        let mut signatures = Vec::new();
        for item in header.split(',') {
            match item.split_once('=') {
                Some(("t", value)) => signed_timestamp = Some(value),
                Some(("v1", value)) => {
                    saw_v1 = true;
                    if let Some(signature) = lower_hex(value).filter(|_| signatures.len() < SIGNATURES_MAX) {
                        signatures.push(signature);
                    }
                }
                // Other schemes, `v0` above all, are not ours to judge; what is no pair at all carries nothing.
                _ => {}
            }
        }
        let signed_timestamp = signed_timestamp.ok_or(SignatureError::Malformed)?;
        let timestamp = decimal(signed_timestamp).ok_or(SignatureError::Malformed)?;
        if !saw_v1 {
            return Err(SignatureError::Malformed);
        }
        Ok(Self { signed_timestamp, timestamp, signatures })
    }
}

/// Unix seconds as Stripe writes them: digits alone.
fn decimal(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// 64 lower-case hexadecimal digits. Anything else in a `v1` can match nothing.
fn lower_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::from_unix;

    const T: i64 = 1_700_000_000;
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn verify(header: &str, body: &[u8], now: i64) -> Result<usize, SignatureError> {
        Verifier::new(&Secrets::parse("whsec_new,whsec_old").unwrap()).verify(header, body, from_unix(now).unwrap())
    }

    fn signed_by(secret: &str) -> String {
        sign(&Secret::new(secret), T, BODY)
    }

    #[test]
    fn a_known_signature_is_recognised() {
        // printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_new
        let known = "t=1700000000,v1=f3ac0c93c23f69e2e6046d7f0e2c82c93d0403de0f8651457189ab70fbbfcaae";
        assert_eq!(signed_by("whsec_new"), known);
        assert_eq!(verify(known, BODY, T), Ok(0));
    }

    #[test]
    fn either_secret_is_good_while_a_roll_lasts_and_it_is_said_which() {
        assert_eq!(verify(&signed_by("whsec_new"), BODY, T), Ok(0));
        assert_eq!(verify(&signed_by("whsec_old"), BODY, T), Ok(1));
        assert_eq!(verify(&signed_by("whsec_other"), BODY, T), Err(SignatureError::Mismatch));
    }

    #[test]
    fn any_v1_among_several_is_enough_in_any_order() {
        let good = signed_by("whsec_old");
        let (t, v1) = good.split_once(',').unwrap();
        let wrong = format!("v1={}", "0".repeat(64));
        assert_eq!(verify(&format!("{wrong},{v1},{t}"), BODY, T), Ok(1));
        assert_eq!(verify(&format!("{t},v1=zz,{wrong},v0=1,{v1},junk,"), BODY, T), Ok(1));
    }

    #[test]
    fn a_right_signature_under_another_scheme_is_refused() {
        let v0_only = signed_by("whsec_new").replace("v1=", "v0=");
        assert_eq!(verify(&v0_only, BODY, T), Err(SignatureError::Malformed));
    }

    #[test]
    fn a_changed_body_or_timestamp_is_a_mismatch() {
        let header = signed_by("whsec_new");
        assert_eq!(verify(&header, br#"{"id":"evt_2"}"#, T), Err(SignatureError::Mismatch));
        assert_eq!(verify(&header.replace("t=1700000000", "t=1700000001"), BODY, T), Err(SignatureError::Mismatch));
    }

    #[test]
    fn upper_case_hex_matches_nothing() {
        let header = signed_by("whsec_new");
        let (t, v1) = header.split_once(",v1=").unwrap();
        assert_eq!(verify(&format!("{t},v1={}", v1.to_uppercase()), BODY, T), Err(SignatureError::Mismatch));
    }

    #[test]
    fn three_hundred_seconds_are_not_too_old_and_one_more_is() {
        let header = signed_by("whsec_new");
        assert_eq!(verify(&header, BODY, T + 300), Ok(0));
        assert_eq!(verify(&header, BODY, T + 301), Err(SignatureError::TooOld));
    }

    #[test]
    fn a_timestamp_in_the_future_is_never_refused() {
        assert_eq!(verify(&signed_by("whsec_new"), BODY, T - 1_000_000), Ok(0));
    }

    #[test]
    fn headers_that_cannot_be_read_say_so() {
        for header in ["", "  "] {
            assert_eq!(verify(header, BODY, T), Err(SignatureError::Missing), "{header:?}");
        }
        for header in [
            "t=1",
            "v1=00",
            "t=x,v1=00",
            "t=-5,v1=00",
            "t=,v1=00",
            "t=1.5,v1=00",
            "nonsense",
            "t=99999999999999999999,v1=00",
        ] {
            assert_eq!(verify(header, BODY, T), Err(SignatureError::Malformed), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies(body: Vec<u8>, t in 0..=T + 300, secret in "[!-+--~]{1,40}") {
            let secret = Secret::new(secret);
            let header = sign(&secret, t, &body);
            let verifier = Verifier::new(&secret.into());
            prop_assert_eq!(verifier.verify(&header, &body, from_unix(t).unwrap()), Ok(0));
        }

        #[test]
        fn no_header_makes_it_panic(header: String) {
            let _ = verify(&header, BODY, T);
        }
    }
}
