//! When a webhook last came, remembered until somebody writes it down: what was fetched from Stripe is none, and says nothing of
//! whether Stripe still sends any.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Duration;
use tollgate_shared::Timestamp;

/// Within so long of one that is remembered another says nothing new.
const REMEMBERED_EVERY: Duration = Duration::minutes(1);

/// When that was, to the minute. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LastWebhook(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    at: Option<Timestamp>,
    is_written: bool,
}

impl LastWebhook {
    /// Remembers that one came at `at`. What is after the present is of a clock that was wrong.
    pub(super) fn note(&self, at: Timestamp, now: Timestamp) {
        let (at, mut last) = (at.min(now), self.last());
        if last.at.is_none_or(|known| at - known >= REMEMBERED_EVERY || known > now) {
            *last = Remembered { at: Some(at), is_written: false };
        }
    }

    /// When it was, unless that is written down.
    pub fn waiting(&self) -> Option<Timestamp> {
        let last = self.last();
        last.at.filter(|_| !last.is_written)
    }

    /// That it is written down that one came at `at`.
    pub fn written(&self, at: Timestamp) {
        let mut last = self.last();
        last.is_written |= last.at == Some(at);
    }

    fn last(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    #[test]
    fn it_is_written_once_a_minute_when_a_webhook_came() {
        let at = |seconds| from_unix(seconds).unwrap();
        let last = LastWebhook::default();
        assert_eq!(last.waiting(), None);
        last.note(at(100), at(100));
        last.note(at(159), at(159));
        assert_eq!(last.waiting(), Some(at(100)));
        last.written(at(100));
        assert_eq!(last.waiting(), None);
        // What a relay had kept since before says nothing new, nor that another one came while this one was written.
        last.note(at(50), at(160));
        assert_eq!(last.waiting(), None);
        last.note(at(170), at(170));
        last.written(at(100));
        assert_eq!(last.waiting(), Some(at(170)));
    }

    #[test]
    fn a_clock_that_was_ahead_is_not_believed_for_long() {
        let at = |seconds| from_unix(seconds).unwrap();
        let last = LastWebhook::default();
        last.note(at(9000), at(100));
        assert_eq!(last.waiting(), Some(at(100)), "a relay's clock");
        last.note(at(9000), at(9000));
        last.note(at(130), at(130));
        assert_eq!(last.waiting(), Some(at(130)), "our own, which was set right");
    }
}
