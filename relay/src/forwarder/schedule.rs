//! Which kept events are due for delivery, and in which batch. Plain values: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_journal::Position;
use tollgate_shared::Rng;
use tollgate_shared::backoff::Backoff;

/// How many events one request holds at most: as many as the backend works on at a time.
pub(super) const BATCH_LEN_MAX: usize = 64;

/// A request that fails as a whole may do so because of one event in it. Each time, its events go in a batch smaller
/// by this factor, so that the third is a batch of one and the guilty one holds up no other.
const BATCH_SHRINK_FACTOR: usize = 8;

/// The events that the backend has yet to confirm and that are not on their first way to it.
///
/// An event is in exactly one of three places: due, waiting for its time, or taken by a delivery that is in flight.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeSet<Position>,
    later: BTreeSet<(Instant, Position)>,
    taken: usize,
    /// Of those that have failed. An event that has not is in the largest batch, and its next failure is its first.
    failures: BTreeMap<Position, FailureState>,
    /// Requests in which the backend confirmed something.
    confirmations: u64,
    /// The last event that went in its turn.
    last_turn: Option<Position>,
}

#[derive(Clone, Copy, Debug)]
struct FailureState {
    count: u32,
    batch_len_max: usize,
    /// It has been in a batch that was refused as a whole: how many confirmations there had been by then.
    refused_after: Option<u64>,
    /// Batches with it were refused while others were taken, so that one of their events must be the reason.
    is_suspect: bool,
    /// What went wrong last may well be over as soon as the backend takes anything.
    blames_backend: bool,
}

impl Default for FailureState {
    fn default() -> Self {
        Self { count: 0, batch_len_max: BATCH_LEN_MAX, refused_after: None, is_suspect: false, blames_backend: false }
    }
}

impl FailureState {
    fn split(&mut self) {
        self.batch_len_max = (self.batch_len_max / BATCH_SHRINK_FACTOR).max(1);
    }

    fn note(&mut self, cause: Cause, confirmations: u64) {
        self.count = self.count.saturating_add(1);
        self.blames_backend = cause != Cause::Event;
        match cause {
            Cause::Event | Cause::Backend => {}
            Cause::Batch => self.split(),
            // At first it is the backend's word about itself, and the batch stays together. If it confirms others and
            // refuses this batch again, it is about one of the events.
            Cause::BatchRefused => {
                if self.refused_after.replace(confirmations).is_some_and(|before| before < confirmations) {
                    self.is_suspect = true;
                    self.split();
                }
            }
        }
    }
}

/// A delivery that did not confirm.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// When it was started: intervals are between starts.
    pub started: Instant,
    /// When it had failed.
    pub ended: Instant,
    /// What it says.
    pub cause: Cause,
}

/// What a failed delivery says of the event in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The backend judged this very event.
    Event,
    /// The backend could take no event, whichever.
    Backend,
    /// A request with several events was refused as a whole: because of the backend, or because of one of them.
    BatchRefused,
    /// A request with several events ended in a way that one of them can bring about: too slow, broken off, too long.
    Batch,
}

impl Schedule {
    /// Adds an event that no delivery was tried for.
    pub(super) fn add(&mut self, position: Position) {
        self.due.insert(position);
    }

    /// Adds an event whose first delivery, not one from here, has failed.
    pub(super) fn add_failed(&mut self, position: Position, failure: Failure, backoff: &Backoff, rng: &Rng) {
        self.taken += 1;
        self.failed(position, failure, backoff, rng);
    }

    /// A delivery of a taken event has failed: it is repeated after an interval that grows with each time.
    pub(super) fn failed(&mut self, position: Position, failure: Failure, backoff: &Backoff, rng: &Rng) {
        let state = self.failures.entry(position).or_default();
        state.note(failure.cause, self.confirmations);
        let wait = backoff.after(state.count, rng);
        // A delivery may take longer than the interval. Then a little rest is enough.
        let rest = wait.min(backoff.first / 2);
        let due = (failure.started + wait).max(failure.ended + rest);
        self.taken -= 1;
        self.later.insert((due, position));
    }

    /// The backend has confirmed something.
    pub(super) fn confirmed(&mut self) {
        self.confirmations += 1;
    }

    /// A taken event is confirmed, or nothing is left of it to deliver.
    pub(super) fn done(&mut self, position: Position) {
        self.failures.remove(&position);
        self.taken -= 1;
    }

    /// A taken event was not tried after all.
    pub(super) fn return_untried(&mut self, position: Position) {
        self.taken -= 1;
        self.due.insert(position);
    }

    /// What is due goes, in order of arrival: one event, or `together` as many as may go in one batch.
    pub(super) fn take(&mut self, now: Instant, together: bool) -> Vec<Position> {
        self.promote_due(now);
        let len_max = if together { BATCH_LEN_MAX } else { 1 };
        let batch = self.batch_of(self.due.iter(), len_max);
        self.take_out(batch)
    }

    /// As [`Schedule::take`], but each event in its turn, whenever it came: while the backend takes nothing, those that
    /// came first would else be due again before the last had been tried at all, and one that can never be confirmed
    /// would make the backend look as if it took none.
    pub(super) fn take_in_turn(&mut self, now: Instant, len_max: usize) -> Vec<Position> {
        self.promote_due(now);
        let after = self.last_turn.map_or(Bound::Unbounded, Bound::Excluded);
        let up_to = self.last_turn.map_or(Bound::Excluded(Position(0)), Bound::Included);
        let in_turn = self.due.range((after, Bound::Unbounded)).chain(self.due.range((Bound::Unbounded, up_to)));
        let batch = self.batch_of(in_turn, len_max);
        self.last_turn = batch.last().copied().or(self.last_turn);
        self.take_out(batch)
    }

    fn batch_of<'a>(&self, due: impl Iterator<Item = &'a Position>, mut len_max: usize) -> Vec<Position> {
        let mut batch = Vec::new();
        for position in due {
            let own_max = self.failures.get(position).map_or(BATCH_LEN_MAX, |state| state.batch_len_max);
            len_max = len_max.min(own_max);
            if batch.len() >= len_max {
                break;
            }
            batch.push(*position);
        }
        batch
    }

    fn take_out(&mut self, batch: Vec<Position>) -> Vec<Position> {
        for position in &batch {
            self.due.remove(position);
        }
        self.taken += batch.len();
        batch
    }

    /// The backend is back: all that waits is due at once, in whole batches.
    pub(super) fn make_all_due(&mut self) {
        for (_, position) in mem::take(&mut self.later) {
            self.due.insert(position);
        }
        for state in self.failures.values_mut() {
            *state = FailureState { count: state.count, ..FailureState::default() };
        }
    }

    /// The backend takes events again, having refused whatever it got: what had failed for that is due at once, in whole
    /// batches but for those of which one event must be the reason.
    pub(super) fn make_refused_due(&mut self) {
        let failures = &mut self.failures;
        let due = &mut self.due;
        self.later.retain(|(_, position)| {
            let Some(state) = failures.get_mut(position).filter(|state| state.blames_backend) else { return true };
            if !state.is_suspect {
                state.batch_len_max = BATCH_LEN_MAX;
            }
            due.insert(*position);
            false
        });
    }

    /// How long until something is due; `None` when nothing waits.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        if !self.due.is_empty() {
            return Some(Duration::ZERO);
        }
        self.later.first().map(|(due, _)| due.saturating_duration_since(now))
    }

    /// How many are due now.
    pub(super) fn due_count(&self) -> usize {
        self.due.len()
    }

    /// How many wait for their time.
    pub(super) fn later_count(&self) -> usize {
        self.later.len()
    }

    /// How many there are in all, those in flight included.
    pub(super) fn len(&self) -> usize {
        self.due.len() + self.later.len() + self.taken
    }

    fn promote_due(&mut self, now: Instant) {
        while let Some((due, position)) = self.later.first().copied() {
            if due > now {
                break;
            }
            self.later.pop_first();
            self.due.insert(position);
        }
    }
}

#[cfg(test)]
mod tests;
