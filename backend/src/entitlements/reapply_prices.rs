//! When a price is learned to be a plan's, by a lookup key that it had, whoever pays it is recomputed: its other
//! subscribers may have been seen before, without the key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tollgate_db::{DbError, Tx};
use tollgate_domain::audit::Cause;
use tollgate_domain::{entitlements, subscriptions};
use tracing::info;

use super::follow::{InTrouble, PAGE};
use crate::app::App;

/// How often to look: a price is learned once, and hardly ever after its first subscribers.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Starts the job.
pub fn start(app: &App) {
    let (tasks, app) = (app.tasks.clone(), app.clone());
    let in_trouble = Arc::<InTrouble>::default();
    tasks.every("reapply-prices", LOOK_INTERVAL, move || {
        let (app, in_trouble) = (app.clone(), in_trouble.clone());
        async move { run(&app, &in_trouble).await.map(drop) }
    });
}

/// Recomputes the customers whose subscription is of a price that a plan of ours is known to have matched, and of no
/// plan; gives how many there were. What a page leaves over is for the next look.
async fn run(app: &App, in_trouble: &InTrouble) -> Result<usize, DbError> {
    let plans = &app.settings.plans;
    let mut recomputed = 0;
    for plan in plans.all().iter().filter(|plan| plan.lookup_key.is_some()) {
        let mut tx = app.read().await?;
        let customers = without_plan(&mut tx, &plan.id).await?;
        drop(tx);
        let follow = in_trouble.follow(app, customers, |work, customer| {
            subscriptions::recompute_all(work, plans, customer);
            entitlements::follow(work, &app.settings, Cause::system(), customer);
        });
        recomputed += follow.await?;
    }
    if recomputed > 0 {
        info!(customers = recomputed, "prices learned: recomputed {recomputed} customers");
    }
    Ok(recomputed)
}

async fn without_plan(tx: &mut Tx, plan_id: &str) -> Result<Vec<String>, DbError> {
    let prices: Vec<(String,)> = tx.sql("SELECT id FROM prices WHERE plan_id = $1").bind(plan_id).all().await?;
    let mut customers = BTreeSet::new();
    for (price,) in prices {
        let rows: Vec<(String,)> = tx
            .sql(
                "SELECT customer_id
                 FROM subscriptions
                 WHERE price_id = $1 AND plan_id IS NULL
                 LIMIT $2",
            )
            .bind(price.as_str())
            .bind(PAGE)
            .all()
            .await?;
        customers.extend(rows.into_iter().map(|(id,)| id));
    }
    Ok(customers.into_iter().take(PAGE as usize).collect())
}

#[cfg(test)]
mod tests;
