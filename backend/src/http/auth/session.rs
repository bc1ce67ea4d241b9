//! A session of Auth.js: a JWE (RFC 7516) under a key that is derived from one of `AUTH_SECRET`, in a cookie or as a bearer
//! token.
//!
//! Auth.js encrypts its other cookies (the state of a sign-in, PKCE's verifier) in the same way under the same secret,
//! and tells them apart by what the key is derived with. So there is one key for each name of a session cookie and none
//! besides, and a token is only ever opened with those.

mod cookies;
#[cfg(test)]
pub(super) mod tests;

use aes::Aes256;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};
use tollgate_shared::{Secret, Secrets, Timestamp};
use zeroize::Zeroizing;

pub(super) use self::cookies::{cookie, session_cookies};
use super::claims::{Claims, TOKEN_BYTES_MAX, TokenError};

/// What Auth.js calls its session cookie: version 5, and before that NextAuth.js; both another way over https.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionCookie {
    /// Version 5, over https.
    SecureV5,
    /// Version 5.
    V5,
    /// Version 4, over https.
    SecureV4,
    /// Version 4.
    V4,
}

impl SessionCookie {
    /// All of them; who changes from version 4 to 5 has both in his browser for a while, and signed in with the newer.
    pub(super) const ALL: [Self; 4] = [Self::SecureV5, Self::V5, Self::SecureV4, Self::V4];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SecureV5 => "__Secure-authjs.session-token",
            Self::V5 => "authjs.session-token",
            Self::SecureV4 => "__Secure-next-auth.session-token",
            Self::V4 => "next-auth.session-token",
        }
    }
}

/// The keys that open sessions, derived once.
pub(super) struct SessionKeys {
    v5: Vec<V5Key>,
    /// One a secret: the name of the cookie makes no difference.
    v4: Vec<Aes256Gcm>,
}

/// A key of version 5: of one secret and one name of the cookie.
struct V5Key {
    cookie: SessionCookie,
    /// What the header calls it.
    kid: String,
    /// The key of the authentication, then that of the encryption.
    key: Zeroizing<[u8; 64]>,
    /// Whether it is of the first secret, which made the tokens whose header names none.
    is_first: bool,
}

/// The protected header.
#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
    zip: Option<serde_json::Value>,
}

/// A token, taken apart.
struct Parts<'t> {
    /// The header as it was written, which is authenticated with the rest.
    associated: &'t [u8],
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

impl SessionKeys {
    /// Those of `secrets`.
    pub(super) fn of(secrets: &Secrets) -> Self {
        let names = [SessionCookie::SecureV5, SessionCookie::V5];
        let v5 = secrets.iter().enumerate();
        let v5 = v5.flat_map(|(index, secret)| names.map(|cookie| V5Key::derive(secret, cookie, index == 0)));
        Self { v5: v5.collect(), v4: secrets.iter().map(v4_key).collect() }
    }

    /// What the session `token` says at `now`; `cookie` is the one that it came in, none for a bearer token.
    pub(super) fn open(
        &self,
        token: &str,
        cookie: Option<SessionCookie>,
        now: Timestamp,
    ) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (header, parts) = Parts::of(token).ok_or(TokenError::Unreadable)?;
        if header.crit.is_some() || header.zip.is_some() {
            return Err(TokenError::Critical);
        }
        let plain = match (&*header.alg, &*header.enc) {
            ("dir", "A256CBC-HS512") => self.open_v5(header.kid.as_deref(), &parts, cookie),
            ("dir", "A256GCM") => self.open_v4(&parts, cookie),
            _ => return Err(TokenError::WrongAlgorithm),
        };
        let plain = plain.ok_or(TokenError::WrongKey)?;
        serde_json::from_slice::<Claims>(&plain).map_err(|_| TokenError::Unreadable)?.at(now)
    }

    fn open_v5(
        &self,
        kid: Option<&str>,
        parts: &Parts<'_>,
        cookie: Option<SessionCookie>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let is_meant = |key: &&V5Key| kid.map_or(key.is_first, |kid| key.kid == kid);
        let of_cookie = |key: &&V5Key| cookie.is_none_or(|cookie| key.cookie == cookie);
        self.v5.iter().filter(is_meant).filter(of_cookie).find_map(|key| key.open(parts))
    }

    fn open_v4(&self, parts: &Parts<'_>, cookie: Option<SessionCookie>) -> Option<Zeroizing<Vec<u8>>> {
        if matches!(cookie, Some(SessionCookie::SecureV5 | SessionCookie::V5)) {
            return None;
        }
        let iv = <[u8; 12]>::try_from(&*parts.iv).ok()?;
        // The tag's length is judged here: what is shorter would take bytes of the text for the tag.
        let tag = <[u8; 16]>::try_from(&*parts.tag).ok()?;
        let sealed = [&*parts.ciphertext, &tag[..]].concat();
        let payload = || Payload { msg: &sealed, aad: parts.associated };
        self.v4.iter().find_map(|key| key.decrypt(&iv.into(), payload()).ok()).map(Zeroizing::new)
    }
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Option<(Header, Self)> {
        let mut parts = token.split('.');
        let [header, key, iv, ciphertext, tag] = [(); 5].map(|()| parts.next());
        let header = header?;
        // The key is not in the token: it is derived.
        if parts.next().is_some() || !key?.is_empty() {
            return None;
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let (iv, ciphertext, tag) = (decode(iv?)?, decode(ciphertext?)?, decode(tag?)?);
        let parsed = serde_json::from_slice(&decode(header)?).ok()?;
        Some((parsed, Self { associated: header.as_bytes(), iv, ciphertext, tag }))
    }
}

impl V5Key {
    fn derive(secret: &Secret, cookie: SessionCookie, is_first: bool) -> Self {
        let name = cookie.name();
        let mut key = Zeroizing::new([0; 64]);
        let info = format!("Auth.js Generated Encryption Key ({name})");
        derive(secret, name, &info, &mut key[..]);
        // Its thumbprint: RFC 7638.
        let jwk = Zeroizing::new(format!(r#"{{"k":"{}","kty":"oct"}}"#, URL_SAFE_NO_PAD.encode(&key[..])));
        let kid = URL_SAFE_NO_PAD.encode(Sha512::digest(jwk.as_bytes()));
        Self { cookie, kid, key, is_first }
    }

    /// AES-256-CBC under HMAC-SHA-512 (RFC 7518, 5.2): nothing is decrypted before its tag is known to be right.
    fn open(&self, parts: &Parts<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let (mac_key, key) = self.key.split_at(32);
        let associated_bits = 8 * parts.associated.len() as u64;
        let mac = Hmac::<Sha512>::new_from_slice(mac_key).expect("a key of HMAC may have any length");
        let mac = mac
            .chain_update(parts.associated)
            .chain_update(&parts.iv)
            .chain_update(&parts.ciphertext)
            .chain_update(associated_bits.to_be_bytes());
        // Half of the MAC, and no less of it: a shorter tag would be compared with as much.
        let tag = <[u8; 32]>::try_from(&*parts.tag).ok()?;
        mac.verify_truncated_left(&tag).ok()?;
        let iv = <[u8; 16]>::try_from(&*parts.iv).ok()?;
        let key = <[u8; 32]>::try_from(key).ok()?;
        let cipher = Decryptor::<Aes256>::new(&key.into(), &iv.into());
        cipher.decrypt_padded_vec::<Pkcs7>(&parts.ciphertext).ok().map(Zeroizing::new)
    }
}

fn v4_key(secret: &Secret) -> Aes256Gcm {
    let mut key = Zeroizing::new([0; 32]);
    derive(secret, "", "NextAuth.js Generated Encryption Key", &mut key[..]);
    Aes256Gcm::new(&(*key).into())
}

fn derive(secret: &Secret, salt: &str, info: &str, key: &mut [u8]) {
    let secret = Hkdf::<Sha256>::new(Some(salt.as_bytes()), secret.expose().as_bytes());
    secret.expand(info.as_bytes(), key).expect("HKDF-SHA256 gives up to 8160 bytes");
}
