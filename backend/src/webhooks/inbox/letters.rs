//! Dead letters of events, and what operators ordered: written in the transaction of what becomes of the event.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tollgate_db::{DbError, Tx, UnitOfWork};
use tollgate_domain::audit::acts::{self, Act};
use tollgate_domain::dead_letters::{self, Failure, Subject};
use tollgate_shared::{Rng, Timestamp};

use super::claims::Claims;
use super::job::{Intent, Job, Order};
use crate::webhooks::Status;
use crate::webhooks::store::Known;

/// Opens the letters of those events of a batch that became dead letters (those in `panicked` among them), ends those of the
/// events that did so before and are in effect now, and puts on record what operators ordered. For new events that end well
/// it asks the database nothing.
pub(super) async fn settle(
    tx: &mut Tx,
    work: &mut UnitOfWork,
    batch: &[&Job],
    claims: &Claims,
    panicked: &BTreeSet<usize>,
) -> Result<(), DbError> {
    let (now, rng) = (work.now(), work.rng().clone());
    let mut ended: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for index in claims.ours() {
        let job = batch[index];
        let known = claims.known(&job.event.id);
        let reason = match &job.intent {
            Intent::DeadLetter { reason } => Some(&**reason),
            Intent::Observe(_) | Intent::Ignore { .. } => panicked.contains(&index).then_some("panicked"),
        };
        let order = job.mode.order();
        match reason {
            Some(reason) => open(tx, now, &rng, job, reason, attempts_since_open(known)).await?,
            None if known.is_some() => {
                ended.insert(&job.event.id, order.map(|order| &*order.by.actor));
            }
            None => {}
        }
        if let (Some(order), Some(known)) = (order, known) {
            let status = if reason.is_some() { Status::DeadLettered } else { job.intent.status() };
            record(work, order, known, status);
        }
    }
    for letter in dead_letters::of_events(tx, &ended.keys().map(|id| (*id).to_owned()).collect()).await? {
        dead_letters::end(tx, now, &letter.id, ended.get(&*letter.event_id).copied().flatten()).await?;
    }
    Ok(())
}

/// The same for an event whose transaction failed, and which is now stored as `status`.
pub(super) async fn settle_failed(
    tx: &mut Tx,
    work: &mut UnitOfWork,
    job: &Job,
    known: Option<&Known>,
    (status, reason): (Status, Option<&str>),
    attempts: i64,
) -> Result<(), DbError> {
    let now = work.now();
    let order = job.mode.order();
    if let Some(reason) = reason {
        let rng = work.rng().clone();
        open(tx, now, &rng, job, reason, attempts).await?;
    } else if let Some(order) = order {
        dead_letters::note_retry_of_event(tx, now, &job.event.id, &order.by.actor).await?;
    }
    if let (Some(order), Some(known)) = (order, known) {
        record(work, order, known, status);
    }
    Ok(())
}

async fn open(tx: &mut Tx, now: Timestamp, rng: &Rng, job: &Job, reason: &str, attempts: i64) -> Result<(), DbError> {
    let failure = Failure {
        subject: Subject::Webhook(&job.event.id),
        customer_id: job.customer_id(),
        event_type: &job.event_type(),
        reason,
        attempts,
    };
    dead_letters::open(tx, now, rng, &failure).await
}

/// This attempt, and those before it that no letter counts yet.
fn attempts_since_open(known: Option<&Known>) -> i64 {
    1 + known.filter(|known| known.status() == Status::Failed).map_or(0, |known| known.attempts)
}

fn record(work: &mut UnitOfWork, order: &Order, known: &Known, status: Status) {
    let (before, after) = (json!({ "status": known.status }), json!({ "status": status.name() }));
    let target = ("webhook_event", &*known.id);
    acts::record(work, &order.by, Act { action: order.action, target, before: Some(before), after: Some(after) });
    work.release_savepoint();
}
