//! A batch of events in one transaction, and what becomes of an event whose transaction fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use tollgate_db::{Changes, DbError, Tx, UnitOfWork};
use tollgate_domain::apply::made::Names as MadeNames;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::events;
use tollgate_domain::notifications;
use tollgate_shared::Timestamp;
use tollgate_shared::log_safe::LogSafe;
use tollgate_stripe::Observation;
use tracing::{error, warn};

use super::claims::Claims;
use super::job::{Answer, Intent, Job};
use super::letters;
use super::made::Made;
use super::outcome::{IntakeError, Outcome};
use super::tried::{self, Names};
use crate::app::App;
use crate::tally;
use crate::webhooks::attempts::{OUTAGE_DELAY, retry_delay};
use crate::webhooks::ordering::refetch::RefetchQueue;
use crate::webhooks::store::{self, Failure};
use crate::webhooks::{Status, WebhookEvent};
use crate::write::{Panicked, attempt};

/// How long a transaction waits for rows that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockWait {
    /// As long as another writer may take for its batch.
    Batch,
    /// Just long enough to find out whether they are held.
    Probe,
}

/// What writes a batch. Cheap to clone.
#[derive(Clone)]
pub(super) struct BatchWriter {
    pub(super) app: App,
    /// Where what events leave open is resolved, if Stripe can be asked.
    pub(super) refetch: Option<RefetchQueue>,
    /// Whether the database was away since the failed events were last made due.
    pub(super) database_was_away: Arc<AtomicBool>,
}

/// What applying a batch comes to, once its transaction is committed.
pub(super) struct Applied<'b> {
    /// What was applied, by its index in the batch.
    observed: Vec<(usize, &'b Observation)>,
    pub(super) answers: Vec<Answer>,
    /// The rows that each operator's attempt made by being loaded.
    pub(super) made: BTreeMap<usize, MadeNames>,
    changes: Changes,
}

impl BatchWriter {
    /// Applies a batch in one transaction; once more when a deadlock or a busy file asks for that.
    pub(super) async fn apply<'a>(
        &self,
        batch: impl IntoIterator<Item = &'a Job>,
        wait: LockWait,
    ) -> Result<Vec<Answer>, DbError> {
        let batch: Vec<&Job> = batch.into_iter().collect();
        match self.try_apply(&batch, wait).await {
            Err(DbError::Conflict { .. }) => {
                metrics::counter!("tollgate_backend_write_conflicts_total").increment(1);
                self.try_apply(&batch, wait).await
            }
            answers => answers,
        }
    }

    async fn try_apply(&self, batch: &[&Job], wait: LockWait) -> Result<Vec<Answer>, DbError> {
        let begun = Instant::now();
        let mut tx = self.begin(wait).await?;
        let Applied { observed, answers, changes, .. } = self.apply_in(&mut tx, batch, |_, _| ()).await?;
        tx.commit().await?;
        self.app.bells.ring_for(&changes);
        tally::count(&changes);
        metrics::histogram!("tollgate_backend_batch_seconds").record(begun.elapsed().as_secs_f64());
        self.measure_lags(batch, &answers);
        if let Some(refetch) = &self.refetch {
            refetch.enqueue(&changes, observed.iter().map(|(_, observation)| *observation));
        }
        Ok(answers)
    }

    /// Measures how late those events are processed now of which a relay said when it had received them.
    fn measure_lags(&self, batch: &[&Job], answers: &[Answer]) {
        let now = self.app.clock.now();
        for (job, answer) in batch.iter().zip(answers) {
            let Some(at) = job.received_at_relay.filter(|_| *answer == Ok(Outcome::Processed)) else { continue };
            self.app.measured.lag(now, now - at);
            let seconds = (now - at).as_seconds_f64().max(0.0);
            metrics::histogram!("tollgate_backend_event_lag_seconds").record(seconds);
        }
    }

    /// Applies a batch within a transaction, whatever becomes of that. `watch` sees what each event, by its index in the batch,
    /// has changed.
    pub(super) async fn apply_in<'b>(
        &self,
        tx: &mut Tx,
        batch: &[&'b Job],
        mut watch: impl FnMut(usize, &UnitOfWork) + Send,
    ) -> Result<Applied<'b>, DbError> {
        let App { clock, settings, .. } = &self.app;
        let (now, batch_id) = (clock.now(), tried::new_id(&self.app));
        let claims = Claims::take(tx, now, batch, &batch_id).await?;
        let observed: Vec<(usize, &Observation)> = claims
            .ours()
            .filter_map(|index| match &batch[index].intent {
                Intent::Observe(observation) => Some((index, &**observation)),
                Intent::Ignore { .. } | Intent::DeadLetter { .. } => None,
            })
            .collect();

        let mut touched = Touched::default();
        for (_, observation) in &observed {
            touched.add(observation);
        }
        let made = Made::before_load(tx, batch, &observed).await?;
        let mut work = apply::load(tx, settings, now, &touched).await?;
        let made = made.after_load(tx).await?;
        let (mut panicked, mut unchanged, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        for (index, observation) in observed.iter().copied() {
            let id = &*batch[index].event.id;
            let was_in_effect = claims.was_in_effect(id);
            let applied = attempt(&mut work, |work| {
                apply::apply(work, settings, observation);
                notifications::follow(work, settings, Some(id));
                events::note_source(work, id);
                watch(index, work);
                let is_unchanged = was_in_effect && work.drafts().is_empty() && !made.contains_key(&index);
                (is_unchanged, Names::drafted(work))
            });
            match applied {
                // What was in effect still is, also where it cannot be applied once more.
                Ok((true, _)) => drop(unchanged.insert(index)),
                Ok((false, changed)) => drop(names.insert(index, changed)),
                Err(Panicked) if was_in_effect => drop(unchanged.insert(index)),
                Err(Panicked) => {
                    panicked.insert(index);
                    store::dead_letter(tx, now, id, "panicked").await?;
                }
            }
        }
        letters::settle(tx, &mut work, batch, &claims, &panicked).await?;
        tried::note(&mut work, &batch_id, batch, &claims, names, &panicked);
        let changes = work.write(tx).await?;
        Ok(Applied { observed, answers: claims.answers(batch, &panicked, &unchanged), made, changes })
    }

    /// Applies each event of a batch alone, so that one in trouble harms none that shared its batch; what fails is stored
    /// as failed. `failure` is what the batch failed with.
    pub(super) async fn apply_each(&self, batch: Vec<Job>, failure: DbError, wait: LockWait) {
        self.note(&failure);
        if matches!(failure, DbError::Unavailable { .. }) {
            return batch.into_iter().for_each(|job| job.answer(Err(IntakeError::NotStored)));
        }
        let alone = batch.len() == 1;
        for job in batch {
            let applied = if alone {
                Err(failure.clone())
            } else {
                self.apply([&job], wait).await.map(|mut answers| answers.remove(0))
            };
            let answer = match applied {
                Ok(answer) => answer,
                Err(failure) => self.store_failure(&job, &failure, wait).await,
            };
            job.answer(answer);
        }
    }

    /// Stores an event as failed, to be tried again.
    pub(super) async fn store_failure(&self, job: &Job, failure: &DbError, wait: LockWait) -> Answer {
        self.note(failure);
        let (id, request_id) = (LogSafe(&job.event.id), &job.request_id);
        warn!(event.id = %id, %request_id, reason = failure.class(), "could not process event {id}: {failure}");
        match self.try_store_failure(job, failure, wait).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.note(&failure);
                let reason = failure.class();
                // Its sender keeps it and brings it again. That somebody else works at this very event is no trouble.
                if matches!(failure, DbError::Locked { .. }) {
                    warn!(event.id = %id, %request_id, reason, "could not store event {id}: {failure}");
                } else {
                    error!(event.id = %id, %request_id, reason, "could not store event {id}: {failure}");
                }
                Err(IntakeError::NotStored)
            }
        }
    }

    async fn try_store_failure(&self, job: &Job, failure: &DbError, wait: LockWait) -> Result<Answer, DbError> {
        let now = self.app.clock.now();
        let id = &job.event.id;
        let mut tx = self.begin(wait).await?;
        let known = store::lock(&mut tx, id).await?;
        let answer = match &known {
            Some(known) if !job.mode.may_take(known.status(), known.is_due(now)) => match known.status() {
                Status::Failed => Err(IntakeError::RetryScheduled),
                Status::Processed | Status::Ignored | Status::DeadLettered => Ok(Outcome::Duplicate),
            },
            // What is in effect stays so.
            Some(known) if known.status() == Status::Processed => Err(IntakeError::NotStored),
            None if !job.mode.brings_new() => Err(IntakeError::NotStored),
            known => {
                // An operator's attempt is the first of a new row of them.
                let before =
                    known.as_ref().filter(|known| known.status() == Status::Failed).map_or(0, |it| it.attempts);
                // What the database failed at says nothing of the event, and uses up none of its attempts.
                let counts = !is_for_want_of_the_database(failure);
                let attempts = before + i64::from(counts);
                let delay = if counts { retry_delay(attempts) } else { Some(OUTAGE_DELAY) };
                let (delay, reason) = match delay {
                    _ if failure.is_poison() => (None, Some(failure.class())),
                    None => (None, Some("retries_exhausted")),
                    delay => (delay, None),
                };
                let next_attempt_at = delay.map(|delay| now + delay);
                let failed = Failure { attempts, error: failure.class(), reason, next_attempt_at };
                let batch_id = tried::new_id(&self.app);
                if known.is_some() {
                    store::fail(&mut tx, now, id, &failed, &batch_id).await?;
                } else {
                    tx.insert(&[&failed_row(job, now, &failed, &batch_id)]).await?;
                }
                let mut work = UnitOfWork::new(now, self.app.rng.clone());
                let status = (failed.status(), failed.reason);
                letters::settle_failed(&mut tx, &mut work, job, known.as_ref(), status, attempts).await?;
                let before = known.as_ref().and_then(|known| known.batch_id.clone());
                tried::note_failure(&mut work, &batch_id, job, (failed.status(), failed.error), before);
                work.write(&mut tx).await?;
                match failed.next_attempt_at {
                    Some(_) => Err(IntakeError::RetryScheduled),
                    None => Ok(Outcome::DeadLettered),
                }
            }
        };
        tx.commit().await?;
        Ok(answer)
    }

    async fn begin(&self, wait: LockWait) -> Result<Tx, DbError> {
        match wait {
            LockWait::Batch => self.app.db.inbox().await,
            LockWait::Probe => self.app.db.inbox_probe().await,
        }
    }

    fn note(&self, failure: &DbError) {
        if matches!(failure, DbError::Unavailable { .. }) {
            self.database_was_away.store(true, Ordering::Release);
        }
    }
}

/// The row of an event that was never stored and has failed.
fn failed_row(job: &Job, now: Timestamp, failed: &Failure, batch_id: &str) -> WebhookEvent {
    WebhookEvent {
        reason: failed.reason.map(str::to_owned),
        attempts: failed.attempts,
        last_error: Some(failed.error.to_owned()),
        next_attempt_at: failed.next_attempt_at,
        ..job.row(now, failed.status(), batch_id)
    }
}

/// Whether there was no database to speak of: it was away or full, or somebody else held the rows.
fn is_for_want_of_the_database(failure: &DbError) -> bool {
    matches!(failure, DbError::Unavailable { .. } | DbError::Full { .. } | DbError::Locked { .. })
}
