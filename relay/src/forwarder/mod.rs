//! Brings events to the backend until it has confirmed each.
//!
//! An event goes straight from the webhook that brought it (`live`), while the journal still writes it; and, if that does
//! not confirm it, from the journal, as often as it takes (`late`). Which of the two has an event is never in doubt: the
//! first keeps it until both its fates are known (kept or not, confirmed or not), and only then is it the second's. So no
//! event is delivered twice at the same time.
//!
//! What comes faster than the backend takes it waits in the journal, not in memory.

mod late;
mod live;
mod schedule;
mod slots;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tollgate_shared::backoff::Backoff;
use tollgate_shared::{Clock, RequestId, Rng, telemetry};
use tracing::{info, warn};

use crate::delivery::{Backend, Event, NoAnswer, Outcome, Shown};
use tollgate_journal::Journal;
use crate::metrics::Metrics;
use late::Late;
use live::Live;
use schedule::Failure;

pub use live::Handoff;

/// How long the forwarder waits for things, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Intervals between the deliveries of one event, from start to start. The first has to be within 20 s and no other
    /// above 60 s; a delivery may take 15 s, and there may be a queue.
    pub repeats: Backoff,
    /// How often the backend's `/ready` is asked while something is unconfirmed.
    pub ready_every: Duration,
    /// A request that takes longer than this holds up no other any more. An answer takes a few milliseconds.
    pub prompt: Duration,
    /// Bytes of events that may wait in memory or be under way from there. What comes on top goes to the journal alone.
    pub memory_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            repeats: Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(50) },
            ready_every: Duration::from_secs(1),
            prompt: Duration::from_millis(50),
            memory_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// Everything that a forwarder works with.
pub struct Means {
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
pub struct Forwarder(Arc<Shared>);

struct Shared {
    means: Means,
    live: Mutex<Live>,
    late: Mutex<Late>,
    /// Rung when about as many events wait as went together last.
    company: Notify,
    /// Rung when there may be something for [`late::catch_up`] to start.
    late_changed: Notify,
    /// Rung when there is something unconfirmed for which the backend's `/ready` should be watched.
    ready_wanted: Notify,
    /// The backend's `/ready` was not good, or there was no connection; what waits is due as soon as it is good.
    away: AtomicBool,
    /// There was no connection. Until there is one, nothing is sent: each try would cost as much as an event.
    cut_off: AtomicBool,
    /// Rung when a request has ended, for those who wait until all have.
    ended: Notify,
    stopping: watch::Sender<bool>,
}

impl Forwarder {
    /// Starts to deliver what `journal` holds unconfirmed, without waiting for any of it.
    pub fn start(means: Means) -> Self {
        let forwarder = Self(Arc::new(Shared {
            means,
            live: Mutex::default(),
            late: Mutex::default(),
            company: Notify::new(),
            late_changed: Notify::new(),
            ready_wanted: Notify::new(),
            away: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            ended: Notify::new(),
            stopping: watch::Sender::new(false),
        }));
        // Before anything new can come: from here on every event is handed over by whoever had it before.
        forwarder.schedule_what_is_left();
        tokio::spawn(late::catch_up(forwarder.clone()));
        tokio::spawn(late::watch_ready(forwarder.clone()));
        forwarder
    }

    /// Starts no more deliveries from the journal. First ones go on.
    pub fn stop_catching_up(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Starts nothing new, and waits until `deadline` for what is under way. The rest is in the journal for the next start.
    pub async fn drain(&self, deadline: Instant) {
        self.stop_catching_up();
        self.leave_waiting_to_the_journal();
        loop {
            let ended = self.0.ended.notified();
            if self.live().under_way() + self.late().under_way() == 0 {
                return;
            }
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                warn!("Stopped before the backend had answered all: what is unconfirmed goes again at the next start");
                return;
            }
        }
    }

    /// Delivers `events` in one request; each one's outcome, in their order.
    async fn deliver<E: AsRef<Event>>(&self, events: &[E]) -> Delivered {
        let means = &self.0.means;
        let started = Instant::now();
        let (outcomes, in_company) = if let [event] = events {
            let Event { id, kind, request_id, .. } = event.as_ref();
            let (shown, kind) = (Shown(id), Shown(kind));
            info!(event.id = %shown, %request_id, "Forwarding event {shown} ({kind})");
            (vec![means.backend.deliver(event.as_ref()).await], false)
        } else {
            let batch = RequestId::new(means.clock.now(), &means.rng);
            telemetry::together(|| {
                for event in events {
                    let Event { id, kind, request_id, .. } = event.as_ref();
                    let (id, kind) = (Shown(id), Shown(kind));
                    info!(event.id = %id, %request_id, batch.request_id = %batch, "Forwarding event {id} ({kind})");
                }
            });
            match means.backend.deliver_together(events, &batch).await {
                Ok(outcomes) => (outcomes, false),
                Err(outcome) => (vec![outcome; events.len()], true),
            }
        };
        means.metrics.forward_requests.increment(1);
        telemetry::together(|| {
            for (event, outcome) in events.iter().zip(&outcomes) {
                self.report(event.as_ref(), outcome);
            }
        });
        let cut_off = outcomes.first() == Some(&Outcome::Unanswered(NoAnswer::NotConnected));
        self.0.cut_off.store(cut_off, Ordering::Relaxed);
        if cut_off {
            self.backend_is_away();
        }
        Delivered { outcomes, failure: Failure { started, ended: Instant::now(), in_company } }
    }

    fn report(&self, event: &Event, outcome: &Outcome) {
        let (id, request_id) = (Shown(&event.id), &event.request_id);
        match outcome {
            Outcome::Confirmed => {
                self.0.means.metrics.forward_confirmed.increment(1);
                info!(event.id = %id, %request_id, "Backend confirmed event {id}");
            }
            Outcome::Refused(status) => {
                self.0.means.metrics.forward_unconfirmed.increment(1);
                let status = status.as_u16();
                let hint = if status == StatusCode::FORBIDDEN { ": it may not know our key" } else { "" };
                warn!(event.id = %id, %request_id, status, "Backend did not confirm event {id}: it answered {status}{hint}");
            }
            Outcome::Unanswered(why) => {
                self.0.means.metrics.forward_unconfirmed.increment(1);
                warn!(event.id = %id, %request_id, "Backend did not confirm event {id}: {why}");
            }
        }
    }

    /// How many events wait for a later delivery, or are on one.
    #[cfg(test)]
    pub(crate) fn late_count(&self) -> usize {
        self.late().count()
    }

    /// The backend that events go to.
    #[cfg(test)]
    pub(crate) fn backend(&self) -> &Backend {
        &self.0.means.backend
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Nothing that may panic runs while it is half changed. The same holds for the other.
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> MutexGuard<'_, Late> {
        self.0.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cut_off(&self) -> bool {
        self.0.cut_off.load(Ordering::Relaxed)
    }

    fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }
}

/// What came of one request.
struct Delivered {
    outcomes: Vec<Outcome>,
    /// For those that were not confirmed.
    failure: Failure,
}
