//! Encryption of a push for one browser: RFC 8291, which is RFC 8188's `aes128gcm` under keys agreed by ECDH on P-256. The
//! push service in between sees nothing but its length.

use aes_gcm::aead::Aead as _;
use aes_gcm::{Aes128Gcm, KeyInit as _};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hkdf::Hkdf;
use p256::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{PublicKey, SecretKey};
use sha2::Sha256;
use tollgate_shared::Rng;

/// The longest body that every push service takes (RFC 8030, 7.2), less what encryption adds: a header with a public key,
/// a delimiter and a tag.
pub(super) const PLAIN_BYTES_MAX: usize = 4096 - (SALT_BYTES + 4 + 1 + POINT_BYTES) - 1 - 16;

const SALT_BYTES: usize = 16;
const AUTH_BYTES: usize = 16;
/// An uncompressed point on P-256.
const POINT_BYTES: usize = 65;
/// What the header says of how long a record is: there is but one.
const RECORD_BYTES: u32 = 4096;
/// Ends the last record.
const LAST_RECORD: u8 = 2;

/// base64url; some libraries pad it.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The one browser that can open it.
pub(super) struct Receiver {
    public: PublicKey,
    auth: [u8; AUTH_BYTES],
}

impl Receiver {
    /// Reads a subscription's `p256dh` and `auth`.
    pub(super) fn parse(p256dh: &str, auth: &str) -> Option<Self> {
        let point = BASE64.decode(p256dh).ok().filter(|point| point.len() == POINT_BYTES)?;
        let auth = BASE64.decode(auth).ok()?.try_into().ok()?;
        Some(Self { public: PublicKey::from_sec1_bytes(&point).ok()?, auth })
    }

    /// Encrypts `plain`, of [`PLAIN_BYTES_MAX`] at most: the body of a request to the push service.
    pub(super) fn seal(&self, plain: &[u8], rng: &Rng) -> Vec<u8> {
        self.seal_with(plain, &draw_key(rng), rng.bytes())
    }

    /// The same under a key and a salt that are to be used but once.
    fn seal_with(&self, plain: &[u8], key: &SecretKey, salt: [u8; SALT_BYTES]) -> Vec<u8> {
        let own = point(&key.public_key());
        let agreed = diffie_hellman(key.to_nonzero_scalar(), self.public.as_affine());
        let input = expand::<32>(
            Some(&self.auth),
            agreed.raw_secret_bytes(),
            &[b"WebPush: info\0", &point(&self.public), &own],
        );
        let content_key = expand::<16>(Some(&salt), &input, &[b"Content-Encoding: aes128gcm\0"]);
        let nonce = expand::<12>(Some(&salt), &input, &[b"Content-Encoding: nonce\0"]);
        let record = Aes128Gcm::new(&content_key.into())
            .encrypt(&nonce.into(), &*[plain, &[LAST_RECORD]].concat())
            .expect("a push is shorter than the 64 GiB that one nonce is good for");
        [&salt[..], &RECORD_BYTES.to_be_bytes(), &[POINT_BYTES as u8], &own, &record].concat()
    }
}

/// A private key of P-256.
pub(super) fn draw_key(rng: &Rng) -> SecretKey {
    // One in four thousand million numbers of 256 bits is none.
    std::iter::repeat_with(|| SecretKey::from_slice(&rng.bytes::<32>()))
        .find_map(Result::ok)
        .expect("an endless sequence of random numbers has a key in it")
}

/// A public key as it is sent.
pub(super) fn point(key: &PublicKey) -> Vec<u8> {
    key.to_sec1_point(false).as_bytes().to_vec()
}

fn expand<const N: usize>(salt: Option<&[u8]>, input: &[u8], info: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let derived = Hkdf::<Sha256>::new(salt, input).expand_multi_info(info, &mut bytes);
    derived.expect("HKDF-SHA256 gives up to 8160 bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8291, 5: the example.
    const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn the_example_of_the_rfc_is_encrypted_as_it_shows() {
        let key =
            SecretKey::from_slice(&BASE64.decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").unwrap()).unwrap();
        let salt = BASE64.decode("DGv6ra1nlYgDCS1FRnbzlw").unwrap().try_into().unwrap();
        let receiver = Receiver::parse(P256DH, AUTH).unwrap();
        let sealed = receiver.seal_with(b"When I grow up, I want to be a watermelon", &key, salt);
        assert_eq!(
            BASE64.encode(sealed),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn a_push_of_the_most_bytes_is_just_as_long_as_each_service_takes() {
        let receiver = Receiver::parse(P256DH, AUTH).unwrap();
        assert_eq!(receiver.seal(&[b'x'; PLAIN_BYTES_MAX], &Rng::seeded(1)).len(), 4096);
    }

    #[test]
    fn keys_are_a_point_on_the_curve_and_sixteen_bytes() {
        let is_good = |p256dh: &str, auth: &str| Receiver::parse(p256dh, auth).is_some();
        assert!(is_good(P256DH, AUTH));
        assert!(is_good(&format!("{P256DH}="), &format!("{AUTH}==")));
        let beside_the_curve = P256DH.replace("IAiw4", "IAiw8");
        for bad in [&beside_the_curve, "", "BCVxsr7N", &AUTH.repeat(4), "?"] {
            assert!(!is_good(bad, AUTH), "{bad}");
        }
        for bad in ["", "BTBZMqHH6r4Tts7J_aSI", P256DH, "?"] {
            assert!(!is_good(P256DH, bad), "{bad}");
        }
    }
}
