//! Encryption of the few things that the database must give back: AES-256-GCM under keys derived from `ENCRYPTION_KEY`.
//!
//! A sealed text is bound to a context, the name of the one place where it belongs: copied to another row it does not
//! open. Its form is a version byte, four bytes that name the key, the nonce of twelve bytes, then ciphertext and tag.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use bytes::Bytes;
use hkdf::Hkdf;
use sha2::Sha256;
use tollgate_shared::{Rng, Secret, Secrets};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_NAME_BYTES: usize = 4;
/// The version and the key's name, which are authenticated with the context.
const HEADER_BYTES: usize = 1 + KEY_NAME_BYTES;
/// Random, so that replicas need not agree on them: good for 2³² texts a key, and a customer has one or two.
const NONCE_BYTES: usize = 12;

/// Seals under the newest key and opens under any of those that are accepted while one is rotated.
#[derive(Clone)]
pub struct Sealer {
    /// Never empty; the first one seals.
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    name: [u8; KEY_NAME_BYTES],
    cipher: Aes256Gcm,
}

impl Sealer {
    /// A sealer under `secrets`, as `ENCRYPTION_KEY` lists them: the first seals, all open.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: secrets.iter().map(Key::derive).collect() }
    }

    /// Seals `plain` for the place that `context` names.
    pub fn seal(&self, context: &str, plain: &[u8], rng: &Rng) -> Bytes {
        let key = &self.keys[0];
        let header = key.header();
        let nonce = rng.bytes::<NONCE_BYTES>();
        let associated = associated(header, context);
        let ciphertext = key
            .cipher
            .encrypt(&nonce.into(), Payload { msg: plain, aad: &associated })
            .expect("a text in memory is shorter than the 64 GiB that one nonce is good for");
        [&header[..], &nonce[..], &ciphertext[..]].concat().into()
    }

    /// What was sealed for the place that `context` names; `None` for another context, an unknown key, or changed bytes.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (header, rest) = sealed.split_first_chunk::<HEADER_BYTES>()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let associated = associated(*header, context);
        let payload = || Payload { msg: ciphertext, aad: &associated };
        let mut named = self.keys.iter().filter(|key| key.header() == *header);
        named.find_map(|key| key.cipher.decrypt(&(*nonce).into(), payload()).ok()).map(Zeroizing::new)
    }

    /// Whether `sealed` is under the key that seals now; if not, it should be sealed again before the older keys are
    /// dropped.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.keys[0].header())
    }
}

impl Key {
    fn derive(secret: &Secret) -> Self {
        // No salt: the secret is random already, and every replica has to come to the same key.
        let secret = Hkdf::<Sha256>::new(None, secret.expose().as_bytes());
        let mut key = Zeroizing::new([0; 32]);
        let mut name = [0; KEY_NAME_BYTES];
        for (purpose, bytes) in [("tollgate/sealer/key", &mut key[..]), ("tollgate/sealer/name", &mut name[..])] {
            secret.expand(purpose.as_bytes(), bytes).expect("HKDF-SHA256 gives up to 8160 bytes");
        }
        Self { name, cipher: Aes256Gcm::new(&(*key).into()) }
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [VERSION; HEADER_BYTES];
        header[1..].copy_from_slice(&self.name);
        header
    }
}

/// The header has one length, so that no other header and context give the same bytes.
fn associated(header: [u8; HEADER_BYTES], context: &str) -> Vec<u8> {
    [&header[..], context.as_bytes()].concat()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    const OLD: &str = "an old key of thirty-two letters";
    const NEW: &str = "a newer key of forty-one letters in total";
    const CONTEXT: &str = "api_key:key_1";

    fn sealer(secrets: &[&str]) -> Sealer {
        Sealer::new(&Secrets::parse(&secrets.join(",")).unwrap())
    }

    fn seal(sealer: &Sealer, plain: &str) -> Bytes {
        sealer.seal(CONTEXT, plain.as_bytes(), &Rng::seeded(1))
    }

    fn opens(sealer: &Sealer, sealed: &[u8]) -> Option<String> {
        sealer.open(CONTEXT, sealed).map(|plain| String::from_utf8(plain.to_vec()).unwrap())
    }

    #[test]
    fn what_was_sealed_opens_in_its_context() {
        let sealer = sealer(&[OLD]);
        for plain in ["", "tg_live_0"] {
            assert_eq!(opens(&sealer, &seal(&sealer, plain)).as_deref(), Some(plain));
        }
    }

    #[test]
    fn it_opens_in_no_other_context() {
        let sealer = sealer(&[OLD]);
        let sealed = seal(&sealer, "tg_live_0");
        for context in ["", "api_key:key_2", "api_key:key_", "api_key:key_11"] {
            assert!(sealer.open(context, &sealed).is_none(), "{context}");
        }
    }

    #[test]
    fn what_was_sealed_elsewhere_by_the_same_rules_opens() {
        // Made in Python: cryptography's HKDF and AESGCM.
        let sealed =
            hex::decode("01bf09f0c8000102030405060708090a0b40a8aca2e4e9facb8a3010041c246bd34befb5b60082bf5928")
                .unwrap();
        assert_eq!(opens(&sealer(&[OLD]), &sealed).as_deref(), Some("tg_live_0"));
    }

    #[test]
    fn while_keys_roll_the_old_one_opens_and_the_new_one_seals() {
        let (before, during, after) = (sealer(&[OLD]), sealer(&[NEW, OLD]), sealer(&[NEW]));
        let old = seal(&before, "tg_live_0");
        assert_eq!(opens(&during, &old).as_deref(), Some("tg_live_0"));
        assert!(before.is_current(&old) && !during.is_current(&old));

        let new = seal(&during, "tg_live_0");
        assert_eq!(opens(&after, &new).as_deref(), Some("tg_live_0"));
        assert!(during.is_current(&new) && after.is_current(&new));
        assert!(opens(&before, &new).is_none() && opens(&after, &old).is_none());
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same_way_twice() {
        let (sealer, rng) = (sealer(&[OLD]), Rng::seeded(1));
        assert_ne!(sealer.seal(CONTEXT, b"x", &rng), sealer.seal(CONTEXT, b"x", &rng));
    }

    #[test]
    fn any_changed_bit_and_any_missing_byte_is_noticed() {
        let sealer = sealer(&[NEW, OLD]);
        let sealed = seal(&sealer, "tg_live_0");
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.to_vec();
                changed[index] ^= 1 << bit;
                assert!(opens(&sealer, &changed).is_none(), "byte {index}, bit {bit}");
            }
            assert!(opens(&sealer, &sealed[..index]).is_none(), "{index} bytes");
        }
    }

    #[test]
    fn keys_do_not_show_themselves() {
        assert_eq!(format!("{:?}", sealer(&[NEW, OLD])), "Sealer(2 keys)");
    }

    proptest! {
        #[test]
        fn any_text_opens_again_and_any_bytes_do_not(plain: Vec<u8>, context: String, bytes: Vec<u8>, seed: u64) {
            let sealer = sealer(&[OLD]);
            let sealed = sealer.seal(&context, &plain, &Rng::seeded(seed));
            prop_assert_eq!(&**sealer.open(&context, &sealed).unwrap(), &plain);
            prop_assert!(sealer.open(&context, &bytes).is_none());
        }
    }
}
