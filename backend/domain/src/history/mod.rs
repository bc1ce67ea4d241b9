//! Which of the snapshots of one Stripe object is the last, whatever the order and number of times they arrived in.
//!
//! An event's `created` is whole seconds and several changes share one, so the newest seconds are kept with all their
//! snapshots. Within a second, `previous_attributes` makes each event a step from a state to a state; the last state is
//! the one that is entered once more than it is left. An event that only announces is behind one that says what it
//! changed. Terminal states beat time. What this leaves open, the larger
//! event id decides: arbitrary, but the same everywhere.
//!
//! A history is a set that only these rules thin out, so observing is commutative, associative and idempotent: that is
//! what makes the order of delivery irrelevant.

mod fingerprint;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_stripe::Observation;

use crate::history::fingerprint::digest;
use crate::history::state::FIRST_VERSION;

pub use crate::history::fingerprint::Fingerprint;
pub use crate::history::state::State;

/// How many of an object's newest seconds are kept: the last one, and the one before, whose outcome tells where the
/// last one began (1 → 2 → 1 within a second is a circle that only its beginning can break).
const SECONDS_KEPT: usize = 2;

/// One observed state of an object. Short names in the stored form: there is one in every row of a snapshotted object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<T> {
    /// The event's id, or another unique name of where it was seen.
    #[serde(rename = "e")]
    pub source: String,
    /// When it was so: Unix seconds.
    #[serde(rename = "t")]
    pub second: i64,
    /// Whether this is the object's creation: nothing of the same second came before it.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_creation: bool,
    /// Whether it only comes with a change, which another event of the same second tells better; with an end, any other.
    #[serde(rename = "a", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_announcement: bool,
    /// Fingerprint of the state just before, where the event said what it changed.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Fingerprint>,
    /// The [`State::VERSION`] of the release that read the state.
    #[serde(rename = "v", default = "first_version", skip_serializing_if = "is_first_version")]
    pub version: u32,
    /// The state.
    #[serde(rename = "s")]
    pub state: T,
}

fn first_version() -> u32 {
    FIRST_VERSION
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_first_version(version: &u32) -> bool {
    *version == FIRST_VERSION
}

impl<T: State> Snapshot<T> {
    /// A state that this release has read.
    pub fn new(source: &str, second: i64, is_creation: bool, before: Option<&T>, state: T) -> Self {
        let before = before.map(Fingerprint::of);
        let version = T::VERSION;
        Self { source: source.to_owned(), second, is_creation, is_announcement: false, before, version, state }
    }

    /// The state that an observation shows, and the one before where it says so.
    pub fn of(observation: &Observation, before: Option<&T>, state: T) -> Self {
        let second = observation.seen_at.timestamp();
        let snapshot = Self::new(&observation.source, second, observation.is_creation, before, state);
        Self { is_announcement: observation.is_announcement, ..snapshot }
    }

    fn digest_at(&self, version: u32) -> String {
        digest(&self.state.clone().at_version(version))
    }
}

/// The snapshots of one object that may still matter, oldest second first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History<T>(Vec<Snapshot<T>>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: State> History<T> {
    /// Adds a snapshot; `false` when it is there already or too old to matter.
    pub fn observe(&mut self, snapshot: Snapshot<T>) -> bool {
        if self.0.iter().any(|known| known.source == snapshot.source) {
            return false;
        }
        let source = snapshot.source.clone();
        self.0.push(snapshot);
        self.thin_out();
        self.0.iter().any(|known| known.source == source)
    }

    /// The last snapshot.
    pub fn last(&self) -> Option<&Snapshot<T>> {
        last_of(self.0.iter())
    }

    /// The last snapshot whose meaning we know.
    pub fn last_understood(&self) -> Option<&Snapshot<T>> {
        last_of(self.0.iter().filter(|snapshot| snapshot.state.is_understood()))
    }

    /// The newest second, if nothing but the names of its snapshots says which of them is the last.
    pub fn ambiguous_second(&self) -> Option<i64> {
        let newest = self.0.last()?.second;
        let (older, second): (Vec<_>, Vec<_>) = self.0.iter().partition(|snapshot| snapshot.second < newest);
        let ends = ends_of_second(&second, last_of(older.into_iter()));
        let version = common_version(ends.iter().copied());
        let differ = ends.iter().any(|end| end.digest_at(version) != ends[0].digest_at(version));
        (differ && !second[0].state.is_terminal()).then_some(newest)
    }

    /// Whether no snapshot has come yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn thin_out(&mut self) {
        if self.0.iter().any(|snapshot| snapshot.state.is_terminal()) {
            self.0.retain(|snapshot| snapshot.state.is_terminal());
            if self.0.iter().any(|snapshot| !snapshot.is_announcement) {
                self.0.retain(|snapshot| !snapshot.is_announcement);
            }
        }
        self.0.sort_by(|a, b| (a.second, &a.source).cmp(&(b.second, &b.source)));
        let of_all = oldest_kept(self.0.iter().map(|snapshot| snapshot.second));
        let understood = self.0.iter().filter(|snapshot| snapshot.state.is_understood());
        let of_understood = oldest_kept(understood.map(|snapshot| snapshot.second));
        self.0.retain(|snapshot| {
            snapshot.second >= of_all || (snapshot.state.is_understood() && snapshot.second >= of_understood)
        });
    }
}

/// The oldest of the last [`SECONDS_KEPT`] different seconds of an ascending list.
fn oldest_kept(seconds: impl DoubleEndedIterator<Item = i64>) -> i64 {
    let mut newest_first: Vec<_> = seconds.rev().collect();
    newest_first.dedup();
    newest_first.truncate(SECONDS_KEPT);
    newest_first.pop().unwrap_or(i64::MIN)
}

fn last_of<'a, T: State + 'a>(snapshots: impl Iterator<Item = &'a Snapshot<T>>) -> Option<&'a Snapshot<T>> {
    let mut seconds = BTreeMap::<i64, Vec<&Snapshot<T>>>::new();
    for snapshot in snapshots {
        seconds.entry(snapshot.second).or_default().push(snapshot);
    }
    seconds.into_values().fold(None, |before, second| last_of_second(&second, before))
}

/// The last of one second's snapshots; `before` is the state that the second began with, as far as it is known.
fn last_of_second<'a, T: State>(second: &[&'a Snapshot<T>], before: Option<&Snapshot<T>>) -> Option<&'a Snapshot<T>> {
    ends_of_second(second, before).into_iter().max_by_key(|snapshot| &snapshot.source)
}

/// The newest version of the form that all of `snapshots` were read with at least.
fn common_version<'a, T: State + 'a>(snapshots: impl Iterator<Item = &'a Snapshot<T>>) -> u32 {
    snapshots.map(|snapshot| snapshot.version).min().unwrap_or(FIRST_VERSION)
}

/// Those of one second's snapshots that may be the last.
fn ends_of_second<'a, T: State>(second: &[&'a Snapshot<T>], before: Option<&Snapshot<T>>) -> Vec<&'a Snapshot<T>> {
    let is_change = |snapshot: &Snapshot<T>| !snapshot.is_creation && !snapshot.is_announcement;
    let second: Vec<_> = if second.iter().copied().any(is_change) {
        second.iter().copied().filter(|snapshot| !snapshot.is_announcement).collect()
    } else {
        second.to_vec()
    };
    if let [only] = second[..] {
        return vec![only];
    }
    let version = common_version(second.iter().copied().chain(before));
    let states: Vec<_> = second.iter().map(|snapshot| snapshot.digest_at(version)).collect();
    // How often each state is entered, less how often it is left; nothing for a state that no step leads to or from.
    let mut surplus = BTreeMap::<&str, i32>::new();
    for (snapshot, state) in second.iter().zip(&states) {
        if snapshot.is_creation {
            *surplus.entry(&**state).or_default() += 1;
        } else if let Some(left) = snapshot.before.as_ref().and_then(|before| before.at_version(version)) {
            *surplus.entry(&**state).or_default() += 1;
            *surplus.entry(left).or_default() -= 1;
        }
    }
    let begins_here = second.iter().any(|snapshot| snapshot.is_creation);
    let beginning = before.filter(|_| !begins_here).map(|before| before.digest_at(version));
    if let Some(entered) = beginning.as_ref().and_then(|state| surplus.get_mut(&**state)) {
        *entered += 1;
    }
    // A state that no step explains may be the last as well.
    let is_end = |state: &String| surplus.get(&**state).is_none_or(|surplus| *surplus > 0);
    let chain_has_end = states.iter().any(is_end);
    let ends = second.iter().zip(&states).filter(|(_, state)| !chain_has_end || is_end(state));
    let (creations, changes): (Vec<_>, Vec<_>) =
        ends.map(|(snapshot, _)| *snapshot).partition(|snapshot| snapshot.is_creation);
    if changes.is_empty() { creations } else { changes }
}
