//! What becomes of an alert from one judgement to the next.

use super::*;

/// Alerts as they go, judged every five minutes.
struct Life {
    now: Timestamp,
    known: Vec<Alert>,
}

impl Life {
    fn new() -> Self {
        Self { now: now(), known: Vec::new() }
    }

    /// What people are told by a judgement of `seen`, and five minutes pass.
    fn judge(&mut self, seen: &Snapshot) -> Vec<String> {
        let judgement = judge(seen, &Thresholds::default());
        let steps = follow(&self.known, &judgement, self.now, Duration::hours(4));
        self.now += Duration::minutes(5);
        let mut told = Vec::new();
        for Step { alert, told: news } in steps {
            self.known.retain(|known| known.fingerprint != alert.fingerprint);
            told.extend(news.map(|news| {
                let state = if news.ends_at.is_some() { State::Resolved } else { State::Firing };
                format!("{} {}", news.alert, state.name())
            }));
            self.known.push(alert);
        }
        told
    }

    fn alert(&mut self) -> &mut Alert {
        assert_eq!(self.known.len(), 1);
        &mut self.known[0]
    }
}

/// The grace of so many memberships ends.
fn ending(count: i64) -> Snapshot {
    Snapshot { grace_ending: count, ..calm() }
}

#[test]
fn an_alert_is_told_once_and_when_it_is_over() {
    let mut life = Life::new();
    assert!(life.judge(&calm()).is_empty());
    assert_eq!(life.judge(&ending(1)), ["GraceEnding firing"]);
    let began = life.alert().starts_at;
    for count in [1, 2, 3] {
        assert!(life.judge(&ending(count)).is_empty(), "another number is the same alert");
    }
    assert!(life.alert().summary.contains("3 memberships"));
    assert!(life.judge(&calm()).is_empty(), "once may be luck");
    assert_eq!(life.judge(&calm()), ["GraceEnding resolved"]);
    assert_eq!((life.alert().starts_at, life.alert().is_firing()), (began, false));
    assert!(life.judge(&calm()).is_empty());
    assert_eq!(life.judge(&ending(1)), ["GraceEnding firing"], "and it may come again");
    assert!(life.alert().starts_at > began && life.alert().ends_at.is_none());
}

#[test]
fn one_that_comes_and_goes_is_not_over() {
    let mut life = Life::new();
    assert_eq!(life.judge(&ending(1)), ["GraceEnding firing"]);
    for _ in 0..5 {
        assert!(life.judge(&calm()).is_empty());
        assert!(life.judge(&ending(1)).is_empty());
    }
    assert!(life.alert().is_firing());
}

#[test]
fn what_goes_on_is_told_again_every_four_hours() {
    let mut life = Life::new();
    let told: Vec<_> = (0..=96).filter(|_| !life.judge(&ending(1)).is_empty()).collect();
    assert_eq!(told, [0, 48, 96]);
}

#[test]
fn a_judgement_that_is_some_seconds_early_is_not_too_early() {
    let mut life = Life::new();
    life.judge(&ending(1));
    life.now = now() + Duration::hours(4) - Duration::seconds(20);
    assert_eq!(life.judge(&ending(1)).len(), 1);
}

#[test]
fn nobody_is_told_of_what_is_silenced_until_it_is_not() {
    let mut life = Life::new();
    assert_eq!(life.judge(&ending(1)), ["GraceEnding firing"]);
    life.alert().silenced_until = Some(life.now + Duration::hours(6));
    let told: Vec<_> = (1..=80).filter(|_| !life.judge(&ending(1)).is_empty()).collect();
    assert_eq!(told, [73], "at the first judgement after the silence");
    life.alert().silenced_until = Some(life.now + Duration::hours(1));
    assert!(life.judge(&calm()).is_empty() && life.judge(&calm()).is_empty());
    assert!(!life.alert().is_firing());
}

#[test]
fn nobody_hears_that_something_is_over_of_which_nobody_heard() {
    let mut life = Life::new();
    life.judge(&ending(1));
    life.judge(&calm());
    life.judge(&calm());
    life.alert().silenced_until = Some(life.now + Duration::minutes(12));
    assert!(life.judge(&ending(1)).is_empty() && life.judge(&calm()).is_empty());
    life.now += Duration::hours(1);
    assert!(life.judge(&calm()).is_empty());
    assert!(!life.alert().is_firing());
}

#[test]
fn what_only_a_silent_relay_knows_is_left_as_it_is() {
    let mut behind = calm();
    behind.relays[0].said.as_mut().unwrap().oldest_unconfirmed_seconds = Some(900);
    let mut silent = calm();
    silent.relays[0].said = None;
    silent.relays[0].silent_running = 1;
    let mut life = Life::new();
    assert_eq!(life.judge(&behind), ["WebhookDeliveryFailing firing"]);
    for _ in 0..5 {
        assert!(life.judge(&silent).is_empty());
    }
    assert_eq!(life.alert().good_judgements, 0);
    assert!(life.judge(&calm()).is_empty());
    assert_eq!(life.judge(&calm()), ["WebhookDeliveryFailing resolved"]);
}

#[test]
fn what_is_late_stays_told_where_nobody_was_there() {
    let late = Snapshot { jobs: vec![job(60, 900, 0)], ..calm() };
    let mut life = Life::new();
    assert_eq!(life.judge(&late), ["CronFailing firing"]);
    for _ in 0..3 {
        assert!(life.judge(&Snapshot { is_after_break: true, ..late.clone() }).is_empty());
    }
    assert_eq!(life.alert().good_judgements, 0);
    assert!(life.judge(&calm()).is_empty());
    assert_eq!(life.judge(&calm()), ["CronFailing resolved"]);
}

#[test]
fn signatures_are_judged_by_all_relays_or_not_at_all() {
    let mut failing = calm();
    failing.signatures = share(50, 100);
    let mut silent = calm();
    silent.relays[0].said = None;
    let mut life = Life::new();
    assert_eq!(life.judge(&failing), ["SignatureFailures firing"]);
    assert!(life.judge(&silent).is_empty() && life.judge(&silent).is_empty());
    assert!(life.alert().is_firing());
}

#[test]
fn what_is_gone_for_good_is_over() {
    let mut down = calm();
    down.relays[1].said.as_mut().unwrap().is_replica_up = Some(false);
    let mut without = calm();
    without.relays.truncate(1);
    let mut life = Life::new();
    assert_eq!(life.judge(&down), ["ReplicaDown firing"]);
    life.judge(&without);
    assert_eq!(life.judge(&without), ["ReplicaDown resolved"]);
}

#[test]
fn a_clock_that_was_ahead_delays_no_word() {
    let mut life = Life::new();
    life.judge(&ending(1));
    life.alert().told_at = Some(life.now + Duration::days(365));
    assert_eq!(life.judge(&ending(1)), ["GraceEnding firing"]);
}

#[test]
fn two_relays_are_two_alerts() {
    let mut seen = calm();
    for relay in &mut seen.relays {
        relay.said.as_mut().unwrap().can_append = false;
    }
    let mut life = Life::new();
    assert_eq!(life.judge(&seen), ["NotDurable firing", "NotDurable firing"]);
    assert_eq!(life.known.len(), 2);
}
