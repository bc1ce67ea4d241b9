//! Sends events to the backend, one or several in a request, and notes what came of it: what is known of the backend, the
//! metrics, the log. When an event is sent, and whether again, others decide.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tokio::time::Instant;
use tollgate_shared::log_safe::LogSafe;
use tollgate_shared::{Clock, RequestId, Rng};
use tracing::{debug, info, warn};

use super::availability::{Attempt, Availability, Change};
use super::failure_log::{FailureLog, Reason};
use super::schedule::{Cause, Failure};
use crate::backend::delivery::{Backend, Outcome};
use crate::backend::event::Event;
use crate::metrics::Metrics;

/// Sends events to the backend.
pub(super) struct Sender {
    pub(super) backend: Backend,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) metrics: Arc<Metrics>,
    availability: Mutex<Availability>,
    failures: Mutex<FailureLog>,
}

/// An event as one of its two ways holds it.
pub(super) trait Outgoing: AsRef<Event> {
    /// It was sent before, so that its line in the log is there already.
    fn is_repeat(&self) -> bool;
}

/// What came of one request.
pub(super) struct Sent {
    /// Each event's outcome, in their order.
    pub(super) outcomes: Vec<Outcome>,
    /// What that says of the backend.
    pub(super) change: Change,
    as_a_whole: bool,
    started: Instant,
    ended: Instant,
}

impl Sent {
    /// Whether any event was confirmed.
    pub(super) fn has_confirmed(&self) -> bool {
        self.outcomes.contains(&Outcome::Confirmed)
    }

    /// The failure that `outcome`, one of these, is.
    pub(super) fn failure(&self, outcome: &Outcome) -> Failure {
        let of_several = self.as_a_whole && self.outcomes.len() > 1;
        Failure { started: self.started, ended: self.ended, cause: cause(outcome, of_several) }
    }
}

impl Sender {
    pub(super) fn new(backend: Backend, clock: Clock, rng: Rng, metrics: Arc<Metrics>) -> Self {
        metrics.backend_up.set(1.0);
        Self { backend, clock, rng, metrics, availability: Mutex::default(), failures: Mutex::default() }
    }

    /// What is known of the backend.
    pub(super) fn availability(&self) -> MutexGuard<'_, Availability> {
        // Nothing that may panic runs while it is half changed. The same holds for the other.
        self.availability.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, FailureLog> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `events` in one request.
    pub(super) async fn send<E: Outgoing>(&self, events: &[E]) -> Sent {
        let started = Instant::now();
        let (outcomes, as_a_whole) = if let [event] = events {
            log_forwarding(event, None);
            (vec![self.backend.deliver(event.as_ref()).await], true)
        } else {
            let batch = RequestId::new(self.clock.now(), &self.rng);
            for event in events {
                log_forwarding(event, Some(&batch));
            }
            match self.backend.deliver_together(events, &batch).await {
                Ok(outcomes) => (outcomes, false),
                Err(outcome) => (vec![outcome; events.len()], true),
            }
        };
        let ended = Instant::now();
        let confirmed = outcomes.iter().filter(|outcome| **outcome == Outcome::Confirmed).count();
        self.metrics.forwarded(events.len(), confirmed, status(&outcomes, as_a_whole), ended - started);
        let change = self.availability().record(Attempt { outcomes: &outcomes, as_a_whole, ended });
        self.show_availability(change);
        for (event, outcome) in events.iter().zip(&outcomes) {
            self.log_outcome(event.as_ref(), outcome, ended);
        }
        Sent { outcomes, change, as_a_whole, started, ended }
    }

    /// Asks for the backend's `/ready`.
    pub(super) async fn ask_readiness(&self) -> Change {
        let readiness = self.backend.readiness().await;
        let change = self.availability().record_readiness(readiness);
        self.show_availability(change);
        change
    }

    /// Logs how many deliveries have failed since the last such line, if it is time for one; `waiting` events are yet to
    /// be confirmed.
    pub(super) fn log_failures(&self, waiting: usize) {
        let Some(summary) = self.failures().summary(Instant::now()) else { return };
        let deliveries = summary.count();
        warn!(deliveries, waiting, "backend did not confirm: {summary}; {waiting} events wait in the journal");
    }

    fn show_availability(&self, change: Change) {
        let is_up = self.availability().is_up();
        self.metrics.backend_up.set(f64::from(u8::from(is_up)));
        match change {
            Change::Unready => warn!("backend unreachable: queueing events in the journal"),
            Change::Ready => info!("backend is ready again: delivering what waits in the journal"),
            Change::None | Change::Accepts(_) => {}
        }
    }

    fn log_outcome(&self, event: &Event, outcome: &Outcome, ended: Instant) {
        let (id, request_id) = (LogSafe(&event.id), &event.request_id);
        let Some(reason) = Reason::of(outcome) else {
            debug!(event.id = %id, %request_id, "backend confirmed event {id}");
            return;
        };
        if self.failures().note(ended, reason) {
            warn!(event.id = %id, %request_id, "backend did not confirm event {id}: {reason}");
        } else {
            debug!(event.id = %id, %request_id, "backend did not confirm event {id}: {reason}");
        }
    }
}

/// The status of the response that gave these outcomes; `None`: there was no whole one.
fn status(outcomes: &[Outcome], as_a_whole: bool) -> Option<StatusCode> {
    match outcomes.first()? {
        Outcome::Unanswered(_) => None,
        Outcome::Refused(status, _) if as_a_whole => Some(*status),
        Outcome::Refused(..) | Outcome::Confirmed => Some(StatusCode::OK),
    }
}

/// The one line that an event gets at the default level.
fn log_forwarding<E: Outgoing>(event: &E, batch: Option<&RequestId>) {
    let Event { id, event_type, request_id, .. } = event.as_ref();
    let (id, event_type) = (LogSafe(id), LogSafe(event_type));
    let batch = batch.map(RequestId::as_str);
    if event.is_repeat() {
        debug!(event.id = %id, %request_id, batch.request_id = batch, "Forwarding event {id} ({event_type}) again");
    } else {
        info!(event.id = %id, %request_id, batch.request_id = batch, "Forwarding event {id} ({event_type})");
    }
}

/// What an event's outcome says, if that is none that confirms; `of_several`: a request with others ended so as a whole.
fn cause(outcome: &Outcome, of_several: bool) -> Cause {
    match outcome {
        Outcome::Refused(StatusCode::PAYLOAD_TOO_LARGE, _) | Outcome::Unanswered(_) if of_several => Cause::Batch,
        _ if of_several => Cause::BatchRefused,
        Outcome::Unanswered(_) => Cause::Backend,
        Outcome::Refused(status, _) if is_of_the_backend(*status) => Cause::Backend,
        _ => Cause::Event,
    }
}

/// Whether a backend that responds so to one event would to any: it does not know us or the route, is overloaded, or
/// could not store it. (After a 500 it has stored the event, and tries it
/// again by itself.)
fn is_of_the_backend(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 404 | 405 | 407 | 429 | 502..=504)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::delivery::NoResponse;

    fn refused(status: u16) -> Outcome {
        Outcome::Refused(StatusCode::from_u16(status).unwrap(), None)
    }

    #[test]
    fn only_what_one_event_can_bring_about_splits_a_batch() {
        for outcome in
            [refused(413), Outcome::Unanswered(NoResponse::TimedOut), Outcome::Unanswered(NoResponse::Broken)]
        {
            assert_eq!(cause(&outcome, true), Cause::Batch);
        }
        for status in [200, 302, 400, 401, 403, 404, 405, 429, 500, 503] {
            assert_eq!(cause(&refused(status), true), Cause::BatchRefused, "{status}");
        }
    }

    #[test]
    fn an_event_that_was_judged_by_itself_is_its_own_reason() {
        for status in [200, 302, 400, 413, 422, 500] {
            assert_eq!(cause(&refused(status), false), Cause::Event, "{status}");
        }
        for status in [401, 403, 404, 405, 429, 502, 503, 504] {
            assert_eq!(cause(&refused(status), false), Cause::Backend, "{status}");
        }
    }
}
