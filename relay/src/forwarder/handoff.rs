//! One event on its first way, between its webhook, the journal and the backend.

use std::sync::Arc;

use tollgate_journal::{Journal, Position};

use super::progress::{Known, Progress};
use super::redelivery::Redeliveries;
use super::schedule::Failure;
use super::sender::Outgoing;
use crate::backend::delivery::Outcome;
use crate::backend::event::Event;

/// How much an event's first delivery matters to someone who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Nobody waits for it: while the backend takes nothing, it goes to the journal alone.
    None,
    /// The response to its webhook waits for it, so it is tried whenever there is a connection.
    Awaited,
    /// A buyer is held until it is answered: it goes before others.
    Checkout,
}

/// One event between its arrival and the moment when it is known both whether the journal has it and what came of its
/// first delivery. Whoever brings the second of the two acts on both.
pub struct Handoff {
    event: Event,
    has_priority: bool,
    next: Arc<Next>,
    progress: Progress<Persisted, Forwarded>,
}

/// Whether the journal has an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// It stands there.
    At(Position),
    /// The journal could not take it: if this delivery is not confirmed, there will be no other.
    Failed,
}

/// What came of an event's first delivery.
#[derive(Clone, Debug)]
pub enum Forwarded {
    /// The backend was asked to take it.
    Tried(Outcome, Failure),
    /// The backend takes nothing, there was no room in memory, or the relay is stopping.
    NotTried,
}

/// Who gets an event when both are known.
pub(super) struct Next {
    pub(super) journal: Journal,
    pub(super) redeliveries: Redeliveries,
}

impl Handoff {
    pub(super) fn new(event: Event, urgency: Urgency, next: Arc<Next>) -> Self {
        Self { event, has_priority: urgency == Urgency::Checkout, next, progress: Progress::new() }
    }

    /// Whether it goes before others.
    pub(super) fn has_priority(&self) -> bool {
        self.has_priority
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// It is known whether the journal has the event.
    pub fn set_persisted(&self, persisted: Persisted) {
        self.act_on(self.progress.set_persisted(persisted));
    }

    /// Waits until `enough` is known of the event, and gives what it says.
    pub async fn wait_until<T>(&self, enough: impl Fn(&Known<Persisted, Forwarded>) -> Option<T>) -> T {
        self.progress.wait_until(enough).await
    }

    /// It is known what came of its delivery.
    pub(super) fn set_forwarded(&self, forwarded: Forwarded) {
        self.act_on(self.progress.set_forwarded(forwarded));
    }

    fn act_on(&self, both: Option<(Persisted, Forwarded)>) {
        let Some((Persisted::At(position), forwarded)) = both else { return };
        let Next { journal, redeliveries } = &*self.next;
        match forwarded {
            Forwarded::Tried(Outcome::Confirmed, _) => journal.confirm(position),
            Forwarded::Tried(_, failure) => redeliveries.add_failed(position, failure),
            Forwarded::NotTried => redeliveries.add(position),
        }
    }
}

impl AsRef<Event> for Arc<Handoff> {
    fn as_ref(&self) -> &Event {
        &self.event
    }
}

impl Outgoing for Arc<Handoff> {
    fn is_repeat(&self) -> bool {
        false
    }
}
