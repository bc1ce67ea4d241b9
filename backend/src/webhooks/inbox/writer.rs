//! What writes: all that wait at the moment, through one transaction.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tollgate_db::DbError;

use super::BATCH_MAX;
use super::batch::{BatchWriter, LockWait};
use super::job::Job;
use super::lane::Lane;

/// One that writes. Several may, as several replicas do.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) batches: BatchWriter,
    /// Where events wait whose rows somebody else holds.
    pub(super) lane: Lane,
}

impl Writer {
    /// Writes what comes, until nothing can come any more.
    pub(super) async fn run(self, waiting: Arc<Mutex<mpsc::Receiver<Vec<Job>>>>) {
        while let Some(mut jobs) = take_all(&waiting).await {
            // In even pieces: a few left over would cost as much as many.
            let piece = jobs.len().div_ceil(jobs.len().div_ceil(BATCH_MAX));
            while !jobs.is_empty() {
                let later = jobs.split_off(piece.min(jobs.len()));
                self.write(std::mem::replace(&mut jobs, later)).await;
            }
            // Those who were just answered bring their next event in this turn, and not after half a batch has gone.
            tokio::task::yield_now().await;
        }
    }

    /// Writes a batch. When it fails as a whole, those whose rows are held go to the lane, and each event in other trouble
    /// is tried alone, so that none harms those that shared its batch.
    async fn write(&self, batch: Vec<Job>) {
        let batch = self.lane.put_aside_what_is_held(batch);
        if batch.is_empty() {
            return;
        }
        metrics::histogram!("tollgate_backend_batch_events").record(batch.len() as f64);
        // Of each batch the one that has waited longest.
        let waited = batch.iter().map(Job::age).max().unwrap_or_default();
        metrics::histogram!("tollgate_backend_writer_wait_seconds").record(waited.as_secs_f64());
        match self.batches.apply(&batch, LockWait::Batch).await {
            Ok(answers) => batch.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer)),
            Err(DbError::Locked { .. }) => self.write_what_is_free(batch).await,
            Err(failure) => self.batches.apply_each(batch, failure, LockWait::Batch).await,
        }
    }

    /// Writes what can be written of a batch of which somebody holds rows: by halves, until those are found whose rows
    /// they are. They need not be rows that can be seen: an insert that is not committed holds its key as well.
    async fn write_what_is_free(&self, batch: Vec<Job>) {
        let mut pieces = vec![batch];
        while let Some(piece) = pieces.pop() {
            match self.batches.apply(&piece, LockWait::Probe).await {
                Ok(answers) => piece.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer)),
                Err(DbError::Locked { .. }) => match halves(piece) {
                    Ok((first, second)) => pieces.extend([second, first]),
                    Err(held) => self.lane.put_aside(held),
                },
                Err(failure) => self.batches.apply_each(piece, failure, LockWait::Probe).await,
            }
        }
    }
}

/// Two halves of a batch, so that no key is in both; the batch itself if it has only one key.
fn halves(mut batch: Vec<Job>) -> Result<(Vec<Job>, Vec<Job>), Vec<Job>> {
    // Stable: events of one key stay in their order.
    batch.sort_by(|a, b| a.lock_key().cmp(b.lock_key()));
    let middle = batch[batch.len() / 2].lock_key().to_owned();
    let (first, last) = (batch[0].lock_key(), batch[batch.len() - 1].lock_key());
    if first == last {
        return Err(batch);
    }
    // The middle key goes to the second half, unless that would be all of them.
    let with_the_first = first == middle;
    let (first, second) = batch
        .into_iter()
        .partition(|job| if with_the_first { job.lock_key() <= &*middle } else { job.lock_key() < &*middle });
    Ok((first, second))
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
