//! The lane beside the writers: events whose rows somebody else holds (another replica that hangs in the middle of a
//! transaction, a session of an operator) wait here, and nobody waits behind them.
//!
//! Whoever handed one in waits two and a half seconds at most; then the event is stored as failed, and the retry job
//! brings it again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_db::DbError;
use tollgate_shared::backoff::Backoff;
use tracing::{info, warn};

use super::BATCH_MAX;
use super::batch::{BatchWriter, LockWait};
use super::job::Job;
use super::outcome::IntakeError;
use crate::delay_queue::DelayQueue;

/// How long an event waits for its rows before it is stored as failed: a little less than the relay waits for a response.
const WAIT_MAX: Duration = Duration::from_millis(2500);

/// Keys whose rows are waited for at the same time, each on a connection of its own. A look stands in the database's queue
/// for a while, so that it has its turn beside another replica that writes to the same customer again and again.
const LOOKS_MAX: usize = 2;

/// How long the rows of one key are left alone between two looks.
const LOOK_BACKOFF: Backoff = Backoff { first: Duration::from_millis(25), longest: Duration::from_millis(200) };

/// For how long after they were last seen held the events of a key come here first, without making a writer wait.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Requests that may be on their way into the lane.
const WAITING_MAX: usize = 1024;

/// The lane. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lane {
    put_aside: mpsc::Sender<Vec<Job>>,
    held: Arc<HeldKeys>,
}

/// The keys whose rows were seen held, and until when that is remembered. Empty nearly always.
#[derive(Default)]
struct HeldKeys {
    until: Mutex<BTreeMap<String, Instant>>,
    count: AtomicUsize,
    /// How many events wait for them.
    waiting: AtomicUsize,
}

impl Lane {
    /// Starts the lane's task.
    pub(super) fn start(batches: BatchWriter) -> Self {
        let (put_aside, incoming) = mpsc::channel(WAITING_MAX);
        let incoming = Arc::new(tokio::sync::Mutex::new(incoming));
        let held = Arc::<HeldKeys>::default();
        let keys = held.clone();
        let tasks = batches.app.tasks.clone();
        tasks.keep("held-events", move || run(batches.clone(), keys.clone(), incoming.clone()));
        Self { put_aside, held }
    }

    /// Puts those events aside whose rows were held when they were last looked at, and gives the others back.
    pub(super) fn put_aside_what_is_held(&self, jobs: Vec<Job>) -> Vec<Job> {
        // Nearly always, so a batch is not moved for it.
        if self.held.is_empty() {
            return jobs;
        }
        let (held, free) = jobs.into_iter().partition(|job| self.held.contains(job.lock_key()));
        self.put_aside(held);
        free
    }

    /// How many events wait.
    pub(super) fn waiting(&self) -> usize {
        self.held.waiting.load(Ordering::Relaxed)
    }

    /// Puts events aside.
    pub(super) fn put_aside(&self, mut jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        for job in &mut jobs {
            self.held.remember(job.lock_key());
            job.put_aside_at = Some(Instant::now());
        }
        // A writer never waits for the lane. Where there is no room in it, and in a shutdown, the events are still the
        // sender's.
        if let Err(refused) = self.put_aside.try_send(jobs) {
            refused.into_inner().into_iter().for_each(|job| job.answer(Err(IntakeError::NotStored)));
        }
    }
}

impl HeldKeys {
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn contains(&self, key: &str) -> bool {
        self.keys(|keys| keys.get(key).is_some_and(|until| Instant::now() < *until))
    }

    fn remember(&self, key: &str) {
        self.keys(|keys| {
            let now = Instant::now();
            keys.retain(|_, until| now < *until);
            keys.insert(key.to_owned(), now + REMEMBERED);
        });
    }

    fn forget(&self, key: &str) {
        self.keys(|keys| keys.remove(key));
    }

    fn keys<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Instant>) -> T) -> T {
        let mut keys = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut keys);
        self.count.store(keys.len(), Ordering::Release);
        done
    }
}

/// The events of one key.
#[derive(Default)]
struct Group {
    jobs: Vec<Job>,
    /// How often its rows were looked at and found held.
    looks: u32,
}

async fn run(batches: BatchWriter, held: Arc<HeldKeys>, incoming: Arc<tokio::sync::Mutex<mpsc::Receiver<Vec<Job>>>>) {
    let mut incoming = incoming.lock().await;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut due = DelayQueue::default();
    let mut looks = FuturesUnordered::new();
    loop {
        tokio::select! {
            jobs = incoming.recv() => {
                let Some(jobs) = jobs else { return };
                for job in jobs {
                    let key = job.lock_key().to_owned();
                    let group = groups.entry(key.clone()).or_insert_with(|| {
                        due.push(Instant::now(), key);
                        Group::default()
                    });
                    group.jobs.push(job);
                }
            }
            key = due.pop(), if looks.len() < LOOKS_MAX => {
                // The group stays while it is looked at: what comes meanwhile waits in it.
                let group = groups.get_mut(&key).expect("a key is due once for each group");
                let batch = group.jobs.drain(..BATCH_MAX.min(group.jobs.len())).collect();
                looks.push(look(&batches, &held, key, batch, group.looks));
            }
            Some((key, left)) = looks.next() => {
                let group = groups.get_mut(&key).expect("a group stays while it is looked at");
                group.looks = if left.is_held { group.looks + 1 } else { 0 };
                group.jobs.splice(..0, left.jobs);
                if group.jobs.is_empty() {
                    groups.remove(&key);
                } else {
                    let rest = LOOK_BACKOFF.after(group.looks, &batches.app.rng);
                    due.push(Instant::now() + if left.is_held { rest } else { Duration::ZERO }, key);
                }
            }
        }
        held.waiting.store(groups.values().map(|group| group.jobs.len()).sum(), Ordering::Relaxed);
    }
}

/// What a look leaves to be done.
struct Left {
    /// Those that wait on, in their order.
    jobs: Vec<Job>,
    is_held: bool,
}

/// Applies events of one key if its rows come free soon; `looks` is how often they were found held before. Those that have
/// waited for too long are stored as failed.
async fn look(batches: &BatchWriter, held: &HeldKeys, key: String, batch: Vec<Job>, looks: u32) -> (String, Left) {
    let mut left = Left { jobs: Vec::new(), is_held: false };
    match batches.apply(&batch, LockWait::Batch).await {
        Ok(answers) => {
            held.forget(&key);
            if looks > 0 {
                info!(looks, "rows that somebody else held are free again");
            }
            batch.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer));
        }
        Err(failure @ DbError::Locked { .. }) => {
            held.remember(&key);
            left.is_held = true;
            if looks == 0 {
                warn!(
                    events = batch.len(),
                    "somebody else holds the rows of {} events: they wait beside the others",
                    batch.len()
                );
            }
            for job in batch {
                if job.put_aside_for() < WAIT_MAX {
                    left.jobs.push(job);
                } else {
                    let answer = batches.store_failure(&job, &failure, LockWait::Probe).await;
                    job.answer(answer);
                }
            }
        }
        Err(failure) => {
            held.forget(&key);
            batches.apply_each(batch, failure, LockWait::Batch).await;
        }
    }
    (key, left)
}
