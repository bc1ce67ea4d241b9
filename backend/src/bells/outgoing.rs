//! What is to be told to other processes: gathered until it can be told, so that a thousand rings are one message.

use std::collections::BTreeSet;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::message::Message;

/// How many licences are told by name; beyond that it is all of them.
const LICENSES_MAX: usize = 2000;

/// How many licences are in one message: PostgreSQL takes 8000 bytes, and an id of ours has 36.
const LICENSES_A_MESSAGE: usize = 200;

/// How many other things wait to be told; what is more is not told.
const OTHERS_MAX: usize = 1000;

/// What waits to be told.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Nothing is gathered where nobody tells it.
    is_told: AtomicBool,
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    licenses: BTreeSet<String>,
    are_all: bool,
    others: Vec<Message>,
}

impl Outgoing {
    /// From now on somebody tells what is gathered.
    pub(super) fn begin(&self) {
        self.is_told.store(true, Ordering::Release);
    }

    pub(super) fn ring<'l>(&self, license_ids: impl IntoIterator<Item = &'l str>) {
        self.gather(|waiting| {
            if !waiting.are_all {
                waiting.licenses.extend(license_ids.into_iter().map(str::to_owned));
                waiting.are_all = waiting.licenses.len() > LICENSES_MAX;
            }
        });
    }

    pub(super) fn ring_all(&self) {
        self.gather(|waiting| waiting.are_all = true);
    }

    pub(super) fn say(&self, message: Message) {
        self.gather(|waiting| {
            if waiting.others.len() < OTHERS_MAX {
                waiting.others.push(message);
            }
        });
    }

    /// All that is to be told, as soon as there is something.
    pub(super) async fn next(&self) -> Vec<Message> {
        loop {
            let messages = mem::take(&mut *self.waiting()).into_messages();
            if !messages.is_empty() {
                return messages;
            }
            self.more.notified().await;
        }
    }

    fn gather(&self, add: impl FnOnce(&mut Waiting)) {
        if self.is_told.load(Ordering::Acquire) {
            add(&mut self.waiting());
            self.more.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn into_messages(self) -> Vec<Message> {
        let mut messages = self.others;
        if self.are_all {
            messages.push(Message::AllRung);
        } else {
            let licenses: Vec<_> = self.licenses.into_iter().collect();
            messages.extend(licenses.chunks(LICENSES_A_MESSAGE).map(|some| Message::Rung(some.to_vec())));
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_rings_often_is_told_once() {
        let outgoing = Outgoing::default();
        outgoing.ring(["lic_0"]);
        outgoing.begin();
        for _ in 0..10 {
            outgoing.ring(["lic_1", "lic_2"]);
        }
        outgoing.say(Message::Test(1));
        let licenses = vec!["lic_1".to_owned(), "lic_2".to_owned()];
        assert_eq!(outgoing.next().await, [Message::Test(1), Message::Rung(licenses)]);
        assert!(outgoing.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_message_has_room_in_a_notification_and_too_many_are_all() {
        let outgoing = Outgoing::default();
        outgoing.begin();
        let ids: Vec<_> = (0..LICENSES_MAX).map(|number| format!("lic_{number:032x}")).collect();
        outgoing.ring(ids.iter().map(String::as_str));
        let messages = outgoing.next().await;
        assert_eq!(messages.len(), LICENSES_MAX / LICENSES_A_MESSAGE);
        assert!(messages.iter().all(|message| message.to_text("0123456789abcdef").len() < 8000));
        outgoing.ring(ids.iter().map(String::as_str).chain(["lic_one_more"]));
        outgoing.ring(["lic_another"]);
        assert_eq!(outgoing.next().await, [Message::AllRung]);
    }
}
