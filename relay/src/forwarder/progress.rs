//! What is known of one event on its first way to the backend: whether the journal has it, and what came of its delivery.
//!
//! Each of the two comes from a task of its own, in either order, while others wait for one or for both. All of it is
//! under one lock, and whoever waits is registered before it looks: nothing can become known unnoticed in between.

use std::sync::PoisonError;

use tokio::sync::Notify;

use super::sync::Mutex;

/// What is known of one event; shared by those who learn it and those who wait for it.
#[derive(Debug)]
pub(crate) struct Progress<P, F> {
    known: Mutex<Known<P, F>>,
    changed: Notify,
}

/// The two things to know, each `None` until it is.
#[derive(Clone, Debug)]
pub struct Known<P, F> {
    /// Whether the journal has it.
    pub persisted: Option<P>,
    /// What came of its delivery.
    pub forwarded: Option<F>,
}

impl<P: Clone, F: Clone> Progress<P, F> {
    /// Nothing is known.
    pub(crate) fn new() -> Self {
        Self { known: Mutex::new(Known { persisted: None, forwarded: None }), changed: Notify::new() }
    }

    /// Takes up whether the journal has the event. Both, if that was the second of the two to become known.
    pub(crate) fn set_persisted(&self, persisted: P) -> Option<(P, F)> {
        self.update(|known| known.persisted = Some(persisted))
    }

    /// Takes up what came of the delivery. Both, if that was the second of the two to become known.
    pub(crate) fn set_forwarded(&self, forwarded: F) -> Option<(P, F)> {
        self.update(|known| known.forwarded = Some(forwarded))
    }

    /// Waits until `enough` is known, and gives what it says.
    pub(crate) async fn wait_until<T>(&self, enough: impl Fn(&Known<P, F>) -> Option<T>) -> T {
        loop {
            // Before the look: what becomes known after it wakes this one, polled or not.
            let changed = self.changed.notified();
            if let Some(enough) = enough(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
                return enough;
            }
            changed.await;
        }
    }

    fn update(&self, change: impl FnOnce(&mut Known<P, F>)) -> Option<(P, F)> {
        let both = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut known);
            known.persisted.clone().zip(known.forwarded.clone())
        };
        self.changed.notify_waiters();
        both
    }
}
