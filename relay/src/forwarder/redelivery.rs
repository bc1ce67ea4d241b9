//! The deliveries after the first: from the journal, each event at intervals that grow, and all at once when the backend
//! is back.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tollgate_journal::{Entry, Journal, Position, ReadError};
use tollgate_shared::RequestId;
use tracing::{error, info, warn};

use super::availability::Change;
use super::bounds::Bounds;
use super::from_journal::{Redelivery, read_batch};
use super::in_flight::{InFlight, Limits};
use super::schedule::{BATCH_LEN_MAX, Cause, Failure, Schedule};
use super::sender::{Sender, Sent};
use crate::backend::delivery::Outcome;
use crate::backend::event::Event;

/// One request at a time that is answered in the usual time: that keeps the order of arrival, and what is late is in no
/// hurry that new events are not in. Slow ones hold up no other.
const IN_ORDER: Limits = Limits { fast_max: 1, total_max: 32 };
/// For a backend that takes one event a request, when many wait.
const MANY: Limits = Limits { fast_max: 8, total_max: 32 };
/// How many are many.
const MANY_EVENTS: usize = 256;

/// How many positions are taken from the journal's index at a time.
const PAGE: usize = 16 * 1024;

/// Delivers the events that are not on their first way. Cheap to clone.
#[derive(Clone)]
pub(super) struct Redeliveries(Arc<Shared>);

struct Shared {
    sender: Arc<Sender>,
    journal: Journal,
    bounds: Bounds,
    queue: Mutex<Queue>,
    /// Rung when there may be something for [`redeliver_loop`] to start.
    changed: Notify,
    /// Rung when there is something unconfirmed for which the backend's `/ready` should be watched.
    ready_wanted: Notify,
    /// Rung when a request has ended, for those who wait until all have.
    ended: Arc<Notify>,
    stopping: watch::Sender<bool>,
}

#[derive(Default)]
struct Queue {
    schedule: Schedule,
    requests: InFlight,
    /// When the last request was started.
    last_start: Option<Instant>,
}

enum Next {
    Deliver(Vec<Position>),
    In(Duration),
    /// When something changes.
    Later,
}

impl Redeliveries {
    /// Starts to deliver what `journal` holds unconfirmed, without waiting for any of it. Rings `ended` when a request is
    /// over.
    pub(super) fn start(sender: Arc<Sender>, journal: Journal, bounds: Bounds, ended: Arc<Notify>) -> Self {
        let redeliveries = Self(Arc::new(Shared {
            sender,
            journal,
            bounds,
            queue: Mutex::default(),
            changed: Notify::new(),
            ready_wanted: Notify::new(),
            ended,
            stopping: watch::Sender::new(false),
        }));
        // Before anything new can come: from here on every event is handed over by whoever had it before.
        redeliveries.schedule_what_is_left();
        tokio::spawn(redeliver_loop(redeliveries.clone()));
        tokio::spawn(watch_ready(redeliveries.clone()));
        redeliveries
    }

    /// Starts nothing more.
    pub(super) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// How many requests are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.queue().requests.total()
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.queue().schedule.len()
    }

    /// The event at `position` is in the journal and was not tried.
    pub(super) fn add(&self, position: Position) {
        self.change(|queue| queue.schedule.add(position));
    }

    /// The first delivery of the event at `position` has failed.
    pub(super) fn add_failed(&self, position: Position, failure: Failure) {
        let Shared { sender, journal, bounds, .. } = &*self.0;
        journal.attempted(position);
        self.change(|queue| queue.schedule.add_failed(position, failure, &bounds.repeats, &sender.rng));
    }

    /// Takes up what a request, one from here or a first one, says of the backend.
    pub(super) fn note(&self, sent: &Sent) {
        if sent.has_confirmed() {
            self.queue().schedule.confirmed();
        }
        self.note_change(sent.change);
    }

    /// Makes all that is scheduled due now.
    pub(super) fn make_all_due(&self) {
        self.change(|queue| queue.schedule.make_all_due());
    }

    fn note_change(&self, change: Change) {
        match change {
            Change::Ready => self.make_all_due(),
            // After less than that, what has failed is due in a moment anyway; and one bad event beside many good ones
            // is no reason to repeat it with each of them.
            Change::Accepts(after) if after >= self.0.bounds.repeats.first => {
                info!(waiting = self.len(), "backend accepts events again: delivering what waits in the journal");
                self.change(|queue| queue.schedule.make_refused_due());
            }
            // It may be that only now there is a connection again.
            Change::None | Change::Unready | Change::Accepts(_) => self.0.changed.notify_one(),
        }
    }

    /// What the journal holds unconfirmed from before.
    fn schedule_what_is_left(&self) {
        let mut after = None;
        loop {
            let page = self.0.journal.unconfirmed_after(after, PAGE);
            let mut queue = self.queue();
            for position in &page {
                queue.schedule.add(*position);
            }
            after = page.last().copied();
            if page.len() < PAGE {
                let events = queue.schedule.len();
                drop(queue);
                if events > 0 {
                    info!(events, "found {events} events that the backend has yet to confirm");
                    self.0.ready_wanted.notify_one();
                }
                return;
            }
        }
    }

    /// Changes the queue; logs when the relay falls behind and when it has caught up.
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let (before, after) = {
            let mut queue = self.queue();
            let before = queue.schedule.len();
            change(&mut queue);
            self.show(&queue);
            (before, queue.schedule.len())
        };
        if before == 0 && after > 0 {
            warn!(events = after, "backend is behind: {after} unconfirmed events in the journal");
            self.0.ready_wanted.notify_one();
        }
        if before > 0 && after == 0 {
            info!("backend has caught up: it has confirmed every event in the journal");
        }
        // While there is no connection there is nothing to start.
        if !self.0.sender.availability().is_disconnected() {
            self.0.changed.notify_one();
        }
    }

    fn show(&self, queue: &Queue) {
        let (due, later) = (queue.schedule.due_count(), queue.schedule.later_count());
        let in_flight = queue.schedule.len() - due - later;
        self.0.sender.metrics.redeliveries.set(due, later, in_flight);
    }

    fn next(&self) -> Next {
        let sender = &self.0.sender;
        let now = Instant::now();
        let mut queue = self.queue();
        let Some(due_in) = queue.schedule.due_in(now) else { return Next::Later };
        let together = sender.backend.takes_sequences();
        let requests = queue.schedule.len() / if together { BATCH_LEN_MAX } else { 1 };
        let (pause, quiet_for, is_refusing, probe) = {
            let availability = sender.availability();
            if availability.is_disconnected() {
                return Next::Later;
            }
            let is_refusing = availability.is_refusing();
            (availability.pause(requests), availability.quiet_for(now), is_refusing, availability.wants_probe())
        };
        let paused_for = queue.last_start.map_or(Duration::ZERO, |at| (at + pause).saturating_duration_since(now));
        let wait = due_in.max(paused_for).max(quiet_for);
        if !wait.is_zero() {
            return Next::In(wait);
        }
        let many = !together && queue.schedule.due_count() > MANY_EVENTS;
        if !queue.requests.try_start(if many { MANY } else { IN_ORDER }) {
            return Next::Later;
        }
        queue.last_start = Some(now);
        let positions = match (is_refusing, probe) {
            (false, _) => queue.schedule.take(now, together),
            (true, false) => queue.schedule.take_in_turn(now, if together { BATCH_LEN_MAX } else { 1 }),
            (true, true) => {
                sender.availability().probe_started();
                queue.schedule.take_in_turn(now, 1)
            }
        };
        self.show(&queue);
        Next::Deliver(positions)
    }

    /// Reads what is at `positions`: the events to deliver now; the others are returned, or done with.
    async fn read(&self, positions: Vec<Position>) -> Vec<Redelivery> {
        let journal = self.0.journal.clone();
        let all = positions.clone();
        // An error means that the process is ending.
        let (entries, untried) =
            spawn_blocking(move || read_batch(&journal, positions)).await.unwrap_or((Vec::new(), all));
        let now = Instant::now();
        let mut events = Vec::with_capacity(entries.len());
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (position, entry) in entries {
            match entry {
                // An operator has discarded it.
                Ok(entry) if entry.confirmed => done.push(position),
                Ok(entry) => events.push(self.redelivery(position, entry)),
                Err(ReadError::NotThere(_)) => {
                    error!("an unconfirmed event is not in the journal any more, at {position}");
                    done.push(position);
                }
                Err(why) => {
                    error!("could not read an unconfirmed event at {position}: {why}");
                    failed.push(position);
                }
            }
        }
        if !(untried.is_empty() && done.is_empty() && failed.is_empty()) {
            let Shared { sender, bounds, .. } = &*self.0;
            self.change(|queue| {
                for position in untried {
                    queue.schedule.return_untried(position);
                }
                for position in done {
                    queue.schedule.done(position);
                }
                for position in failed {
                    let failure = Failure { started: now, ended: now, cause: Cause::Event };
                    queue.schedule.failed(position, failure, &bounds.repeats, &sender.rng);
                }
            });
        }
        events
    }

    fn redelivery(&self, position: Position, entry: Entry) -> Redelivery {
        let Shared { sender, .. } = &*self.0;
        let event = Event {
            id: entry.event_id,
            event_type: entry.event_type,
            request_id: RequestId::adopt(Some(&entry.request_id), sender.clock.now(), &sender.rng),
            received_at: entry.received_at,
            trace: None,
            body: entry.body,
        };
        Redelivery { position, event, attempts: entry.attempts }
    }

    async fn deliver(&self, positions: Vec<Position>) {
        let events = self.read(positions).await;
        if events.is_empty() {
            return;
        }
        let Shared { sender, journal, bounds, .. } = &*self.0;
        let sent = sender.send(&events).await;
        let results = || events.iter().map(|event| event.position).zip(&sent.outcomes);
        for (position, outcome) in results() {
            match outcome {
                Outcome::Confirmed => journal.confirm(position),
                _ => journal.attempted(position),
            }
        }
        self.change(|queue| {
            for (position, outcome) in results() {
                match outcome {
                    Outcome::Confirmed => queue.schedule.done(position),
                    _ => queue.schedule.failed(position, sent.failure(outcome), &bounds.repeats, &sender.rng),
                }
            }
        });
        self.note(&sent);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that may panic runs while it is half changed.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }
}

/// Delivers what is due, until it is stopped.
async fn redeliver_loop(redeliveries: Redeliveries) {
    let mut stopping = redeliveries.0.stopping.subscribe();
    while !redeliveries.is_stopping() {
        let wait = match redeliveries.next() {
            Next::Deliver(positions) => {
                let request = Request { redeliveries: redeliveries.clone(), slow: false };
                tokio::spawn(request.send(positions));
                continue;
            }
            Next::In(wait) => Some(wait),
            Next::Later => None,
        };
        tokio::select! {
            () = redeliveries.0.changed.notified() => {}
            () = sleep_if(wait) => {}
            // An error means that the sender is gone, which it is not while we hold it.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

async fn sleep_if(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => pending().await,
    }
}

/// Holds a slot; gives it back when dropped, in a panic too.
struct Request {
    redeliveries: Redeliveries,
    slow: bool,
}

impl Request {
    async fn send(mut self, positions: Vec<Position>) {
        let redeliveries = self.redeliveries.clone();
        let mut delivery = pin!(redeliveries.deliver(positions));
        if timeout(redeliveries.0.bounds.slow_after, &mut delivery).await.is_err() {
            self.slow = true;
            redeliveries.queue().requests.mark_slow();
            redeliveries.0.changed.notify_one();
            delivery.await;
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.redeliveries.queue().requests.end(self.slow);
        self.redeliveries.0.changed.notify_one();
        self.redeliveries.0.ended.notify_waiters();
    }
}

/// Asks for the backend's `/ready` while something is unconfirmed, and makes all of it due when that is good again.
async fn watch_ready(redeliveries: Redeliveries) {
    let mut stopping = redeliveries.0.stopping.subscribe();
    loop {
        tokio::select! {
            () = watch_ready_once(&redeliveries) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn watch_ready_once(redeliveries: &Redeliveries) {
    if redeliveries.len() == 0 {
        redeliveries.0.ready_wanted.notified().await;
    }
    let change = redeliveries.0.sender.ask_readiness().await;
    redeliveries.note_change(change);
    redeliveries.0.sender.log_failures(redeliveries.len());
    sleep(redeliveries.0.bounds.ready_interval).await;
}
