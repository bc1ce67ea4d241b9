//! Asks Stripe how an object is whose order is ambiguous, outside of any transaction; what it answers is an observation
//! like any other.
//!
//! The queue is in memory: an order that is lost with it stays as the ids have decided it, which is the same everywhere.

use std::convert::Infallible;
use std::iter;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tollgate_db::Changes;
use tollgate_domain::apply::{self, Touched};
use tollgate_shared::backoff::Backoff;
use tollgate_shared::log_safe::LogSafe;
use tollgate_stripe::Observation;
use tracing::{error, info, warn};

use crate::app::App;
use crate::delay_queue::DelayQueue;
use crate::differences::object_id;
use crate::stripe_api::error::CallError;
use crate::stripe_api::{Answer, Call, Client};
use crate::webhooks::ordering::{AmbiguousOrder, ambiguous_orders};
use crate::write::WriteError;

/// How many orders may wait. Beyond it they stay as they are decided.
const WAITING_MAX: usize = 1024;

/// How many objects are fetched side by side: one that Stripe is slow to answer holds up few others.
const FETCHES_MAX: usize = 4;

/// How often an object is fetched, and how long it waits in between: some ten minutes in all.
const ATTEMPTS_MAX: u32 = 15;
const RETRY_BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// The queue of objects to be fetched. Cheap to clone.
#[derive(Clone)]
pub struct RefetchQueue {
    orders: mpsc::Sender<AmbiguousOrder>,
    waiting: Arc<AtomicUsize>,
}

/// One object on its way.
struct Refetch {
    order: AmbiguousOrder,
    failures: u32,
}

impl RefetchQueue {
    /// Starts to fetch what will be enqueued.
    pub fn start(app: &App, client: Client) -> Self {
        let (orders, incoming) = mpsc::channel(WAITING_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let (worker, incoming) = (app.clone(), Arc::new(Mutex::new(incoming)));
        let count = waiting.clone();
        app.tasks.keep("refetch", move || run(worker.clone(), client.clone(), incoming.clone(), count.clone()));
        Self { orders, waiting }
    }

    /// Enqueues the objects whose order `observations` left open in `changes`.
    pub fn enqueue<'a>(&self, changes: &Changes, observations: impl Iterator<Item = &'a Observation> + Clone) {
        for order in ambiguous_orders(changes, observations) {
            // Before it can have been done.
            self.waiting.fetch_add(1, Ordering::Relaxed);
            if let Err(refused) = self.orders.try_send(order) {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                let order = refused.into_inner();
                let id = LogSafe(&order.id);
                warn!(object.id = %id, "refetch queue is full: ordering {id} by event id");
            }
        }
    }

    /// How many objects wait to be fetched.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Fetches what comes, each object at its own time, so that one in trouble holds up no other.
async fn run(
    app: App,
    client: Client,
    incoming: Arc<Mutex<mpsc::Receiver<AmbiguousOrder>>>,
    waiting: Arc<AtomicUsize>,
) {
    let mut incoming = incoming.lock().await;
    let mut queue = DelayQueue::default();
    let mut fetches = FuturesUnordered::new();
    // After a panic of this task nothing waits but what is in the channel.
    waiting.store(incoming.len(), Ordering::Relaxed);
    loop {
        tokio::select! {
            order = incoming.recv(), if queue.len() < WAITING_MAX => {
                let Some(order) = order else { return };
                queue.push(Instant::now(), Refetch { order, failures: 0 });
            }
            refetch = queue.pop(), if fetches.len() < FETCHES_MAX => fetches.push(attempt(&app, &client, refetch)),
            Some(again) = fetches.next(), if !fetches.is_empty() => match again {
                Some((at, refetch)) => queue.push(at, refetch),
                None => {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
            },
        }
    }
}

/// Fetches one object. Gives when to fetch it again, if it has to be.
async fn attempt(app: &App, client: &Client, refetch: Refetch) -> Option<(Instant, Refetch)> {
    let Refetch { order, failures } = refetch;
    let again = |failures: u32, order| {
        Some((Instant::now() + RETRY_BACKOFF.after(failures.max(1), &app.rng), Refetch { order, failures }))
    };
    let resolved = AssertUnwindSafe(try_to_resolve(app, client, &order)).catch_unwind().await;
    let id = LogSafe(&order.id);
    match resolved {
        Ok(Ok(None)) => {
            info!(object.id = %id, "refetched {id} from Stripe: same-second events were ambiguous");
            None
        }
        Ok(Ok(Some(another))) => again(0, another),
        // Its second ends soon.
        Ok(Err(RefetchError::TooEarly)) => again(failures, order),
        Ok(Err(failure)) if failure.is_transient() && failures + 1 < ATTEMPTS_MAX => {
            if failures == 0 {
                warn!(object.id = %id, "could not refetch {id} from Stripe, retrying: {failure}");
            }
            again(failures + 1, order)
        }
        Ok(Err(failure)) => {
            error!(object.id = %id, "could not refetch {id} from Stripe, ordering it by event id: {failure}");
            None
        }
        Err(_) => {
            error!(object.id = %id, "refetching {id} from Stripe panicked, ordering it by event id");
            None
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RefetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Write(#[from] WriteError<Infallible>),
    /// Something may yet happen in the second of the order.
    #[error("its second is not over")]
    TooEarly,
    #[error("Stripe's response is not the object that was asked for")]
    AnotherObject,
}

impl RefetchError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Call(error) => error.is_transient(),
            Self::Write(WriteError::Database(failure)) => failure.is_transient(),
            Self::TooEarly => true,
            Self::Write(_) | Self::AnotherObject => false,
        }
    }
}

/// Gives the order that there is now, if an event of the very second of Stripe's response says otherwise than that.
async fn try_to_resolve(
    app: &App,
    client: &Client,
    order: &AmbiguousOrder,
) -> Result<Option<AmbiguousOrder>, RefetchError> {
    let (name, resource) = order.resource();
    let call = Call::get(name, &[resource, &order.id]).in_account(order.account.as_deref()).in_background();
    let fetched = client.read(&call).await?;
    if fetched.at.timestamp() <= order.second {
        return Err(RefetchError::TooEarly);
    }
    let observation = observation(order, &fetched).ok_or(RefetchError::AnotherObject)?;
    let mut touched = Touched::default();
    touched.add(&observation);
    let rule = |work: &mut _| {
        apply::apply(work, &app.settings, &observation);
        Ok(())
    };
    let ((), changes) = app.write(&touched, rule).await?;
    Ok(ambiguous_orders(&changes, iter::once(&observation)).pop())
}

/// The object as Stripe has it, named alike by every replica that asks in the same second.
fn observation(order: &AmbiguousOrder, fetched: &Answer) -> Option<Observation> {
    let source = format!("fetched_{}_{}", order.id, fetched.at.timestamp());
    let account = order.account.clone();
    let observation = Observation::of_object(order.object_type, &fetched.body, fetched.at, account, source).ok()?;
    (object_id(&observation) == Some(&*order.id)).then_some(observation)
}
