//! Who may act on an event: the row in `webhook_events` is the claim.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::job::{Answer, Job, Mode};
use super::outcome::{IntakeError, Outcome};
use crate::webhooks::{Status, store};

/// Which events of a batch this transaction may act on.
pub(super) struct Claims {
    /// The index in the batch that stands for each id: the first one.
    first: BTreeMap<String, usize>,
    /// What is to be answered for an id that is not ours to act on.
    not_ours: BTreeMap<String, Answer>,
}

impl Claims {
    /// One insert claims all delivered ids that nobody has. Of the others, those that their mode may take are claimed too.
    pub(super) async fn take(tx: &mut Tx, now: Timestamp, batch: &[&Job]) -> Result<Self, DbError> {
        let mut first = BTreeMap::new();
        for (index, job) in batch.iter().enumerate() {
            first.entry(job.event.id.clone()).or_insert(index);
        }
        // In the order of ids: two replicas that are given the same events then wait for each other in one direction.
        let delivered = first.values().map(|index| batch[*index]).filter(|job| job.mode == Mode::Delivery);
        let rows: Vec<_> = delivered.map(|job| job.row(now, job.intent.status())).collect();
        let claimed: BTreeSet<_> = tx.insert(&rows.iter().collect::<Vec<_>>()).await?.into_iter().collect();
        let unclaimed: BTreeSet<_> = first.keys().filter(|id| !claimed.contains(*id)).cloned().collect();
        // What is not even known any more cannot be claimed.
        let mut not_ours: BTreeMap<_, _> =
            unclaimed.iter().map(|id| (id.clone(), Err(IntakeError::NotStored))).collect();
        for known in store::lock_all(tx, &unclaimed).await? {
            let Job { intent, mode, .. } = batch[first[&known.id]];
            let status = known.status();
            if mode.may_take(status, known.is_due(now)) {
                not_ours.remove(&known.id);
                store::reclaim(tx, now, &known, intent.status(), intent.reason().as_deref()).await?;
            } else if status == Status::Failed {
                not_ours.insert(known.id, Err(IntakeError::RetryScheduled));
            } else {
                not_ours.insert(known.id, Ok(Outcome::Duplicate));
            }
        }
        Ok(Self { first, not_ours })
    }

    /// The indexes of the events to act on, in order of arrival.
    pub(super) fn ours(&self) -> impl Iterator<Item = usize> {
        let mut indexes: Vec<_> =
            self.first.iter().filter(|(id, _)| !self.not_ours.contains_key(*id)).map(|(_, index)| *index).collect();
        indexes.sort_unstable();
        indexes.into_iter()
    }

    pub(super) fn answers(&self, batch: &[&Job], dead_lettered: &BTreeSet<usize>) -> Vec<Answer> {
        let answer = |(index, job): (usize, &&Job)| {
            let id = &job.event.id;
            match self.not_ours.get(id) {
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
