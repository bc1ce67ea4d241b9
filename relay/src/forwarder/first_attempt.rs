//! The first delivery of an event, straight from the webhook that brought it.

use std::collections::VecDeque;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::bounds::{BATCH_BYTES_MAX, Bounds};
use super::handoff::{Forwarded, Handoff, Next, Persisted, Urgency};
use super::in_flight::{InFlight, Limits};
use super::schedule::BATCH_LEN_MAX;
use super::sender::Sender;
use crate::backend::event::Event;

/// Requests with several events: while two are answered, of which the backend decides the one as the other waits for its
/// database, the next ones gather. Against one at a time, with 64 webhooks in flight (measured): a fifth more events a
/// second, their slowest hundredth after 21 instead of 28 ms, for a tenth more CPU an event.
const BATCHED: Limits = Limits { fast_max: 2, total_max: 64 };
/// One more of them for checkout events, and no others: such an event then waits for none of the large requests. With 64
/// webhooks in flight (measured), the slowest hundredth is answered after 21 instead of 38 ms.
const BATCHED_PRIORITY: Limits = Limits { fast_max: BATCHED.fast_max + 1, ..BATCHED };
/// Requests with one event each: as many as webhooks usually come at a time.
const SINGLE: Limits = Limits { fast_max: 64, total_max: 256 };

/// How long a request with several events waits for as many as went with the last one. Without it, the first of many whose
/// senders were just answered would go alone, and all others behind it.
const BATCH_LINGER: Duration = Duration::from_millis(2);

/// How many events may wait or be in flight from memory, however short they are.
const EVENTS_MAX: usize = 4096;
/// Of each limit of memory this part is reserved for checkout events.
const RESERVED_FOR_CHECKOUT: usize = 8;

/// The events that are on their first way, or wait for it.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Handoff>>,
    /// Checkout events: they go first.
    waiting_priority: VecDeque<Arc<Handoff>>,
    /// Of those that wait and those that are in flight.
    events: usize,
    bytes: usize,
    requests: InFlight,
    /// A request has been started and has yet to take its events. It will take what waits, so that another one, if it
    /// may hold several, would have nothing to do.
    starting: bool,
    /// How many went with the last request that may hold several.
    last_batch_len: usize,
    closed: bool,
}

impl Queue {
    fn admit(&mut self, handoff: &Arc<Handoff>, bytes_max: usize) -> bool {
        let bytes = self.bytes + handoff.event().body.len();
        let share = |limit: usize| if handoff.has_priority() { limit } else { limit - limit / RESERVED_FOR_CHECKOUT };
        let fits = self.events < share(EVENTS_MAX) && (bytes <= share(bytes_max) || self.events == 0);
        let admitted = fits && !self.closed;
        if admitted {
            let queue = if handoff.has_priority() { &mut self.waiting_priority } else { &mut self.waiting };
            queue.push_back(Arc::clone(handoff));
            self.events += 1;
            self.bytes = bytes;
        }
        admitted
    }

    /// Whether to start a request for what waits.
    fn should_start(&mut self, together: bool) -> bool {
        let needless = self.is_empty() || (together && self.starting);
        let limits = match (together, self.waiting_priority.is_empty()) {
            (true, true) => BATCHED,
            (true, false) => BATCHED_PRIORITY,
            (false, _) => SINGLE,
        };
        let starts = !needless && self.requests.try_start(limits);
        self.starting |= starts;
        starts
    }

    /// Whether about as many wait as went together last.
    fn batch_is_full(&self) -> bool {
        let waiting = self.waiting.len() + self.waiting_priority.len();
        let is_urgent = self.is_over_limit() && !self.waiting_priority.is_empty();
        waiting >= self.last_batch_len || is_urgent || self.closed
    }

    /// Whether so many are in flight that whichever takes next, takes only checkout events.
    fn is_over_limit(&self) -> bool {
        self.requests.fast() > BATCHED.fast_max
    }

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.next().is_none()
    }

    fn next(&self) -> Option<&Arc<Handoff>> {
        self.waiting_priority.front().or_else(|| self.waiting.front())
    }

    fn take(&mut self, together: bool) -> Vec<Arc<Handoff>> {
        self.starting = false;
        let priority_only = together && self.is_over_limit();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.next().filter(|next| next.has_priority() || !priority_only) {
            bytes += next.event().body.len();
            let full = if together { batch.len() >= BATCH_LEN_MAX || bytes > BATCH_BYTES_MAX } else { true };
            if full && !batch.is_empty() {
                break;
            }
            batch.extend(self.waiting_priority.pop_front().or_else(|| self.waiting.pop_front()));
        }
        if !priority_only {
            self.last_batch_len = if together { batch.len() } else { 0 };
        }
        batch
    }

    fn release(&mut self, batch: &[Arc<Handoff>]) {
        self.events -= batch.len();
        self.bytes -= batch.iter().map(|handoff| handoff.event().body.len()).sum::<usize>();
    }
}

/// Sends events on their first way. Cheap to clone.
#[derive(Clone)]
pub(super) struct FirstAttempts(Arc<Shared>);

struct Shared {
    sender: Arc<Sender>,
    next: Arc<Next>,
    bounds: Bounds,
    queue: Mutex<Queue>,
    /// Rung when about as many events wait as went together last.
    batch_is_full: Notify,
    /// Rung when a request has ended, for those who wait until all have.
    ended: Arc<Notify>,
}

impl FirstAttempts {
    /// Hands what it does not settle to `next`. Rings `ended` when a request is over.
    pub(super) fn new(sender: Arc<Sender>, next: Next, bounds: Bounds, ended: Arc<Notify>) -> Self {
        let (queue, batch_is_full, next) = (Mutex::default(), Notify::new(), Arc::new(next));
        Self(Arc::new(Shared { sender, next, bounds, queue, batch_is_full, ended }))
    }

    /// How many requests are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.queue().requests.total()
    }

    /// Sends `event` on its first way, unless the backend is known to take nothing; whoever calls this tells the handoff
    /// whether the journal has it.
    pub(super) fn forward(&self, event: Event, urgency: Urgency) -> Arc<Handoff> {
        let handoff = self.handoff(event, urgency);
        let is_sent = {
            let availability = self.0.sender.availability();
            match urgency {
                Urgency::None => availability.takes_first_attempts(Instant::now()),
                Urgency::Awaited | Urgency::Checkout => !availability.is_disconnected(),
            }
        };
        if is_sent {
            self.enqueue(&handoff);
        } else {
            handoff.set_forwarded(Forwarded::NotTried);
        }
        handoff
    }

    /// Sends an event that the journal could not take: this delivery is all that it has, so it is tried in any case, and
    /// first.
    pub(super) fn forward_unpersisted(&self, event: Event) -> Arc<Handoff> {
        let handoff = self.handoff(event, Urgency::Checkout);
        handoff.set_persisted(Persisted::Failed);
        self.enqueue(&handoff);
        handoff
    }

    fn handoff(&self, event: Event, urgency: Urgency) -> Arc<Handoff> {
        Arc::new(Handoff::new(event, urgency, Arc::clone(&self.0.next)))
    }

    fn enqueue(&self, handoff: &Arc<Handoff>) {
        let together = self.0.sender.backend.takes_sequences();
        let (admitted, starts, batch_is_full) = {
            let mut queue = self.queue();
            let admitted = queue.admit(handoff, self.0.bounds.memory_bytes_max);
            (admitted, queue.should_start(together), queue.batch_is_full())
        };
        if batch_is_full {
            self.0.batch_is_full.notify_waiters();
        }
        if !admitted {
            self.0.sender.metrics.forward_spilled.increment(1);
            handoff.set_forwarded(Forwarded::NotTried);
        }
        if starts {
            self.start_request();
        }
    }

    /// What waits in memory is left to the journal, and so is what is still to come.
    pub(super) fn close(&self) {
        let waiting = {
            let mut queue = self.queue();
            queue.closed = true;
            let priority = mem::take(&mut queue.waiting_priority);
            let waiting: Vec<_> = priority.into_iter().chain(queue.waiting.drain(..)).collect();
            queue.release(&waiting);
            waiting
        };
        for handoff in waiting {
            handoff.set_forwarded(Forwarded::NotTried);
        }
    }

    /// Waits a moment for as many events as went together last.
    async fn gather(&self) {
        let gathered = async {
            loop {
                let batch_is_full = self.0.batch_is_full.notified();
                if self.queue().batch_is_full() {
                    return;
                }
                batch_is_full.await;
            }
        };
        // Those that have come by then go.
        let _ = timeout(BATCH_LINGER, gathered).await;
    }

    fn start_requests(&self) {
        let together = self.0.sender.backend.takes_sequences();
        while self.queue().should_start(together) {
            self.start_request();
        }
    }

    fn start_request(&self) {
        let request = Request { attempts: self.clone(), slow: false, over: false };
        tokio::spawn(request.run());
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that may panic runs while it is half changed.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds a slot; gives it back when dropped, in a panic too.
struct Request {
    attempts: FirstAttempts,
    slow: bool,
    over: bool,
}

impl Request {
    /// Sends what waits, and then what has come meanwhile, until nothing waits.
    async fn run(mut self) {
        let attempts = self.attempts.clone();
        attempts.gather().await;
        let mut batch = self.take(&[]);
        while !batch.is_empty() {
            // If more waits than goes in one request, the next need not wait for this one's response.
            attempts.start_requests();
            self.send(&batch).await;
            if !attempts.queue().is_empty() {
                attempts.gather().await;
            }
            batch = self.take(&batch);
        }
    }

    async fn send(&mut self, batch: &[Arc<Handoff>]) {
        let attempts = self.attempts.clone();
        let Shared { sender, next, bounds, .. } = &*attempts.0;
        let mut sending = pin!(sender.send(batch));
        let sent = if let Ok(sent) = timeout(bounds.slow_after, &mut sending).await {
            sent
        } else {
            self.mark_slow();
            sending.await
        };
        for (handoff, outcome) in batch.iter().zip(&sent.outcomes) {
            handoff.set_forwarded(Forwarded::Tried(outcome.clone(), sent.failure(outcome)));
        }
        next.redeliveries.note(&sent);
    }

    /// Takes what goes next. When nothing waits, the slot is given back in the same step, so that no event can come in between.
    fn take(&mut self, done: &[Arc<Handoff>]) -> Vec<Arc<Handoff>> {
        let together = self.attempts.0.sender.backend.takes_sequences();
        let mut queue = self.attempts.queue();
        queue.release(done);
        // A slow one takes no more: it would be one more than may be in flight.
        let batch = if self.slow { Vec::new() } else { queue.take(together) };
        if batch.is_empty() {
            queue.requests.end(self.slow);
            self.over = true;
        }
        batch
    }

    /// Its place among the fast ones goes to another, for good.
    fn mark_slow(&mut self) {
        if !mem::replace(&mut self.slow, true) {
            self.attempts.queue().requests.mark_slow();
            self.attempts.start_requests();
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.over {
            self.attempts.queue().requests.end(self.slow);
        }
        // The slot may be what others have been waiting for: more may be in flight alone than together, so the first
        // response of a backend that takes several can leave all slots to slow requests.
        self.attempts.start_requests();
        self.attempts.0.ended.notify_waiters();
    }
}
