//! Bells: how a stream of events learns that its licence's log has grown.
//!
//! A bell carries no event. It says "look", and who hears it reads the log from where it is; who hears it twice, or for
//! nothing, finds nothing new. So bells may get lost, and what was lost with them is found by the next look.

pub mod exchange;
mod line;
mod message;
mod outgoing;
mod wanted;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tollgate_db::Changes;
use tollgate_domain::events::LicenseEvent;
use tollgate_shared::{Rng, Timestamp};

use self::exchange::Hearing;
use self::message::{Message, Origin};
use self::outgoing::Outgoing;
use self::wanted::WantedAgain;

/// How often to look whether somebody still listens.
const LEFT_INTERVAL: Duration = Duration::from_millis(10);

/// The bells of a process. Clones are the same bells.
#[derive(Clone)]
pub struct Bells(Arc<Inner>);

#[derive(Default)]
struct Inner {
    by_license: Mutex<HashMap<Arc<str>, Vec<Arc<Slot>>>>,
    /// How many slots there are, so that ringing costs nothing while nobody listens.
    count: AtomicUsize,
    /// How often somebody said here that logs have grown.
    times_rung: AtomicU64,
    is_closed: AtomicBool,
    /// What this process calls itself among the others.
    origin: Origin,
    outgoing: Outgoing,
    /// What the line between processes is called; not set where there is none.
    line: OnceLock<&'static str>,
    hearing: Hearing,
}

/// What is known of one that listens.
#[derive(Default)]
struct Slot {
    rung: Notify,
    /// The number up to which it has read.
    read_to: AtomicI64,
    /// When it began, in microseconds of the clock.
    opened_at: i64,
    /// The machine whose stream it is, where one is known.
    machine_id: Option<Box<str>>,
    /// Since when its client has not taken what it was handed.
    handed_at: Mutex<Option<Instant>>,
    wanted_again: WantedAgain,
    end: OnceLock<End>,
}

/// Why one that listens has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process stops.
    Stopping,
    /// Its machine has opened another stream.
    Replaced,
    /// Its client has taken nothing for too long.
    Stuck,
}

/// Why nobody else may listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// The process stops.
    Stopping,
    /// As many listen to that bell as may.
    TooMany,
}

/// One that listens to the bell of a licence, until it is dropped.
pub struct Subscription {
    bells: Bells,
    license_id: Arc<str>,
    slot: Arc<Slot>,
}

impl Bells {
    /// The bells of a process.
    pub fn new(rng: &Rng) -> Self {
        Self(Arc::new(Inner { origin: hex::encode(rng.bytes::<8>()), ..Inner::default() }))
    }

    /// Rings for those licences to whose logs `changes` have appended. To be called once they are committed.
    pub fn ring_for(&self, changes: &Changes) {
        let licenses: BTreeSet<_> = changes.appended::<LicenseEvent>().map(|event| &*event.license_id).collect();
        if !licenses.is_empty() {
            self.ring(licenses);
        }
    }

    /// Rings for licences whose logs have grown. To be called once that is committed.
    pub fn ring<'l>(&self, license_ids: impl IntoIterator<Item = &'l str>) {
        self.0.times_rung.fetch_add(1, Ordering::Relaxed);
        let license_ids: Vec<_> = license_ids.into_iter().collect();
        self.0.outgoing.ring(license_ids.iter().copied());
        self.ring_here(license_ids);
    }

    /// Rings for those who listen in this process, and for nobody else.
    pub fn ring_here<'l>(&self, license_ids: impl IntoIterator<Item = &'l str>) {
        if self.count() == 0 {
            return;
        }
        let by_license = self.by_license();
        for license_id in license_ids {
            by_license.get(license_id).into_iter().flatten().for_each(|slot| slot.rung.notify_one());
        }
    }

    /// Rings in this process for every licence: whoever listens looks, whatever it may have missed.
    pub fn ring_all_here(&self) {
        self.by_license().values().flatten().for_each(|slot| slot.rung.notify_one());
    }

    /// Listens to the bell of a licence from `now` on. Older streams of the same machine end, in other processes too. Where
    /// `of_license_max` listen to that bell here, nobody else may but a known machine, of which each has one stream.
    pub fn subscribe(
        &self,
        now: Timestamp,
        license_id: &str,
        machine_id: Option<&str>,
        of_license_max: usize,
    ) -> Result<Subscription, NotNow> {
        let opened_at = now.timestamp_micros();
        let slot = Arc::new(Slot { opened_at, machine_id: machine_id.map(Into::into), ..Slot::default() });
        let mut by_license = self.by_license();
        // Looked at under the lock, so that none comes after the last was told to end.
        if self.0.is_closed.load(Ordering::Acquire) {
            return Err(NotNow::Stopping);
        }
        if machine_id.is_none() && by_license.get(license_id).is_some_and(|slots| slots.len() >= of_license_max) {
            return Err(NotNow::TooMany);
        }
        let known = by_license.get_key_value(license_id).map(|(known, _)| Arc::clone(known));
        let license_id = known.unwrap_or_else(|| license_id.into());
        let slots = by_license.entry(Arc::clone(&license_id)).or_default();
        if let Some(machine_id) = machine_id {
            slots.iter().filter(|slot| slot.is_of(machine_id)).for_each(|slot| slot.end(End::Replaced));
            let (license_id, machine_id) = (license_id.to_string(), machine_id.to_owned());
            self.0.outgoing.say(Message::Opened { license_id, machine_id, at: opened_at });
        }
        slots.push(Arc::clone(&slot));
        self.0.count.fetch_add(1, Ordering::AcqRel);
        drop(by_license);
        Ok(Subscription { bells: self.clone(), license_id, slot })
    }

    /// Ends the streams of a machine that began before it opened one in another process.
    fn end_older(&self, license_id: &str, machine_id: &str, opened_at: i64) {
        let by_license = self.by_license();
        let streams = by_license.get(license_id).into_iter().flatten();
        let older = streams.filter(|slot| slot.is_of(machine_id) && slot.opened_at < opened_at);
        older.for_each(|slot| slot.end(End::Replaced));
    }

    /// Ends those whose clients have taken nothing since `before`. They no longer count, though what was handed to them
    /// may lie in the connection for as long as the client leaves it there.
    pub fn end_stuck(&self, before: Instant) {
        let stuck = |slot: &Arc<Slot>| slot.handed_at().is_some_and(|at| at <= before);
        let mut by_license = self.by_license();
        by_license.retain(|_, slots| {
            slots.retain(|slot| {
                let is_stuck = stuck(slot);
                if is_stuck {
                    slot.end(End::Stuck);
                    self.0.count.fetch_sub(1, Ordering::AcqRel);
                }
                !is_stuck
            });
            !slots.is_empty()
        });
    }

    /// How often somebody said here that logs have grown.
    pub fn times_rung(&self) -> u64 {
        self.0.times_rung.load(Ordering::Relaxed)
    }

    /// What rings across processes, and whether it does; `in_process` where there is only one.
    pub fn line(&self) -> (&'static str, bool) {
        self.0.line.get().map_or(("in_process", true), |name| (name, self.0.hearing.is_good()))
    }

    /// How many listen.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// The licences that somebody listens to, each with the smallest number up to which one of them has read.
    pub fn watched(&self) -> Vec<(Arc<str>, i64)> {
        let by_license = self.by_license();
        let read_to = |slots: &[Arc<Slot>]| slots.iter().map(|slot| slot.read_to.load(Ordering::Acquire)).min();
        by_license.iter().filter_map(|(license_id, slots)| Some((license_id.clone(), read_to(slots)?))).collect()
    }

    /// Has an event sent again on the stream of a machine, where that is open here: once for each `asked_at`, at which
    /// somebody asked for it.
    pub fn want_again(&self, license_id: &str, machine_id: &str, event_id: &str, asked_at: Timestamp) {
        let by_license = self.by_license();
        let streams = by_license.get(license_id).into_iter().flatten().filter(|slot| slot.is_of(machine_id));
        for slot in streams.filter(|slot| slot.wanted_again.add(event_id, asked_at)) {
            slot.rung.notify_one();
        }
    }

    /// The machines whose streams are open.
    pub fn machines(&self) -> Vec<Box<str>> {
        let by_license = self.by_license();
        let open = by_license.values().flatten().filter(|slot| slot.end.get().is_none());
        open.filter_map(|slot| slot.machine_id.clone()).collect()
    }

    /// Ends all that listen, and lets nobody listen from now on.
    pub fn close(&self) {
        let by_license = self.by_license();
        self.0.is_closed.store(true, Ordering::Release);
        by_license.values().flatten().for_each(|slot| slot.end(End::Stopping));
    }

    /// Returns when nobody listens.
    pub async fn none_left(&self) {
        while self.count() > 0 {
            sleep(LEFT_INTERVAL).await;
        }
    }

    fn by_license(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Arc<Slot>>>> {
        self.0.by_license.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_of(&self, machine_id: &str) -> bool {
        self.machine_id.as_deref() == Some(machine_id)
    }

    fn handed_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.handed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, why: End) {
        // The first reason stays.
        let _ = self.end.set(why);
        self.rung.notify_one();
    }
}

impl Subscription {
    /// Waits until the bell rings; returns at once if it rang since this was last called. Who gives up waiting misses
    /// nothing.
    pub async fn rung(&self) {
        self.slot.rung.notified().await;
    }

    /// Why it has to end, if it has to. The bell rings when it does.
    pub fn end(&self) -> Option<End> {
        self.slot.end.get().copied()
    }

    /// Notes that the log was read up to this number, so that nobody rings for what is known.
    pub fn has_read_to(&self, seq: i64) {
        self.slot.read_to.store(seq, Ordering::Release);
    }

    /// Notes that something is handed to the client, whose time to take it begins.
    pub fn hand_over(&self) {
        *self.slot.handed_at() = Some(Instant::now());
    }

    /// Notes that the client has taken what it was handed.
    pub fn is_taken(&self) {
        *self.slot.handed_at() = None;
    }

    /// An event that is to be sent again. Each is given once.
    pub fn wanted_again(&self) -> Option<String> {
        self.slot.wanted_again.take()
    }

    /// Notes that one could not be sent: whoever wants it may say so again.
    pub fn could_not_send_again(&self, event_id: &str) {
        self.slot.wanted_again.forget(event_id);
    }

    /// The licence.
    pub fn license_id(&self) -> &str {
        &self.license_id
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut by_license = self.bells.by_license();
        // One that was stuck is not there any more.
        let Some(slots) = by_license.get_mut(&*self.license_id) else { return };
        let Some(index) = slots.iter().position(|slot| Arc::ptr_eq(slot, &self.slot)) else { return };
        slots.remove(index);
        if slots.is_empty() {
            by_license.remove(&*self.license_id);
        }
        self.bells.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
