//! How many calls were made to Stripe in this process, and how many of them failed, until somebody writes that down.

use std::sync::atomic::{AtomicI64, Ordering};

use super::error::CallError;

/// What was counted and is not written down yet.
#[derive(Debug, Default)]
pub struct CallCounts {
    calls: AtomicI64,
    failed: AtomicI64,
}

impl CallCounts {
    /// Counts an attempt that ended so.
    pub(super) fn count<T>(&self, answer: &Result<T, CallError>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if answer.as_ref().is_err_and(CallError::is_fault) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many calls there were, and how many of them failed: of two who take them at once, each call is taken by one.
    pub fn take(&self) -> (i64, i64) {
        // In this order: one that is counted meanwhile is then no failure without its call.
        let failed = self.failed.swap(0, Ordering::Relaxed);
        (self.calls.swap(0, Ordering::Relaxed), failed)
    }

    /// Gives back what could not be written down.
    pub fn give_back(&self, (calls, failed): (i64, i64)) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }
}

impl CallError {
    /// Whether Stripe, or the way to it, or our key is at fault. What it refuses for what was asked, a card that is declined
    /// among it, is an answer.
    fn is_fault(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::UnexpectedResponse(_) => true,
            Self::Refused(refusal) => {
                refusal.status.is_server_error() || matches!(refusal.status.as_u16(), 401 | 403 | 429)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::stripe_api::error::Refusal;

    #[test]
    fn what_stripe_refuses_for_what_was_asked_is_no_failure() {
        let counts = CallCounts::default();
        let mut count = |status: u16| {
            let refusal = Refusal::of_status(StatusCode::from_u16(status).unwrap());
            counts.count(&Err::<(), _>(CallError::Refused(Box::new(refusal))));
            counts.take()
        };
        assert_eq!([400, 402, 404, 409].map(&mut count), [(1, 0); 4]);
        assert_eq!([401, 403, 429, 500, 503].map(&mut count), [(1, 1); 5]);
        counts.count(&Ok(()));
        counts.count(&Err::<(), _>(CallError::Lost(None)));
        let taken = counts.take();
        assert_eq!((taken, counts.take()), ((2, 1), (0, 0)), "once");
        counts.count(&Ok(()));
        counts.give_back(taken);
        assert_eq!(counts.take(), (3, 1));
    }
}
