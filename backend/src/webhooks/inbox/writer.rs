//! What writes: all that wait at the moment, through one transaction.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, mpsc};
use tollgate_stripe::Observation;
use tracing::{error, warn};

use super::BATCH_MAX;
use super::claims::Claims;
use super::job::{Intent, Job};
use super::outcome::{IntakeError, Outcome};
use crate::app::App;
use crate::db::DbError;
use crate::webhooks::attempts::retry_delay;
use crate::webhooks::refetch::Ties;
use crate::webhooks::{Status, store};
use tollgate_domain::apply::{self, Touched};

/// One that writes. Several may, as several replicas do.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) app: App,
    pub(super) database_was_away: Arc<AtomicBool>,
    /// Where what events leave open is settled, if Stripe can be asked.
    pub(super) ties: Option<Ties>,
}

impl Writer {
    /// Writes what comes, until nothing can come any more.
    pub(super) async fn run(self, waiting: Arc<Mutex<mpsc::Receiver<Vec<Job>>>>) {
        while let Some(mut jobs) = take_all(&waiting).await {
            // In even pieces: a few left over would cost as much as many.
            let piece = jobs.len().div_ceil(jobs.len().div_ceil(BATCH_MAX));
            while !jobs.is_empty() {
                let later = jobs.split_off(piece.min(jobs.len()));
                metrics::histogram!("tollgate_backend_batch_events").record(jobs.len() as f64);
                self.write(std::mem::replace(&mut jobs, later)).await;
            }
            // Those who were just answered bring their next event in this turn, and not after half a batch has gone.
            tokio::task::yield_now().await;
        }
    }

    /// Writes a batch. When it fails as a whole, each event is tried alone, so that one in trouble harms none that
    /// shares its batch; what still fails is stored as failed.
    async fn write(&self, batch: Vec<Job>) {
        let failure = match self.apply_again_on_conflict(&batch).await {
            Ok(answers) => return batch.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer)),
            Err(failure) => failure,
        };
        self.note(&failure);
        if matches!(failure, DbError::Unavailable { .. }) {
            return batch.into_iter().for_each(|job| job.answer(Err(IntakeError::NotStored)));
        }
        let alone = batch.len() == 1;
        for job in batch {
            let answer = match if alone {
                Err(failure.clone())
            } else {
                self.apply_again_on_conflict([&job]).await.map(|mut answers| answers.remove(0))
            } {
                Ok(answer) => answer,
                Err(failure) => self.store_failure(&job, &failure).await,
            };
            job.answer(answer);
        }
    }

    /// A deadlock or a busy database says "again", and means it; once.
    async fn apply_again_on_conflict<'a>(
        &self,
        batch: impl IntoIterator<Item = &'a Job> + Clone,
    ) -> Result<Vec<Result<Outcome, IntakeError>>, DbError> {
        match self.apply(batch.clone()).await {
            Err(DbError::Conflict { .. } | DbError::Locked { .. }) => self.apply(batch).await,
            answers => answers,
        }
    }

    async fn apply<'a>(
        &self,
        batch: impl IntoIterator<Item = &'a Job>,
    ) -> Result<Vec<Result<Outcome, IntakeError>>, DbError> {
        let batch: Vec<&Job> = batch.into_iter().collect();
        let now = self.app.clock.now();
        let settings = &self.app.settings;
        let mut tx = self.app.db.inbox().await?;
        let claims = Claims::take(&mut tx, now, &batch).await?;
        let observed: Vec<(usize, &Observation)> = claims
            .ours()
            .filter_map(|index| match &batch[index].intent {
                Intent::Observe(observation) => Some((index, &**observation)),
                Intent::Ignore { .. } | Intent::DeadLetter { .. } => None,
            })
            .collect();

        let mut touched = Touched::default();
        for (_, observation) in &observed {
            apply::touched_by(observation, &mut touched);
        }
        let mut work = apply::load(&mut tx, settings, now, &touched).await?;
        let mut dead_lettered = BTreeSet::new();
        for (index, observation) in observed {
            let applied = catch_unwind(AssertUnwindSafe(|| apply::apply(&mut work, settings, observation)));
            if applied.is_ok() {
                work.release_savepoint();
            } else {
                work.rollback();
                dead_lettered.insert(index);
                store::dead_letter(&mut tx, now, &batch[index].event.id, "panicked").await?;
            }
        }
        let changes = work.write(&mut tx).await?;
        tx.commit().await?;
        if let Some(ties) = &self.ties {
            ties.hand_in(&changes);
        }
        Ok(claims.answers(&batch, &dead_lettered))
    }

    async fn store_failure(&self, job: &Job, failure: &DbError) -> Result<Outcome, IntakeError> {
        self.note(failure);
        let event = &job.event;
        warn!(event.id = %event.id, request_id = %job.request_id, reason = failure.class(), "could not process event {}", event.id);
        match self.try_store_failure(job, failure).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.note(&failure);
                error!(event.id = %event.id, request_id = %job.request_id, reason = failure.class(), "could not store event {}", event.id);
                Err(IntakeError::NotStored)
            }
        }
    }

    async fn try_store_failure(&self, job: &Job, failure: &DbError) -> Result<Result<Outcome, IntakeError>, DbError> {
        let now = self.app.clock.now();
        let mut tx = self.app.db.inbox().await?;
        let answer = match store::lock(&mut tx, &job.event.id).await? {
            Some(known) if known.status() != Status::Failed => Ok(Outcome::Duplicate),
            Some(known) if !known.is_due(now) => Err(IntakeError::RetryScheduled),
            known => {
                let attempts = known.as_ref().map_or(0, |known| known.attempts) + 1;
                let next = retry_delay(attempts).filter(|_| !is_poison(failure)).map(|delay| now + delay);
                let class = failure.class();
                match (known, next) {
                    (Some(_), Some(at)) => store::fail_again(&mut tx, &job.event.id, attempts, class, at).await?,
                    (Some(_), None) => {
                        store::dead_letter_exhausted(&mut tx, now, &job.event.id, attempts, class).await?
                    }
                    (None, next) => {
                        let status = if next.is_some() { Status::Failed } else { Status::DeadLettered };
                        let mut row = job.row(now, status);
                        row.reason = next.is_none().then(|| class.to_owned());
                        row.last_error = Some(class.to_owned());
                        row.next_attempt_at = next;
                        tx.insert(&[&row]).await?;
                    }
                }
                next.map_or(Ok(Outcome::DeadLettered), |_| Err(IntakeError::RetryScheduled))
            }
        };
        tx.commit().await?;
        Ok(answer)
    }

    fn note(&self, failure: &DbError) {
        if matches!(failure, DbError::Unavailable { .. }) {
            self.database_was_away.store(true, Ordering::Release);
        }
    }
}

/// All that wait, until they make a batch. What came in one request stays together: its events are taken in their order.
async fn take_all(waiting: &Mutex<mpsc::Receiver<Vec<Job>>>) -> Option<Vec<Job>> {
    let mut waiting = waiting.lock().await;
    let mut jobs = waiting.recv().await?;
    while jobs.len() < BATCH_MAX
        && let Ok(more) = waiting.try_recv()
    {
        jobs.extend(more);
    }
    Some(jobs)
}

/// Whether the same event would fail in the same way for ever: a constraint forbids what it says.
fn is_poison(failure: &DbError) -> bool {
    matches!(failure, DbError::Constraint { .. })
}
