//! Which of the snapshots of one Stripe object is the last, whatever the order and number of times they arrived in.
//!
//! An event's `created` is whole seconds and several changes share one, so the newest seconds are kept with all their
//! snapshots. Within a second, `previous_attributes` makes each event a step from a state to a state; the last state is
//! the one that is entered once more than it is left. Terminal states beat time. What this leaves open, the larger
//! event id decides: arbitrary, but the same everywhere.
//!
//! A history is a set that only these rules thin out, so observing is commutative, associative and idempotent: that is
//! what makes the order of delivery irrelevant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How many of an object's newest seconds are kept: the last one, and the one before, whose outcome tells where the
/// last one began (1 → 2 → 1 within a second is a circle that only its beginning can break).
const SECONDS_KEPT: usize = 2;

/// What a history needs to know of the state it keeps.
pub trait State: Clone + PartialEq + Serialize {
    /// Whether nothing can come after this state.
    fn is_terminal(&self) -> bool;
    /// Whether we know what this state means; access follows the last that we do.
    fn is_understood(&self) -> bool {
        true
    }
}

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
    /// Fingerprint of the state just before, where the event said what it changed.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Fingerprint>,
    /// The state.
    #[serde(rename = "s")]
    pub state: T,
}

/// Stands for a state, to tell equal from different.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of `state`.
    pub fn of<T: Serialize>(state: &T) -> Self {
        let json = serde_json::to_vec(state).expect("a state of strings, numbers and lists is always JSON");
        Self(hex::encode(&Sha256::digest(json)[..8]))
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
    pub fn tie(&self) -> Option<i64> {
        let newest = self.0.last()?.second;
        let (older, second): (Vec<_>, Vec<_>) = self.0.iter().partition(|snapshot| snapshot.second < newest);
        let ends = ends_of_second(&second, last_of(older.into_iter()));
        let differ = ends.iter().any(|end| end.state != ends[0].state);
        (differ && !second[0].state.is_terminal()).then_some(newest)
    }

    /// Whether no snapshot has come yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn thin_out(&mut self) {
        if self.0.iter().any(|snapshot| snapshot.state.is_terminal()) {
            self.0.retain(|snapshot| snapshot.state.is_terminal());
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

/// Those of one second's snapshots that may be the last.
fn ends_of_second<'a, T: State>(second: &[&'a Snapshot<T>], before: Option<&Snapshot<T>>) -> Vec<&'a Snapshot<T>> {
    if let [only] = second {
        return vec![only];
    }
    let states: Vec<_> = second.iter().map(|snapshot| Fingerprint::of(&snapshot.state)).collect();
    // How often each state is entered, less how often it is left; nothing for a state that no step leads to or from.
    let mut surplus = BTreeMap::<&Fingerprint, i32>::new();
    for (snapshot, state) in second.iter().zip(&states) {
        if snapshot.is_creation {
            *surplus.entry(state).or_default() += 1;
        } else if let Some(left) = &snapshot.before {
            *surplus.entry(state).or_default() += 1;
            *surplus.entry(left).or_default() -= 1;
        }
    }
    let begins_here = second.iter().any(|snapshot| snapshot.is_creation);
    let beginning = before.filter(|_| !begins_here).map(|before| Fingerprint::of(&before.state));
    if let Some(entered) = beginning.as_ref().and_then(|state| surplus.get_mut(state)) {
        *entered += 1;
    }
    // A state that no step explains may be the last as well.
    let is_end = |state: &Fingerprint| surplus.get(state).is_none_or(|surplus| *surplus > 0);
    let chain_has_end = states.iter().any(is_end);
    let ends = second.iter().zip(&states).filter(|(_, state)| !chain_has_end || is_end(state));
    let (creations, changes): (Vec<_>, Vec<_>) =
        ends.map(|(snapshot, _)| *snapshot).partition(|snapshot| snapshot.is_creation);
    if changes.is_empty() { creations } else { changes }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize)]
    struct Light(i32);

    const OFF_FOR_GOOD: i32 = 99;
    const STRANGE: i32 = -1;

    impl State for Light {
        fn is_terminal(&self) -> bool {
            self.0 == OFF_FOR_GOOD
        }
        fn is_understood(&self) -> bool {
            self.0 != STRANGE
        }
    }

    fn step(source: &str, second: i64, from: i32, to: i32) -> Snapshot<Light> {
        let before = Some(Fingerprint::of(&Light(from)));
        Snapshot { source: source.into(), second, is_creation: false, before, state: Light(to) }
    }

    fn look(source: &str, second: i64, at: i32) -> Snapshot<Light> {
        Snapshot { source: source.into(), second, is_creation: false, before: None, state: Light(at) }
    }

    fn creation(source: &str, second: i64, to: i32) -> Snapshot<Light> {
        Snapshot { is_creation: true, ..look(source, second, to) }
    }

    fn history(snapshots: &[Snapshot<Light>]) -> History<Light> {
        let mut history = History::default();
        for snapshot in snapshots {
            history.observe(snapshot.clone());
        }
        history
    }

    fn last(snapshots: &[Snapshot<Light>]) -> i32 {
        history(snapshots).last().expect("something was observed").state.0
    }

    #[test]
    fn a_later_second_wins_and_an_old_snapshot_is_not_kept() {
        assert_eq!(last(&[look("b", 20, 2), look("a", 10, 1)]), 2);
        let mut history = history(&[look("c", 30, 3), look("b", 20, 2)]);
        assert!(!history.observe(look("a", 10, 1)));
        assert!(!history.observe(look("c", 30, 3)));
    }

    #[test]
    fn within_a_second_the_snapshot_that_names_the_other_as_previous_is_the_later() {
        assert_eq!(last(&[step("b", 10, 1, 2), step("a", 10, 2, 3)]), 3);
        assert_eq!(last(&[step("a", 10, 2, 3), step("b", 10, 1, 2)]), 3);
    }

    #[test]
    fn there_and_back_within_a_second_ends_where_it_began() {
        let (there, back) = (step("z", 20, 1, 2), step("a", 20, 2, 1));
        assert_eq!(last(&[creation("m", 20, 1), there.clone(), back.clone()]), 1);
        assert_eq!(last(&[back, look("m", 10, 1), there]), 1);
    }

    #[test]
    fn a_creation_is_before_everything_else_of_its_second() {
        assert_eq!(last(&[look("a", 10, 2), creation("b", 10, 1)]), 2);
    }

    #[test]
    fn what_nothing_tells_apart_the_larger_id_decides() {
        assert_eq!(last(&[look("a", 10, 1), look("b", 10, 2)]), 2);
        assert_eq!(last(&[look("b", 10, 1), look("a", 10, 2)]), 1);
    }

    #[test]
    fn only_what_nothing_tells_apart_is_a_tie() {
        let tie = |snapshots: &[Snapshot<Light>]| history(snapshots).tie();
        assert_eq!(tie(&[look("a", 10, 1), look("b", 10, 2)]), Some(10));
        assert_eq!(tie(&[step("a", 10, 1, 2), step("b", 10, 1, 3)]), Some(10));
        for told_apart in [
            vec![],
            vec![look("a", 10, 1)],
            vec![look("a", 10, 1), look("b", 10, 1)],
            vec![look("a", 10, 1), look("b", 20, 2)],
            vec![look("a", 10, 1), look("b", 10, 2), look("c", 20, 1)],
            vec![step("b", 10, 1, 2), step("a", 10, 2, 3)],
            vec![look("m", 10, 1), step("z", 20, 1, 2), step("a", 20, 2, 1)],
            vec![creation("b", 10, 1), look("a", 10, 2)],
            vec![look("a", 10, OFF_FOR_GOOD), look("b", 10, 1)],
        ] {
            assert_eq!(tie(&told_apart), None, "{told_apart:?}");
        }
    }

    #[test]
    fn a_terminal_state_is_for_good_whatever_comes_later() {
        assert_eq!(last(&[look("a", 10, OFF_FOR_GOOD), look("b", 20, 1)]), OFF_FOR_GOOD);
        assert_eq!(last(&[look("b", 20, 1), look("a", 10, OFF_FOR_GOOD)]), OFF_FOR_GOOD);
    }

    #[test]
    fn a_state_that_nobody_understands_is_shown_but_the_last_understood_one_is_still_known() {
        let history =
            history(&[look("d", 40, STRANGE), look("a", 10, 1), look("c", 30, STRANGE), look("b", 20, STRANGE)]);
        assert_eq!(history.last().unwrap().state.0, STRANGE);
        assert_eq!(history.last_understood().unwrap().state.0, 1);
    }

    /// A true life of an object: states that follow each other, several a second, each event naming what it changed.
    fn life() -> impl Strategy<Value = (Vec<Snapshot<Light>>, i32)> {
        prop::collection::vec((0..3_i64, 0..4_i32, "[a-z]{6}"), 1..12).prop_map(|changes| {
            let (mut second, mut state, mut seen) = (100, None, Vec::new());
            for (n, (pause, next, id)) in changes.into_iter().enumerate() {
                if state == Some(next) {
                    continue;
                }
                second += pause / 2;
                let source = format!("{id}{n}");
                seen.push(match state {
                    None => creation(&source, second, next),
                    Some(from) => step(&source, second, from, next),
                });
                state = Some(next);
            }
            (seen, state.expect("the first change is always one"))
        })
    }

    proptest! {
        #[test]
        fn any_order_and_any_repetition_ends_in_the_same_history(
            (seen, _) in life(), order in prop::collection::vec(any::<Index>(), 0..40)
        ) {
            let mut shuffled: Vec<_> = order.iter().map(|index| index.get(&seen).clone()).collect();
            shuffled.extend(seen.iter().rev().cloned());
            prop_assert_eq!(history(&shuffled), history(&seen));
        }

        #[test]
        fn a_life_that_visits_no_state_twice_ends_in_its_last_state(pauses in prop::collection::vec(0..2_i64, 1..8), rotation: Index) {
            let mut second = 100;
            let mut seen = vec![creation("m0", second, 0)];
            for (state, pause) in pauses.iter().enumerate() {
                second += pause;
                seen.push(step(&format!("{}{state}", if state % 2 == 0 { 'z' } else { 'a' }), second, state as i32, state as i32 + 1));
            }
            let end = pauses.len() as i32;
            let middle = rotation.index(seen.len());
            seen.rotate_left(middle);
            prop_assert_eq!(last(&seen), end);
        }

        #[test]
        fn a_life_whose_every_second_begins_in_a_known_state_ends_in_its_last_state((seen, end) in life()) {
            // Two seconds are kept, so a life of at most two is one whose beginning is known.
            let seconds: std::collections::BTreeSet<_> = seen.iter().map(|snapshot| snapshot.second).collect();
            prop_assume!(seconds.len() <= SECONDS_KEPT);
            prop_assert_eq!(last(&seen), end);
        }
    }
}
