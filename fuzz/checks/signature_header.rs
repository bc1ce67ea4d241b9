//! What must hold for any `Stripe-Signature` header that a stranger sends. Run by the fuzz target, and over the committed
//! corpus by an ordinary test of `shared`.
//!
//! The first byte of an input chooses. An even one: the rest is a header as it stands, of someone who knows no secret.
//! An odd one: the rest is a script of what stands in a header beside, or instead of, a right signature.

use tollgate_shared::clock::from_unix;
use tollgate_shared::signing::{HeaderFault, SignatureError, TOLERANCE_SECONDS, Verifier, sign};
use tollgate_shared::{Secret, Secrets};

const NOW: i64 = 1_700_000_000;
const BODY: &[u8] = br#"{"id":"evt_1","type":"x.y"}"#;

/// Panics when the verifier does something wrong with `input`.
pub(crate) fn check(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    if choice % 2 == 0 {
        strange(&String::from_utf8_lossy(rest));
    } else {
        scripted(rest);
    }
}

fn verify(header: &str, body: &[u8]) -> Result<usize, SignatureError> {
    let secrets = Secrets::parse("whsec_one,whsec_two").expect("two secrets");
    Verifier::new(&secrets).verify(header, body, from_unix(NOW).expect("an instant"))
}

/// A header that was made without a secret opens nothing, and why is said rightly.
fn strange(header: &str) {
    let refusal = verify(header, BODY).expect_err("nobody without a secret signs");
    assert_eq!(refusal == SignatureError::Missing, header.trim().is_empty(), "{header:?}");
    assert_ne!(refusal, SignatureError::TooOld, "the signature is looked at before its age");
    let has = |name: &str| header.split(',').any(|item| item.starts_with(name));
    if !has("t=") || !has("v1=") {
        assert_ne!(refusal, SignatureError::Mismatch, "{header:?}");
    }
}

/// Of a header that is put together from known parts it is known what has to come of it.
fn scripted(script: &[u8]) {
    let mut items: Vec<(String, Option<(i64, usize)>)> = Vec::new();
    let (mut t, mut has_v1) = (None, false);
    for byte in script.iter().take(64) {
        let at = NOW - i64::from(byte / 16) * 60;
        // The text, and of a signature under one of our secrets what it was made for.
        let (text, right) = match byte % 8 {
            0 | 1 => (format!("t={at}"), None),
            2 => (format!("v1={}", signature("whsec_one", at)), Some((at, 0))),
            3 => (format!("v1={}", signature("whsec_two", at)), Some((at, 1))),
            4 => (format!("v1={}", signature("whsec_other", at)), None),
            5 => (format!("v0={}", signature("whsec_one", at)), None),
            6 => (format!("v1={}", "zz".repeat(32)), None),
            _ => (char::from(*byte).to_string(), None),
        };
        if byte % 8 < 2 {
            t = Some(at);
        }
        has_v1 |= matches!(byte % 8, 2..=4 | 6);
        items.push((text, right));
    }
    let header = items.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(",");
    let got = verify(&header, BODY);
    let expected = match t {
        None if header.trim().is_empty() => Err(SignatureError::Missing),
        None => Err(SignatureError::Malformed(HeaderFault::NoTimestamp)),
        Some(_) if !has_v1 => Err(SignatureError::Malformed(HeaderFault::NoSignature)),
        // Signatures are over the timestamp that is given last.
        Some(t) => {
            let good = items.iter().filter_map(|(_, right)| *right).filter(|(at, _)| *at == t).map(|(_, index)| index);
            match good.min() {
                None => Err(SignatureError::Mismatch),
                Some(_) if NOW - t > TOLERANCE_SECONDS => Err(SignatureError::TooOld),
                Some(index) => Ok(index),
            }
        }
    };
    assert_eq!(got, expected, "{header}");
    if got.is_ok() {
        assert_eq!(verify(&header, b"another body"), Err(SignatureError::Mismatch));
    }
}

fn signature(secret: &str, at: i64) -> String {
    let header = sign(&Secret::new(secret), at, BODY);
    header.split_once(",v1=").expect("it has one").1.to_owned()
}
