//! For lines that strangers can cause at will.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a line through once in an interval, and counts what it holds back meanwhile.
#[derive(Debug)]
pub struct Seldom {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    logged_at: Option<Instant>,
    held_back: u64,
}

impl Seldom {
    /// Lets the first line through, then one an interval.
    pub const fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::new(State { logged_at: None, held_back: 0 }) }
    }

    /// It happened again. Gives back how many lines were held back since the last one, when this one may be logged.
    pub fn again(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_due(now, self.interval) {
            state.logged_at = Some(now);
            return Some(std::mem::take(&mut state.held_back));
        }
        state.held_back += 1;
        None
    }

    /// How many lines were held back, when there are any and a line that says so is due. To be asked now and then, so that
    /// the last of them are not left unsaid when it does not happen again.
    pub fn held_back(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.held_back == 0 || !state.is_due(now, self.interval) {
            return None;
        }
        state.logged_at = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

impl State {
    fn is_due(&self, now: Instant, interval: Duration) -> bool {
        self.logged_at.is_none_or(|logged_at| now.saturating_duration_since(logged_at) >= interval)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant can be had in no other way")]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_an_interval_with_the_number() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(seldom.again(at(0)), Some(0));
        assert_eq!([1, 2, 9].map(|seconds| seldom.again(at(seconds))), [None; 3]);
        assert_eq!(seldom.again(at(10)), Some(3));
        assert_eq!(seldom.again(at(11)), None);
    }

    #[test]
    fn what_was_held_back_is_not_left_unsaid() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(seldom.held_back(at(0)), None);
        seldom.again(at(0));
        seldom.again(at(1));
        assert_eq!([5, 10, 11, 25].map(|seconds| seldom.held_back(at(seconds))), [None, Some(1), None, None]);
        assert_eq!(seldom.again(at(26)), Some(0));
    }
}
