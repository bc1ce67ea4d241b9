//! What rules say of a moment, and what becomes of alerts by that.

mod life;
mod thresholds;
mod watch;

use chrono::Duration;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use super::rules::{Judgement, judge};
use super::snapshot::{EventNumbers, JobNumbers, LetterNumbers, RelayNumbers, RelaySaid, Share, Snapshot};
use super::thresholds::Thresholds;
use super::*;

/// When it is in these tests.
fn now() -> Timestamp {
    from_unix(1_750_000_000).unwrap()
}

fn minutes_ago(minutes: i64) -> Timestamp {
    now() - Duration::minutes(minutes)
}

/// Nothing is amiss.
fn calm() -> Snapshot {
    Snapshot {
        at: now(),
        is_after_break: false,
        relays: vec![answers("a:3001"), answers("b:3001")],
        signatures: Share::default(),
        events: EventNumbers { oldest_failed_at: None, quiet_since: now(), has_live_subscriptions: true },
        letters: LetterNumbers::default(),
        jobs: vec![job(60, 0, 0)],
        payments: Share::default(),
        payments_before: Share::default(),
        grace_ending: 0,
        stripe_calls: Share::default(),
        messages: BTreeMap::new(),
        unmatched_subscriptions: 0,
        unknown_versions: Vec::new(),
        synced_changes: 0,
        reconciled: 0,
    }
}

fn answers(relay: &str) -> RelayNumbers {
    let said =
        RelaySaid { can_append: true, oldest_unconfirmed_seconds: None, not_durable: 0, is_replica_up: Some(true) };
    RelayNumbers { relay: relay.to_owned(), silent_running: 0, said: Some(said) }
}

fn job(interval_seconds: i64, late_seconds: i64, failed_running: i64) -> JobNumbers {
    JobNumbers { job: "retry-events", interval_seconds, late_seconds, failed_running }
}

fn share(failed: i64, all: i64) -> Share {
    Share { failed, all }
}

/// What is found where the second relay says this of itself.
fn of_relay(change: impl FnOnce(&mut RelaySaid)) -> Vec<String> {
    let mut seen = calm();
    change(seen.relays[1].said.as_mut().unwrap());
    found(&seen)
}

/// What is found where this is otherwise.
fn with(change: impl FnOnce(&mut Snapshot)) -> Vec<String> {
    let mut seen = calm();
    change(&mut seen);
    found(&seen)
}

fn found(seen: &Snapshot) -> Vec<String> {
    shown(&judge(seen, &Thresholds::default()))
}

/// Each finding in a line: `NotDurable critical relay=b:3001`.
fn shown(judgement: &Judgement) -> Vec<String> {
    let line = |finding: &Finding| {
        let about = finding.about.as_ref().map_or(String::new(), |(label, value)| format!(" {label}={value}"));
        assert!(!finding.summary.is_empty());
        format!("{} {}{about}", finding.alert.name(), finding.severity.name())
    };
    judgement.findings.iter().map(line).collect()
}

#[test]
fn nothing_is_found_where_nothing_is_amiss() {
    assert!(found(&calm()).is_empty());
}

#[test]
fn a_relay_that_refuses_events_or_cannot_write_is_not_durable() {
    let not_durable = ["NotDurable critical relay=b:3001"];
    assert_eq!(of_relay(|said| said.not_durable = 1), not_durable);
    assert_eq!(of_relay(|said| said.can_append = false), not_durable);
}

#[test]
fn events_that_wait_for_too_long_are_a_failing_delivery() {
    assert!(of_relay(|said| said.oldest_unconfirmed_seconds = Some(300)).is_empty());
    let behind = of_relay(|said| said.oldest_unconfirmed_seconds = Some(301));
    assert_eq!(behind, ["WebhookDeliveryFailing critical relay=b:3001"]);
    assert!(with(|seen| seen.events.oldest_failed_at = Some(minutes_ago(30))).is_empty());
    let waits = with(|seen| seen.events.oldest_failed_at = Some(minutes_ago(30) - Duration::seconds(1)));
    assert_eq!(waits, ["WebhookDeliveryFailing critical"]);
}

#[test]
fn a_relay_is_unreachable_that_was_silent_twice_running() {
    let silent =
        |times| with(|seen| seen.relays[0] = RelayNumbers { silent_running: times, said: None, ..answers("a:3001") });
    assert!(silent(1).is_empty());
    assert_eq!(silent(2), ["RelayUnreachable critical relay=a:3001"]);
    assert_eq!(silent(9), silent(2));
}

#[test]
fn a_copy_that_is_away_is_told_and_none_is_none() {
    assert_eq!(of_relay(|said| said.is_replica_up = Some(false)), ["ReplicaDown warning relay=b:3001"]);
    assert!(of_relay(|said| said.is_replica_up = None).is_empty());
}

#[test]
fn signatures_fail_by_number_and_by_share() {
    let signed = |failed, all| with(|seen| seen.signatures = share(failed, all));
    assert_eq!(signed(10, 99), ["SignatureFailures warning"]);
    assert_eq!(signed(10, 10), ["SignatureFailures warning"]);
    assert!(signed(10, 100).is_empty(), "a tenth is not over a tenth");
    assert!(signed(9, 9).is_empty());
}

#[test]
fn no_webhook_for_a_day_is_told_where_some_have_to_come() {
    let quiet = |hours, has_live_subscriptions| {
        let quiet_since = now() - Duration::hours(hours);
        with(|seen| seen.events = EventNumbers { quiet_since, has_live_subscriptions, oldest_failed_at: None })
    };
    assert!(quiet(23, true).is_empty() && quiet(240, false).is_empty());
    assert_eq!(quiet(24, true), ["NoWebhooks warning"]);
}

#[test]
fn dead_letters_are_told_by_age_and_by_number() {
    let letters =
        |open, minutes| with(|seen| seen.letters = LetterNumbers { open, oldest_at: Some(minutes_ago(minutes)) });
    assert!(letters(49, 14).is_empty());
    assert_eq!(letters(1, 15), ["DeadLetters warning"]);
    assert_eq!(letters(50, 0), ["DeadLetters critical"]);
    assert_eq!(letters(50, 15), ["DeadLetters warning", "DeadLetters critical"]);
}

#[test]
fn a_job_fails_that_is_late_or_failed_three_times_running() {
    let jobs = |job| with(|seen| seen.jobs = vec![job]);
    let failing = ["CronFailing critical job=retry-events"];
    for (interval, late) in [(60, 600), (300, 600), (3600, 7200), (86_400, 172_800)] {
        assert!(jobs(job(interval, late - 1, 0)).is_empty(), "{interval}");
        assert_eq!(jobs(job(interval, late, 0)), failing, "{interval}");
    }
    assert!(jobs(job(60, 0, 2)).is_empty());
    assert_eq!(jobs(job(60, 0, 3)), failing);
}

#[test]
fn after_a_break_jobs_are_only_about_to_begin() {
    let after_break = |job| with(|seen| (seen.jobs, seen.is_after_break) = (vec![job], true));
    assert!(after_break(job(3600, 86_400, 0)).is_empty());
    assert_eq!(after_break(job(60, 600, 3)), ["CronFailing critical job=retry-events"], "that it failed is known");
}

#[test]
fn payments_fail_far_more_often_than_before() {
    let payments = |hour, before| with(|seen| (seen.payments, seen.payments_before) = (hour, before));
    let spike = ["PaymentFailureSpike warning"];
    assert_eq!(payments(share(10, 32), share(100, 1000)), spike);
    assert_eq!(payments(share(10, 10), share(0, 0)), spike, "there was nothing before");
    assert!(payments(share(9, 9), share(0, 100)).is_empty(), "too few");
    assert!(payments(share(30, 100), share(0, 100)).is_empty(), "30 of 100 are not over 30%");
    assert!(payments(share(40, 100), share(14, 100)).is_empty(), "not three times as many");
    assert_eq!(payments(share(42, 100), share(14, 100)), spike);
}

#[test]
fn graces_that_end_are_one_alert_with_their_number() {
    let mut seen = calm();
    seen.grace_ending = 3;
    let judgement = judge(&seen, &Thresholds::default());
    assert_eq!(shown(&judgement), ["GraceEnding warning"]);
    assert!(judgement.findings[0].summary.contains("3 memberships"), "{judgement:?}");
}

#[test]
fn calls_and_messages_fail_by_number_and_by_share() {
    let calls = |failed, all| with(|seen| seen.stripe_calls = share(failed, all));
    assert_eq!(calls(5, 20), ["StripeErrors warning"]);
    assert!(calls(4, 20).is_empty() && calls(19, 19).is_empty());
    let messages = |failed, all| {
        let sent = BTreeMap::from([("email".to_owned(), share(failed, all)), ("push".to_owned(), share(0, 9))]);
        with(|seen| seen.messages = sent)
    };
    assert_eq!(messages(2, 5), ["MessagesFailing warning channel=email"]);
    assert!(messages(1, 5).is_empty() && messages(4, 4).is_empty());
}

#[test]
fn what_is_new_to_us_is_told() {
    assert_eq!(with(|seen| seen.unmatched_subscriptions = 1), ["UnknownPrice warning"]);
    assert_eq!(with(|seen| seen.unknown_versions.push("2027-03-31.fennel".to_owned())), ["UnknownVersion warning"]);
    assert_eq!(with(|seen| seen.synced_changes = 1), ["SyncDrift warning"]);
    assert_eq!(with(|seen| seen.reconciled = 1), ["SyncDrift warning"]);
}

#[test]
fn an_alert_is_known_by_what_prometheus_would_know_it_by() {
    // `model.LabelSet{}.Fingerprint()` of its Go library, and that of one label.
    let labels = Labels::from([("relay".to_owned(), "a:3001".to_owned())]);
    let one = fingerprint("NotDurable", "critical", &labels);
    assert_eq!(one.len(), 16);
    assert_eq!(one, fingerprint("NotDurable", "critical", &labels));
    for other in [
        fingerprint("NotDurable", "warning", &labels),
        fingerprint("ReplicaDown", "critical", &labels),
        fingerprint("NotDurable", "critical", &Labels::new()),
    ] {
        assert_ne!(one, other);
    }
    assert_eq!(fingerprint("a", "b", &Labels::new()), by_hand("alertname\u{0}a\u{0}severity\u{0}b\u{0}"));
}

/// FNV-1a of a text, with the byte 255 in the place of each NUL.
fn by_hand(text: &str) -> String {
    let bytes = text.bytes().map(|byte| if byte == 0 { 255 } else { byte });
    let hash = bytes
        .fold(14_695_981_039_346_656_037_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211));
    format!("{hash:016x}")
}
