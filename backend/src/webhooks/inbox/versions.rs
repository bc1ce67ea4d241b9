//! API versions of events that this release does not know: counted, and remembered until somebody writes them down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_shared::Timestamp;
use tollgate_shared::log_safe::LogSafe;
use tollgate_stripe::{Event, is_known_version};

/// How many versions are remembered: an endpoint has one, and an account's default is another.
const VERSIONS_MAX: usize = 20;

/// How much of a version's name is remembered: Stripe's have some twenty characters.
const VERSION_CHARACTERS_MAX: usize = 40;

/// The versions that were seen, each with when that was last. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct UnknownVersions(Arc<Mutex<BTreeMap<String, Timestamp>>>);

impl UnknownVersions {
    /// Notes the version of an event, if it is not known.
    pub(super) fn note(&self, event: &Event, now: Timestamp) {
        let Some(version) = event.api_version.as_deref().filter(|version| !is_known_version(version)) else { return };
        metrics::counter!("tollgate_backend_events_of_unknown_version_total").increment(1);
        let version: String = LogSafe(version).to_string().chars().take(VERSION_CHARACTERS_MAX).collect();
        let mut seen = self.seen();
        if seen.contains_key(&version) || seen.len() < VERSIONS_MAX {
            seen.insert(version, now);
        }
    }

    /// Those that are not written down. They stay here until they are: whoever writes them may be stopped half-way.
    pub fn waiting(&self) -> BTreeMap<String, Timestamp> {
        self.seen().clone()
    }

    /// Forgets what has been written down, but not what was seen since.
    pub fn forget(&self, written: &BTreeMap<String, Timestamp>) {
        self.seen().retain(|version, at| written.get(version) != Some(at));
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
