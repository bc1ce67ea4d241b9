//! Brings events to the backend until it has confirmed each.
//!
//! An event goes straight from the webhook that brought it (`first_attempt`), while the journal still writes it; and, if
//! that does not confirm it, from the journal, as often as it takes (`redelivery`). Which of the two has an event is
//! never in doubt: the first keeps it until both are known, whether it is in the journal and whether it is confirmed
//! (`progress`), and only then is it the second's. So no event is delivered twice at the same time.
//!
//! What comes faster than the backend takes it waits in the journal, not in memory.

mod availability;
mod bounds;
mod failure_log;
mod first_attempt;
mod from_journal;
mod handoff;
mod in_flight;
mod progress;
mod redelivery;
mod schedule;
mod sender;
mod sync;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tollgate_journal::Journal;
use tollgate_shared::{Clock, Rng};
use tracing::warn;

use crate::backend::delivery::Backend;
use crate::backend::event::Event;
use crate::metrics::Metrics;
use first_attempt::FirstAttempts;
use handoff::Next;
use redelivery::Redeliveries;
use sender::Sender;

pub use bounds::Bounds;
pub use handoff::{Forwarded, Handoff, Persisted, Urgency};
pub use progress::Known;
pub use schedule::{Cause, Failure};

/// Everything that a forwarder works with.
pub struct Deps {
    /// Where events go.
    pub backend: Backend,
    /// Where they are kept meanwhile.
    pub journal: Journal,
    /// For the ids of requests that hold several events.
    pub clock: Clock,
    /// For ids and jitter.
    pub rng: Rng,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long it waits for things, and how much it holds.
    pub bounds: Bounds,
}

/// Brings events to the backend. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    first_attempts: FirstAttempts,
    redeliveries: Redeliveries,
    /// Rung when a request of either has ended.
    ended: Arc<Notify>,
    #[cfg(test)]
    backend: Backend,
}

impl Forwarder {
    /// Starts to deliver what the journal holds unconfirmed, without waiting for any of it. Has to be called on a Tokio
    /// runtime.
    pub fn start(deps: Deps) -> Self {
        let Deps { backend, journal, clock, rng, metrics, bounds } = deps;
        let ended = Arc::new(Notify::new());
        #[cfg(test)]
        let for_tests = backend.clone();
        let sender = Arc::new(Sender::new(backend, clock, rng, metrics));
        let redeliveries = Redeliveries::start(Arc::clone(&sender), journal.clone(), bounds, Arc::clone(&ended));
        let next = Next { journal, redeliveries: redeliveries.clone() };
        let first_attempts = FirstAttempts::new(sender, next, bounds, Arc::clone(&ended));
        Self {
            first_attempts,
            redeliveries,
            ended,
            #[cfg(test)]
            backend: for_tests,
        }
    }

    /// Sends `event` on its first way, unless the backend is known to take nothing; whoever calls this tells the handoff
    /// whether the journal has it.
    pub fn forward(&self, event: Event, urgency: Urgency) -> Arc<Handoff> {
        self.first_attempts.forward(event, urgency)
    }

    /// Sends an event that the journal could not take: this delivery is all that it has, so it is tried in any case, and
    /// first.
    pub fn forward_unpersisted(&self, event: Event) -> Arc<Handoff> {
        self.first_attempts.forward_unpersisted(event)
    }

    /// Starts no more deliveries from the journal. First ones go on.
    pub fn stop_redelivering(&self) {
        self.redeliveries.stop();
    }

    /// Starts nothing new, and waits until `deadline` for what is in flight. The rest is in the journal for the next start.
    pub async fn drain(&self, deadline: Instant) {
        self.stop_redelivering();
        self.first_attempts.close();
        loop {
            let ended = self.ended.notified();
            if self.first_attempts.in_flight() + self.redeliveries.in_flight() == 0 {
                return;
            }
            if timeout_at(deadline, ended).await.is_err() {
                warn!(
                    "stopped before the backend had confirmed all: unconfirmed events will be redelivered on restart"
                );
                return;
            }
        }
    }

    /// Makes all scheduled events due now.
    #[cfg(test)]
    pub(crate) fn make_all_due(&self) {
        self.redeliveries.make_all_due();
    }

    /// How many events wait for a later delivery, or are on one.
    #[cfg(test)]
    pub(crate) fn redelivery_count(&self) -> usize {
        self.redeliveries.len()
    }

    /// The backend that events go to.
    #[cfg(test)]
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }
}
