//! What this process measures of itself: how long its answers take, how late events are, how many streams are open. What is
//! measured adds a few numbers in memory and writes nothing on its way; with the process at most a minute's worth is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use tollgate_db::Json;
use tollgate_domain::analytics::samples::{Measured as Numbers, Sample};
use tollgate_domain::analytics::spans::Step;
use tollgate_shared::{Rng, Timestamp, ids};

/// How many hours are kept while they cannot be written.
const HOURS_MAX: usize = 48;

/// How long streams may go uncounted. What is longer is a clock that was set, or a process that stood still.
const STREAMS_UNCOUNTED_MAX: TimeDelta = TimeDelta::minutes(5);

/// What was measured, by hours. Clones are the same.
#[derive(Clone, Debug)]
pub struct Measured {
    rng: Rng,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    hours: BTreeMap<Timestamp, Sample>,
    /// When streams were last counted.
    streams_at: Option<Timestamp>,
}

impl Measured {
    /// Nothing yet; `rng` names the rows.
    pub fn new(rng: &Rng) -> Self {
        Self { rng: rng.clone(), inner: Arc::default() }
    }

    /// An answer that took so long.
    pub fn response(&self, now: Timestamp, took: TimeDelta) {
        self.lock().of_hour(now, &self.rng).responses.record(micros(took));
    }

    /// An event that was processed so long after a relay had received it.
    pub fn lag(&self, now: Timestamp, lag: TimeDelta) {
        self.lock().of_hour(now, &self.rng).lags.record(micros(lag));
    }

    /// That so many streams are open, and have been since it was last said how many are.
    pub fn streams(&self, now: Timestamp, count: usize) {
        let mut inner = self.lock();
        let since = inner.streams_at.replace(now).unwrap_or(now);
        let elapsed = now - since;
        if elapsed > TimeDelta::zero() && elapsed <= STREAMS_UNCOUNTED_MAX {
            inner.of_hour(now, &self.rng).stream_seconds += count as i64 * elapsed.num_seconds();
        }
    }

    /// All that may not be written yet.
    pub fn waiting(&self) -> Vec<Sample> {
        self.lock().hours.values().cloned().collect()
    }

    /// Forgets those of `written` to which nothing was added since and whose hour is over.
    pub fn forget(&self, now: Timestamp, written: &[Sample]) {
        let is_over = |sample: &Sample| sample.hour != Step::Hour.floor(now);
        self.lock().hours.retain(|_, sample| !(is_over(sample) && written.contains(sample)));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn of_hour(&mut self, now: Timestamp, rng: &Rng) -> &mut Numbers {
        let hour = Step::Hour.floor(now);
        if !self.hours.contains_key(&hour) && self.hours.len() >= HOURS_MAX {
            self.hours.pop_first();
        }
        let begun = || Sample { id: ids::new_id("smp", now, rng), hour, measured: Json(Numbers::default()) };
        &mut self.hours.entry(hour).or_insert_with(begun).measured.0
    }
}

fn micros(took: TimeDelta) -> u64 {
    took.num_microseconds().and_then(|micros| u64::try_from(micros).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        from_unix(1_750_003_200 + seconds).unwrap()
    }

    fn measured() -> Measured {
        Measured::new(&Rng::seeded(1))
    }

    #[test]
    fn an_hour_that_is_over_is_forgotten_once_it_is_written() {
        let measured = measured();
        measured.response(at(0), TimeDelta::milliseconds(2));
        measured.lag(at(3600), TimeDelta::milliseconds(3));
        let written = measured.waiting();
        assert_eq!(written.iter().map(|sample| sample.hour).collect::<Vec<_>>(), [at(0), at(3600)]);
        measured.forget(at(3600), &written);
        assert_eq!(measured.waiting(), written[1..]);
        // The same row goes on, with all of its hour.
        measured.lag(at(3700), TimeDelta::milliseconds(3));
        let later = measured.waiting();
        assert_eq!((&later[0].id, later[0].measured.lags.count()), (&written[1].id, 2));
    }

    #[test]
    fn what_is_added_while_it_is_written_is_not_forgotten() {
        let measured = measured();
        measured.response(at(0), TimeDelta::milliseconds(2));
        let written = measured.waiting();
        measured.response(at(10), TimeDelta::milliseconds(2));
        measured.forget(at(3600), &written);
        assert_eq!(measured.waiting()[0].measured.responses.count(), 2);
    }

    #[test]
    fn streams_count_for_as_long_as_they_were_open() {
        let measured = measured();
        measured.streams(at(0), 7);
        measured.streams(at(60), 2);
        // A clock that was set tells nothing of how long they were.
        measured.streams(at(3000), 2);
        measured.streams(at(2000), 2);
        measured.streams(at(2030), 4);
        assert_eq!(measured.waiting()[0].measured.stream_seconds, 2 * 60 + 4 * 30);
    }

    #[test]
    fn while_nothing_can_be_written_the_newest_hours_are_kept() {
        let measured = measured();
        for hour in 0..100 {
            measured.response(at(hour * 3600), TimeDelta::milliseconds(1));
        }
        let hours: Vec<_> = measured.waiting().into_iter().map(|sample| sample.hour).collect();
        assert_eq!((hours.len(), hours.last()), (HOURS_MAX, Some(&at(99 * 3600))));
    }
}
