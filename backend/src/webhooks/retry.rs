//! What failed in a way that may pass is tried again here, through the same door as a delivery.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tollgate_shared::{RequestId, Timestamp};
use tracing::{debug, info};

use crate::audit::Cause;
use crate::customers;
use crate::db::DbError;
use crate::webhooks::decide::Needs;
use crate::webhooks::inbox::{BATCH_MAX, Inbox, Parts, WeakInbox};
use crate::webhooks::store;
use crate::webhooks::world::World;

/// How long to wait after the first, second, … failed attempt; after one more than these it is a dead letter.
const DELAYS: [chrono::Duration; 7] = [
    chrono::Duration::seconds(5),
    chrono::Duration::seconds(30),
    chrono::Duration::minutes(2),
    chrono::Duration::minutes(10),
    chrono::Duration::hours(1),
    chrono::Duration::hours(4),
    chrono::Duration::hours(12),
];

/// How often to look for what is due.
const TICK: Duration = Duration::from_secs(1);

/// How long to wait after attempt number `attempts` failed; none when it was the last.
pub fn delay_after(attempts: i64) -> Option<chrono::Duration> {
    DELAYS.get(usize::try_from(attempts.checked_sub(1)?).ok()?).copied()
}

/// Looks for what is due, as long as the inbox is open.
pub(super) async fn run(inbox: WeakInbox) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inbox) = inbox.upgrade() else { return };
        if let Err(failure) = tick(&inbox).await {
            debug!(reason = failure.class(), "could not look for events to retry");
        }
    }
}

/// Tries everything that is due now; says how many.
pub async fn tick(inbox: &Inbox) -> Result<usize, DbError> {
    let parts = inbox.parts();
    let database_was_away = inbox.database_was_away();
    if database_was_away.load(Ordering::Acquire) {
        let hurried = hurry(parts).await?;
        database_was_away.store(false, Ordering::Release);
        if hurried > 0 {
            info!(events = hurried, "the database is back: {hurried} failed events are due at once");
        }
    }
    let tried = retry_due(inbox).await?;
    follow_due(parts).await?;
    Ok(tried)
}

async fn hurry(parts: &Parts) -> Result<u64, DbError> {
    let mut tx = parts.db.write().await?;
    let hurried = store::hurry(&mut tx, parts.clock.now()).await?;
    tx.commit().await?;
    Ok(hurried)
}

async fn retry_due(inbox: &Inbox) -> Result<usize, DbError> {
    let parts = inbox.parts();
    let mut tx = parts.db.read().await?;
    let due = store::due(&mut tx, parts.clock.now(), BATCH_MAX as i64).await?;
    drop(tx);
    let request_id = RequestId::new(parts.clock.now(), &parts.rng);
    Ok(inbox.take_together(due, &request_id).await.len())
}

/// Ends the entitlement of customers whose grace has run out: no event tells of that.
async fn follow_due(parts: &Parts) -> Result<(), DbError> {
    let now = parts.clock.now();
    let mut tx = parts.db.read().await?;
    let due = store::customers_to_follow(&mut tx, now, BATCH_MAX as i64).await?;
    drop(tx);
    if !due.is_empty() {
        follow_customers(parts, now, &due).await?;
    }
    Ok(())
}

/// Brings `customers` into step with their subscriptions as of `now`.
async fn follow_customers(parts: &Parts, now: Timestamp, customers: &[String]) -> Result<(), DbError> {
    let rules = parts.rules();
    let mut tx = parts.db.write().await?;
    let needs = Needs { customers: customers.iter().cloned().collect(), ..Needs::default() };
    let mut world = World::load(&mut tx, &rules, now, &needs).await?;
    for customer in customers {
        let cause = Cause { actor: "system", event_id: None };
        customers::follow(&rules, now, cause, customer, &mut world);
        world.keep();
    }
    world.store(&mut tx).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_attempts_are_made_each_later_than_the_last() {
        let delays: Vec<_> = (1..).map_while(delay_after).collect();
        assert_eq!(delays.len(), 7);
        assert!(delays.is_sorted());
        assert_eq!(delay_after(0), None);
    }
}
