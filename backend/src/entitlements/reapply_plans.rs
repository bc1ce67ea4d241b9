//! When an operator changes `plans.toml`, what customers may use changes with it: every customer is recomputed, page by
//! page, so that nobody waits for the next event.

use std::sync::Arc;
use std::time::Duration;

use tollgate_db::{DbError, Tx};
use tollgate_domain::audit::Cause;
use tollgate_domain::{entitlements, subscriptions};
use tracing::info;

use super::follow::{InTrouble, PAGE};
use crate::app::App;

/// How often to look whether the plans have changed: by the start of another replica, since ours are read at our start.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The setting that holds the digest of the plans that customers were last recomputed by.
const RECOMPUTED_BY: &str = "plans_digest";

/// Starts the job.
pub fn start(app: &App) {
    let (tasks, app) = (app.tasks.clone(), app.clone());
    let in_trouble = Arc::<InTrouble>::default();
    tasks.every("reapply-plans", LOOK_INTERVAL, move || {
        let (app, in_trouble) = (app.clone(), in_trouble.clone());
        async move { run(&app, &in_trouble).await.map(drop) }
    });
}

/// Recomputes every customer if the plans are not those that they were last recomputed by; gives how many there were.
async fn run(app: &App, in_trouble: &InTrouble) -> Result<usize, DbError> {
    let digest = app.settings.plans.digest();
    let mut tx = app.read().await?;
    let recomputed_by = setting(&mut tx).await?;
    drop(tx);
    if recomputed_by.as_deref() == Some(&*digest) {
        return Ok(0);
    }
    let (mut recomputed, mut after) = (0, String::new());
    loop {
        let mut tx = app.read().await?;
        let page = next_page(&mut tx, &after).await?;
        drop(tx);
        let Some(last) = page.last() else { break };
        last.clone_into(&mut after);
        let follow = in_trouble.follow(app, page, |work, customer| {
            let plans = &app.settings.plans;
            subscriptions::recompute_all(work, plans, customer);
            entitlements::follow(work, &app.settings, Cause::system(), customer);
        });
        recomputed += follow.await?;
    }
    let mut tx = app.begin_write().await?;
    remember(&mut tx, &digest).await?;
    tx.commit().await?;
    if recomputed > 0 {
        info!(customers = recomputed, "plans changed: recomputed {recomputed} customers");
    }
    Ok(recomputed)
}

async fn next_page(tx: &mut Tx, after: &str) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM customers
             WHERE id > $1
             ORDER BY id
             LIMIT $2",
        )
        .bind(after)
        .bind(PAGE)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

async fn setting(tx: &mut Tx) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> =
        tx.sql("SELECT value FROM settings WHERE name = $1").bind(RECOMPUTED_BY).optional().await?;
    Ok(row.map(|(value,)| value))
}

async fn remember(tx: &mut Tx, digest: &str) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO settings (name, value)
         VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(RECOMPUTED_BY)
    .bind(digest)
    .run()
    .await?;
    Ok(())
}
