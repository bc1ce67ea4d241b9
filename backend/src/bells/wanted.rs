//! Events that are to be sent again on one stream.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tollgate_shared::Timestamp;

/// What is to be sent again, and what was. Hardly any stream has any.
#[derive(Default)]
pub(super) struct WantedAgain(Mutex<Option<Box<Wanted>>>);

#[derive(Default)]
struct Wanted {
    waiting: Vec<String>,
    /// When each was last asked for; what is asked for again is to be sent again.
    asked_at: BTreeMap<String, Timestamp>,
}

impl WantedAgain {
    /// Takes in that an event was asked for at `asked_at`; says whether that is new.
    pub(super) fn add(&self, event_id: &str, asked_at: Timestamp) -> bool {
        let mut wanted = self.wanted();
        let wanted = wanted.get_or_insert_default();
        if wanted.asked_at.get(event_id) == Some(&asked_at) {
            return false;
        }
        wanted.asked_at.insert(event_id.to_owned(), asked_at);
        wanted.waiting.push(event_id.to_owned());
        true
    }

    /// The next that is to be sent.
    pub(super) fn take(&self) -> Option<String> {
        let mut wanted = self.wanted();
        let waiting = &mut wanted.as_mut()?.waiting;
        if waiting.is_empty() { None } else { Some(waiting.remove(0)) }
    }

    /// Forgets that an event was asked for.
    pub(super) fn forget(&self, event_id: &str) {
        if let Some(wanted) = &mut *self.wanted() {
            wanted.asked_at.remove(event_id);
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Option<Box<Wanted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use tollgate_shared::clock::from_unix;

    use super::*;

    #[test]
    fn what_is_asked_for_is_sent_once_each_time_that_it_is() {
        let wanted = WantedAgain::default();
        let [first, second] = [1, 2].map(|seconds| from_unix(seconds).unwrap());
        let all = || iter::from_fn(|| wanted.take()).collect::<Vec<_>>();
        assert_eq!(wanted.take(), None);
        assert!(wanted.add("sev_2", first) && wanted.add("sev_1", first));
        assert!(!wanted.add("sev_2", first));
        assert_eq!(all(), ["sev_2", "sev_1"]);
        assert!(!wanted.add("sev_1", first), "it was sent");
        assert!(wanted.add("sev_1", second));
        assert_eq!(all(), ["sev_1"]);
        wanted.forget("sev_1");
        assert!(wanted.add("sev_1", second), "it could not be sent");
    }
}
