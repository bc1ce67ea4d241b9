//! How the relay shows the backend that a public request came through it, so that what it says of the client is believed.
//!
//! Not its key: that opens internal routes, and has no business on requests whose paths strangers choose.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// The header of the proof.
pub const RELAY_PROOF_HEADER: &str = "x-relay-proof";

/// What the relay shows whose key for the backend is `key`.
pub fn of(key: &Secret) -> Secret {
    let mut proof = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("HMAC takes a key of any length");
    proof.update(b"tollgate: a public request that the relay passes on");
    Secret::new(hex::encode(proof.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_its_key_alone_and_does_not_show_it() {
        let proof = |key: &str| of(&Secret::new(key)).expose().to_owned();
        assert_eq!(proof("hunter2"), proof("hunter2"));
        assert_ne!(proof("hunter2"), proof("hunter3"));
        assert!(!proof("hunter2").contains("hunter2"));
    }
}
