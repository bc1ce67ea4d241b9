//! When a failed call is made again: as Stripe's own libraries do it.

use std::time::Duration;

use tollgate_shared::Rng;
use tollgate_shared::backoff::Backoff;

use super::error::CallError;

/// How often a call is made in all.
const ATTEMPTS_MAX: u32 = 3;
/// A longer `Retry-After` than this is not meant for whoever waits for the answer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How long to wait before the next attempt, after `attempts` of them; `None`: there is to be none.
pub(super) fn wait(failure: &CallError, attempts: u32, backoff: Backoff, rng: &Rng) -> Option<Duration> {
    if attempts >= ATTEMPTS_MAX || !is_worth_another(failure) {
        return None;
    }
    let backoff = backoff.after(attempts, rng);
    Some(match failure.retry_after() {
        Some(told) if told <= RETRY_AFTER_MAX => backoff.max(told),
        _ => backoff,
    })
}

fn is_worth_another(failure: &CallError) -> bool {
    match failure {
        CallError::Unreachable(_) | CallError::Lost(_) => true,
        CallError::Refused(refusal) => {
            // Too many requests are not answered by more of them, unless Stripe says so.
            let status = refusal.status.as_u16();
            refusal.should_retry.unwrap_or(status == 409 || status >= 500)
        }
        CallError::UnexpectedResponse(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::stripe_api::Timeouts;
    use crate::stripe_api::error::Refusal;

    fn wait(failure: &CallError, attempts: u32, rng: &Rng) -> Option<Duration> {
        super::wait(failure, attempts, Timeouts::default().backoff, rng)
    }

    fn refused(status: u16, should_retry: Option<bool>, retry_after: Option<u64>) -> CallError {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = retry_after.map(Duration::from_secs);
        CallError::Refused(Box::new(Refusal { should_retry, retry_after, ..Refusal::of_status(status) }))
    }

    #[test]
    fn stripe_says_what_is_tried_again_and_else_the_status_does() {
        let rng = Rng::seeded(1);
        let again = |status, said| wait(&refused(status, said, None), 1, &rng).is_some();
        for (status, by_itself) in [(400, false), (402, false), (404, false), (409, true), (429, false), (500, true)] {
            assert_eq!(again(status, None), by_itself, "{status}");
            assert!(again(status, Some(true)) && !again(status, Some(false)), "{status}");
        }
    }

    #[test]
    fn two_more_attempts_are_made_each_after_a_longer_while() {
        let rng = Rng::seeded(1);
        let failure = refused(500, None, None);
        for _ in 0..100 {
            let [first, second] = [1, 2].map(|attempts| wait(&failure, attempts, &rng).unwrap().as_millis());
            assert!((250..=500).contains(&first) && (500..=1000).contains(&second), "{first} {second}");
        }
        assert_eq!(wait(&failure, 3, &rng), None);
    }

    #[test]
    fn a_retry_after_is_obeyed_unless_it_is_absurd() {
        let rng = Rng::seeded(1);
        assert_eq!(wait(&refused(503, None, Some(7)), 1, &rng), Some(Duration::from_secs(7)));
        assert!(wait(&refused(503, None, Some(86_400)), 1, &rng).unwrap() < Duration::from_secs(1));
        assert_eq!(wait(&refused(429, None, Some(7)), 1, &rng), None);
    }
}
