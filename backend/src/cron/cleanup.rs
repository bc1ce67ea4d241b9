//! Removes what is too old to be kept: webhook events, licences' events, sessions, runs of jobs. The audit trail is for good.
//!
//! Old rows are looked for in a transaction that reads, and removed by a range of an index in one that writes, in portions
//! that take some ten milliseconds; after each, as long is left to others. On SQLite, where one writes at a time, that is what keeps
//! webhooks from waiting.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use tollgate_db::DbError;
use tollgate_db::page::Position;
use tollgate_domain::cron::runs;
use tollgate_domain::events::retention as license_events;
use tollgate_domain::sessions;
use tollgate_shared::Timestamp;
use tracing::info;

use super::job::{Context, Progress};
use crate::app::App;
use crate::events::retention as logs;
use crate::webhooks::retention as webhook_events;

/// How long runs are kept: as long as somebody may ask why something did not happen.
const RUNS_KEPT: chrono::Duration = chrono::Duration::days(30);

/// How long a session is kept that is stale.
const SESSIONS_KEPT: chrono::Duration = chrono::Duration::days(30);

/// How long a portion is to take.
const PORTION_TIME: Duration = Duration::from_millis(10);

/// Rows in a portion: to begin with, at least, and at most.
const PORTION: i64 = 100;
const PORTION_MIN: i64 = 10;
const PORTION_MAX: i64 = 1000;

/// The shortest rest: whoever waits has to be woken up.
const REST_MIN: Duration = Duration::from_millis(1);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    webhook_events: u64,
    license_events: u64,
    sessions: u64,
    cron_runs: u64,
}

/// One clean-up.
struct Cleanup {
    app: App,
    progress: Progress,
    now: Timestamp,
    removed: Removed,
    portion: i64,
}

/// Removes all that is too old by now.
pub(super) async fn clean_up(context: Context, progress: Progress) -> Result<(), DbError> {
    let (app, now) = (context.app.clone(), context.app.clock.now());
    let mut cleanup = Cleanup { app, progress, now, removed: Removed::default(), portion: PORTION };
    cleanup.progress.say(&cleanup.removed);
    cleanup.webhook_events().await?;
    cleanup.license_events().await?;
    cleanup.sessions().await?;
    cleanup.cron_runs().await?;
    let Removed { webhook_events, license_events, sessions, cron_runs } = cleanup.removed;
    if cleanup.removed != Removed::default() {
        info!(
            webhook_events,
            license_events,
            sessions,
            cron_runs,
            "removed what is too old: {webhook_events} webhook events, {license_events} events of licences, \
             {sessions} sessions, {cron_runs} runs of jobs"
        );
    }
    Ok(())
}

/// Before the first row.
fn start() -> Position {
    Position { at: Timestamp::UNIX_EPOCH, id: String::new() }
}

impl Cleanup {
    async fn webhook_events(&mut self) -> Result<(), DbError> {
        let before = self.now - self.app.config.webhook_events_kept;
        for status in webhook_events::REMOVED {
            let mut after = start();
            loop {
                let mut tx = self.app.read_list().await?;
                let next = webhook_events::next(&mut tx, status, before, &after, self.portion).await?;
                drop(tx);
                let Some(up_to) = next else { break };
                let mut tx = self.app.begin_write().await?;
                let begun = Instant::now();
                self.removed.webhook_events += webhook_events::remove(&mut tx, status, &after, &up_to).await?;
                tx.commit().await?;
                after = up_to;
                self.rest(begun.elapsed()).await;
            }
        }
        Ok(())
    }

    async fn license_events(&mut self) -> Result<(), DbError> {
        let before = self.now - self.app.config.license_events_kept;
        let mut after = start();
        loop {
            let mut tx = self.app.read_list().await?;
            let page = logs::page(&mut tx, before, &after, self.portion).await?;
            drop(tx);
            let Some(last) = page.last else { return Ok(()) };
            after = last;
            if page.removable.is_empty() {
                continue;
            }
            let mut tx = self.app.begin_write().await?;
            let begun = Instant::now();
            self.removed.license_events += license_events::remove(&mut tx, &page.removable).await?;
            tx.commit().await?;
            self.rest(begun.elapsed()).await;
        }
    }

    async fn sessions(&mut self) -> Result<(), DbError> {
        let before = self.now - SESSIONS_KEPT;
        loop {
            let mut tx = self.app.begin_write().await?;
            let begun = Instant::now();
            let removed = sessions::forget(&mut tx, before, self.portion).await?;
            tx.commit().await?;
            if removed == 0 {
                return Ok(());
            }
            self.removed.sessions += removed;
            self.rest(begun.elapsed()).await;
        }
    }

    async fn cron_runs(&mut self) -> Result<(), DbError> {
        let before = self.now - RUNS_KEPT;
        loop {
            let mut tx = self.app.begin_write().await?;
            let begun = Instant::now();
            let removed = runs::remove_ended(&mut tx, before, self.portion).await?;
            tx.commit().await?;
            if removed == 0 {
                return Ok(());
            }
            self.removed.cron_runs += removed;
            self.rest(begun.elapsed()).await;
        }
    }

    /// Leaves the database to others for as long as a portion took, and makes the next one take its time.
    async fn rest(&mut self, took: Duration) {
        self.progress.say(&self.removed);
        if took > PORTION_TIME {
            self.portion = (self.portion / 2).max(PORTION_MIN);
        } else if took < PORTION_TIME / 2 {
            self.portion = (self.portion * 2).min(PORTION_MAX);
        }
        sleep(took.max(REST_MIN)).await;
    }
}
