//! The door for events, and the writers behind it.
//!
//! One event a transaction would cost some fifteen round trips; all that wait at the moment cost the same fifteen
//! together. So callers parse side by side, and a writer takes what waits, at most [`BATCH_MAX`], through one transaction.
//! On PostgreSQL there are two of them: while the one waits for the database, the other decides.

mod claims;
mod job;
mod writer;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tollgate_shared::{Clock, RequestId, Rng};
use tollgate_stripe::{Event, is_known_version};

use self::job::{Intent, Job};
use self::writer::Writer;
use crate::db::{Db, storable};
use crate::plans::Plans;
use crate::sealer::Sealer;
use crate::stripe_api::Client;
use crate::webhooks::decide::Rules;
use crate::webhooks::refetch::Ties;
use crate::webhooks::retry;
use crate::widgets::defaults::WidgetDefaults;

/// How many events share a transaction. More gain little (the cost of the statements is spread thin by then) and make
/// the first wait for the last.
pub const BATCH_MAX: usize = 64;

/// How many requests may wait for a writer. Beyond it callers wait at the door, and the relay's journal behind them.
const WAITING_MAX: usize = 1024;

/// What an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in effect, since this very delivery.
    Processed,
    /// It had ended before.
    Duplicate,
    /// It is stored and has no effect here.
    Ignored,
    /// It is stored and will never work.
    DeadLettered,
}

impl Outcome {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// Why a delivery does not end its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The body is not an event.
    #[error("not an event")]
    Malformed,
    /// It failed in a way that may pass; it is stored and will be tried again here.
    #[error("failed, stored for another attempt")]
    Stored,
    /// It could not be stored.
    #[error("could not be stored")]
    NotStored,
}

/// Which events are ours to act on.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// The deployment's mode; none accepts either.
    pub livemode: Option<bool>,
    /// The connected accounts whose events count.
    pub accounts: BTreeSet<String>,
}

impl Ours {
    /// Why `event` is stored without effect, if it is not ours.
    fn objection(&self, event: &Event) -> Option<&'static str> {
        let other_account = event.account.as_ref().is_some_and(|account| !self.accounts.contains(account));
        let other_mode = matches!((self.livemode, event.livemode), (Some(ours), Some(its)) if ours != its);
        match (other_account, other_mode, event.thin) {
            (true, _, _) => Some("other_account"),
            (false, true, _) => Some("other_mode"),
            (false, false, true) => Some("thin_event"),
            (false, false, false) => None,
        }
    }
}

/// What the inbox works with.
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the part of the application of its type")]
pub struct Parts {
    pub db: Db,
    pub clock: Clock,
    pub rng: Rng,
    pub plans: Arc<Plans>,
    pub widgets: Arc<WidgetDefaults>,
    pub sealer: Arc<Sealer>,
    pub ours: Ours,
    pub stripe: Option<Client>,
}

impl Parts {
    /// What decisions are made by.
    pub fn rules(&self) -> Rules<'_> {
        Rules {
            plans: &self.plans,
            widgets: &self.widgets,
            sealer: &self.sealer,
            rng: &self.rng,
            livemode_by_default: self.ours.livemode.unwrap_or(false),
        }
    }
}

/// The door. Cheap to clone; the writers end when the last clone is gone.
#[derive(Clone)]
pub struct Inbox {
    parts: Arc<Parts>,
    waiting: mpsc::Sender<Vec<Job>>,
    database_was_away: Arc<AtomicBool>,
}

/// What became of one delivery, with the event's id.
pub type Taken = Result<(String, Outcome), (Option<String>, Refused)>;

type Answered = oneshot::Receiver<Result<Outcome, Refused>>;

impl Inbox {
    /// Starts the writers, which end when the last door is closed.
    pub fn open(parts: Parts) -> Self {
        let (waiting, to_be_written) = mpsc::channel(WAITING_MAX);
        let parts = Arc::new(parts);
        // At a start too, nobody knows for how long the database was away.
        let database_was_away = Arc::new(AtomicBool::new(true));
        let ties = parts.stripe.clone().map(|stripe| Ties::settle(parts.clone(), stripe));
        let to_be_written = Arc::new(Mutex::new(to_be_written));
        let writer = Writer { parts: parts.clone(), database_was_away: database_was_away.clone(), ties };
        for _ in 0..parts.db.inbox_writers() {
            tokio::spawn(writer.clone().run(Arc::clone(&to_be_written)));
        }
        Self { parts, waiting, database_was_away }
    }

    /// Starts the retry job, which ends with the writers.
    pub fn keep_retrying(&self) {
        tokio::spawn(retry::run(self.clone().downgrade()));
    }

    /// Takes one delivery of an event. The id is given as far as it could be read.
    pub async fn take(&self, payload: Bytes, request_id: &RequestId) -> Taken {
        self.take_together(vec![payload], request_id).await.remove(0)
    }

    /// Takes several deliveries, each as [`Inbox::take`] does. They go to a writer in one piece, in their order: of an
    /// event that is in them twice, the first is processed and the second a duplicate.
    pub async fn take_together(&self, payloads: Vec<Bytes>, request_id: &RequestId) -> Vec<Taken> {
        let (mut under_way, mut jobs) = (Vec::with_capacity(payloads.len()), Vec::with_capacity(payloads.len()));
        for payload in payloads {
            under_way.push(self.read(payload, request_id).map(|(id, job, answered)| {
                jobs.push(job);
                (id, answered)
            }));
        }
        if !jobs.is_empty() {
            // Fails only when the writers are gone, in a shutdown: the events are still the sender's.
            let _ = self.waiting.send(jobs).await;
        }
        let mut taken = Vec::with_capacity(under_way.len());
        for event in under_way {
            taken.push(match event {
                Err(refused) => Err((None, refused)),
                Ok((id, answered)) => match answered.await {
                    Ok(Ok(outcome)) => Ok((id, outcome)),
                    Ok(Err(refused)) => Err((Some(id), refused)),
                    Err(_) => Err((Some(id), Refused::NotStored)),
                },
            });
        }
        taken
    }

    fn read(&self, payload: Bytes, request_id: &RequestId) -> Result<(String, Job, Answered), Refused> {
        let mut event = Event::parse(payload).map_err(|_| Refused::Malformed)?;
        // As the database will give it back, or its claim would not be recognised.
        if let Cow::Owned(storable) = storable(&event.id) {
            event.id = storable;
        }
        let id = event.id.clone();
        let intent = Intent::of(&event, &self.parts.ours);
        count_version(&event);
        let (answer, answered) = oneshot::channel();
        Ok((id, Job { event, intent, request_id: request_id.clone(), answer }, answered))
    }

    /// What it works with.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// Whether the database was away since the failed events were last made due.
    pub(super) fn database_was_away(&self) -> &AtomicBool {
        &self.database_was_away
    }

    fn downgrade(self) -> WeakInbox {
        WeakInbox { parts: self.parts, waiting: self.waiting.downgrade(), database_was_away: self.database_was_away }
    }
}

/// A door that does not keep the writers alive.
pub(super) struct WeakInbox {
    parts: Arc<Parts>,
    waiting: mpsc::WeakSender<Vec<Job>>,
    database_was_away: Arc<AtomicBool>,
}

impl WeakInbox {
    /// The door, while anybody else still holds it.
    pub(super) fn upgrade(&self) -> Option<Inbox> {
        let database_was_away = self.database_was_away.clone();
        Some(Inbox { parts: self.parts.clone(), waiting: self.waiting.upgrade()?, database_was_away })
    }
}

fn count_version(event: &Event) {
    if !event.api_version.as_deref().is_none_or(is_known_version) {
        metrics::counter!("tollgate_backend_events_of_unknown_version_total").increment(1);
    }
}

#[cfg(test)]
mod tests;
