//! Removes what is too old to be kept: webhook events, licences' events, sessions, remembered requests, runs of jobs. The audit trail is for good.
//!
//! Old rows are looked for in a transaction that reads, and removed by a range of an index in one that writes, in portions
//! that take some ten milliseconds; after each, four times as long is left to others. On SQLite, where one writes at a time, that is what keeps
//! webhooks from waiting.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use tollgate_db::page::Position;
use tollgate_db::{DbError, Tx};
use tollgate_domain::cron::runs;
use tollgate_domain::events::retention as license_events;
use tollgate_domain::{idempotency, sessions};
use tollgate_shared::Timestamp;
use tollgate_shared::backoff::Backoff;
use tracing::{debug, info};

use super::job::{Context, Progress};
use crate::app::App;
use crate::events::retention as logs;
use crate::webhooks::{Status, retention as webhook_events};

/// How long runs are kept: as long as somebody may ask why something did not happen.
const RUNS_KEPT: chrono::Duration = chrono::Duration::days(30);

/// How long a session is kept that is stale.
const SESSIONS_KEPT: chrono::Duration = chrono::Duration::days(30);

/// How long it is to take to remove a portion. What it takes to sync it to the disk is not counted: that is the same for
/// any number of rows.
const PORTION_TIME: Duration = Duration::from_millis(10);

/// Rows in a portion: to begin with, at least, and at most.
const PORTION: i64 = 100;
const PORTION_MIN: i64 = 25;
const PORTION_MAX: i64 = 1000;

/// How much longer the database is left to others than a portion took.
const REST_FACTOR: u32 = 4;

/// The shortest rest: whoever waits has to be woken up.
const REST_MIN: Duration = Duration::from_millis(1);

/// How often in a row the database may have no time for a portion.
const FAILURES_MAX: u32 = 10;

const RETRY_BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    webhook_events: u64,
    license_events: u64,
    sessions: u64,
    remembered_requests: u64,
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

/// What may be too old, in the order in which it is looked at.
#[derive(Clone, Copy, Debug)]
enum Kind {
    WebhookEvents(Status),
    LicenseEvents,
    Sessions,
    RememberedRequests,
    CronRuns,
}

const KINDS: [Kind; 6] = [
    Kind::WebhookEvents(Status::Processed),
    Kind::WebhookEvents(Status::Ignored),
    Kind::LicenseEvents,
    Kind::Sessions,
    Kind::RememberedRequests,
    Kind::CronRuns,
];

/// Removes all that is too old by now.
pub(super) async fn clean_up(context: Context, progress: Progress) -> Result<(), DbError> {
    let (app, now) = (context.app.clone(), context.app.clock.now());
    let mut cleanup = Cleanup { app, progress, now, removed: Removed::default(), portion: PORTION };
    cleanup.progress.say(&cleanup.removed);
    for kind in KINDS {
        let mut after = Position { at: Timestamp::UNIX_EPOCH, id: String::new() };
        while cleanup.patiently(kind, &mut after).await? {}
    }
    let Removed { webhook_events, license_events, sessions, remembered_requests, cron_runs } = cleanup.removed;
    if cleanup.removed != Removed::default() {
        info!(
            webhook_events,
            license_events,
            sessions,
            remembered_requests,
            cron_runs,
            "removed what is too old: {webhook_events} webhook events, {license_events} events of licences, \
             {sessions} sessions, {remembered_requests} remembered requests, {cron_runs} runs of jobs"
        );
    }
    Ok(())
}

impl Cleanup {
    /// Removes the next portion, again where the database has no time for it: one that is busy now and then is no reason
    /// to leave the rest until tomorrow.
    async fn patiently(&mut self, kind: Kind, after: &mut Position) -> Result<bool, DbError> {
        let mut failures = 0;
        loop {
            match self.portion(kind, after).await {
                Err(failure) if failure.is_transient() && failures < FAILURES_MAX => {
                    failures += 1;
                    debug!(reason = failure.class(), "could not remove what is too old, retrying: {failure}");
                    sleep(RETRY_BACKOFF.after(failures, &self.app.rng)).await;
                }
                done => return done,
            }
        }
    }

    /// Removes the next portion of what stands after a position, and moves that on. Gives whether there may be more.
    async fn portion(&mut self, kind: Kind, after: &mut Position) -> Result<bool, DbError> {
        match kind {
            Kind::WebhookEvents(status) => self.webhook_events(status, after).await,
            Kind::LicenseEvents => self.license_events(after).await,
            Kind::Sessions => {
                let (mut tx, begun) = self.begin().await?;
                let removed = sessions::forget(&mut tx, self.now - SESSIONS_KEPT, self.portion).await?;
                let worked = begun.elapsed();
                tx.commit().await?;
                self.removed.sessions += removed;
                self.rest(begun, worked).await;
                Ok(removed > 0)
            }
            Kind::RememberedRequests => {
                let (mut tx, begun) = self.begin().await?;
                let removed = idempotency::forget(&mut tx, self.now, self.portion).await?;
                let worked = begun.elapsed();
                tx.commit().await?;
                self.removed.remembered_requests += removed;
                self.rest(begun, worked).await;
                Ok(removed > 0)
            }
            Kind::CronRuns => {
                let (mut tx, begun) = self.begin().await?;
                let removed = runs::remove_ended(&mut tx, self.now - RUNS_KEPT, self.portion).await?;
                let worked = begun.elapsed();
                tx.commit().await?;
                self.removed.cron_runs += removed;
                self.rest(begun, worked).await;
                Ok(removed > 0)
            }
        }
    }

    async fn webhook_events(&mut self, status: Status, after: &mut Position) -> Result<bool, DbError> {
        let before = self.now - self.app.config.webhook_events_kept;
        let mut tx = self.app.read_list().await?;
        let next = webhook_events::next(&mut tx, status, before, after, self.portion).await?;
        drop(tx);
        let Some(up_to) = next else { return Ok(false) };
        let (mut tx, begun) = self.begin().await?;
        let removed = webhook_events::remove(&mut tx, status, after, &up_to).await?;
        let worked = begun.elapsed();
        tx.commit().await?;
        self.removed.webhook_events += removed;
        *after = up_to;
        self.rest(begun, worked).await;
        Ok(true)
    }

    async fn license_events(&mut self, after: &mut Position) -> Result<bool, DbError> {
        let before = self.now - self.app.config.license_events_kept;
        let mut tx = self.app.read_list().await?;
        let page = logs::page(&mut tx, before, after, self.portion).await?;
        drop(tx);
        let Some(last) = page.last else { return Ok(false) };
        if !page.removable.is_empty() {
            let (mut tx, begun) = self.begin().await?;
            let removed = license_events::remove(&mut tx, &page.removable).await?;
            let worked = begun.elapsed();
            tx.commit().await?;
            self.removed.license_events += removed;
            self.rest(begun, worked).await;
        }
        *after = last;
        Ok(true)
    }

    /// A transaction, and since when it has kept others from theirs.
    async fn begin(&self) -> Result<(Tx, Instant), DbError> {
        let tx = self.app.begin_write().await?;
        Ok((tx, Instant::now()))
    }

    /// Leaves the database to others after a portion that was `begun` then, and gives the next one as many rows as can be
    /// removed in time, going by how long this one `worked`.
    async fn rest(&mut self, begun: Instant, worked: Duration) {
        self.progress.say(&self.removed);
        if worked > PORTION_TIME {
            self.portion = (self.portion / 2).max(PORTION_MIN);
        } else if worked < PORTION_TIME / 2 {
            self.portion = (self.portion * 2).min(PORTION_MAX);
        }
        sleep((REST_FACTOR * begun.elapsed()).max(REST_MIN)).await;
    }
}
