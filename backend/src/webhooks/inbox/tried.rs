//! What becomes of the attempts of a batch is written with them, in the statement that writes their rows.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::{Json, Record as _, UnitOfWork};
use tollgate_domain::apply::made;
use tollgate_domain::events::LicenseEvent;
use tollgate_shared::{Timestamp, ids};

use super::claims::Claims;
use super::job::{Intent, Job, Mode};
use crate::app::App;
use crate::webhooks::Status;
use crate::webhooks::batches::{Attempt, Batch, By};

/// Keys of rows by their table: of those that were not there before, and of those that were.
#[derive(Debug, Default)]
pub(super) struct Names {
    created: BTreeMap<String, Vec<String>>,
    changed: BTreeMap<String, Vec<String>>,
}

/// A name for a batch that is about to be written.
pub(super) fn new_id(app: &App) -> String {
    ids::new_id("bat", app.clock.now(), &app.rng)
}

impl Names {
    /// The rows that were changed since the last savepoint.
    pub(super) fn drafted(work: &UnitOfWork) -> Self {
        let mut names = Self::default();
        // Of a log each row's key is the licence's: an event is named by itself.
        for event in work.draft_appended::<LicenseEvent>() {
            names.created.entry(LicenseEvent::TABLE.to_owned()).or_default().push(event.id.clone());
        }
        for effect in work.drafted_effects() {
            if effect.table == LicenseEvent::TABLE {
                continue;
            }
            let is_new = effect.is_new || made::was_placeholder(work, effect.table, effect.key);
            let names = if is_new { &mut names.created } else { &mut names.changed };
            names.entry(effect.table.to_owned()).or_default().push(effect.key.to_owned());
        }
        names
    }
}

/// Writes down what was tried with the events of a batch, of which those in `panicked` did.
pub(super) fn note(
    work: &mut UnitOfWork,
    batch_id: &str,
    batch: &[&Job],
    claims: &Claims,
    mut names: BTreeMap<usize, Names>,
    panicked: &BTreeSet<usize>,
) {
    let now = work.now();
    let attempts: BTreeMap<_, _> = claims
        .ours()
        .map(|index| {
            let job = batch[index];
            let Names { created, changed } = names.remove(&index).unwrap_or_default();
            let (outcome, error) = match &job.intent {
                _ if panicked.contains(&index) => (Status::DeadLettered, Some("panicked")),
                Intent::DeadLetter { reason } => (Status::DeadLettered, Some(&**reason)),
                Intent::Ignore { reason } => (Status::Ignored, *reason),
                Intent::Observe(_) => (Status::Processed, None),
            };
            let before = claims.known(&job.event.id).and_then(|known| known.batch_id.clone());
            (job.event.id.clone(), Attempt { created, changed, ..attempt(now, job, outcome, error, before) })
        })
        .collect();
    write(work, batch_id, attempts);
}

/// The same of one event that failed.
pub(super) fn note_failure(
    work: &mut UnitOfWork,
    batch_id: &str,
    job: &Job,
    (outcome, error): (Status, &str),
    before: Option<String>,
) {
    let attempt = attempt(work.now(), job, outcome, Some(error), before);
    write(work, batch_id, BTreeMap::from([(job.event.id.clone(), attempt)]));
}

fn attempt(now: Timestamp, job: &Job, outcome: Status, error: Option<&str>, before: Option<String>) -> Attempt {
    Attempt {
        by: match job.mode {
            Mode::Delivery => By::Relay,
            Mode::Retry | Mode::Fetched => By::Retry,
            Mode::Operator(_) => By::Operator,
        },
        outcome: outcome.name().to_owned(),
        error: error.map(str::to_owned),
        duration_ms: i64::try_from(job.age().as_millis()).unwrap_or(i64::MAX),
        lag_ms: job.received_at_relay.map(|at| (now - at).num_milliseconds().max(0)),
        request_id: job.request_id.to_string(),
        created: BTreeMap::new(),
        changed: BTreeMap::new(),
        before,
    }
}

fn write(work: &mut UnitOfWork, batch_id: &str, attempts: BTreeMap<String, Attempt>) {
    // With or without one it is the same statement.
    work.expect_appended::<Batch>();
    if !attempts.is_empty() {
        work.append(Batch { id: batch_id.to_owned(), at: work.now(), attempts: Json(attempts) });
        work.release_savepoint();
    }
}
