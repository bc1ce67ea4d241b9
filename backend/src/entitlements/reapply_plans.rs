//! When an operator changes `plans.toml`, what customers may use changes with it: whoever was last computed by other plans
//! is computed again, page by page, again and again, so that nobody waits for the next event.
//!
//! While a deployment is rolled out, replicas with two files work side by side, and each computes by its own whatever its
//! events touch. The file of the replica that started last is the one in force: only those with that file look for the
//! others' customers. When none of them is left, the next one takes over with its own.

use std::sync::atomic::{AtomicBool, Ordering};

use tollgate_db::{DbError, Tx};
use tollgate_domain::entitlements::{self, store};
use tollgate_shared::Timestamp;
use tracing::info;

use super::follow::{InTrouble, PAGE};
use crate::app::App;

/// How often a replica says that the plans in force are alive.
const RENEW_INTERVAL: chrono::Duration = chrono::Duration::seconds(30);

/// How long plans stay in force of which nobody says so any more.
const LAPSE: chrono::Duration = chrono::Duration::minutes(2);

/// The setting that holds the digest of the plans in force, and when that was last said: `<digest> <microseconds>`.
const IN_FORCE: &str = "plans_in_force";

/// The job of one replica.
#[derive(Default)]
pub(crate) struct ReapplyPlans {
    in_trouble: InTrouble,
    /// Whether this replica has said once that its plans are in force.
    has_begun: AtomicBool,
}

/// Plans in force.
struct InForce {
    digest: String,
    said_at: Timestamp,
}

impl ReapplyPlans {
    /// Computes again whoever was last computed by other plans, if ours are in force; gives how many there were.
    pub(crate) async fn run(&self, app: &App) -> Result<usize, DbError> {
        if !self.are_in_force(app).await? {
            return Ok(0);
        }
        let (mut recomputed, mut after) = (0, None);
        loop {
            let mut tx = app.read().await?;
            let page =
                store::computed_by_other_plans(&mut tx, app.settings.plans.digest(), after.as_ref(), PAGE).await?;
            drop(tx);
            let Some(last) = page.last().cloned() else { break };
            after = Some(last);
            let customers = page.into_iter().map(|(_, id)| id).collect();
            let reapply = self.in_trouble.follow(app, customers, |work, customer| {
                entitlements::reapply_plans(work, &app.settings, customer);
            });
            recomputed += reapply.await?;
        }
        if recomputed > 0 {
            info!(customers = recomputed, "plans changed: recomputed {recomputed} customers");
        }
        Ok(recomputed)
    }

    /// Whether our plans are in force; says so where they are.
    async fn are_in_force(&self, app: &App) -> Result<bool, DbError> {
        let (digest, now) = (app.settings.plans.digest(), app.clock.now());
        let mut tx = app.read().await?;
        let said = in_force(&mut tx).await?;
        drop(tx);
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        match said {
            Some(said) if said.digest == digest && now - said.said_at < RENEW_INTERVAL => {}
            Some(said) if has_begun && said.digest != digest && now - said.said_at < LAPSE => return Ok(false),
            _ => {
                let mut tx = app.begin_write().await?;
                say_in_force(&mut tx, digest, now).await?;
                tx.commit().await?;
            }
        }
        self.has_begun.store(true, Ordering::Relaxed);
        Ok(true)
    }
}

async fn in_force(tx: &mut Tx) -> Result<Option<InForce>, DbError> {
    let row: Option<(String,)> = tx.sql("SELECT value FROM settings WHERE name = $1").bind(IN_FORCE).optional().await?;
    // What we cannot read is of nobody who is alive.
    Ok(row.and_then(|(value,)| {
        let (digest, micros) = value.split_once(' ')?;
        let said_at = Timestamp::from_timestamp_micros(micros.parse().ok()?)?;
        Some(InForce { digest: digest.to_owned(), said_at })
    }))
}

async fn say_in_force(tx: &mut Tx, digest: &str, now: Timestamp) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO settings (name, value)
         VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(IN_FORCE)
    .bind(format!("{digest} {}", now.timestamp_micros()))
    .run()
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
