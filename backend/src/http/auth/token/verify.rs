//! The signatures of JWTs, for `jsonwebtoken`, by HMAC and by ring.

use std::sync::Once;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use sha2::Sha256;

/// Says which cryptography `jsonwebtoken` uses, once a process.
pub(super) fn use_our_cryptography() {
    static SAID: Once = Once::new();
    // Nobody else in the process uses it, so that nobody can have said otherwise.
    SAID.call_once(|| {
        let _ = CRYPTOGRAPHY.install_default();
    });
}

static CRYPTOGRAPHY: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |&algorithm, key| Ok(Box::new(Signature { algorithm, key: key.clone() })),
    key_utils: KeyUtils::new_unimplemented(),
};

/// A key and the one algorithm that it is for.
struct Signature {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Signature {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let is_right = match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                let mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of HMAC may have any length");
                // Compared in constant time.
                mac.chain_update(message).verify_slice(signature).is_ok()
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok()
            }
            _ => false,
        };
        is_right.then_some(()).ok_or_else(signature::Error::new)
    }
}

impl JwtVerifier for Signature {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
