//! How failed deliveries get into the log: the first, and from then on one line a minute that counts the others. A backend
//! that refuses everything would else fill the disk that the journal is on. Plain values: no clock, no I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::backend::delivery::{NoResponse, Outcome};

/// Between two lines. After so long without a failure, the next one is a first one again.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Why an event was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The backend responded with this status.
    Status(u16),
    /// There was no whole response.
    NoResponse(NoResponse),
}

impl Reason {
    /// Why `outcome` is none that confirms; `None` if it is one.
    pub(super) fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Confirmed => None,
            Outcome::Refused(status, _) => Some(Self::Status(status.as_u16())),
            Outcome::Unanswered(why) => Some(Self::NoResponse(*why)),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].iter().any(|it| it == status) => {
                write!(f, "it responded {status}; check that INTERNAL_API_KEY matches")
            }
            Self::Status(status) => write!(f, "it responded {status}"),
            Self::NoResponse(why) => why.fmt(f),
        }
    }
}

/// What has been logged, and what is yet to be.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    last_line: Option<Instant>,
    unlogged: BTreeMap<Reason, u64>,
}

impl FailureLog {
    /// A delivery has failed; whether to log this one.
    pub(super) fn note(&mut self, now: Instant, reason: Reason) -> bool {
        let is_first = self.last_line.is_none_or(|at| now - at >= 2 * SUMMARY_INTERVAL);
        if is_first {
            *self = Self { last_line: Some(now), unlogged: BTreeMap::new() };
        } else {
            *self.unlogged.entry(reason).or_default() += 1;
        }
        is_first
    }

    /// What to log by now of those that were not.
    pub(super) fn summary(&mut self, now: Instant) -> Option<Summary> {
        self.last_line.filter(|at| now - *at >= SUMMARY_INTERVAL)?;
        let deliveries = mem::take(&mut self.unlogged);
        self.last_line = (!deliveries.is_empty()).then_some(now);
        self.last_line.map(|_| Summary { deliveries })
    }
}

/// The deliveries that failed since the last line, by reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    deliveries: BTreeMap<Reason, u64>,
}

impl Summary {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.deliveries.values().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (reason, count)) in self.deliveries.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{count} times {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_logged_and_then_a_summary_a_minute() {
        let (mut log, start) = (FailureLog::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(log.note(at(0), Reason::Status(403)));
        for second in 0..59 {
            assert!(!log.note(at(second), Reason::Status(403)));
            assert!(!log.note(at(second), Reason::NoResponse(NoResponse::TimedOut)));
            assert_eq!(log.summary(at(second)), None);
        }
        let summary = log.summary(at(60)).unwrap();
        assert_eq!(summary.count(), 118);
        let expected = "59 times it responded 403; check that INTERNAL_API_KEY matches, 59 times no answer within 15 s";
        assert_eq!(summary.to_string(), expected);
        assert!(!log.note(at(61), Reason::Status(500)));
        assert_eq!(log.summary(at(100)), None);
        assert_eq!(log.summary(at(120)).unwrap().to_string(), "1 times it responded 500");
    }

    #[test]
    fn after_a_minute_without_failures_the_next_is_a_first_one() {
        let (mut log, start) = (FailureLog::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(log.note(at(0), Reason::Status(500)));
        assert_eq!(log.summary(at(60)), None);
        assert!(log.note(at(61), Reason::Status(500)));
        // Nobody has asked for a summary meanwhile.
        assert!(log.note(at(400), Reason::Status(500)));
    }
}
