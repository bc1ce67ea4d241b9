//! The first delivery of an event, straight from the webhook that brought it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Forwarder;
use super::schedule::{Failure, TOGETHER_MAX};
use super::slots::{SlotLimits, Slots};
use crate::delivery::{Event, Outcome};
use tollgate_journal::Position;

/// Requests with several events: while two are answered, of which the backend decides the one as the other waits for its
/// database, the next ones gather. Against one at a time, with 64 webhooks in flight (measured): a fifth more events a
/// second, their slowest hundredth after 21 instead of 28 ms, for a tenth more CPU an event.
const TOGETHER: SlotLimits = SlotLimits { prompt_max: 2, all_max: 64 };
/// One more of them for the events that a buyer is held for, and no others: such an event then waits for none of the large
/// requests. With 64 webhooks in flight (measured), the slowest hundredth is answered after 21 instead of 38 ms.
const TOGETHER_AHEAD: SlotLimits = SlotLimits { prompt_max: TOGETHER.prompt_max + 1, ..TOGETHER };
/// Requests with one event each: as many as webhooks usually come at a time.
const ALONE: SlotLimits = SlotLimits { prompt_max: 64, all_max: 256 };

/// How long a request with several events waits for as many as went with the last one. Without it, the first of many whose
/// senders were just answered would go alone, and all others behind it.
const COMPANY_WAIT: Duration = Duration::from_millis(2);

/// How many events may wait or be under way from memory, however short they are.
const EVENTS_MAX: usize = 4096;
/// Of each limit of memory this part is kept for events that a buyer is held for.
const KEPT_FOR_BUYERS: usize = 8;
/// How long one request's body gets. The backend works on it as a whole, so this bounds its memory and time too.
pub(super) const TOGETHER_BYTES_MAX: usize = 1024 * 1024;

/// The events that are on their first way, or wait for it.
#[derive(Default)]
pub(super) struct Live {
    waiting: VecDeque<Arc<Handoff>>,
    /// Those that a buyer is held for; they go first.
    waiting_ahead: VecDeque<Arc<Handoff>>,
    /// Of those that wait and those that are under way.
    events: usize,
    bytes: usize,
    slots: Slots,
    /// A request has been started and has yet to take its events. It will take what waits, so that another one, if it
    /// may hold several, would have nothing to do.
    starting: bool,
    /// How many went with the last request that may hold several.
    company_last: usize,
    closed: bool,
}

impl Live {
    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.slots.all()
    }

    fn admit(&mut self, handoff: &Arc<Handoff>, bytes_max: usize) -> bool {
        let bytes = self.bytes + handoff.event.body.len();
        let share = |limit: usize| if handoff.ahead { limit } else { limit - limit / KEPT_FOR_BUYERS };
        let fits = self.events < share(EVENTS_MAX) && (bytes <= share(bytes_max) || self.events == 0);
        let admitted = fits && !self.closed;
        if admitted {
            let queue = if handoff.ahead { &mut self.waiting_ahead } else { &mut self.waiting };
            queue.push_back(Arc::clone(handoff));
            self.events += 1;
            self.bytes = bytes;
        }
        admitted
    }

    /// Whether to start a request for what waits.
    fn starts_one(&mut self, together: bool) -> bool {
        let needless = self.is_empty() || (together && self.starting);
        let limits = match (together, self.waiting_ahead.is_empty()) {
            (true, true) => TOGETHER,
            (true, false) => TOGETHER_AHEAD,
            (false, _) => ALONE,
        };
        let starts = !needless && self.slots.start(limits);
        self.starting |= starts;
        starts
    }

    /// Whether about as many wait as went together last.
    fn has_company(&self) -> bool {
        let waiting = self.waiting.len() + self.waiting_ahead.len();
        let in_a_hurry = self.is_one_too_many() && !self.waiting_ahead.is_empty();
        waiting >= self.company_last || in_a_hurry || self.closed
    }

    /// Whether so many are under way that whichever takes next, takes only what a buyer is held for.
    fn is_one_too_many(&self) -> bool {
        self.slots.prompt() > TOGETHER.prompt_max
    }

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.next().is_none()
    }

    fn next(&self) -> Option<&Arc<Handoff>> {
        self.waiting_ahead.front().or_else(|| self.waiting.front())
    }

    fn take(&mut self, together: bool) -> Vec<Arc<Handoff>> {
        self.starting = false;
        let ahead_only = together && self.is_one_too_many();
        let mut company = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.next().filter(|next| next.ahead || !ahead_only) {
            bytes += next.event.body.len();
            let full = if together { company.len() >= TOGETHER_MAX || bytes > TOGETHER_BYTES_MAX } else { true };
            if full && !company.is_empty() {
                break;
            }
            company.extend(self.waiting_ahead.pop_front().or_else(|| self.waiting.pop_front()));
        }
        if !ahead_only {
            self.company_last = if together { company.len() } else { 0 };
        }
        company
    }

    fn release(&mut self, company: &[Arc<Handoff>]) {
        self.events -= company.len();
        self.bytes -= company.iter().map(|handoff| handoff.event.body.len()).sum::<usize>();
    }
}

/// One event between its arrival and the moment when both its fates are known.
pub struct Handoff {
    event: Event,
    /// A buyer is held until it is answered.
    ahead: bool,
    forwarder: Forwarder,
    fates: Mutex<Fates>,
}

/// An event's two fates, each `None` until it is known; whoever brings the second one acts on both.
#[derive(Default)]
struct Fates {
    kept: Option<Kept>,
    forwarded: Option<Forwarded>,
    waiting: Option<oneshot::Sender<Option<Outcome>>>,
}

#[derive(Clone, Copy)]
enum Kept {
    At(Position),
    Not,
}

#[derive(Clone)]
enum Forwarded {
    Outcome(Outcome, Failure),
    /// There is no connection to the backend, there was no room in memory, or the relay is stopping.
    NotTried,
}

impl Handoff {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The journal keeps the event.
    pub fn kept(&self, position: Position) {
        self.learn(|fates| fates.kept = Some(Kept::At(position)));
    }

    /// The journal could not take the event: if this delivery is not confirmed, there will be no other.
    pub fn not_kept(&self) {
        self.learn(|fates| fates.kept = Some(Kept::Not));
    }

    /// What came of the delivery, as soon as that is known; `None` when it was not tried.
    pub async fn outcome(&self) -> Option<Outcome> {
        let known = {
            let mut fates = self.fates();
            match &fates.forwarded {
                Some(Forwarded::Outcome(outcome, _)) => return Some(outcome.clone()),
                Some(Forwarded::NotTried) => return None,
                None => {
                    let (tell, told) = oneshot::channel();
                    fates.waiting = Some(tell);
                    told
                }
            }
        };
        known.await.ok().flatten()
    }

    fn learn(&self, change: impl FnOnce(&mut Fates)) {
        let mut fates = self.fates();
        change(&mut fates);
        let both = fates.kept.zip(fates.forwarded.clone());
        drop(fates);
        if let Some((Kept::At(position), forwarded)) = both {
            match forwarded {
                Forwarded::Outcome(Outcome::Confirmed, _) => self.forwarder.0.means.journal.confirm(position),
                Forwarded::Outcome(_, failure) => self.forwarder.try_again(position, failure),
                Forwarded::NotTried => self.forwarder.try_from_the_journal(position),
            }
        }
    }

    fn forwarded(&self, forwarded: Forwarded) {
        let waiting = self.fates().waiting.take();
        let outcome = match &forwarded {
            Forwarded::Outcome(outcome, _) => Some(outcome.clone()),
            Forwarded::NotTried => None,
        };
        self.learn(|fates| fates.forwarded = Some(forwarded));
        if let Some(waiting) = waiting {
            // An error means that the one who waited has given up.
            let _ = waiting.send(outcome);
        }
    }

    fn fates(&self) -> MutexGuard<'_, Fates> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<Event> for Arc<Handoff> {
    fn as_ref(&self) -> &Event {
        &self.event
    }
}

impl Forwarder {
    /// Sends `event` on its first way, `ahead` of others if a buyer is held for it, unless the backend is known to be cut
    /// off; whoever calls this tells the handoff what becomes of it in the journal.
    pub fn forward(&self, event: Event, ahead: bool) -> Arc<Handoff> {
        let handoff = Arc::new(Handoff { event, ahead, forwarder: self.clone(), fates: Mutex::default() });
        if self.is_cut_off() {
            handoff.forwarded(Forwarded::NotTried);
        } else {
            self.send_off(&handoff);
        }
        handoff
    }

    /// Sends an event that the journal could not take: this delivery is all that it has, so it is tried in any case, and
    /// first.
    pub fn forward_unkept(&self, event: Event) -> Arc<Handoff> {
        let handoff = Arc::new(Handoff { event, ahead: true, forwarder: self.clone(), fates: Mutex::default() });
        handoff.not_kept();
        self.send_off(&handoff);
        handoff
    }

    fn send_off(&self, handoff: &Arc<Handoff>) {
        let together = self.0.means.backend.takes_sequences();
        let (admitted, starts, has_company) = {
            let mut live = self.live();
            let admitted = live.admit(handoff, self.0.means.bounds.memory_bytes_max);
            (admitted, live.starts_one(together), live.has_company())
        };
        if has_company {
            self.0.company.notify_waiters();
        }
        if !admitted {
            self.0.means.metrics.forward_spilled.increment(1);
            handoff.forwarded(Forwarded::NotTried);
        }
        if starts {
            tokio::spawn(send(Request { forwarder: self.clone(), dragged: false, over: false }));
        }
    }

    /// What waits in memory is left to the journal.
    pub(super) fn leave_waiting_to_the_journal(&self) {
        let waiting = {
            let mut live = self.live();
            live.closed = true;
            let ahead = std::mem::take(&mut live.waiting_ahead);
            let waiting: Vec<_> = ahead.into_iter().chain(live.waiting.drain(..)).collect();
            live.release(&waiting);
            waiting
        };
        for handoff in waiting {
            handoff.forwarded(Forwarded::NotTried);
        }
    }

    /// Waits a moment for as many events as went together last.
    async fn gather(&self) {
        let gathered = async {
            loop {
                let company = self.0.company.notified();
                if self.live().has_company() {
                    return;
                }
                company.await;
            }
        };
        // Those that have come by then go.
        let _ = tokio::time::timeout(COMPANY_WAIT, gathered).await;
    }

    fn start_what_may_start(&self) {
        let together = self.0.means.backend.takes_sequences();
        while self.live().starts_one(together) {
            tokio::spawn(send(Request { forwarder: self.clone(), dragged: false, over: false }));
        }
    }
}

/// Holds a slot; gives it back when dropped, in a panic too.
struct Request {
    forwarder: Forwarder,
    dragged: bool,
    over: bool,
}

impl Request {
    /// Takes what goes next. When nothing waits, the slot is given back in the same step, so that no event can come in between.
    fn take(&mut self, done: &[Arc<Handoff>]) -> Vec<Arc<Handoff>> {
        let together = self.forwarder.0.means.backend.takes_sequences();
        let mut live = self.forwarder.live();
        live.release(done);
        // One that has dragged takes no more: it would be one more than may be under way.
        let company = if self.dragged { Vec::new() } else { live.take(together) };
        if company.is_empty() {
            live.slots.end(self.dragged);
            self.over = true;
        }
        company
    }

    /// Its place among the prompt ones goes to another, for good.
    fn drags(&mut self) {
        if !std::mem::replace(&mut self.dragged, true) {
            self.forwarder.live().slots.drags();
            self.forwarder.start_what_may_start();
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.over {
            self.forwarder.live().slots.end(self.dragged);
        }
        // The slot may be what others have been waiting for: more may be under way alone than together, so the first
        // answer of a backend that takes several can leave all slots to requests that drag.
        self.forwarder.start_what_may_start();
        self.forwarder.0.ended.notify_waiters();
    }
}

/// Sends what waits, and then what has come meanwhile, until nothing waits.
async fn send(mut request: Request) {
    let forwarder = request.forwarder.clone();
    forwarder.gather().await;
    let mut company = request.take(&[]);
    while !company.is_empty() {
        // If more waits than goes in one request, the next need not wait for this one's answer.
        forwarder.start_what_may_start();
        deliver(&mut request, &company).await;
        if !forwarder.live().is_empty() {
            forwarder.gather().await;
        }
        company = request.take(&company);
    }
}

async fn deliver(request: &mut Request, company: &[Arc<Handoff>]) {
    let forwarder = request.forwarder.clone();
    let mut delivery = std::pin::pin!(forwarder.deliver(company));
    let prompt = tokio::time::timeout(forwarder.0.means.bounds.prompt, &mut delivery).await;
    let delivered = if let Ok(delivered) = prompt {
        delivered
    } else {
        request.drags();
        delivery.await
    };
    for (handoff, outcome) in company.iter().zip(delivered.outcomes) {
        handoff.forwarded(Forwarded::Outcome(outcome, delivered.failure));
    }
}
