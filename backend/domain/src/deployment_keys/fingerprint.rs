//! The hash that stands for a machine's fingerprint in the database.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What fingerprints of machines are hashed with: they are short and alike, so that a plain hash of one could be guessed.
#[derive(Clone)]
pub struct FingerprintKey(Hmac<Sha256>);

impl FingerprintKey {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("a key of HMAC may have any length"))
    }

    /// What stands for the machine `machine_id` of the licence `license_id`: hex HMAC-SHA256. The same machine has another
    /// hash in each licence, so that nobody who reads the database can tell that it is the same.
    pub fn hash(&self, license_id: &str, machine_id: &str) -> String {
        // An id of ours has no zero byte, so that no other pair gives the same bytes.
        let mac = self.0.clone().chain_update(license_id).chain_update([0]).chain_update(machine_id);
        hex::encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_one_hash_a_licence_and_key() {
        let key = FingerprintKey::new(&[7; 32]);
        // Computed in Python: hmac.new(b"\x07" * 32, b"lic_1\0a machine", "sha256").
        assert_eq!(key.hash("lic_1", "a machine"), "34836f73893cb90cb480593e24a6a4568ed56ca6b3f1d21a945d30c271896b4d");
        let others = [
            key.hash("lic_2", "a machine"),
            key.hash("lic_1", "another machine"),
            key.hash("lic_1a", " machine"),
            FingerprintKey::new(&[8; 32]).hash("lic_1", "a machine"),
        ];
        assert!(!others.contains(&key.hash("lic_1", "a machine")));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", FingerprintKey::new(&[7; 32])), "FingerprintKey(…)");
    }
}
