//! What is amiss, as the numbers of a moment say. Each rule is one alert's; none asks anybody anything.

use std::collections::BTreeSet;

use chrono::Duration;
use tollgate_shared::Timestamp;

use super::snapshot::{JobNumbers, RelayNumbers, Share, Snapshot};
use super::thresholds::{self as of, Thresholds};
use super::{Alert, AlertName, Finding, Severity};

/// What came of judging a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is amiss.
    pub findings: Vec<Finding>,
    /// Relays that were silent: of what only they know nothing can be said.
    silent: BTreeSet<String>,
    /// Nobody was there for a while: whether jobs are late cannot be said.
    is_after_break: bool,
}

/// The label that names a relay.
pub const RELAY: &str = "relay";
/// The label that names a job.
const JOB: &str = "job";
/// The label that names a channel.
const CHANNEL: &str = "channel";

/// What only relays know.
const OF_RELAYS: [AlertName; 4] =
    [AlertName::NotDurable, AlertName::WebhookDeliveryFailing, AlertName::ReplicaDown, AlertName::SignatureFailures];

/// Judges a moment.
pub fn judge(seen: &Snapshot, thresholds: &Thresholds) -> Judgement {
    let rules: [fn(&Snapshot, &Thresholds) -> Vec<Finding>; 15] = [
        not_durable,
        delivery_failing,
        relay_unreachable,
        replica_down,
        signature_failures,
        no_webhooks,
        dead_letters,
        cron_failing,
        payment_failure_spike,
        grace_ending,
        stripe_errors,
        messages_failing,
        unknown_price,
        unknown_version,
        sync_drift,
    ];
    let findings = rules.iter().flat_map(|rule| rule(seen, thresholds));
    let findings = findings.filter(|finding| thresholds.is_enabled(finding.alert)).collect();
    let silent = seen.relays.iter().filter(|relay| relay.said.is_none()).map(|relay| relay.relay.clone()).collect();
    Judgement { findings, silent, is_after_break: seen.is_after_break }
}

impl Judgement {
    /// Whether it cannot be said that an alert which was not found is over.
    pub fn leaves_open(&self, alert: &Alert) -> bool {
        if self.is_after_break && alert.alert == AlertName::CronFailing.name() {
            return true;
        }
        let is_of_relays = OF_RELAYS.iter().any(|name| name.name() == alert.alert);
        is_of_relays
            && match alert.labels.0.get(RELAY) {
                Some(relay) => self.silent.contains(relay),
                // Of all relays together; an event that waits here is known of without them.
                None => alert.alert == AlertName::SignatureFailures.name() && !self.silent.is_empty(),
            }
    }
}

fn critical(alert: AlertName, about: Option<(&'static str, String)>, summary: String) -> Finding {
    Finding { alert, severity: Severity::Critical, about, summary }
}

fn warning(alert: AlertName, about: Option<(&'static str, String)>, summary: String) -> Finding {
    Finding { alert, severity: Severity::Warning, about, summary }
}

/// A finding where something is so, else none.
fn only_if(is_so: bool, finding: impl FnOnce() -> Finding) -> Vec<Finding> {
    is_so.then(finding).into_iter().collect()
}

/// A relay had to refuse events, or will have to.
fn not_durable(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let minutes = thresholds.of(of::NOT_DURABLE_MINUTES);
    let of_relay = |relay: &RelayNumbers| {
        let said = relay.said?;
        let name = &relay.relay;
        let summary = match (said.can_append, said.not_durable) {
            (false, _) => format!("the journal of the relay {name} takes no events"),
            (true, 0) => return None,
            (true, times) => {
                format!("the relay {name} could not take {times} events within {minutes} minutes; Stripe repeats them")
            }
        };
        Some(critical(AlertName::NotDurable, Some((RELAY, name.clone())), summary))
    };
    seen.relays.iter().filter_map(of_relay).collect()
}

/// Events that Stripe has delivered do not take effect.
fn delivery_failing(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let alert = AlertName::WebhookDeliveryFailing;
    let unconfirmed_max = thresholds.of(of::UNCONFIRMED_MINUTES) * 60;
    let behind = seen.relays.iter().filter_map(|relay| {
        let seconds = relay.said?.oldest_unconfirmed_seconds.filter(|seconds| *seconds > unconfirmed_max)?;
        let name = &relay.relay;
        let summary =
            format!("the oldest event that no backend has confirmed to the relay {name} is {} old", minutes(seconds));
        Some(critical(alert, Some((RELAY, name.clone())), summary))
    });
    let waits = seen.events.oldest_failed_at.map(|at| seen.at - at);
    let waits = waits.filter(|waits| *waits > Duration::minutes(thresholds.of(of::FAILED_MINUTES)));
    let waiting = waits.map(|waits| {
        let waits = minutes(waits.num_seconds());
        critical(alert, None, format!("the oldest event that failed has waited for another attempt for {waits}"))
    });
    behind.chain(waiting).collect()
}

/// Nothing is known of a relay.
fn relay_unreachable(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let silent = seen.relays.iter().filter(|relay| relay.silent_running >= thresholds.of(of::SILENT_TIMES));
    let finding = |relay: &RelayNumbers| {
        let (name, times) = (&relay.relay, relay.silent_running);
        let summary = format!("the private listener of the relay {name} was silent {times} times running");
        critical(AlertName::RelayUnreachable, Some((RELAY, name.clone())), summary)
    };
    silent.map(finding).collect()
}

/// The copy of a relay's journal is away.
fn replica_down(seen: &Snapshot, _: &Thresholds) -> Vec<Finding> {
    let alone = seen.relays.iter().filter(|relay| relay.said.is_some_and(|said| said.is_replica_up == Some(false)));
    let finding = |relay: &RelayNumbers| {
        let name = &relay.relay;
        let summary = format!("the copy of the journal of the relay {name} cannot be reached");
        warning(AlertName::ReplicaDown, Some((RELAY, name.clone())), summary)
    };
    alone.map(finding).collect()
}

/// The endpoint's secret at Stripe is none of ours, or somebody tries.
fn signature_failures(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let Share { failed, all } = seen.signatures;
    let is_so =
        failed >= thresholds.of(of::SIGNATURE_COUNT) && seen.signatures.is_over(thresholds.of(of::SIGNATURE_PERCENT));
    only_if(is_so, || {
        let minutes = thresholds.of(of::SIGNATURE_MINUTES);
        let summary = format!("{failed} of {all} webhooks within {minutes} minutes match no secret");
        warning(AlertName::SignatureFailures, None, summary)
    })
}

/// Stripe may have disabled the endpoint.
fn no_webhooks(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let quiet = seen.at - seen.events.quiet_since;
    let is_so = seen.events.has_live_subscriptions && quiet >= Duration::hours(thresholds.of(of::NO_WEBHOOKS_HOURS));
    only_if(is_so, || {
        let summary =
            format!("no webhook came for {} hours; see whether Stripe has the endpoint enabled", quiet.num_hours());
        warning(AlertName::NoWebhooks, None, summary)
    })
}

/// A person has to look, and does not.
fn dead_letters(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let open = seen.letters.open;
    let is_old = |at: Timestamp| seen.at - at >= Duration::minutes(thresholds.of(of::LETTER_MINUTES));
    let summary = || format!("{open} dead letters of webhooks and messages are open");
    let old = seen.letters.oldest_at.is_some_and(is_old);
    let mut findings = only_if(old, || warning(AlertName::DeadLetters, None, summary()));
    findings
        .extend(only_if(open >= thresholds.of(of::LETTER_COUNT), || critical(AlertName::DeadLetters, None, summary())));
    findings
}

/// What is done by the clock is not done.
fn cron_failing(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let of_job = |job: &JobNumbers| {
        let intervals = thresholds.of(of::LATE_INTERVALS).saturating_mul(job.interval_seconds);
        let late_min = intervals.max(thresholds.of(of::LATE_MINUTES) * 60);
        let name = job.job;
        let is_late = job.late_seconds >= late_min && !seen.is_after_break;
        let summary = if is_late {
            format!("the job {name} is late by {}", minutes(job.late_seconds))
        } else if job.failed_running >= thresholds.of(of::FAILED_RUNS) {
            format!("the job {name} failed {} times running", job.failed_running)
        } else {
            return None;
        };
        Some(critical(AlertName::CronFailing, Some((JOB, name.to_owned())), summary))
    };
    seen.jobs.iter().filter_map(of_job).collect()
}

/// Far more payments fail than usual.
fn payment_failure_spike(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let Share { failed, all } = seen.payments;
    let is_so = failed >= thresholds.of(of::PAYMENT_COUNT)
        && seen.payments.is_over(thresholds.of(of::PAYMENT_PERCENT))
        && seen.payments.is_times(thresholds.of(of::PAYMENT_TIMES), &seen.payments_before);
    only_if(is_so, || {
        let (percent, before) = (seen.payments.percent(), seen.payments_before.percent());
        let summary = format!(
            "{failed} of {all} payments of the last hour failed, {percent}% after {before}% in the seven days before"
        );
        warning(AlertName::PaymentFailureSpike, None, summary)
    })
}

/// People are about to lose their places.
fn grace_ending(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let count = seen.grace_ending;
    only_if(count > 0, || {
        let hours = thresholds.of(of::GRACE_HOURS);
        let summary = format!("the grace of {count} memberships is over within {hours} hours");
        warning(AlertName::GraceEnding, None, summary)
    })
}

/// Stripe does not answer as it should.
fn stripe_errors(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let Share { failed, all } = seen.stripe_calls;
    let is_so = all >= thresholds.of(of::STRIPE_COUNT) && seen.stripe_calls.is_over(thresholds.of(of::STRIPE_PERCENT));
    only_if(is_so, || {
        let minutes = thresholds.of(of::STRIPE_MINUTES);
        warning(
            AlertName::StripeErrors,
            None,
            format!("{failed} of {all} calls to Stripe within {minutes} minutes failed"),
        )
    })
}

/// People are not told what they should be.
fn messages_failing(seen: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let failing = seen.messages.iter().filter(|(_, share)| are_failing(share, thresholds));
    let finding = |(channel, share): (&String, &Share)| {
        let summary = format!("{} of {} messages by {channel} of the last hour failed", share.failed, share.all);
        warning(AlertName::MessagesFailing, Some((CHANNEL, channel.clone())), summary)
    };
    failing.map(finding).collect()
}

/// Whether an hour's messages of a channel fail.
pub fn are_failing(messages: &Share, thresholds: &Thresholds) -> bool {
    messages.all >= thresholds.of(of::MESSAGE_COUNT) && messages.is_over(thresholds.of(of::MESSAGE_PERCENT))
}

/// Somebody pays for something that gives nothing.
fn unknown_price(seen: &Snapshot, _: &Thresholds) -> Vec<Finding> {
    let count = seen.unmatched_subscriptions;
    only_if(count > 0, || {
        let summary = format!("{count} live subscriptions have come to be ones that no plan matches; see PLANS_FILE");
        warning(AlertName::UnknownPrice, None, summary)
    })
}

/// Events have a shape that may be read wrong.
fn unknown_version(seen: &Snapshot, _: &Thresholds) -> Vec<Finding> {
    only_if(!seen.unknown_versions.is_empty(), || {
        let versions = seen.unknown_versions.join(", ");
        let summary = format!("events came of an API version that this release does not know: {versions}");
        warning(AlertName::UnknownVersion, None, summary)
    })
}

/// Webhooks did not bring all that happened.
fn sync_drift(seen: &Snapshot, _: &Thresholds) -> Vec<Finding> {
    let (synced, reconciled) = (seen.synced_changes, seen.reconciled);
    only_if(synced > 0 || reconciled > 0, || {
        let by_sync = (synced > 0).then(|| format!("sync-subscriptions changed {synced} subscriptions"));
        let by_comparing = (reconciled > 0).then(|| format!("reconcile found {reconciled} things"));
        let found: Vec<_> = by_sync.into_iter().chain(by_comparing).collect();
        let summary = format!("{} that webhooks had not brought up to date", found.join(", "));
        warning(AlertName::SyncDrift, None, summary)
    })
}

/// So many seconds, for people.
fn minutes(seconds: i64) -> String {
    match seconds / 60 {
        short if short < 120 => format!("{short} minutes"),
        long => format!("{} hours", long / 60),
    }
}
