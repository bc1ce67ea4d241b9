//! Histories of lights that are switched, and of lamps that later releases know more of.

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
    Snapshot::new(source, second, false, Some(&Light(from)), Light(to))
}

fn look(source: &str, second: i64, at: i32) -> Snapshot<Light> {
    Snapshot::new(source, second, false, None, Light(at))
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
fn an_end_that_is_only_seen_yields_to_one_that_is_told() {
    let seen = Snapshot { is_announcement: true, ..look("said", 30, OFF_FOR_GOOD) };
    let told = look("evt", 20, OFF_FOR_GOOD);
    for order in [[&seen, &told], [&told, &seen]] {
        let history = history(&order.map(Clone::clone));
        assert_eq!(history.last().map(|last| last.second), Some(20));
    }
    assert_eq!(history(&[look("evt", 20, 1), seen]).last().map(|last| last.second), Some(30));
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
fn an_announcement_changes_nothing_that_a_change_of_its_second_tells() {
    let announced = |source: &str, state| Snapshot { is_announcement: true, ..look(source, 10, state) };
    assert_eq!(last(&[announced("b", 1), step("a", 10, 3, 2)]), 2);
    assert_eq!(last(&[look("a", 10, 2), announced("b", 1)]), 2);
    assert_eq!(last(&[announced("a", 2), creation("b", 10, 1)]), 2);
    assert_eq!(last(&[look("b", 9, 1), announced("a", 2)]), 2);
    assert_eq!(history(&[announced("b", 1), look("a", 10, 2)]).ambiguous_second(), None);
}

#[test]
fn what_nothing_tells_apart_the_larger_id_decides() {
    assert_eq!(last(&[look("a", 10, 1), look("b", 10, 2)]), 2);
    assert_eq!(last(&[look("b", 10, 1), look("a", 10, 2)]), 1);
}

#[test]
fn only_what_nothing_tells_apart_is_ambiguous() {
    let ambiguous = |snapshots: &[Snapshot<Light>]| history(snapshots).ambiguous_second();
    assert_eq!(ambiguous(&[look("a", 10, 1), look("b", 10, 2)]), Some(10));
    assert_eq!(ambiguous(&[step("a", 10, 1, 2), step("b", 10, 1, 3)]), Some(10));
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
        assert_eq!(ambiguous(&told_apart), None, "{told_apart:?}");
    }
}

#[test]
fn a_terminal_state_is_for_good_whatever_comes_later() {
    assert_eq!(last(&[look("a", 10, OFF_FOR_GOOD), look("b", 20, 1)]), OFF_FOR_GOOD);
    assert_eq!(last(&[look("b", 20, 1), look("a", 10, OFF_FOR_GOOD)]), OFF_FOR_GOOD);
}

#[test]
fn a_state_that_nobody_understands_is_shown_but_the_last_understood_one_is_still_known() {
    let history = history(&[look("d", 40, STRANGE), look("a", 10, 1), look("c", 30, STRANGE), look("b", 20, STRANGE)]);
    assert_eq!(history.last().unwrap().state.0, STRANGE);
    assert_eq!(history.last_understood().unwrap().state.0, 1);
}

/// A lamp that later releases read the colour of too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Lamp {
    light: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    colour: Option<String>,
}

impl State for Lamp {
    const VERSION: u32 = 2;

    fn at_version(self, version: u32) -> Self {
        Self { colour: self.colour.filter(|_| version >= 2), ..self }
    }

    fn is_terminal(&self) -> bool {
        false
    }
}

fn red(light: i32) -> Lamp {
    Lamp { light, colour: Some("red".to_owned()) }
}

#[test]
fn a_field_that_a_release_adds_does_not_break_the_chain_of_a_second() {
    // What the release before has kept: it knew no colour, neither of this state nor of the one before.
    let digests = [1, 2].map(|light| digest(&Lamp { light, colour: None }));
    let kept = format!(r#"[{{"e":"z","t":10,"b":"{}","s":{{"light":2}}}}]"#, digests[0]);
    for (before, after, end) in [(red(2), red(3), red(3)), (red(0), red(1), Lamp { light: 2, colour: None })] {
        let mut history: History<Lamp> = serde_json::from_str(&kept).expect("it was kept so");
        assert_eq!(serde_json::to_string(&history).expect("it is JSON"), kept);
        assert!(history.observe(Snapshot::new("a", 10, false, Some(&before), after)));
        assert_eq!(history.last().map(|last| &last.state), Some(&end));
        assert_eq!(history.ambiguous_second(), None);
    }
}

#[test]
fn among_snapshots_of_this_release_the_new_field_tells_states_apart() {
    let colourless = Lamp { light: 1, colour: None };
    let mut history = History::default();
    history.observe(Snapshot::new("b", 10, false, Some(&colourless), red(1)));
    history.observe(Snapshot::new("a", 10, false, Some(&red(1)), Lamp { light: 1, colour: Some("blue".to_owned()) }));
    let kept = serde_json::to_string(&history).expect("it is JSON");
    let history: History<Lamp> = serde_json::from_str(&kept).expect("it was kept so");
    assert_eq!(history.last().and_then(|last| last.state.colour.as_deref()), Some("blue"));
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
