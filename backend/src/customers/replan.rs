//! When an operator changes `plans.toml`, what customers may use changes with it: every customer is settled again, page
//! by page, so that nobody waits for the next event.

use tollgate_shared::Timestamp;
use tracing::info;

use crate::app::App;
use crate::db::{DbError, Tx};
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::audit::Cause;
use tollgate_domain::{entitlements, subscriptions};

/// Customers in one transaction: as many as a batch of events, so that events do not wait long behind it.
const PAGE: i64 = 64;

/// The setting that holds the digest of the plans that customers were last settled by.
const SETTLED_BY: &str = "plans_digest";

/// Settles every customer again if the plans are not those that they were last settled by; says how many there were.
/// Stopped half-way, it begins again at the next start; on two replicas at once it does the same twice.
pub async fn replan(app: &App) -> Result<u64, DbError> {
    let digest = app.config.plans.digest();
    let mut tx = app.db.read().await?;
    let settled_by = setting(&mut tx).await?;
    drop(tx);
    if settled_by.as_deref() == Some(&*digest) {
        return Ok(0);
    }
    let mut settled = 0;
    let mut after = String::new();
    loop {
        let mut tx = app.db.write().await?;
        let page = next_page(&mut tx, &after).await?;
        let Some(last) = page.last() else {
            remember(&mut tx, &digest).await?;
            tx.commit().await?;
            break;
        };
        last.clone_into(&mut after);
        settle(&mut tx, app, app.clock.now(), &page).await?;
        tx.commit().await?;
        settled += page.len() as u64;
    }
    if settled > 0 {
        info!(customers = settled, "plans changed: recomputed {settled} customers");
    }
    Ok(settled)
}

async fn settle(tx: &mut Tx, app: &App, now: Timestamp, page: &[String]) -> Result<(), DbError> {
    let settings = &app.settings;
    let touched = Touched { customers: page.iter().cloned().collect(), ..Touched::default() };
    let mut work = apply::load(tx, settings, now, &touched).await?;
    for customer in page {
        let of_customer: Vec<_> = subscriptions::of_customer(&work, customer).into_iter().cloned().collect();
        for mut subscription in of_customer {
            subscription.recompute(&settings.plans);
            work.insert(subscription);
        }
        entitlements::follow(&mut work, settings, Cause::system(), customer);
        work.release_savepoint();
    }
    work.write(tx).await?;
    Ok(())
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
        tx.sql("SELECT value FROM settings WHERE name = $1").bind(SETTLED_BY).optional().await?;
    Ok(row.map(|(value,)| value))
}

async fn remember(tx: &mut Tx, digest: &str) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO settings (name, value)
         VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(SETTLED_BY)
    .bind(digest)
    .run()
    .await?;
    Ok(())
}
