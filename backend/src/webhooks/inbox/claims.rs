//! Who may act on an event: the row in `webhook_events` is the claim.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_shared::Timestamp;

use super::job::Job;
use super::outcome::{IntakeError, Outcome};
use crate::db::{DbError, Tx};
use crate::webhooks::{Status, store};

/// Which events of a batch this transaction may act on.
pub(super) struct Claims {
    /// The index in the batch that stands for each id: the first one.
    first: BTreeMap<String, usize>,
    /// What is to be answered for an id that is not ours to act on.
    taken: BTreeMap<String, Result<Outcome, IntakeError>>,
}

impl Claims {
    /// One insert claims all ids that nobody has. Of the others, those that wait for an attempt that is due are claimed too.
    pub(super) async fn take(tx: &mut Tx, now: Timestamp, batch: &[&Job]) -> Result<Self, DbError> {
        let mut first = BTreeMap::new();
        for (index, job) in batch.iter().enumerate() {
            first.entry(job.event.id.clone()).or_insert(index);
        }
        // In the order of ids: two replicas that are given the same events then wait for each other in one direction.
        let rows: Vec<_> = first.values().map(|index| batch[*index].row(now, batch[*index].intent.status())).collect();
        let claimed: BTreeSet<_> = tx.insert(&rows.iter().collect::<Vec<_>>()).await?.into_iter().collect();
        let mut taken = BTreeMap::new();
        let unclaimed: BTreeSet<_> = first.keys().filter(|id| !claimed.contains(*id)).cloned().collect();
        for known in store::lock_all(tx, &unclaimed).await? {
            if known.status() != Status::Failed {
                taken.insert(known.id, Ok(Outcome::Duplicate));
            } else if !known.is_due(now) {
                taken.insert(known.id, Err(IntakeError::RetryScheduled));
            } else {
                let intent = &batch[first[&known.id]].intent;
                store::reclaim(tx, now, &known, intent.status(), intent.reason().as_deref()).await?;
            }
        }
        Ok(Self { first, taken })
    }

    /// The indexes of the events to act on, in order of arrival.
    pub(super) fn ours(&self) -> impl Iterator<Item = usize> {
        let mut indexes: Vec<_> =
            self.first.iter().filter(|(id, _)| !self.taken.contains_key(*id)).map(|(_, index)| *index).collect();
        indexes.sort_unstable();
        indexes.into_iter()
    }

    pub(super) fn answers(&self, batch: &[&Job], dead_lettered: &BTreeSet<usize>) -> Vec<Result<Outcome, IntakeError>> {
        let answer = |(index, job): (usize, &&Job)| {
            let id = &job.event.id;
            match self.taken.get(id) {
                Some(answer) => *answer,
                None if self.first[id] != index => Ok(Outcome::Duplicate),
                None if dead_lettered.contains(&index) => Ok(Outcome::DeadLettered),
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
