//! What failed in a way that may pass is tried again here, through the same door as a delivery.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tollgate_shared::{RequestId, Timestamp};
use tracing::info;

use crate::app::App;
use crate::db::DbError;
use crate::webhooks::inbox::{BATCH_MAX, Inbox};
use crate::webhooks::store;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::audit::Cause;
use tollgate_domain::entitlements;

/// How often to look for what is due.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the job.
pub fn start(inbox: &Inbox) {
    let tasks = inbox.app().tasks.clone();
    let inbox = inbox.clone();
    tasks.every("retry", TICK_INTERVAL, move || {
        let inbox = inbox.clone();
        async move { tick(&inbox).await.map(drop) }
    });
}

/// Tries everything that is due now; says how many.
pub async fn tick(inbox: &Inbox) -> Result<usize, DbError> {
    let app = inbox.app();
    let database_was_away = inbox.database_was_away();
    if database_was_away.load(Ordering::Acquire) {
        let made_due = make_due_now(app).await?;
        database_was_away.store(false, Ordering::Release);
        if made_due > 0 {
            info!(events = made_due, "database is available again: retrying {made_due} failed events now");
        }
    }
    let tried = retry_due(inbox).await?;
    follow_due(app).await?;
    Ok(tried)
}

async fn make_due_now(app: &App) -> Result<u64, DbError> {
    let mut tx = app.db.write().await?;
    let made_due = store::make_due_now(&mut tx, app.clock.now()).await?;
    tx.commit().await?;
    Ok(made_due)
}

async fn retry_due(inbox: &Inbox) -> Result<usize, DbError> {
    let app = inbox.app();
    let mut tx = app.db.read().await?;
    let due = store::due(&mut tx, app.clock.now(), BATCH_MAX as i64).await?;
    drop(tx);
    let request_id = RequestId::new(app.clock.now(), &app.rng);
    Ok(inbox.take_together(due, &request_id).await.len())
}

/// Ends the entitlement of customers whose grace has run out: no event tells of that.
async fn follow_due(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let due = store::customers_to_follow(&mut tx, now, BATCH_MAX as i64).await?;
    drop(tx);
    if !due.is_empty() {
        follow_customers(app, now, &due).await?;
    }
    Ok(())
}

/// Brings `customers` into step with their subscriptions as of `now`.
async fn follow_customers(app: &App, now: Timestamp, customers: &[String]) -> Result<(), DbError> {
    let settings = &app.settings;
    let mut tx = app.db.write().await?;
    let touched = Touched { customers: customers.iter().cloned().collect(), ..Touched::default() };
    let mut work = apply::load(&mut tx, settings, now, &touched).await?;
    for customer in customers {
        entitlements::follow(&mut work, settings, Cause::system(), customer);
        work.release_savepoint();
    }
    work.write(&mut tx).await?;
    tx.commit().await
}
