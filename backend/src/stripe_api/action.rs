//! What a call is named by, so that Stripe does it once however often it is asked: the user's own action, never the time.

use sha2::{Digest as _, Sha256};

/// An action of somebody's, which may take several attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    digest: [u8; 32],
    /// Whether the caller named it, and so says himself when he means another one.
    is_named: bool,
}

impl Action {
    /// What a caller named by an `Idempotency-Key`: `parts` are the route, the user and that key.
    pub fn named(parts: &[&str]) -> Self {
        Self { digest: digest(parts), is_named: true }
    }

    /// What is to be done in a state of things that the action itself changes: pressed twice it is the same, pressed
    /// again when it was undone it is another.
    pub fn of_state(parts: &[&str]) -> Self {
        Self { digest: digest(parts), is_named: false }
    }

    /// A part of it: an action may take several calls, each done once.
    pub fn step(&self, step: &str) -> Self {
        Self { digest: digest(&[&hex::encode(self.digest), step]), ..self.clone() }
    }

    /// Its name, which no other action has.
    pub fn name(&self) -> String {
        hex::encode(self.digest)
    }

    /// Whether the caller named it.
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// The `Idempotency-Key` of the attempt number `attempt`, from 0.
    pub(super) fn key(&self, attempt: u32) -> String {
        format!("tollgate_{}", hex::encode(digest(&[&hex::encode(self.digest), &attempt.to_string()])))
    }
}

/// Of parts that hold anything: each goes with its length, so that no two lists are alike.
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_action_has_the_same_key_and_no_other_has() {
        let key = |parts: &[&str]| Action::of_state(parts).key(0);
        assert_eq!(key(&["cancel", "user_1"]), key(&["cancel", "user_1"]));
        let all = [
            key(&["cancel", "user_1"]),
            key(&["cancel", "user_2"]),
            key(&["canceluser_1"]),
            key(&["cancel", "user_1", ""]),
            Action::of_state(&["cancel", "user_1"]).key(1),
            Action::of_state(&["cancel", "user_1"]).step("customer").key(0),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(one.len() <= 255, "Stripe takes no longer one");
            assert!(!all[..index].contains(one), "{index}");
        }
    }
}
