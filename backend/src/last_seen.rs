//! What was heard of machines and is not in the database yet: an app that shows a sign of life writes nothing on its way.
//!
//! One row a machine, whatever it says meanwhile; what is lost with the process is a few seconds' worth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_domain::sessions::Transport;
use tollgate_shared::Timestamp;

/// What was heard of each machine, by its id. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LastSeen(Arc<Mutex<BTreeMap<String, Seen>>>);

/// What was last heard of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// The version of its app, if it said so.
    pub app_version: Option<String>,
    /// How its app showed that it is there, if it did, and since when.
    pub session: Option<(Transport, Timestamp)>,
}

/// How many machines are kept in memory: more than speak up within a few seconds. While the database is away nobody is
/// recognised, so that nobody is added.
const MACHINES_MAX: usize = 100_000;

impl LastSeen {
    /// Notes that a machine was heard of; by what, where that says that its app is there and stays. What is older than what
    /// is known changes nothing.
    pub fn note(&self, machine_id: &str, at: Timestamp, app_version: Option<&str>, by: Option<Transport>) {
        let mut seen = self.seen();
        if !seen.contains_key(machine_id) && seen.len() >= MACHINES_MAX {
            return;
        }
        let known = seen.entry(machine_id.to_owned()).or_insert(Seen { at, app_version: None, session: None });
        if known.at <= at {
            known.at = at;
            known.app_version = app_version.map(str::to_owned).or(known.app_version.take());
            let since = known.session.map_or(at, |(_, since)| since);
            known.session = by.map(|by| (by, since)).or(known.session);
        }
    }

    /// All that is not written yet. It stays here until it is: whoever writes it may be stopped half-way.
    pub fn waiting(&self) -> BTreeMap<String, Seen> {
        self.seen().clone()
    }

    /// When the app of a machine last showed that it is there, if that is not written yet.
    pub fn of(&self, machine_id: &str) -> Option<Timestamp> {
        self.seen().get(machine_id).filter(|seen| seen.session.is_some()).map(|seen| seen.at)
    }

    /// How many machines that is.
    pub fn count(&self) -> usize {
        self.seen().len()
    }

    /// Forgets what has been written, but not what was heard since.
    pub fn forget(&self, written: &BTreeMap<String, Seen>) {
        self.seen().retain(|machine_id, seen| written.get(machine_id) != Some(seen));
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        from_unix(seconds).unwrap()
    }

    #[test]
    fn the_newest_is_kept_and_a_version_until_there_is_another() {
        let seen = LastSeen::default();
        seen.note("mac_1", at(5), Some("1.0"), None);
        seen.note("mac_1", at(9), None, None);
        seen.note("mac_1", at(7), Some("0.9"), Some(Transport::Heartbeat));
        let kept = Seen { at: at(9), app_version: Some("1.0".to_owned()), session: None };
        assert_eq!(seen.waiting(), BTreeMap::from([("mac_1".to_owned(), kept)]));
    }

    #[test]
    fn an_app_is_there_since_it_was_first_heard_of() {
        let seen = LastSeen::default();
        seen.note("mac_1", at(4), None, None);
        seen.note("mac_1", at(5), None, Some(Transport::Stream));
        seen.note("mac_1", at(6), None, Some(Transport::Heartbeat));
        seen.note("mac_1", at(7), None, None);
        let kept = Seen { at: at(7), app_version: None, session: Some((Transport::Heartbeat, at(5))) };
        assert_eq!(seen.waiting(), BTreeMap::from([("mac_1".to_owned(), kept)]));
    }

    #[test]
    fn what_is_heard_while_others_are_written_is_not_forgotten() {
        let seen = LastSeen::default();
        seen.note("mac_1", at(5), None, None);
        seen.note("mac_2", at(5), None, None);
        let written = seen.waiting();
        seen.note("mac_2", at(6), None, None);
        seen.forget(&written);
        assert_eq!(seen.waiting().into_keys().collect::<Vec<_>>(), ["mac_2"]);
    }
}
