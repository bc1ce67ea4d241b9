//! Judges what is amiss. One does so at a time, over all processes; what comes of it is written in one transaction with what
//! is to be told of it.

use chrono::Duration;
use serde::Serialize;
use tollgate_db::DbError;
use tollgate_domain::alerts::rules;
use tollgate_domain::alerts::snapshot::{RelayNumbers, RelaySaid, Snapshot};
use tollgate_domain::alerts::thresholds::{self as of, Thresholds};
use tollgate_domain::alerts::watch::{Sample, Watch};
use tollgate_domain::alerts::{self, messages};
use tollgate_domain::cron::schedule::Schedule;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{RequestId, Timestamp};
use tracing::{info, warn};

use super::counted;
use super::numbers::Known;
use crate::relays::{Asked, Status};
use crate::webhooks::inbox::Inbox;

/// What a judgement came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    firing: usize,
    told: usize,
}

/// Judges, and writes down what is to be told.
pub async fn judge(inbox: &Inbox, jobs: &[(&'static str, Schedule)]) -> Result<Judged, DbError> {
    let app = inbox.app();
    let thresholds = &*app.config.alerts.thresholds;
    counted::write(inbox).await?;
    let request_id = RequestId::new(app.clock.now(), &app.rng);
    let relays = app.relays.status(&request_id).await;
    let now = app.clock.now();
    let known = Known::gather(&mut app.read_list().await?, now, thresholds, jobs).await?;
    let mut tx = app.begin_write().await?;
    let mut watch = tx.load_or_insert(&[&Watch::new(now)]).await?.pop().unwrap_or_else(|| Watch::new(now));
    if watch.is_ahead_of(now) {
        // A process that everybody took for dead: others have judged since.
        return Ok(Judged::default());
    }
    let is_after_break = watch.is_after_break(now);
    watch.note(now, relays.iter().map(|asked| (name_of(asked), asked.said.as_ref().map(|said| sample(now, said)))));
    let seen = snapshot(now, is_after_break, &watch, &relays, known, thresholds);
    let judgement = rules::judge(&seen, thresholds);
    let before = alerts::known(&mut tx).await?;
    let steps = alerts::follow(&before, &judgement, now, app.config.alerts.repeat_after);
    tx.upsert(&[&watch]).await?;
    tx.upsert(&steps.iter().map(|step| &step.alert).collect::<Vec<_>>()).await?;
    let destinations = app.pager.destinations();
    for told in steps.iter().filter_map(|step| step.told.as_ref()) {
        messages::queue(&mut tx, now, &app.rng, told, &destinations).await?;
    }
    messages::forget(&mut tx, now).await?;
    counted::forget(&mut tx, now).await?;
    tx.commit().await?;
    let told: Vec<_> = steps.iter().filter_map(|step| step.told.as_ref()).collect();
    for told in &told {
        let (alert, severity, summary) = (&told.alert, &told.severity, &told.summary);
        if told.ends_at.is_some() {
            info!(alert, severity, "alert {alert} ({severity}) is resolved");
        } else {
            warn!(alert, severity, "alert {alert} ({severity}): {summary}");
        }
    }
    Ok(Judged { firing: judgement.findings.len(), told: told.len() })
}

fn snapshot(
    now: Timestamp,
    is_after_break: bool,
    watch: &Watch,
    relays: &[Asked<Status>],
    known: Known,
    thresholds: &Thresholds,
) -> Snapshot {
    let minutes = |number| Duration::minutes(thresholds.of(number));
    let relays = relays.iter().map(|asked| {
        let relay = name_of(asked);
        let said = asked.said.as_ref().map(|said| RelaySaid {
            can_append: said.can_append,
            oldest_unconfirmed_seconds: said.oldest_unconfirmed_seconds,
            not_durable: watch.not_durable(&relay, now, minutes(of::NOT_DURABLE_MINUTES)),
            is_replica_up: said.metrics.get("tollgate_relay_replica_up").map(|up| *up > 0.0),
        });
        RelayNumbers { silent_running: watch.silent_running(&relay), relay, said }
    });
    Snapshot {
        at: now,
        is_after_break,
        relays: relays.collect(),
        signatures: watch.signatures(now, minutes(of::SIGNATURE_MINUTES)),
        events: known.events(watch.began_at),
        letters: known.letters,
        jobs: known.jobs,
        payments: known.payments,
        payments_before: known.payments_before,
        grace_ending: known.grace_ending,
        stripe_calls: known.stripe_calls,
        messages: known.messages,
        unmatched_subscriptions: known.unmatched_subscriptions,
        unknown_versions: known.unknown_versions,
        synced_changes: known.synced_changes,
        reconciled: known.reconciled,
    }
}

/// What a relay is called in alerts: where its private listener is, which is known of a silent one too.
fn name_of(asked: &Asked<Status>) -> String {
    let bare = asked.url.split_once("://").map_or(&*asked.url, |(_, rest)| rest);
    bare.trim_end_matches('/').to_owned()
}

/// Webhooks whose signature was looked at, by what they were answered.
const SIGNED: [&str; 6] =
    ["received", "backend_failed", "not_durable", "malformed_event", MISMATCH, "timestamp_out_of_tolerance"];
const MISMATCH: &str = "signature_mismatch";

fn sample(now: Timestamp, said: &Status) -> Sample {
    let number = |name: &str| said.metrics.get(name).copied().unwrap_or(0.0) as i64;
    let answered = |answer: &str| number(&format!("tollgate_relay_webhooks_total{{answer=\"{answer}\"}}"));
    Sample {
        at: now,
        started_at: from_unix(number("process_start_time_seconds")).filter(|at| *at > Timestamp::UNIX_EPOCH),
        not_durable: answered("not_durable"),
        mismatches: answered(MISMATCH),
        signed: SIGNED.into_iter().map(answered).sum(),
    }
}
