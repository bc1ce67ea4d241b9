//! What stands for a state, to tell equal from different, in a row that later releases read too.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::history::state::{FIRST_VERSION, State};

/// Stands for a state, to tell equal from different: a digest of each version of its form, oldest first, the last one
/// for all that come after. One that is kept can so be compared with one that was made before a field was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "KeptFingerprint", into = "KeptFingerprint")]
pub struct Fingerprint(Vec<String>);

/// A fingerprint as it is kept: the digest itself where all versions have the same, as nearly all do.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeptFingerprint {
    Same(String),
    ByVersion(Vec<String>),
}

impl From<KeptFingerprint> for Fingerprint {
    fn from(kept: KeptFingerprint) -> Self {
        match kept {
            KeptFingerprint::Same(digest) => Self(vec![digest]),
            KeptFingerprint::ByVersion(digests) => Self(digests),
        }
    }
}

impl From<Fingerprint> for KeptFingerprint {
    fn from(Fingerprint(mut digests): Fingerprint) -> Self {
        match digests.pop() {
            Some(only) if digests.is_empty() => Self::Same(only),
            last => {
                digests.extend(last);
                Self::ByVersion(digests)
            }
        }
    }
}

impl Fingerprint {
    /// The fingerprint of `state`.
    pub(super) fn of<T: State>(state: &T) -> Self {
        let mut digests: Vec<_> =
            (FIRST_VERSION..=T::VERSION).map(|version| digest(&state.clone().at_version(version))).collect();
        while let [.., one, other] = &digests[..]
            && one == other
        {
            digests.pop();
        }
        Self(digests)
    }

    /// The digest of the form of `version`.
    pub(super) fn at_version(&self, version: u32) -> Option<&str> {
        let index = (version - FIRST_VERSION) as usize;
        self.0.get(index).or(self.0.last()).map(String::as_str)
    }
}

/// A digest of a state.
pub(super) fn digest<T: Serialize>(state: &T) -> String {
    let json = serde_json::to_vec(state).expect("a state of strings, numbers and lists is always JSON");
    hex::encode(&Sha256::digest(json)[..8])
}
