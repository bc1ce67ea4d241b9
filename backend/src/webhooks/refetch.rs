//! Settles ties. Snapshots of one second that nothing but their events' ids tells apart are settled by asking Stripe how
//! the object is now, outside of any transaction; what it answers is an observation like any other.
//!
//! The queue is in memory: a tie that is lost with it stays as the ids have decided it, which is the same everywhere.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tollgate_shared::Timestamp;
use tollgate_shared::backoff::Backoff;
use tollgate_stripe::{Event, Observation};
use tracing::{info, warn};

use crate::app::App;
use crate::db::{Changes, DbError};
use crate::stripe_api::{CallError, Client, Fetched};
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::customers::Customer;
use tollgate_domain::subscriptions::Subscription;

/// How many ties may wait. Beyond it they stay as they are decided.
const WAITING_MAX: usize = 1024;

/// How often a tie is tried, and how long it waits in between: some ten minutes in all.
const TRIES: u32 = 15;
const BETWEEN_TRIES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// An object of which we do not know which of its newest snapshots is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tie {
    /// What it is.
    pub object: Tied,
    /// Its id.
    pub id: String,
    /// The second that the snapshots share, Unix time.
    pub second: i64,
}

/// The kinds of objects that may be tied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tied {
    /// A customer.
    Customer,
    /// A subscription.
    Subscription,
}

impl Tied {
    fn resource(self) -> &'static str {
        match self {
            Self::Customer => "customers",
            Self::Subscription => "subscriptions",
        }
    }

    fn event_type(self) -> &'static str {
        match self {
            Self::Customer => "customer.updated",
            Self::Subscription => "customer.subscription.updated",
        }
    }
}

/// Where ties are handed in. Cheap to clone; settling ends when the last clone is gone.
#[derive(Clone)]
pub(super) struct Ties(mpsc::Sender<Tie>);

impl Ties {
    /// Starts to settle what will be handed in.
    pub(super) fn settle(app: App, client: Client) -> Self {
        let (waiting, mut ties) = mpsc::channel::<Tie>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(tie) = ties.recv().await {
                // On its own, so that a tie whose settling panics is the only one that stays.
                let _ = tokio::spawn(settle(app.clone(), client.clone(), tie)).await;
            }
        });
        Self(waiting)
    }

    /// Hands in the ties that `changes` left.
    pub(super) fn hand_in(&self, changes: &Changes) {
        for tie in ties(changes) {
            if let Err(mpsc::error::TrySendError::Full(tie)) = self.0.try_send(tie) {
                warn!(object.id = %tie.id, "too many ties wait: {} stays as its events' ids decide", tie.id);
            }
        }
    }
}

/// The changed objects of which nothing but their events' ids says which snapshot is the last.
fn ties(changes: &Changes) -> Vec<Tie> {
    let tie = |object, id: &str, second| Tie { object, id: id.to_owned(), second };
    let customers = changes.of::<Customer>().map(|change| change.after);
    let customers = customers.filter_map(|row| Some(tie(Tied::Customer, &row.id, row.history.tie()?)));
    let subscriptions = changes.of::<Subscription>().map(|change| change.after);
    let subscriptions = subscriptions.filter_map(|row| Some(tie(Tied::Subscription, &row.id, row.history.tie()?)));
    customers.chain(subscriptions).collect()
}

#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0}")]
    Database(#[from] DbError),
    /// Something may yet happen in the second of the tie.
    #[error("its second is not over")]
    TooEarly,
    #[error("Stripe's answer is not the object that was asked for")]
    AnotherObject,
}

impl Unsettled {
    fn is_transient(&self) -> bool {
        match self {
            Self::Call(error) => error.is_transient(),
            Self::Database(failure) => failure.is_transient(),
            Self::TooEarly => true,
            Self::AnotherObject => false,
        }
    }
}

async fn settle(app: App, client: Client, mut tie: Tie) {
    for tries in 1..=TRIES {
        match try_to_settle(&app, &client, &tie).await {
            Ok(None) => return info!(object.id = %tie.id, "asked Stripe how {} is: its events did not tell", tie.id),
            Err(failure) if failure.is_transient() && tries < TRIES => {
                let second_ends_soon = matches!(failure, Unsettled::TooEarly);
                let failures = if second_ends_soon { 1 } else { tries };
                sleep(BETWEEN_TRIES.after(failures, &app.rng)).await;
            }
            Ok(Some(another)) => {
                tie = another;
                sleep(BETWEEN_TRIES.after(1, &app.rng)).await;
            }
            Err(failure) => {
                return warn!(object.id = %tie.id, "could not ask Stripe how {} is, so its events' ids decide: {failure}", tie.id);
            }
        }
    }
}

/// Gives the tie that there is now, if an event of the very second of Stripe's answer says otherwise than that.
async fn try_to_settle(app: &App, client: &Client, tie: &Tie) -> Result<Option<Tie>, Unsettled> {
    let fetched = client.fetch(tie.object.resource(), &tie.id).await?;
    if fetched.at.timestamp() <= tie.second {
        return Err(Unsettled::TooEarly);
    }
    let seen = observation(tie, &fetched).ok_or(Unsettled::AnotherObject)?;
    Ok(observe(app, app.clock.now(), &seen).await?)
}

/// What an event would say that told how the object is now, named alike by every replica that asks in the same second.
fn observation(tie: &Tie, fetched: &Fetched) -> Option<Observation> {
    let object: &RawValue = serde_json::from_slice(&fetched.body).ok()?;
    let second = fetched.at.timestamp();
    let (id, kind) = (&tie.id, tie.object.event_type());
    let event =
        format!(r#"{{"id":"fetched_{id}_{second}","type":"{kind}","created":{second},"data":{{"object":{object}}}}}"#);
    let event = Event::parse(event.into()).ok().filter(|event| event.object_id.as_ref() == Some(id))?;
    event.observation().ok().flatten()
}

async fn observe(app: &App, now: Timestamp, seen: &Observation) -> Result<Option<Tie>, DbError> {
    let settings = &app.settings;
    let mut touched = Touched::default();
    apply::touched_by(seen, &mut touched);
    let mut tx = app.db.write().await?;
    let mut work = apply::load(&mut tx, settings, now, &touched).await?;
    apply::apply(&mut work, settings, seen);
    work.release_savepoint();
    let changes = work.write(&mut tx).await?;
    tx.commit().await?;
    Ok(ties(&changes).pop())
}
