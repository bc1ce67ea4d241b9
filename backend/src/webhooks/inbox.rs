//! The door for events, and the one writer behind it.
//!
//! One event a transaction would cost some fifteen round trips; all that wait at the moment cost the same fifteen
//! together. So callers parse side by side, and one writer takes what waits, at most [`BATCH_MAX`], through one transaction.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tollgate_shared::{Clock, RequestId, Rng, Timestamp};
use tracing::{error, info, warn};

use crate::db::{Db, DbError, Tx, storable};
use crate::plans::Plans;
use crate::sealer::Sealer;
use crate::stripe::{Client, Event, Observation, is_known_version};
use crate::webhooks::decide::{self, Needs, Rules};
use crate::webhooks::refetch::Ties;
use crate::webhooks::world::World;
use crate::webhooks::{Status, WebhookEvent, retry, store};
use crate::widgets::defaults::WidgetDefaults;

/// How many events share a transaction. More gain little (the cost of the statements is spread thin by then) and make
/// the first wait for the last.
pub const BATCH_MAX: usize = 64;

/// How many events may wait for the writer. Beyond it callers wait at the door, and the relay's journal behind them.
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

/// The door. Cheap to clone; the writer ends when the last clone is gone.
#[derive(Clone)]
pub struct Inbox {
    parts: Arc<Parts>,
    waiting: mpsc::Sender<Job>,
    database_was_away: Arc<AtomicBool>,
}

/// What became of one delivery, with the event's id.
pub type Taken = Result<(String, Outcome), (Option<String>, Refused)>;

type Answered = oneshot::Receiver<Result<Outcome, Refused>>;

/// One event on its way, with what it will do.
struct Job {
    event: Event,
    intent: Intent,
    request_id: RequestId,
    answer: oneshot::Sender<Result<Outcome, Refused>>,
}

/// What a delivery asks for.
enum Intent {
    /// To take this into the world.
    Observe(Box<Observation>),
    /// To be stored without effect.
    Ignore { reason: Option<&'static str> },
    /// To be kept for a person to look at.
    Bury { reason: String },
}

impl Intent {
    fn of(event: &Event, ours: &Ours) -> Self {
        if let Some(reason) = ours.objection(event) {
            return Self::Ignore { reason: Some(reason) };
        }
        match event.observation() {
            Ok(Some(observation)) => Self::Observe(Box::new(observation)),
            Ok(None) => Self::Ignore { reason: None },
            Err(unreadable) => Self::Bury { reason: unreadable.to_string() },
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Observe(_) => Status::Processed,
            Self::Ignore { .. } => Status::Ignored,
            Self::Bury { .. } => Status::DeadLettered,
        }
    }

    fn reason(&self) -> Option<String> {
        match self {
            Self::Observe(_) => None,
            Self::Ignore { reason } => reason.map(str::to_owned),
            Self::Bury { reason } => Some(reason.clone()),
        }
    }
}

impl Inbox {
    /// Starts the writer, which ends when the last door is closed.
    pub fn open(parts: Parts) -> Self {
        let (waiting, jobs) = mpsc::channel(WAITING_MAX);
        let parts = Arc::new(parts);
        // At a start too, nobody knows for how long the database was away.
        let database_was_away = Arc::new(AtomicBool::new(true));
        let ties = parts.stripe.clone().map(|stripe| Ties::settle(parts.clone(), stripe));
        let writer = Writer { parts: parts.clone(), database_was_away: database_was_away.clone(), ties };
        tokio::spawn(writer.run(jobs));
        Self { parts, waiting, database_was_away }
    }

    /// Starts the retry job, which ends with the writer.
    pub fn keep_retrying(&self) {
        tokio::spawn(retry::run(self.clone().downgrade()));
    }

    /// Takes one delivery of an event. The id is given as far as it could be read.
    pub async fn take(&self, payload: Bytes, request_id: &RequestId) -> Taken {
        self.take_together(vec![payload], request_id).await.remove(0)
    }

    /// Takes several deliveries, each as [`Inbox::take`] does. They go to the writer side by side: were each to go as
    /// soon as it is read, the first would be a batch of its own.
    pub async fn take_together(&self, payloads: Vec<Bytes>, request_id: &RequestId) -> Vec<Taken> {
        let read: Vec<_> = payloads.into_iter().map(|payload| self.read(payload, request_id)).collect();
        let jobs = read.iter().filter(|read| read.is_ok()).count();
        // Fails only when the writer is gone, in a shutdown: the events are still the sender's.
        let mut places = self.waiting.reserve_many(jobs).await.ok();
        let mut under_way = Vec::with_capacity(read.len());
        for read in read {
            under_way.push(read.map(|(id, job, answered)| {
                if let Some(place) = places.as_mut().and_then(Iterator::next) {
                    place.send(job);
                }
                (id, answered)
            }));
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

/// A door that does not keep the writer alive.
pub(super) struct WeakInbox {
    parts: Arc<Parts>,
    waiting: mpsc::WeakSender<Job>,
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

/// What events are counted by: few classes, whatever types Stripe thinks of.
fn type_class(kind: &str) -> &'static str {
    const CLASSES: [&str; 6] =
        ["checkout", "customer", "invoice", "invoice_payment", "payment_intent", "payment_method"];
    let class = kind.split('.').next().unwrap_or_default();
    CLASSES.into_iter().find(|known| *known == class).unwrap_or("other")
}

/// The one that writes.
struct Writer {
    parts: Arc<Parts>,
    database_was_away: Arc<AtomicBool>,
    /// Where what events leave open is settled, if Stripe can be asked.
    ties: Option<Ties>,
}

impl Writer {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while jobs.recv_many(&mut batch, BATCH_MAX).await > 0 {
            metrics::histogram!("tollgate_backend_batch_events").record(batch.len() as f64);
            self.write(std::mem::take(&mut batch)).await;
            // Those who were just answered bring their next event in this turn, and not after half a batch has gone.
            tokio::task::yield_now().await;
        }
    }

    /// Writes a batch. When it fails as a whole, each event is tried alone, so that one in trouble harms none that
    /// shares its batch; what still fails is stored as failed.
    async fn write(&self, batch: Vec<Job>) {
        let failure = match self.apply_again_on_conflict(&batch).await {
            Ok(answers) => return batch.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer)),
            Err(failure) => failure,
        };
        self.note(&failure);
        if matches!(failure, DbError::Unavailable { .. }) {
            return batch.into_iter().for_each(|job| job.answer(Err(Refused::NotStored)));
        }
        let alone = batch.len() == 1;
        for job in batch {
            let answer = match if alone {
                Err(failure.clone())
            } else {
                self.apply_again_on_conflict([&job]).await.map(|mut answers| answers.remove(0))
            } {
                Ok(answer) => answer,
                Err(failure) => self.store_failure(&job, &failure).await,
            };
            job.answer(answer);
        }
    }

    /// A deadlock or a busy database says "again", and means it; once.
    async fn apply_again_on_conflict<'a>(
        &self,
        batch: impl IntoIterator<Item = &'a Job> + Clone,
    ) -> Result<Vec<Result<Outcome, Refused>>, DbError> {
        match self.apply(batch.clone()).await {
            Err(DbError::Conflict { .. }) => self.apply(batch).await,
            answers => answers,
        }
    }

    async fn apply<'a>(
        &self,
        batch: impl IntoIterator<Item = &'a Job>,
    ) -> Result<Vec<Result<Outcome, Refused>>, DbError> {
        let batch: Vec<&Job> = batch.into_iter().collect();
        let now = self.parts.clock.now();
        let rules = self.parts.rules();
        let mut tx = self.parts.db.inbox().await?;
        let claims = Claims::take(&mut tx, now, &batch).await?;
        let observed: Vec<(usize, &Observation)> = claims
            .ours()
            .filter_map(|place| match &batch[place].intent {
                Intent::Observe(observation) => Some((place, &**observation)),
                Intent::Ignore { .. } | Intent::Bury { .. } => None,
            })
            .collect();

        let mut needs = Needs::default();
        for (_, observation) in &observed {
            decide::needs(observation, &mut needs);
        }
        let mut world = World::load(&mut tx, &rules, now, &needs).await?;
        let mut buried = BTreeSet::new();
        for (place, observation) in observed {
            let decision = AssertUnwindSafe(|| decide::decide(&rules, now, observation, &mut world));
            if catch_unwind(decision).is_ok() {
                world.keep();
            } else {
                world.drop_draft();
                buried.insert(place);
                store::bury(&mut tx, now, &batch[place].event.id, "panicked").await?;
            }
        }
        world.store(&mut tx).await?;
        tx.commit().await?;
        if let Some(ties) = &self.ties {
            ties.hand_in(&world);
        }
        Ok(claims.answers(&batch, &buried))
    }

    async fn store_failure(&self, job: &Job, failure: &DbError) -> Result<Outcome, Refused> {
        self.note(failure);
        let event = &job.event;
        warn!(event.id = %event.id, request_id = %job.request_id, reason = failure.class(), "could not process event {}", event.id);
        match self.try_store_failure(job, failure).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.note(&failure);
                error!(event.id = %event.id, request_id = %job.request_id, reason = failure.class(), "could not store event {}", event.id);
                Err(Refused::NotStored)
            }
        }
    }

    async fn try_store_failure(&self, job: &Job, failure: &DbError) -> Result<Result<Outcome, Refused>, DbError> {
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.inbox().await?;
        let answer = match store::lock(&mut tx, &job.event.id).await? {
            Some(known) if known.status() != Status::Failed => Ok(Outcome::Duplicate),
            Some(known) if !known.is_due(now) => Err(Refused::Stored),
            known => {
                let attempts = known.as_ref().map_or(0, |known| known.attempts) + 1;
                let next = retry::delay_after(attempts).filter(|_| !is_poison(failure)).map(|delay| now + delay);
                let class = failure.class();
                match (known, next) {
                    (Some(_), Some(at)) => store::fail_again(&mut tx, &job.event.id, attempts, class, at).await?,
                    (Some(_), None) => store::give_up(&mut tx, now, &job.event.id, attempts, class).await?,
                    (None, next) => {
                        let status = if next.is_some() { Status::Failed } else { Status::DeadLettered };
                        let mut row = job.row(now, status);
                        row.reason = next.is_none().then(|| class.to_owned());
                        row.last_error = Some(class.to_owned());
                        row.next_attempt_at = next;
                        tx.insert(&[&row]).await?;
                    }
                }
                next.map_or(Ok(Outcome::DeadLettered), |_| Err(Refused::Stored))
            }
        };
        tx.commit().await?;
        Ok(answer)
    }

    fn note(&self, failure: &DbError) {
        if matches!(failure, DbError::Unavailable { .. }) {
            self.database_was_away.store(true, Ordering::Release);
        }
    }
}

impl Job {
    fn row(&self, now: Timestamp, status: Status) -> WebhookEvent {
        let event = &self.event;
        WebhookEvent {
            id: event.id.clone(),
            r#type: event.kind.clone(),
            api_version: event.api_version.clone(),
            livemode: event.livemode,
            account: event.account.clone(),
            object_id: event.object_id.clone(),
            customer_id: event.customer_id.clone(),
            status: status.name().to_owned(),
            reason: self.intent.reason().filter(|_| status != Status::Failed),
            attempts: 1,
            last_error: None,
            created_at: event.created,
            received_at: now,
            processed_at: (status != Status::Failed).then_some(now),
            next_attempt_at: None,
            payload: event.payload.clone(),
        }
    }

    fn answer(self, answer: Result<Outcome, Refused>) {
        let (id, kind, request_id) = (&self.event.id, &self.event.kind, &self.request_id);
        let outcome = answer.map_or_else(|_| "failed", Outcome::name);
        metrics::counter!("tollgate_backend_events_total", "outcome" => outcome, "class" => type_class(kind))
            .increment(1);
        match answer {
            Ok(Outcome::Processed) => {
                info!(event.id = %id, event.r#type = %kind, %request_id, "Successfully processed event {id} ({kind})");
            }
            Ok(Outcome::Duplicate) => {
                info!(event.id = %id, event.r#type = %kind, %request_id, "already had event {id} ({kind})");
            }
            Ok(Outcome::Ignored) => {
                info!(event.id = %id, event.r#type = %kind, %request_id, "stored event {id} ({kind}), which has no effect here");
            }
            Ok(Outcome::DeadLettered) => {
                error!(event.id = %id, event.r#type = %kind, %request_id, "dead-lettered event {id} ({kind}): a person should look at it");
            }
            Err(refused) => {
                warn!(event.id = %id, event.r#type = %kind, %request_id, "did not process event {id} ({kind}): {refused}");
            }
        }
        // The caller may have gone away; the event is stored all the same.
        let _ = self.answer.send(answer);
    }
}

/// Whether the same event would fail in the same way for ever: a constraint forbids what it says.
fn is_poison(failure: &DbError) -> bool {
    matches!(failure, DbError::Constraint { .. })
}

/// Which events of a batch this transaction may act on.
struct Claims {
    /// The place in the batch that stands for each id: the first one.
    first: BTreeMap<String, usize>,
    /// What is to be answered for an id that is not ours to act on.
    taken: BTreeMap<String, Result<Outcome, Refused>>,
}

impl Claims {
    /// One insert claims all ids that nobody has. Of the others, those that wait for an attempt that is due are claimed too.
    async fn take(tx: &mut Tx, now: Timestamp, batch: &[&Job]) -> Result<Self, DbError> {
        let mut first = BTreeMap::new();
        for (place, job) in batch.iter().enumerate() {
            first.entry(job.event.id.clone()).or_insert(place);
        }
        // In the order of ids: two replicas that are given the same events then wait for each other in one direction.
        let rows: Vec<_> = first.values().map(|place| batch[*place].row(now, batch[*place].intent.status())).collect();
        let claimed: BTreeSet<_> = tx.insert(&rows.iter().collect::<Vec<_>>()).await?.into_iter().collect();
        let mut taken = BTreeMap::new();
        let unclaimed: BTreeSet<_> = first.keys().filter(|id| !claimed.contains(*id)).cloned().collect();
        for known in store::lock_all(tx, &unclaimed).await? {
            if known.status() != Status::Failed {
                taken.insert(known.id, Ok(Outcome::Duplicate));
            } else if !known.is_due(now) {
                taken.insert(known.id, Err(Refused::Stored));
            } else {
                let intent = &batch[first[&known.id]].intent;
                store::reclaim(tx, now, &known, intent.status(), intent.reason().as_deref()).await?;
            }
        }
        Ok(Self { first, taken })
    }

    /// The places of the events to act on, in order of arrival.
    fn ours(&self) -> impl Iterator<Item = usize> {
        let mut places: Vec<_> =
            self.first.iter().filter(|(id, _)| !self.taken.contains_key(*id)).map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.into_iter()
    }

    fn answers(&self, batch: &[&Job], buried: &BTreeSet<usize>) -> Vec<Result<Outcome, Refused>> {
        let answer = |(place, job): (usize, &&Job)| {
            let id = &job.event.id;
            match self.taken.get(id) {
                Some(answer) => *answer,
                None if self.first[id] != place => Ok(Outcome::Duplicate),
                None if buried.contains(&place) => Ok(Outcome::DeadLettered),
                None => Ok(match job.intent.status() {
                    Status::Ignored => Outcome::Ignored,
                    Status::DeadLettered => Outcome::DeadLettered,
                    Status::Processed | Status::Failed => Outcome::Processed,
                }),
            }
        };
        batch.iter().enumerate().map(answer).collect()
    }
}

#[cfg(test)]
mod tests;
