//! Time as far as pruning believes it. A clock that is ahead for a moment must not make every confirmed entry too old:
//! what is removed does not come back when the clock is set right. A restart within that moment changes nothing: nothing
//! from before it is believed.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;
use tollgate_shared::Timestamp;

/// A clock that goes on by more than this from one look to the next, a minute later, has jumped.
const JUMP: TimeDelta = TimeDelta::hours(1);

/// A clock that is believed only when it goes steadily.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    believed: Timestamp,
    /// Since when the clock has been far ahead of what is believed.
    ahead_since: Option<Instant>,
    wait: Duration,
}

impl SteadyClock {
    /// One that believes `start`, and a jump ahead only after so long.
    pub(crate) fn new(start: Timestamp, wait: Duration) -> Self {
        Self { believed: start, ahead_since: None, wait }
    }

    /// What to believe when the clock shows `shown`; `at` is a time that never jumps.
    pub(crate) fn look(&mut self, shown: Timestamp, at: Instant) -> Timestamp {
        let is_ahead = shown - self.believed > JUMP;
        let since = is_ahead.then(|| self.ahead_since.unwrap_or(at));
        self.ahead_since = since.filter(|since| at - *since < self.wait);
        if self.ahead_since.is_none() {
            self.believed = shown;
        }
        self.believed
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn day(days: i64) -> Timestamp {
        from_unix(1_700_000_000 + days * 86_400).unwrap()
    }

    #[test]
    fn a_clock_that_goes_steadily_or_goes_back_is_believed() {
        let (mut clock, at) = (SteadyClock::new(day(0), HOUR), Instant::now());
        for minutes in 0..60 * 48 {
            let shown = day(0) + TimeDelta::minutes(minutes);
            assert_eq!(clock.look(shown, at), shown);
        }
        assert_eq!(clock.look(day(-30), at), day(-30));
    }

    #[test]
    fn a_clock_that_is_ahead_for_a_moment_is_not_believed() {
        let (mut clock, at) = (SteadyClock::new(day(0), HOUR), Instant::now());
        for minute in 0..59 {
            assert_eq!(clock.look(day(15), at + Duration::from_secs(60 * minute)), day(0));
        }
        assert_eq!(clock.look(day(0), at + HOUR), day(0));
        // Ahead again: the wait begins anew.
        assert_eq!(clock.look(day(15), at + HOUR), day(0));
        assert_eq!(clock.look(day(15), at + HOUR + HOUR / 2), day(0));
    }

    #[test]
    fn a_clock_that_stays_where_it_jumped_is_believed_at_last() {
        let (mut clock, at) = (SteadyClock::new(day(0), HOUR), Instant::now());
        assert_eq!(clock.look(day(3), at), day(0));
        assert_eq!(clock.look(day(3), at + HOUR), day(3));
    }
}
