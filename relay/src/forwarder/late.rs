//! The deliveries after the first: from the journal, each event at intervals that grow, and all at once when the
//! backend is back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_shared::RequestId;
use tracing::{error, info, warn};

use super::Forwarder;
use super::live::TOGETHER_BYTES_MAX;
use super::schedule::{Failure, Schedule};
use super::slots::{SlotLimits, Slots};
use crate::delivery::{Event, Outcome, Readiness};
use tollgate_journal::{Position, ReadError};

/// One request at a time that is answered in the usual time: that keeps the order of arrival, and what is late is in no
/// hurry that new events are not in. Those that drag hold up no other.
const IN_ORDER: SlotLimits = SlotLimits { prompt_max: 1, all_max: 32 };
/// For a backend that takes one event a request, when many wait.
const IN_A_CROWD: SlotLimits = SlotLimits { prompt_max: 8, all_max: 32 };
/// How many are many.
const CROWD: usize = 256;

/// Between two requests to a backend that is not ready and confirms nothing: enough for each of a few hundred events to
/// come in its time, and no burden while a million wait.
const PACE_WHILE_AWAY: Duration = Duration::from_millis(100);

/// How many positions are taken from the journal's index at a time.
const PAGE: usize = 16 * 1024;

/// The events that are not on their first way.
#[derive(Default)]
pub(super) struct Late {
    schedule: Schedule,
    slots: Slots,
    /// No request before this.
    pause_until: Option<Instant>,
    /// The last delivery confirmed nothing.
    failing: bool,
}

impl Late {
    /// How many events there are.
    pub(super) fn count(&self) -> usize {
        self.schedule.len()
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.slots.all()
    }
}

enum Next {
    Deliver(Vec<Position>),
    In(Duration),
    /// When something changes.
    Later,
}

impl Forwarder {
    /// What the journal holds unconfirmed from before.
    pub(super) fn schedule_what_is_left(&self) {
        let mut after = None;
        loop {
            let page = self.0.means.journal.unconfirmed_after(after, PAGE);
            let mut late = self.late();
            for position in &page {
                late.schedule.add(*position);
            }
            after = page.last().copied();
            if page.len() < PAGE {
                let events = late.schedule.len();
                drop(late);
                if events > 0 {
                    info!(events, "Found {events} events that the backend has yet to confirm");
                    self.0.ready_wanted.notify_one();
                }
                return;
            }
        }
    }

    /// The event at `position` is in the journal and was not tried.
    pub(super) fn try_from_the_journal(&self, position: Position) {
        self.change(|late| late.schedule.add(position));
    }

    /// The first delivery of the event at `position` has failed.
    pub(super) fn try_again(&self, position: Position, failure: Failure) {
        let means = &self.0.means;
        means.journal.attempted(position);
        self.change(|late| late.schedule.add_failed(position, failure, &means.bounds.repeats, &means.rng));
    }

    /// There is no connection to the backend: what waits is due as soon as its `/ready` is good.
    pub(super) fn backend_is_away(&self) {
        if !self.0.away.swap(true, Ordering::Relaxed) {
            warn!("Backend is away: events are kept in the journal until it is back");
        }
    }

    /// Changes what is late; says so when the relay falls behind and when it has caught up.
    fn change(&self, change: impl FnOnce(&mut Late)) {
        let (before, after) = {
            let mut late = self.late();
            let before = late.schedule.len();
            change(&mut late);
            (before, late.schedule.len())
        };
        if before == 0 && after > 0 {
            warn!(
                events = after,
                "Backend has fallen behind: there are events in the journal that it has yet to confirm"
            );
            self.0.ready_wanted.notify_one();
        }
        if before > 0 && after == 0 {
            info!("Backend has caught up: it has confirmed every event in the journal");
        }
        // While there is no connection there is nothing to start.
        if !self.is_cut_off() {
            self.0.late_changed.notify_one();
        }
    }

    /// Whatever waits for its time need not.
    pub(crate) fn all_is_due(&self) {
        self.change(|late| {
            late.failing = false;
            late.pause_until = None;
            late.schedule.all_due();
        });
    }

    fn next(&self) -> Next {
        let backend = &self.0.means.backend;
        let now = Instant::now();
        let mut late = self.late();
        let Some(due_in) = late.schedule.due_in(now) else { return Next::Later };
        if self.is_cut_off() {
            return Next::Later;
        }
        let pause = late.pause_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let wait = due_in.max(pause);
        if !wait.is_zero() {
            return Next::In(wait);
        }
        let together = backend.takes_sequences();
        let crowded = !together && late.schedule.due_count() > CROWD;
        if !late.slots.start(if crowded { IN_A_CROWD } else { IN_ORDER }) {
            return Next::Later;
        }
        let hopeless = late.failing && self.0.away.load(Ordering::Relaxed);
        late.pause_until = hopeless.then(|| now + PACE_WHILE_AWAY);
        Next::Deliver(late.schedule.take(now, together))
    }

    /// Reads what is at `positions`: the events to deliver now; the others are put back, or done with.
    async fn read(&self, positions: Vec<Position>) -> Vec<LateEvent> {
        let journal = self.0.means.journal.clone();
        let all = positions.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = 0;
            let mut entries = Vec::with_capacity(positions.len());
            let mut rest = positions.into_iter();
            for position in rest.by_ref() {
                let entry = journal.read(position);
                bytes += entry.as_ref().map_or(0, |entry| entry.body.len());
                entries.push((position, entry));
                if bytes > TOGETHER_BYTES_MAX {
                    break;
                }
            }
            (entries, rest.collect::<Vec<_>>())
        });
        // An error means that the process is ending.
        let (mut entries, mut put_back) = read.await.unwrap_or((Vec::new(), all));
        // The one that went over the limit goes with the next, unless it is the only one.
        let bytes: usize = entries.iter().map(|(_, entry)| entry.as_ref().map_or(0, |entry| entry.body.len())).sum();
        if bytes > TOGETHER_BYTES_MAX && entries.len() > 1 {
            put_back.extend(entries.pop().map(|(position, _)| position));
        }
        let now = Instant::now();
        let mut events = Vec::with_capacity(entries.len());
        let mut done = Vec::new();
        let mut failed = Vec::new();
        for (position, entry) in entries {
            match entry {
                // An operator has discarded it.
                Ok(entry) if entry.confirmed => done.push(position),
                Ok(entry) => events.push(LateEvent {
                    position,
                    event: Event {
                        id: entry.event_id,
                        kind: entry.kind,
                        request_id: RequestId::adopt(
                            Some(&entry.request_id),
                            self.0.means.clock.now(),
                            &self.0.means.rng,
                        ),
                        trace: None,
                        body: entry.body,
                    },
                }),
                Err(ReadError::NotThere(_)) => {
                    error!("An unconfirmed event is not in the journal any more, at {position}");
                    done.push(position);
                }
                Err(why) => {
                    error!("Could not read an unconfirmed event at {position}: {why}");
                    failed.push(position);
                }
            }
        }
        if !(put_back.is_empty() && done.is_empty() && failed.is_empty()) {
            let means = &self.0.means;
            self.change(|late| {
                for position in put_back {
                    late.schedule.put_back(position);
                }
                for position in done {
                    late.schedule.done(position);
                }
                for position in failed {
                    let failure = Failure { started: now, ended: now, in_company: false };
                    late.schedule.failed(position, failure, &means.bounds.repeats, &means.rng);
                }
            });
        }
        events
    }

    async fn deliver_late(&self, positions: Vec<Position>) {
        let events = self.read(positions).await;
        if events.is_empty() {
            return;
        }
        let delivered = self.deliver(&events).await;
        let means = &self.0.means;
        for (late, outcome) in events.iter().zip(&delivered.outcomes) {
            match outcome {
                Outcome::Confirmed => means.journal.confirm(late.position),
                _ => means.journal.attempted(late.position),
            }
        }
        self.change(|late| {
            late.failing = !delivered.outcomes.contains(&Outcome::Confirmed);
            for (event, outcome) in events.iter().zip(&delivered.outcomes) {
                match outcome {
                    Outcome::Confirmed => late.schedule.done(event.position),
                    _ => late.schedule.failed(event.position, delivered.failure, &means.bounds.repeats, &means.rng),
                }
            }
        });
    }
}

/// An event from the journal on its way.
struct LateEvent {
    position: Position,
    event: Event,
}

impl AsRef<Event> for LateEvent {
    fn as_ref(&self) -> &Event {
        &self.event
    }
}

/// Delivers what is due, until the forwarder stops.
pub(super) async fn catch_up(forwarder: Forwarder) {
    let mut stopping = forwarder.0.stopping.subscribe();
    while !forwarder.is_stopping() {
        let wait = match forwarder.next() {
            Next::Deliver(positions) => {
                let request = Request { forwarder: forwarder.clone(), dragged: false };
                tokio::spawn(request.send(positions));
                continue;
            }
            Next::In(wait) => Some(wait),
            Next::Later => None,
        };
        tokio::select! {
            () = forwarder.0.late_changed.notified() => {}
            () = sleep(wait) => {}
            // An error means that the forwarder is gone, which it is not while we hold it.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Holds a slot; gives it back when dropped, in a panic too.
struct Request {
    forwarder: Forwarder,
    dragged: bool,
}

impl Request {
    async fn send(mut self, positions: Vec<Position>) {
        let forwarder = self.forwarder.clone();
        let mut delivery = std::pin::pin!(forwarder.deliver_late(positions));
        if tokio::time::timeout(forwarder.0.means.bounds.prompt, &mut delivery).await.is_err() {
            self.dragged = true;
            forwarder.late().slots.drags();
            forwarder.0.late_changed.notify_one();
            delivery.await;
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.forwarder.late().slots.end(self.dragged);
        self.forwarder.0.late_changed.notify_one();
        self.forwarder.0.ended.notify_waiters();
    }
}

/// Asks for the backend's `/ready` while something is late, and makes all of it due when that is good again.
pub(super) async fn watch_ready(forwarder: Forwarder) {
    let mut stopping = forwarder.0.stopping.subscribe();
    loop {
        tokio::select! {
            () = watch_ready_once(&forwarder) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn watch_ready_once(forwarder: &Forwarder) {
    if forwarder.late().count() == 0 {
        forwarder.0.ready_wanted.notified().await;
    }
    let readiness = forwarder.0.means.backend.readiness().await;
    forwarder.0.cut_off.store(readiness == Readiness::NotConnected, Ordering::Relaxed);
    if readiness == Readiness::Ready {
        if forwarder.0.away.swap(false, Ordering::Relaxed) {
            info!("Backend is ready again: what waits in the journal goes now");
            forwarder.all_is_due();
        }
    } else {
        forwarder.backend_is_away();
        // It may be that only now there is a connection again.
        forwarder.0.late_changed.notify_one();
    }
    tokio::time::sleep(forwarder.0.means.bounds.ready_every).await;
}
