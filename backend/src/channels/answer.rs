//! What is read of another service's answer to a message: its status, and for how long it asks to be left alone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tollgate_shared::Timestamp;

/// A message is worth a try a day whatever the other side says.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// An answer. Its body is not read: it may repeat what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its `Retry-After`, a day at most.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// What is read of `response`, which came at `now`.
    pub(super) fn of(response: &Response, now: Timestamp) -> Self {
        Self { status: response.status(), retry_after: retry_after(response.headers(), now) }
    }
}

/// Why there is no answer, without the address that was asked: it may hold a token.
pub(super) fn why_none(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it could not be reached"
    } else {
        "the connection ended before an answer"
    }
}

/// A number of seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match said.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(said).ok()?.with_timezone(&Utc) - now).to_std().unwrap_or_default(),
    };
    Some(after.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    #[test]
    fn how_long_to_wait_is_seconds_or_a_date_and_a_day_at_most() {
        let after = |said: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, said.parse().unwrap())]);
            // Sun, 06 Nov 1994 08:49:37 GMT
            retry_after(&headers, from_unix(784_111_777).unwrap()).map(|after| after.as_secs())
        };
        for (said, seconds) in [
            ("120", 120),
            ("0", 0),
            ("18446744073709551615", 86_400),
            ("Sun, 06 Nov 1994 08:51:37 GMT", 120),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
            ("Sat, 06 Nov 2094 08:00:00 GMT", 86_400),
        ] {
            assert_eq!(after(said), Some(seconds), "{said}");
        }
        for unread in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(unread), None, "{unread}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), from_unix(0).unwrap()), None);
    }
}
