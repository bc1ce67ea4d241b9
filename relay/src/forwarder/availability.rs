//! What is known of the backend: whether it can be reached, is ready, and takes what it is sent. Plain values: no clock,
//! no I/O.
//!
//! A backend that confirms nothing although its `/ready` is good (it does not know our key, it is not the backend, its
//! database fails) says something of itself, not of the events. Trying each event by itself would cost a processor and
//! fill the log. So it counts as *refusing*: what waits goes on in whole batches, one request after the other with a
//! pause between them, and the first confirmation ends that.

use std::mem;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::backend::delivery::{NoResponse, Outcome, Readiness};

/// So many requests in a row that confirmed nothing are not about the events in them. Of a request with several events
/// that is refused as a whole, one is enough.
const REFUSALS_IN_A_ROW: u32 = 3;

/// Within so long each event that waits gets its turn while the backend refuses: the first repeat is promised within
/// 20 s.
const ROUND: Duration = Duration::from_secs(18);
/// Between two requests to a backend that refuses, whatever waits: bounds what it costs to try, to some hundredths of
/// a processor. 23,000 events get their turn within a round, 76,000 within a minute.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// And no more than this, so that it is soon noticed when the backend takes events again.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The longest `Retry-After` that is honoured at first, and later: an event is promised a repeat within 20 s, and then
/// one a minute.
const RETRY_AFTER_MAX: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(45));

/// What is known of the backend.
#[derive(Debug, Default)]
pub(super) struct Availability {
    /// Its `/ready` was not good, or there was no connection; what waits is due as soon as it is good.
    unready: bool,
    /// There was no connection. Until there is one, nothing is sent: each try would cost as much as an event.
    disconnected: bool,
    /// Requests in a row that confirmed nothing.
    refusals: u32,
    /// Since when it refuses whatever it is sent.
    refusing_since: Option<Instant>,
    /// The last request held several events and was refused as a whole: one event alone tells whether it was for one of
    /// them.
    probe_is_due: bool,
    /// It asked not to be sent anything until then.
    quiet_until: Option<Instant>,
}

/// One request that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    /// What came of each of its events.
    pub(super) outcomes: &'a [Outcome],
    /// The response did not speak of each event, so that all have one outcome.
    pub(super) as_a_whole: bool,
    /// When it ended.
    pub(super) ended: Instant,
}

/// What has become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that matters to what waits.
    None,
    /// It cannot be reached, or is not ready.
    Unready,
    /// It is ready again.
    Ready,
    /// After refusing for so long, it has confirmed something.
    Accepts(Duration),
}

impl Availability {
    /// A request has ended.
    pub(super) fn record(&mut self, attempt: Attempt<'_>) -> Change {
        let Attempt { outcomes, as_a_whole, ended } = attempt;
        if outcomes.contains(&Outcome::Confirmed) {
            self.disconnected = false;
            self.refusals = 0;
            self.probe_is_due = false;
            self.quiet_until = None;
            return self.refusing_since.take().map_or(Change::None, |since| Change::Accepts(ended - since));
        }
        self.refusals = self.refusals.saturating_add(1);
        self.disconnected = outcomes.first() == Some(&Outcome::Unanswered(NoResponse::NotConnected));
        let became_unready = self.disconnected && !mem::replace(&mut self.unready, true);
        let batch_refused = as_a_whole && outcomes.len() > 1 && outcomes.first().is_some_and(is_of_the_backend);
        if batch_refused || self.unready || self.refusals >= REFUSALS_IN_A_ROW {
            self.refusing_since.get_or_insert(ended);
        }
        self.probe_is_due = batch_refused;
        if let Some(asked) = outcomes.iter().filter_map(retry_after).max() {
            let (at_first, later) = RETRY_AFTER_MAX;
            let lasts = self.refusing_since.is_some_and(|since| ended - since > at_first);
            self.quiet_until = Some(ended + asked.min(if lasts { later } else { at_first }));
        }
        if became_unready { Change::Unready } else { Change::None }
    }

    /// Its `/ready` was asked for.
    pub(super) fn record_readiness(&mut self, readiness: Readiness) -> Change {
        self.disconnected = readiness == Readiness::NotConnected;
        let was_unready = mem::replace(&mut self.unready, readiness != Readiness::Ready);
        match (was_unready, self.unready) {
            (true, false) => {
                *self = Self::default();
                Change::Ready
            }
            (false, true) => Change::Unready,
            _ => Change::None,
        }
    }

    /// Whether there is no connection, so that nothing should be sent.
    pub(super) fn is_disconnected(&self) -> bool {
        self.disconnected
    }

    /// Whether events that nobody waits for go straight to it; else they go from the journal, when it is their turn.
    pub(super) fn takes_first_attempts(&self, now: Instant) -> bool {
        !self.disconnected && self.refusing_since.is_none() && self.quiet_until.is_none_or(|until| until <= now)
    }

    /// Whether it refuses whatever it is sent.
    pub(super) fn is_refusing(&self) -> bool {
        self.refusing_since.is_some()
    }

    /// Whether one event alone should be tried next.
    pub(super) fn wants_probe(&self) -> bool {
        self.probe_is_due
    }

    /// One event alone is on its way.
    pub(super) fn probe_started(&mut self) {
        self.probe_is_due = false;
    }

    /// How long what waits in the journal, `requests` of it, leaves between the starts of two requests.
    pub(super) fn pause(&self, requests: usize) -> Duration {
        if self.refusing_since.is_none() || self.probe_is_due {
            return Duration::ZERO;
        }
        let share = ROUND / u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
        share.clamp(PAUSE_MIN, PAUSE_MAX)
    }

    /// How long it still wants to be left alone.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        self.quiet_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Whether it can be reached, is ready, and takes what it is sent, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        !self.unready && !self.disconnected && self.refusing_since.is_none()
    }
}

/// Whether a request with several events that ended so may well have done so whatever was in it. Too long, too slow and
/// broken off are what one of them can make of all.
fn is_of_the_backend(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused(status, _) => *status != StatusCode::PAYLOAD_TOO_LARGE,
        Outcome::Confirmed | Outcome::Unanswered(_) => false,
    }
}

fn retry_after(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Refused(_, retry_after) => *retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refused(status: u16) -> Outcome {
        Outcome::Refused(StatusCode::from_u16(status).unwrap(), None)
    }

    fn whole(outcomes: &[Outcome], ended: Instant) -> Attempt<'_> {
        Attempt { outcomes, as_a_whole: true, ended }
    }

    #[test]
    fn a_batch_that_is_refused_as_a_whole_is_about_the_backend() {
        for status in [200, 302, 400, 401, 403, 404, 405, 429, 500, 502, 503] {
            let (mut backend, now) = (Availability::default(), Instant::now());
            backend.record(whole(&[refused(status), refused(status)], now));
            assert!(!backend.is_up() && !backend.takes_first_attempts(now), "{status}");
            assert!(backend.wants_probe() && backend.pause(1).is_zero(), "{status}");
            backend.record(whole(&[refused(status)], now));
            assert!(!backend.wants_probe() && backend.pause(1) == PAUSE_MAX, "{status}");
            let accepted = backend.record(whole(&[Outcome::Confirmed], now + SECOND));
            assert_eq!(accepted, Change::Accepts(SECOND));
            assert!(backend.is_up() && backend.takes_first_attempts(now) && backend.pause(1).is_zero());
        }
    }

    #[test]
    fn what_one_event_can_do_to_a_batch_is_not_about_the_backend() {
        let outcomes =
            [refused(413), Outcome::Unanswered(NoResponse::TimedOut), Outcome::Unanswered(NoResponse::Broken)];
        for outcome in outcomes {
            let (mut backend, now) = (Availability::default(), Instant::now());
            backend.record(whole(&[outcome.clone(), outcome], now));
            assert!(backend.is_up() && backend.takes_first_attempts(now));
        }
    }

    #[test]
    fn events_that_are_refused_one_by_one_are_about_the_backend_when_there_is_nothing_else() {
        let (mut backend, now) = (Availability::default(), Instant::now());
        for _ in 0..10 {
            backend.record(whole(&[refused(500)], now));
            backend.record(Attempt { outcomes: &[refused(500), refused(500)], as_a_whole: false, ended: now });
            assert!(backend.is_up());
            backend.record(Attempt { outcomes: &[refused(500), Outcome::Confirmed], as_a_whole: false, ended: now });
        }
        for _ in 0..REFUSALS_IN_A_ROW {
            backend.record(whole(&[refused(500)], now));
        }
        assert!(!backend.is_up());
    }

    #[test]
    fn the_more_waits_the_shorter_are_the_pauses_within_bounds() {
        let (mut backend, now) = (Availability::default(), Instant::now());
        backend.record(whole(&[refused(403), refused(403)], now));
        backend.record(whole(&[refused(403)], now));
        assert_eq!(backend.pause(0), PAUSE_MAX);
        assert_eq!(backend.pause(180), Duration::from_millis(100));
        assert_eq!(backend.pause(1_000_000), PAUSE_MIN);
    }

    #[test]
    fn retry_after_is_honoured_as_far_as_repeats_are_promised() {
        let asks = |seconds: u64| [Outcome::Refused(StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(seconds)))];
        let (mut backend, now) = (Availability::default(), Instant::now());
        backend.record(whole(&asks(7), now));
        assert_eq!(backend.quiet_for(now), 7 * SECOND);
        assert!(!backend.takes_first_attempts(now) && backend.takes_first_attempts(now + 7 * SECOND));
        backend.record(whole(&asks(3600), now));
        assert_eq!(backend.quiet_for(now), RETRY_AFTER_MAX.0);
        backend.record(whole(&asks(3600), now));
        let later = now + 30 * SECOND;
        backend.record(whole(&asks(3600), later));
        assert_eq!(backend.quiet_for(later), RETRY_AFTER_MAX.1);
        backend.record(whole(&[Outcome::Confirmed], later));
        assert!(backend.quiet_for(later).is_zero());
    }

    #[test]
    fn without_a_connection_nothing_is_sent_until_ready_says_that_there_is_one() {
        let (mut backend, now) = (Availability::default(), Instant::now());
        let lost = [Outcome::Unanswered(NoResponse::NotConnected)];
        assert_eq!(backend.record(whole(&lost, now)), Change::Unready);
        assert_eq!(backend.record(whole(&lost, now)), Change::None);
        assert!(backend.is_disconnected());
        assert_eq!(backend.record_readiness(Readiness::NotConnected), Change::None);
        assert_eq!(backend.record_readiness(Readiness::NotReady), Change::None);
        assert!(!backend.is_disconnected() && !backend.is_up());
        assert_eq!(backend.record_readiness(Readiness::Ready), Change::Ready);
        assert!(backend.is_up());
    }
}
