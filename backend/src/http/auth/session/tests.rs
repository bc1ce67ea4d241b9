//! Sessions that Auth.js itself made, and what must not be taken for one.

use aes::Aes256;
use cbc::Encryptor;
use cbc::cipher::BlockModeEncrypt as _;
use proptest::prelude::{any, proptest};
use serde_json::{Value, json};
use tollgate_shared::clock::from_unix;

use super::*;

/// The secret of the tokens in `auth_sessions.json`, which Auth.js 5 and NextAuth.js 4 made.
const SECRET: &str = "test-secret";
/// Between their `iat` and `exp`.
const NOW: i64 = 1_800_000_000;

fn made_by_authjs() -> Vec<(SessionCookie, String)> {
    let list: Vec<Value> = serde_json::from_str(include_str!("../../../../tests/auth_sessions.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let made = list.iter().map(|made| (cookie(&text(&made["cookie"])), text(&made["token"])));
    made.collect()
}

fn cookie(name: &str) -> SessionCookie {
    SessionCookie::ALL.into_iter().find(|cookie| cookie.name() == name).unwrap()
}

fn keys(secrets: &str) -> SessionKeys {
    SessionKeys::of(&Secrets::parse(secrets).unwrap())
}

fn open(token: &str, cookie: Option<SessionCookie>) -> Result<Claims, TokenError> {
    keys(SECRET).open(token, cookie, from_unix(NOW).unwrap())
}

/// Encrypts as version 5 does, under the salt of any cookie.
pub(in crate::http::auth) fn seal_v5(header: &Value, claims: &Value, secret: &str, salt: &str) -> String {
    let mut key = [0; 64];
    let info = format!("Auth.js Generated Encryption Key ({salt})");
    derive(&Secret::new(secret), salt, &info, &mut key);
    let (mac_key, key) = key.split_at(32);
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let iv = [7; 16];
    let cipher = Encryptor::<Aes256>::new(&<[u8; 32]>::try_from(key).unwrap().into(), &iv.into());
    let ciphertext = cipher.encrypt_padded_vec::<Pkcs7>(claims.to_string().as_bytes());
    let mac = Hmac::<Sha512>::new_from_slice(mac_key).unwrap();
    let mac = mac.chain_update(&header).chain_update(iv).chain_update(&ciphertext);
    let tag = mac.chain_update((8 * header.len() as u64).to_be_bytes()).finalize().into_bytes();
    let [iv, ciphertext, tag] = [&iv[..], &ciphertext, &tag[..32]].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}..{iv}.{ciphertext}.{tag}")
}

/// Encrypts as version 4 does; what it derives the key with is salted in all cookies but the session's.
fn seal_v4(claims: &Value, secret: &str, salt: &str) -> String {
    let mut key = [0; 32];
    let suffix = if salt.is_empty() { String::new() } else { format!(" ({salt})") };
    derive(&Secret::new(secret), salt, &format!("NextAuth.js Generated Encryption Key{suffix}"), &mut key);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
    let claims = claims.to_string();
    let payload = Payload { msg: claims.as_bytes(), aad: header.as_bytes() };
    let sealed = Aes256Gcm::new(&key.into()).encrypt(&[7; 12].into(), payload).unwrap();
    let (ciphertext, tag) = sealed.split_at(sealed.len() - 16);
    let [iv, ciphertext, tag] = [&[7; 12][..], ciphertext, tag].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}..{iv}.{ciphertext}.{tag}")
}

pub(in crate::http::auth) fn v5_header() -> Value {
    json!({ "alg": "dir", "enc": "A256CBC-HS512" })
}

fn good() -> Value {
    json!({ "sub": "user_1", "exp": NOW + 60 })
}

#[test]
fn sessions_that_authjs_made_say_whose_they_are() {
    let made = made_by_authjs();
    assert_eq!(made.len(), 3);
    for (cookie, token) in made {
        for shown in [Some(cookie), None] {
            assert_eq!(open(&token, shown).unwrap().subject(), Some("user_1"), "{cookie:?} {shown:?}");
        }
        for secrets in ["new,test-secret", "test-secret,old"] {
            assert!(keys(secrets).open(&token, None, from_unix(NOW).unwrap()).is_ok(), "{cookie:?}: {secrets}");
        }
        assert_eq!(keys("another").open(&token, None, from_unix(NOW).unwrap()).unwrap_err(), TokenError::WrongKey);
    }
}

#[test]
fn keys_are_those_of_authjs() {
    let secret = Secret::new(SECRET);
    let key = V5Key::derive(&secret, SessionCookie::V5, true);
    assert_eq!(
        hex::encode(&key.key[..]),
        "6d5bdbc76176d481ebca315e456c6c942c864e4346d78c6e49db4d8eca7aaefd\
         d68fd9a47eea1cb70c322d6664192987fc893c0524834d6aabd6252bebde01c6"
    );
    assert_eq!(key.kid, "LRkaLvvdyMfrwyOXl-3zHT7H-Q6fvXef2C5aGEC8TV6M1hn2lc4MqO31BO1cubMQEgVtP4rDe_5iqQ928ttC7w");
    let secure = V5Key::derive(&secret, SessionCookie::SecureV5, true);
    assert_eq!(secure.kid, "LyatFJaXETIrsw-5ojWy1V0zJKiulV4iFL7eVceCmpCN3X4U30ibGQhNUjKxPgKC1420w-jI18r13S7VPisvNQ");
    let mut v4 = [0; 32];
    derive(&secret, "", "NextAuth.js Generated Encryption Key", &mut v4);
    assert_eq!(hex::encode(v4), "233a0d9c3e93817c2a383a4235b78cc7820ed294cbf0a88d52650b90af59115a");
}

#[test]
fn every_change_of_one_bit_is_refused() {
    for (cookie, token) in made_by_authjs() {
        for index in 0..token.len() {
            for bit in 0..8 {
                let mut changed = token.clone().into_bytes();
                changed[index] ^= 1 << bit;
                // What is no text is no header of ours.
                let Ok(changed) = String::from_utf8(changed) else { continue };
                for shown in [Some(cookie), None] {
                    assert!(open(&changed, shown).is_err(), "{cookie:?}: byte {index}, bit {bit}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_session_that_was_changed_anyhow_is_refused(which in 0..3_usize, at: usize, with in "[A-Za-z0-9_.=-]{0,4}", cut in 0..5_usize) {
        let (_, token) = made_by_authjs().swap_remove(which);
        let at = at % token.len();
        let end = (at + cut).min(token.len());
        let changed = format!("{}{with}{}", &token[..at], &token[end..]);
        assert!(changed == token || open(&changed, None).is_err(), "{changed}");
    }

    #[test]
    fn no_bytes_make_it_panic(text: String, parts in proptest::collection::vec(any::<Vec<u8>>(), 5)) {
        assert!(open(&text, None).is_err());
        let parts: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        assert!(open(&parts.join("."), None).is_err());
        let header = URL_SAFE_NO_PAD.encode(v5_header().to_string());
        assert!(open(&format!("{header}..{}", parts[2..].join(".")), None).is_err());
    }
}

#[test]
fn a_session_is_good_in_its_own_cookie_alone() {
    for (cookie, token) in made_by_authjs() {
        for other in SessionCookie::ALL {
            // Version 4 has one key for both of its names.
            let same_key = matches!((cookie, other), (SessionCookie::V4, SessionCookie::SecureV4));
            assert_eq!(open(&token, Some(other)).is_ok(), other == cookie || same_key, "{cookie:?} in {other:?}");
        }
    }
}

#[test]
fn what_authjs_keeps_in_its_other_cookies_is_no_session() {
    for prefix in ["", "__Secure-"] {
        for name in
            ["authjs.state", "authjs.pkce.code_verifier", "authjs.nonce", "authjs.callback-url", "authjs.csrf-token"]
        {
            let token = seal_v5(&v5_header(), &good(), SECRET, &format!("{prefix}{name}"));
            assert_eq!(open(&token, None).unwrap_err(), TokenError::WrongKey, "{prefix}{name}");
        }
        for name in ["next-auth.state", "next-auth.pkce.code_verifier", "next-auth.nonce"] {
            let token = seal_v4(&good(), SECRET, &format!("{prefix}{name}"));
            assert_eq!(open(&token, None).unwrap_err(), TokenError::WrongKey, "{prefix}{name}");
        }
    }
    // Made in the same way under the right salt they are: what is refused above is the salt.
    assert!(open(&seal_v5(&v5_header(), &good(), SECRET, "authjs.session-token"), None).is_ok());
    assert!(open(&seal_v4(&good(), SECRET, ""), None).is_ok());
    // A CSRF token is no JWE at all, and neither is a session that is kept in a database.
    for other in ["6f2e0c|9a8b", "8b6d1f80-6d47-4a42-abc5-ad4acb7bf678", "", "....", "a.b.c.d.e"] {
        assert_eq!(open(other, None).unwrap_err(), TokenError::Unreadable, "{other}");
    }
}

#[test]
fn a_header_of_another_form_is_refused() {
    let opened = |header: Value| open(&seal_v5(&header, &good(), SECRET, "authjs.session-token"), None).map(drop);
    assert_eq!(opened(v5_header()), Ok(()));
    for (header, error) in [
        (json!({ "alg": "dir", "enc": "A256CBC-HS512", "kid": "another" }), TokenError::WrongKey),
        (json!({ "alg": "dir", "enc": "A256CBC-HS512", "crit": ["x"] }), TokenError::Critical),
        (json!({ "alg": "dir", "enc": "A256CBC-HS512", "zip": "DEF" }), TokenError::Critical),
        (json!({ "alg": "A256KW", "enc": "A256CBC-HS512" }), TokenError::WrongAlgorithm),
        (json!({ "alg": "dir", "enc": "A128GCM" }), TokenError::WrongAlgorithm),
        (json!({ "alg": "dir", "enc": "A256GCM" }), TokenError::WrongKey),
        (json!({ "alg": "dir" }), TokenError::Unreadable),
    ] {
        assert_eq!(opened(header.clone()), Err(error), "{header}");
    }
}

#[test]
fn a_session_without_a_kid_is_of_the_first_secret() {
    let token = seal_v5(&v5_header(), &good(), "old", "authjs.session-token");
    let now = from_unix(NOW).unwrap();
    assert!(keys("old,new").open(&token, None, now).is_ok());
    assert_eq!(keys("new,old").open(&token, None, now).unwrap_err(), TokenError::WrongKey);
    // Version 4 names no key, and tries each.
    let token = seal_v4(&good(), "old", "");
    assert!(keys("new,old").open(&token, None, now).is_ok());
}

#[test]
fn a_tag_that_was_cut_off_is_refused() {
    let whole = [seal_v5(&v5_header(), &good(), SECRET, "authjs.session-token"), seal_v4(&good(), SECRET, "")];
    for token in whole {
        let (rest, tag) = token.rsplit_once('.').unwrap();
        let tag = URL_SAFE_NO_PAD.decode(tag).unwrap();
        for length in 0..tag.len() {
            let cut = format!("{rest}.{}", URL_SAFE_NO_PAD.encode(&tag[..length]));
            assert_eq!(open(&cut, None).unwrap_err(), TokenError::WrongKey, "{length}");
        }
    }
}

#[test]
fn a_session_that_is_over_is_refused() {
    let opened = |claims: Value| {
        [seal_v5(&v5_header(), &claims, SECRET, "authjs.session-token"), seal_v4(&claims, SECRET, "")]
            .map(|token| open(&token, None).map(drop))
    };
    assert_eq!(opened(json!({ "sub": "user_1", "exp": NOW - 14 })), [Ok(()); 2]);
    assert_eq!(opened(json!({ "sub": "user_1", "exp": NOW - 15 })), [Err(TokenError::Expired); 2]);
    assert_eq!(opened(json!({ "sub": "user_1" })), [Err(TokenError::NoExpiry); 2]);
    assert_eq!(opened(json!({ "exp": NOW + 60, "nbf": NOW + 16 })), [Err(TokenError::NotYetValid); 2]);
    assert_eq!(opened(json!([])), [Err(TokenError::Unreadable); 2]);
}

#[test]
fn a_session_that_is_too_long_is_not_looked_at() {
    let token = "a".repeat(TOKEN_BYTES_MAX + 1);
    assert_eq!(open(&token, None).unwrap_err(), TokenError::TooLong);
}
