//! Which kept events are due for delivery, and in which company. Plain values: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_shared::Rng;
use tollgate_shared::backoff::Backoff;

use tollgate_journal::Position;

/// How many events one request holds at most: as many as the backend works on at a time.
pub(super) const TOGETHER_MAX: usize = 64;

/// A request that fails as a whole may do so because of one event in it. Each time, its events go in a company smaller
/// by this factor, so that the third is a company of one and the guilty one holds up no other.
const COMPANY_SHRINKS_BY: usize = 8;

/// The events that the backend has yet to confirm and that are not on their first way to it.
///
/// An event is in exactly one of three places: due, waiting for its time, or taken by a delivery that is under way.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeSet<Position>,
    later: BTreeSet<(Instant, Position)>,
    taken: usize,
    /// Of those that have failed. An event that has not is in the largest company, and its next failure is its first.
    troubles: BTreeMap<Position, Trouble>,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    failures: u32,
    company_max: usize,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { failures: 0, company_max: TOGETHER_MAX }
    }
}

/// A delivery that did not confirm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// When it was started: intervals are between starts.
    pub(super) started: Instant,
    /// When it had failed.
    pub(super) ended: Instant,
    /// The request failed as a whole, and others with it.
    pub(super) in_company: bool,
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

    /// A delivery of a taken event has failed: it comes again after an interval that grows with each time.
    pub(super) fn failed(&mut self, position: Position, failure: Failure, backoff: &Backoff, rng: &Rng) {
        let trouble = self.troubles.entry(position).or_default();
        trouble.failures = trouble.failures.saturating_add(1);
        if failure.in_company {
            trouble.company_max = (trouble.company_max / COMPANY_SHRINKS_BY).max(1);
        }
        let wait = backoff.after(trouble.failures, rng);
        // A delivery may take longer than the interval. Then a little rest is enough.
        let rest = wait.min(backoff.first / 2);
        let due = (failure.started + wait).max(failure.ended + rest);
        self.taken -= 1;
        self.later.insert((due, position));
    }

    /// A taken event is confirmed, or nothing is left of it to deliver.
    pub(super) fn done(&mut self, position: Position) {
        self.troubles.remove(&position);
        self.taken -= 1;
    }

    /// A taken event was not tried after all.
    pub(super) fn put_back(&mut self, position: Position) {
        self.taken -= 1;
        self.due.insert(position);
    }

    /// What is due goes, in order of arrival: one event, or `together` as many as may go in one company.
    pub(super) fn take(&mut self, now: Instant, together: bool) -> Vec<Position> {
        self.ripen(now);
        let mut company = Vec::new();
        let mut company_max = if together { TOGETHER_MAX } else { 1 };
        for position in &self.due {
            company_max = company_max.min(self.troubles.get(position).map_or(TOGETHER_MAX, |t| t.company_max));
            if company.len() >= company_max {
                break;
            }
            company.push(*position);
        }
        for position in &company {
            self.due.remove(position);
        }
        self.taken += company.len();
        company
    }

    /// The backend is back: all that waits is due at once, in company again.
    pub(super) fn all_due(&mut self) {
        for (_, position) in std::mem::take(&mut self.later) {
            self.due.insert(position);
        }
        for trouble in self.troubles.values_mut() {
            trouble.company_max = TOGETHER_MAX;
        }
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

    /// How many there are in all, those under way included.
    pub(super) fn len(&self) -> usize {
        self.due.len() + self.later.len() + self.taken
    }

    fn ripen(&mut self, now: Instant) {
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
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(50) };

    fn positions(numbers: impl IntoIterator<Item = u64>) -> Vec<Position> {
        numbers.into_iter().map(Position).collect()
    }

    fn scheduled(numbers: impl IntoIterator<Item = u64>) -> Schedule {
        let mut schedule = Schedule::default();
        for position in positions(numbers) {
            schedule.add(position);
        }
        schedule
    }

    fn failure(started: Instant, seconds: u64, in_company: bool) -> Failure {
        Failure { started, ended: started + Duration::from_secs(seconds), in_company }
    }

    #[test]
    fn what_is_due_goes_in_order_of_arrival() {
        let mut schedule = scheduled([3, 1, 2]);
        let now = Instant::now();
        assert_eq!(schedule.take(now, false), positions([1]));
        assert_eq!(schedule.take(now, true), positions([2, 3]));
        assert_eq!(schedule.take(now, true), []);
        assert_eq!(schedule.len(), 3);
        for position in positions([1, 2, 3]) {
            schedule.done(position);
        }
        assert_eq!(schedule.len(), 0);
    }

    #[test]
    fn a_company_has_a_limit() {
        let mut schedule = scheduled(0..100);
        assert_eq!(schedule.take(Instant::now(), true).len(), TOGETHER_MAX);
        assert_eq!(schedule.take(Instant::now(), true).len(), 100 - TOGETHER_MAX);
    }

    #[test]
    fn the_first_repeat_comes_within_twenty_seconds_and_none_is_more_than_sixty_after_the_one_before() {
        let rng = Rng::seeded(1);
        for seconds in [0, 1, 15] {
            let mut schedule = scheduled([1]);
            let mut now = Instant::now();
            for failures in 1..50 {
                assert_eq!(schedule.take(now, false), positions([1]));
                let failed = failure(now, seconds, false);
                schedule.failed(Position(1), failed, &BACKOFF, &rng);
                let ended = failed.ended;
                assert_eq!(schedule.take(ended, false), [], "it rests before it comes again");
                let wait = schedule.due_in(ended).unwrap();
                let apart = ended + wait - now;
                let most = if failures == 1 { 20 } else { 60 };
                assert!(apart <= Duration::from_secs(most), "{failures}: {apart:?}");
                now = ended + wait;
            }
        }
    }

    #[test]
    fn one_in_trouble_holds_up_no_other() {
        let mut schedule = scheduled([1, 2]);
        let now = Instant::now();
        schedule.take(now, false);
        schedule.failed(Position(1), failure(now, 0, false), &BACKOFF, &Rng::seeded(1));
        assert_eq!(schedule.take(now, true), positions([2]));
    }

    #[test]
    fn what_fails_in_company_comes_alone_at_its_third_failure() {
        let (rng, mut now) = (Rng::seeded(1), Instant::now());
        let mut schedule = scheduled(0..64);
        for company in [64, 8, 1] {
            let taken = schedule.take(now, true);
            assert_eq!(taken.len(), company);
            // The rest of the company is out of the way.
            while !schedule.take(now, true).is_empty() {}
            for position in positions(0..64) {
                schedule.failed(position, failure(now, 0, true), &BACKOFF, &rng);
            }
            now += Duration::from_secs(60);
        }
        assert_eq!(schedule.take(now, true), positions([0]));
    }

    #[test]
    fn when_the_backend_is_back_all_is_due_at_once_in_order_and_in_company() {
        let (rng, now) = (Rng::seeded(1), Instant::now());
        let mut schedule = Schedule::default();
        for position in positions([2, 3, 1]) {
            schedule.add_failed(position, failure(now, 0, true), &BACKOFF, &rng);
        }
        assert_eq!(schedule.take(now, true), []);
        schedule.all_due();
        assert_eq!(schedule.due_in(now), Some(Duration::ZERO));
        assert_eq!(schedule.take(now, true), positions([1, 2, 3]));
    }

    #[test]
    fn what_was_not_tried_is_due_again_at_once() {
        let mut schedule = scheduled([1, 2]);
        let now = Instant::now();
        schedule.take(now, true);
        schedule.put_back(Position(1));
        assert_eq!(schedule.take(now, true), positions([1]));
        assert_eq!(schedule.len(), 2);
    }
}
