//! Where deliveries of events go in, and the writers behind it.
//!
//! One event a transaction would cost some fifteen round trips; all that wait at the moment cost the same fifteen
//! together. So callers parse side by side, and a writer takes what waits, at most [`BATCH_MAX`], through one transaction.
//! On PostgreSQL there are two of them: while the one waits for the database, the other decides. An event whose rows
//! somebody else holds leaves the batch and waits in a lane of its own.

mod batch;
mod claims;
mod filter;
mod job;
mod lane;
mod last_webhook;
mod letters;
mod made;
mod outcome;
mod rehearsal;
mod tried;
mod versions;
mod writer;

use std::borrow::Cow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tollgate_db::{DbError, storable};
use tollgate_shared::RequestId;
use tollgate_shared::receipt::Receipt;
use tollgate_stripe::Event;

use self::batch::BatchWriter;
use self::filter::EventFilter;
use self::job::{Answer, Intent, Job};
use self::lane::Lane;
use self::last_webhook::LastWebhook;
use self::versions::UnknownVersions;
use self::writer::Writer;
use crate::app::App;
use crate::webhooks::Status;
use crate::webhooks::ordering::refetch::RefetchQueue;
use crate::webhooks::store;

pub use self::job::{Mode, Order};
pub use self::outcome::{Delivery, IntakeError, Outcome};

/// How many events share a transaction. More gain little (the cost of the statements is spread thin by then) and make
/// the first wait for the last.
pub const BATCH_MAX: usize = 64;

/// How many requests may wait for a writer. Callers beyond that wait until there is room, and the relay's journal behind
/// them.
const WAITING_MAX: usize = 1024;

/// How long a caller waits for an answer: less than the relay does, so that it is told to try again. What was handed in is
/// processed all the same.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of the writers' tasks.
pub const WRITER_TASK: &str = "inbox-writer";

/// Takes deliveries. Cheap to clone; the writers end when the last clone is gone.
#[derive(Clone)]
pub struct Inbox {
    app: App,
    filter: Arc<EventFilter>,
    waiting: mpsc::Sender<Vec<Job>>,
    lane: Lane,
    refetch: Option<RefetchQueue>,
    database_was_away: Arc<AtomicBool>,
    /// When events were last handed in.
    handed_in_at: Arc<SyncMutex<Option<Instant>>>,
    unknown_versions: UnknownVersions,
    last_webhook: LastWebhook,
}

type Response = oneshot::Receiver<Answer>;

impl Inbox {
    /// Starts the writers, which end when the last clone of the inbox is gone.
    pub fn open(app: App) -> Self {
        let (waiting, to_be_written) = mpsc::channel(WAITING_MAX);
        let to_be_written = Arc::new(Mutex::new(to_be_written));
        // At a start too, nobody knows for how long the database was away.
        let database_was_away = Arc::new(AtomicBool::new(true));
        let refetch = app.stripe.clone().map(|stripe| RefetchQueue::start(&app, stripe));
        let filter = Arc::new(EventFilter::of(&app.config.stripe));
        let batches =
            BatchWriter { app: app.clone(), refetch: refetch.clone(), database_was_away: database_was_away.clone() };
        let lane = Lane::start(batches.clone());
        let writer = Writer { batches, lane: lane.clone() };
        for _ in 0..app.db.inbox_writers() {
            let (writer, waiting) = (writer.clone(), to_be_written.clone());
            app.tasks.keep(WRITER_TASK, move || writer.clone().run(waiting.clone()));
        }
        let (handed_in_at, unknown_versions) = (Arc::default(), UnknownVersions::default());
        let last_webhook = LastWebhook::default();
        Self { app, filter, waiting, lane, refetch, database_was_away, handed_in_at, unknown_versions, last_webhook }
    }

    /// Takes one delivery of an event.
    pub async fn take(&self, payload: Bytes, request_id: &RequestId) -> Delivery {
        self.take_together(vec![payload], request_id).await.remove(0)
    }

    /// Takes several deliveries, each as [`Inbox::take`] does. They go to a writer in one piece, in their order: of an
    /// event that is in them twice, the first is processed and the second a duplicate.
    pub async fn take_together(&self, payloads: Vec<Bytes>, request_id: &RequestId) -> Vec<Delivery> {
        self.process(payloads, Mode::Delivery, request_id).await
    }

    /// The same as a relay hands them over, which says of each when and by which request it came. What it says is of no
    /// use unless it is of as many.
    pub async fn take_of_relay(
        &self,
        payloads: Vec<Bytes>,
        receipts: &[Receipt],
        request_id: &RequestId,
    ) -> Vec<Delivery> {
        let receipts = if receipts.len() == payloads.len() { receipts } else { &[] };
        let now = self.app.clock.now();
        let came_at = receipts.iter().map(|receipt| receipt.received_at).max();
        self.last_webhook.note(came_at.unwrap_or(now), now);
        self.process_with(payloads, Mode::Delivery, request_id, receipts).await
    }

    /// Processes events as their mode allows; see [`Inbox::take_together`].
    pub async fn process(&self, payloads: Vec<Bytes>, mode: Mode, request_id: &RequestId) -> Vec<Delivery> {
        self.process_with(payloads, mode, request_id, &[]).await
    }

    async fn process_with(
        &self,
        payloads: Vec<Bytes>,
        mode: Mode,
        request_id: &RequestId,
        receipts: &[Receipt],
    ) -> Vec<Delivery> {
        let since = Instant::now();
        *self.handed_in_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(since);
        let until = since + ANSWER_TIMEOUT;
        let (mut pending, mut jobs) = (Vec::with_capacity(payloads.len()), Vec::with_capacity(payloads.len()));
        for (index, payload) in payloads.into_iter().enumerate() {
            let receipt = receipts.get(index);
            let request_id = receipt.map_or(request_id, |receipt| &receipt.request_id);
            pending.push(self.read(payload, mode.clone(), request_id, since).map(|(id, mut job, response)| {
                job.received_at_relay = receipt.map(|receipt| receipt.received_at);
                jobs.push(job);
                (id, response)
            }));
        }
        if !jobs.is_empty() {
            // Fails when there is no room for so long, and when the process is stopping: the events are still the sender's.
            let _ = timeout_at(until, self.waiting.send(jobs)).await;
        }
        let mut deliveries = Vec::with_capacity(pending.len());
        for event in pending {
            deliveries.push(match event {
                Err(error) => Err((None, error)),
                Ok((id, response)) => match timeout_at(until, response).await {
                    Ok(Ok(Ok(outcome))) => Ok((id, outcome)),
                    Ok(Ok(Err(error))) => Err((Some(id), error)),
                    Ok(Err(_)) | Err(_) => Err((Some(id), IntakeError::NotStored)),
                },
            });
        }
        deliveries
    }

    fn read(
        &self,
        payload: Bytes,
        mode: Mode,
        request_id: &RequestId,
        since: Instant,
    ) -> Result<(String, Job, Response), IntakeError> {
        let mut event = Event::parse(payload).map_err(|_| IntakeError::Malformed)?;
        // As the database will give it back, or its claim would not be recognised.
        if let Cow::Owned(storable) = storable(&event.id) {
            event.id = storable;
        }
        let id = event.id.clone();
        let intent = Intent::of(&event, &self.filter);
        // What an operator has gone through once more has not come anew.
        if mode.brings_new() {
            self.unknown_versions.note(&event, self.app.clock.now());
        }
        let (answer, response) = oneshot::channel();
        let request_id = request_id.clone();
        let job = Job { event, intent, mode, request_id, received_at_relay: None, since, put_aside_at: None, answer };
        Ok((id, job, response))
    }

    /// Those of these events that would have an effect here and never came: that are ours, of a type that is more than kept.
    pub async fn missed(&self, payloads: impl IntoIterator<Item = Bytes>) -> Result<Vec<Event>, DbError> {
        let events = payloads.into_iter().filter_map(|payload| Event::parse(payload).ok());
        let mut missed: Vec<_> =
            events.filter(|event| Intent::of(event, &self.filter).status() != Status::Ignored).collect();
        let ids = missed.iter().map(|event| event.id.clone()).collect();
        let known = store::known_of(&mut self.app.read_list().await?, &ids).await?;
        missed.retain(|event| !known.contains(&event.id));
        Ok(missed)
    }

    /// The app that it works for.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// How many requests wait for a writer.
    pub fn waiting(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }

    /// Whether nobody has handed events in for so long.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        let handed_in_at = *self.handed_in_at.lock().unwrap_or_else(PoisonError::into_inner);
        handed_in_at.is_none_or(|at| at.elapsed() >= time)
    }

    /// How many events wait because somebody else holds their rows.
    pub fn held(&self) -> usize {
        self.lane.waiting()
    }

    /// How many objects wait to be fetched from Stripe.
    pub fn refetches_waiting(&self) -> usize {
        self.refetch.as_ref().map_or(0, RefetchQueue::waiting)
    }

    /// API versions of events that this release does not know.
    pub fn unknown_versions(&self) -> &UnknownVersions {
        &self.unknown_versions
    }

    /// When a webhook last came.
    pub fn last_webhook(&self) -> &LastWebhook {
        &self.last_webhook
    }

    /// Whether the database was away since the failed events were last made due.
    pub(super) fn database_was_away(&self) -> &AtomicBool {
        &self.database_was_away
    }
}

#[cfg(test)]
mod tests;
