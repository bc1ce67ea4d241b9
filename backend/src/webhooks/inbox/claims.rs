//! Who may act on an event: the row in `webhook_events` is the claim.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::job::{Answer, Job};
use super::outcome::{IntakeError, Outcome};
use crate::webhooks::Status;
use crate::webhooks::store::{self, Known};

/// Which events of a batch this transaction may act on.
pub(super) struct Claims {
    /// The index in the batch that stands for each id: the first one.
    first: BTreeMap<String, usize>,
    /// What is to be answered for an id that is not ours to act on.
    not_ours: BTreeMap<String, Answer>,
    /// How those of ours were that were not new.
    known: BTreeMap<String, Known>,
}

impl Claims {
    /// One insert claims all delivered ids that nobody has. Of the others, those that their mode may take are claimed too.
    pub(super) async fn take(tx: &mut Tx, now: Timestamp, batch: &[&Job], batch_id: &str) -> Result<Self, DbError> {
        let mut first = BTreeMap::new();
        for (index, job) in batch.iter().enumerate() {
            first.entry(job.event.id.clone()).or_insert(index);
        }
        // In the order of ids: two replicas that are given the same events then wait for each other in one direction.
        let delivered = first.values().map(|index| batch[*index]).filter(|job| job.mode.brings_new());
        let rows: Vec<_> = delivered.map(|job| job.row(now, job.intent.status(), batch_id)).collect();
        let claimed: BTreeSet<_> = tx.insert(&rows.iter().collect::<Vec<_>>()).await?.into_iter().collect();
        let unclaimed: BTreeSet<_> = first.keys().filter(|id| !claimed.contains(*id)).cloned().collect();
        // What is not even known any more cannot be claimed.
        let mut not_ours: BTreeMap<_, _> =
            unclaimed.iter().map(|id| (id.clone(), Err(IntakeError::NotStored))).collect();
        let mut ours_before = BTreeMap::new();
        for known in store::lock_all(tx, &unclaimed).await? {
            let Job { intent, mode, .. } = batch[first[&known.id]];
            let status = known.status();
            // What is in effect stays so, whatever would be thought of it now.
            let would_undo = status == Status::Processed && intent.status() != Status::Processed;
            if would_undo || !mode.may_take(status, known.is_due(now)) {
                let failed = status == Status::Failed;
                not_ours
                    .insert(known.id, if failed { Err(IntakeError::RetryScheduled) } else { Ok(Outcome::Duplicate) });
                continue;
            }
            if status == Status::Processed {
                // The row of one that is in effect says since when it is.
                store::note_attempt(tx, &known.id, batch_id).await?;
            } else {
                store::reclaim(tx, now, &known, intent.status(), intent.reason().as_deref(), batch_id).await?;
            }
            not_ours.remove(&known.id);
            ours_before.insert(known.id.clone(), known);
        }
        Ok(Self { first, not_ours, known: ours_before })
    }

    /// How an event of ours was before, if it is not new.
    pub(super) fn known(&self, id: &str) -> Option<&Known> {
        self.known.get(id)
    }

    /// Whether an event of ours was in effect before.
    pub(super) fn was_in_effect(&self, id: &str) -> bool {
        self.known(id).is_some_and(|known| known.status() == Status::Processed)
    }

    /// The indexes of the events to act on, in order of arrival.
    pub(super) fn ours(&self) -> impl Iterator<Item = usize> {
        let mut indexes: Vec<_> =
            self.first.iter().filter(|(id, _)| !self.not_ours.contains_key(*id)).map(|(_, index)| *index).collect();
        indexes.sort_unstable();
        indexes.into_iter()
    }

    /// What is answered of each event of a batch, of which those in `dead_lettered` panicked, and those in `unchanged`
    /// changed nothing that there was.
    pub(super) fn answers(
        &self,
        batch: &[&Job],
        dead_lettered: &BTreeSet<usize>,
        unchanged: &BTreeSet<usize>,
    ) -> Vec<Answer> {
        let answer = |(index, job): (usize, &&Job)| {
            let id = &job.event.id;
            match self.not_ours.get(id) {
                Some(answer) => *answer,
                None if self.first[id] != index => Ok(Outcome::Duplicate),
                None if dead_lettered.contains(&index) => Ok(Outcome::DeadLettered),
                None if self.was_in_effect(id) && unchanged.contains(&index) => Ok(Outcome::Duplicate),
                None => Ok(match job.intent.status() {
                    Status::Ignored => Outcome::Ignored,
                    Status::DeadLettered => Outcome::DeadLettered,
                    Status::Processed | Status::Failed => Outcome::Processed,
                }),
            }
        };
        batch.iter().enumerate().map(answer).collect()
    }
}
