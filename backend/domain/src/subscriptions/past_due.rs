//! Since when a subscription has been `past_due`, by its own snapshots in any order.

use serde::{Deserialize, Serialize};

/// How many snapshots of one spell are kept. Stripe makes one a change; a dunning has a handful.
const SNAPSHOTS_MAX: usize = 64;

/// The snapshots that may begin the present spell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastDue {
    /// When it was last seen in another status, Unix seconds.
    #[serde(default, rename = "o", skip_serializing_if = "Option::is_none")]
    other: Option<i64>,
    /// When it was seen `past_due` since then, Unix seconds, ascending.
    #[serde(default, rename = "s", skip_serializing_if = "Vec::is_empty")]
    since: Vec<i64>,
}

impl PastDue {
    /// Takes in that it had `status` at `second`.
    pub fn learn(&mut self, status: &str, second: i64) {
        if status == "past_due" {
            // Two snapshots of one second cannot be told apart here; the history knows which of them is the last.
            if self.other.is_some_and(|other| second < other) {
                return;
            }
            if let Err(index) = self.since.binary_search(&second) {
                self.since.insert(index, second);
            }
            if self.since.len() > SNAPSHOTS_MAX {
                // The first begins the spell, and the last may come to begin it.
                self.since.remove(SNAPSHOTS_MAX - 1);
            }
        } else {
            self.other = self.other.max(Some(second));
            self.since.retain(|past_due| Some(*past_due) >= self.other);
        }
    }

    /// When the present spell began, Unix seconds: the first snapshot that shows it with no other status after it.
    pub fn begin(&self) -> Option<i64> {
        self.since.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spell(snapshots: &[(&str, i64)]) -> Option<i64> {
        let mut spell = PastDue::default();
        for (status, second) in snapshots {
            spell.learn(status, *second);
        }
        spell.begin()
    }

    #[test]
    fn a_spell_begins_with_its_first_snapshot() {
        assert_eq!(spell(&[("active", 10), ("past_due", 20), ("past_due", 30)]), Some(20));
        assert_eq!(spell(&[("past_due", 5), ("active", 10), ("past_due", 30)]), Some(30));
        assert_eq!(spell(&[("past_due", 5), ("active", 10)]), None);
        assert_eq!(spell(&[]), None);
    }

    proptest! {
        #[test]
        fn a_spell_begins_alike_in_any_order(
            snapshots in prop::collection::vec((prop::bool::ANY, 0..50_i64), 0..30).prop_shuffle()
        ) {
            let named = |is: bool| if is { "past_due" } else { "active" };
            let shuffled: Vec<_> = snapshots.iter().map(|(is, second)| (named(*is), *second)).collect();
            let mut sorted = shuffled.clone();
            sorted.sort_by_key(|(_, second)| *second);
            prop_assert_eq!(spell(&shuffled), spell(&sorted));
        }
    }
}
