//! What is remembered of relays.

use super::*;
use crate::alerts::watch::{Sample, Watch};

const RELAY: &str = "a:3001";

/// A relay that is asked every five minutes.
struct Asked {
    now: Timestamp,
    watch: Watch,
}

impl Asked {
    fn new() -> Self {
        Self { now: now(), watch: Watch::new(now()) }
    }

    /// It says what it has counted since `started_at`; then five minutes pass.
    fn says(&mut self, not_durable: i64, started_at: Option<Timestamp>) -> i64 {
        let sample = Sample { at: self.now, started_at, not_durable, mismatches: not_durable, signed: 2 * not_durable };
        self.hears(Some(sample))
    }

    fn hears(&mut self, sample: Option<Sample>) -> i64 {
        self.watch.note(self.now, [(RELAY.to_owned(), sample)]);
        let counted = self.watch.not_durable(RELAY, self.now, Duration::minutes(5));
        self.now += Duration::minutes(5);
        counted
    }
}

#[test]
fn only_what_was_counted_within_the_time_counts() {
    let mut relay = Asked::new();
    let long_ago = Some(now() - Duration::days(9));
    assert_eq!(relay.says(7, long_ago), 0, "whoever looks first cannot know when that was");
    assert_eq!(relay.says(7, long_ago), 0);
    assert_eq!(relay.says(9, long_ago), 2);
    assert_eq!(relay.says(9, long_ago), 0);
    // Of the last quarter of an hour it is still.
    let within = relay.watch.signatures(relay.now - Duration::minutes(5), Duration::minutes(15));
    assert_eq!(within, share(2, 4));
}

#[test]
fn a_relay_that_began_again_counts_from_nothing() {
    let mut relay = Asked::new();
    relay.says(7, None);
    let restarted = Some(relay.now - Duration::minutes(1));
    assert_eq!(relay.says(3, restarted), 3);
    // By its own word, though it has counted as much again.
    let once_more = Some(relay.now - Duration::minutes(1));
    assert_eq!(relay.says(3, once_more), 3);
    assert_eq!(relay.says(3, once_more), 0);
}

#[test]
fn all_that_a_relay_counted_counts_that_has_just_begun() {
    let mut relay = Asked::new();
    let just_now = Some(now() - Duration::minutes(2));
    assert_eq!(relay.says(3, just_now), 3);
    assert_eq!(relay.says(3, just_now), 0);
}

#[test]
fn how_often_a_relay_was_silent_is_counted_until_it_answers() {
    let mut relay = Asked::new();
    relay.says(0, None);
    for times in 1..4 {
        relay.hears(None);
        assert_eq!(relay.watch.silent_running(RELAY), times);
    }
    assert_eq!(relay.says(2, None), 2, "it happened since it was last heard of");
    assert_eq!(relay.watch.silent_running(RELAY), 0);
}

#[test]
fn what_is_remembered_has_an_end() {
    let mut relay = Asked::new();
    for _ in 0..2000 {
        relay.says(0, None);
    }
    assert!(relay.watch.relays.0[RELAY].samples.len() <= 300);
    relay.watch.note(relay.now, []);
    assert!(relay.watch.relays.0.is_empty(), "nobody asks it any more");
}

#[test]
fn a_clock_that_is_set_back_stops_no_judgement() {
    let mut relay = Asked::new();
    relay.says(1, None);
    assert!(relay.watch.is_ahead_of(now() - Duration::minutes(1)), "somebody has judged since");
    assert!(!relay.watch.is_ahead_of(now()));
    assert!(!relay.watch.is_ahead_of(now() - Duration::days(1)), "that was a clock that was wrong");
    relay.now = now() - Duration::days(1);
    assert_eq!(relay.says(2, None), 0);
    assert_eq!(relay.says(4, None), 2);
}

#[test]
fn a_break_is_when_nobody_judged_for_a_quarter_of_an_hour() {
    let mut watch = Watch::new(now());
    assert!(!watch.is_after_break(now()), "whoever begins had no break");
    watch.note(now(), []);
    assert!(!watch.is_after_break(now() + Duration::minutes(15)), "two judgements may be missed");
    assert!(watch.is_after_break(now() + Duration::minutes(16)));
    assert!(!watch.is_after_break(now() - Duration::days(1)), "that was a clock that was wrong");
}
