//! Time as an argument: the system's clock in a process, a clock that is set by hand in a test.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, Utc};

/// An instant in UTC, never finer than a microsecond: PostgreSQL keeps no more, so a finer one would not survive a round trip.
pub type Timestamp = DateTime<Utc>;

/// Where the present comes from. Cheap to clone; clones of a manual clock share its hands.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    /// Microseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The clock of this machine.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// The present, cut to the microsecond.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Utc::now().trunc_subsecs(6),
            Source::Manual(micros) => from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Time that nobody can set back, since a moment that is another one in each process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub fn elapsed(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Source::System => START.get_or_init(Instant::now).elapsed(),
            Source::Manual(micros) => Duration::from_micros(micros.load(Ordering::SeqCst).unsigned_abs()),
        }
    }

    /// Moves a manual clock forward; the system's clock is not ours to move.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(micros) = &self.0 {
            micros.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
        }
    }
}

/// The instant of `seconds` since the Unix epoch, as Stripe gives them; `None` outside the years that chrono knows.
pub fn from_unix(seconds: i64) -> Option<Timestamp> {
    DateTime::from_timestamp(seconds, 0)
}

/// RFC 3339 in UTC with a `Z` and only as many fractional digits as are needed: the form of every time in our JSON.
pub fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn from_micros(micros: i64) -> Timestamp {
    DateTime::from_timestamp_micros(micros).expect("a manual clock stays within the years that chrono knows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_its_clones_move_with_it() {
        let clock = Clock::manual(from_unix(1_700_000_000).unwrap());
        let other = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(rfc3339(other.now()), "2023-11-14T22:13:21.500Z");
        let before = other.elapsed();
        clock.advance(Duration::from_millis(250));
        assert_eq!(other.elapsed(), before + Duration::from_millis(250));
    }

    #[test]
    fn the_system_clock_gives_no_more_than_microseconds() {
        assert_eq!(Clock::system().now().timestamp_subsec_nanos() % 1000, 0);
    }
}
