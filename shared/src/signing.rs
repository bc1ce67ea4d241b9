//! Stripe's signature scheme `v1`: HMAC-SHA256 under the whole endpoint secret over `t`, a full stop and the raw body.
//!
//! The rules are those of the official libraries (stripe-node 23, stripe-python 16), read in their source: any `v1` of
//! any active secret is enough, other schemes are never looked at, an old timestamp is refused and a future one is not.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::secret::{Secret, Secrets};

/// How old a signature may be. The official libraries' default.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Why a body is not from Stripe, as far as we can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no header, or it is empty.
    #[error("no Stripe-Signature header")]
    Missing,
    /// There is no readable `t`, or no `v1`.
    #[error("unreadable Stripe-Signature header: it {0}")]
    Malformed(HeaderFault),
    /// No `v1` is that of any secret.
    #[error("no signature matches the body")]
    Mismatch,
    /// A signature matches, but was made more than [`TOLERANCE_SECONDS`] ago.
    #[error("timestamp too old")]
    TooOld,
}

/// What keeps a signature header from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Some of its bytes are not visible ASCII.
    #[error("holds bytes that are not text")]
    NotText,
    /// Its parts are spread over several header lines, and the first is not enough.
    #[error("is split over several header lines")]
    SeveralLines,
    /// What was looked for stands beside a blank. The official libraries do not read it either.
    #[error("has blanks around its parts")]
    Blanks,
    /// It has no `t`.
    #[error("has no timestamp `t`")]
    NoTimestamp,
    /// Its `t` is not a number of seconds.
    #[error("has a timestamp `t` that is not a whole number of seconds")]
    UnreadableTimestamp,
    /// It has no `v1`.
    #[error("has no signature `v1`")]
    NoSignature,
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

    /// Reads `header` (the value of `Stripe-Signature`) and checks it over the raw `body`; says which secret matched, by its
    /// index in the list.
    pub fn verify(&self, header: &str, body: &[u8], now: Timestamp) -> Result<usize, SignatureError> {
        self.check(&SignatureHeader::parse([header])?, body, now)
    }

    /// Checks a header that was read before its body was there. As [`Verifier::verify`].
    pub fn check(&self, header: &SignatureHeader, body: &[u8], now: Timestamp) -> Result<usize, SignatureError> {
        let mismatch = || header.passed_over.map_or(SignatureError::Mismatch, SignatureError::Malformed);
        let secret = self.matching(header, body).ok_or_else(mismatch)?;
        // After the signature, as the official libraries do it: a stranger's old timestamp is a mismatch.
        if now.timestamp().saturating_sub(header.timestamp) > TOLERANCE_SECONDS {
            return Err(SignatureError::TooOld);
        }
        Ok(secret)
    }

    fn matching(&self, header: &SignatureHeader, body: &[u8]) -> Option<usize> {
        let mut found = None;
        for (index, key) in self.keys.iter().enumerate() {
            let expected = signature(key.clone(), &header.signed_timestamp, body);
            for given in &header.signatures {
                if bool::from(given.ct_eq(&expected)) && found.is_none() {
                    found = Some(index);
                }
            }
        }
        found
    }
}

/// A signature header as Stripe would send it for `body` at `timestamp` (Unix seconds).
pub fn sign(secret: &Secret, timestamp: i64, body: &[u8]) -> String {
    let t = timestamp.to_string();
    format!("t={t},v1={}", hex::encode(signature(keyed(secret), t.as_bytes(), body)))
}

fn keyed(secret: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length")
}

fn signature(mut mac: Hmac<Sha256>, signed_timestamp: &[u8], body: &[u8]) -> [u8; 32] {
    mac.update(signed_timestamp);
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// A `Stripe-Signature` header that has what verification needs.
#[derive(Clone, Debug)]
pub struct SignatureHeader {
    /// `t`, as written: that text is what was signed.
    signed_timestamp: SmallVec<[u8; 20]>,
    timestamp: i64,
    /// All of them: how many there may be is bounded by how long a header may be. Stripe sends one, and two while a secret
    /// is rolled.
    signatures: SmallVec<[[u8; 32]; 2]>,
    /// Why there may be parts that were not read.
    passed_over: Option<HeaderFault>,
}

impl SignatureHeader {
    /// Reads the values of all `Stripe-Signature` lines of a request, of which the official libraries read the first as it
    /// stands.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, SignatureError> {
        let mut lines = lines.into_iter();
        let header = lines.next().filter(|header| !header.trim().is_empty()).ok_or(SignatureError::Missing)?;
        let mut signed_timestamp = None;
        let mut has_v1 = false;
        let mut has_blanks = false;
        let mut signatures = SmallVec::new();
        for item in header.split(',') {
            let Some((name, value)) = item.split_once('=') else { continue };
            match name {
                "t" => signed_timestamp = Some(value),
                "v1" => {
                    has_v1 = true;
                    signatures.extend(lower_hex(value));
                }
                // Other schemes, `v0` above all, are not ours to judge; what is no pair at all carries nothing.
                _ => {}
            }
            has_blanks |= matches!(name.trim(), "t" | "v1") && (name.trim() != name || value.trim() != value);
        }
        let passed_over = match (lines.next(), has_blanks) {
            (Some(_), _) => Some(HeaderFault::SeveralLines),
            (None, true) => Some(HeaderFault::Blanks),
            (None, false) => None,
        };
        let malformed = |fault| SignatureError::Malformed(passed_over.unwrap_or(fault));
        let signed_timestamp = signed_timestamp.ok_or_else(|| malformed(HeaderFault::NoTimestamp))?;
        let timestamp = decimal(signed_timestamp).ok_or_else(|| malformed(HeaderFault::UnreadableTimestamp))?;
        if !has_v1 {
            return Err(malformed(HeaderFault::NoSignature));
        }
        Ok(Self { signed_timestamp: signed_timestamp.as_bytes().into(), timestamp, signatures, passed_over })
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
        assert_eq!(verify(&v0_only, BODY, T), Err(SignatureError::Malformed(HeaderFault::NoSignature)));
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
        for (header, fault) in [
            ("t=1", HeaderFault::NoSignature),
            ("v1=00", HeaderFault::NoTimestamp),
            ("nonsense", HeaderFault::NoTimestamp),
            ("t=x,v1=00", HeaderFault::UnreadableTimestamp),
            ("t=-5,v1=00", HeaderFault::UnreadableTimestamp),
            ("t=,v1=00", HeaderFault::UnreadableTimestamp),
            ("t=1.5,v1=00", HeaderFault::UnreadableTimestamp),
            ("t=99999999999999999999,v1=00", HeaderFault::UnreadableTimestamp),
        ] {
            assert_eq!(verify(header, BODY, T), Err(SignatureError::Malformed(fault)), "{header:?}");
        }
    }

    #[test]
    fn the_last_of_a_hundred_signatures_is_as_good_as_the_first() {
        let good = signed_by("whsec_new");
        let (t, v1) = good.split_once(',').unwrap();
        let wrong = format!("v1={},", "0".repeat(64)).repeat(100);
        assert_eq!(verify(&format!("{t},{wrong}{v1}"), BODY, T), Ok(0));
    }

    #[test]
    fn parts_that_are_there_but_not_read_are_never_called_missing() {
        let good = signed_by("whsec_new");
        let (t, v1) = good.split_once(',').unwrap();
        let wrong = format!("v1={}", "0".repeat(64));
        for header in [format!("{t}, {v1}"), format!(" {t},{v1}"), format!("{t} ,{v1}"), format!("{t},{wrong}, {v1}")] {
            let expected = Err(SignatureError::Malformed(HeaderFault::Blanks));
            assert_eq!(verify(&header, BODY, T), expected, "{header:?}");
        }
        let verifier = Verifier::new(&Secret::new("whsec_new").into());
        let verify = |lines: [&str; 2]| {
            SignatureHeader::parse(lines).and_then(|header| verifier.check(&header, BODY, from_unix(T).unwrap()))
        };
        assert_eq!(verify([t, v1]), Err(SignatureError::Malformed(HeaderFault::SeveralLines)));
        assert_eq!(verify([&format!("{t},{wrong}"), v1]), Err(SignatureError::Malformed(HeaderFault::SeveralLines)));
        assert_eq!(verify([&good, v1]), Ok(0));
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
