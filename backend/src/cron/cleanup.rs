//! Removes what is too old to be kept: webhook events, licences' events, dead letters that are done with, sessions, machines
//! that gave up their seats, remembered requests, runs of jobs, files of releases that were withdrawn, what people were told.
//! The audit trail is for good.
//!
//! Old rows are looked for in a transaction that reads, and removed by a range of an index in one that writes, in portions
//! of some milliseconds. On SQLite, where one writes at a time, whoever wants to write waits for the portion that he meets.
//! So while events come, the database is left to others for a hundred times as long as a portion took: not one event in a
//! hundred meets one, and the slowest of them is as slow as before. For the same reason no portion waits for the disk, and
//! what portions leave in SQLite's log is written back here, and not within the commit of an event.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use tollgate_db::DbError;
use tollgate_db::page::Position;
use tollgate_domain::cron::runs;
use tollgate_domain::events::retention as license_events;
use tollgate_domain::{idempotency, notifications, sessions};
use tollgate_shared::Timestamp;
use tollgate_shared::backoff::Backoff;
use tracing::{debug, info};

use super::job::{Context, Progress};
use crate::dead_letters::retention as dead_letters;
use crate::events::retention as logs;
use crate::licenses::retention as machines;
use crate::releases::retention as releases;
use crate::webhooks::{Status, retention as webhook_events};

/// How long runs are kept: as long as somebody may ask why something did not happen.
const RUNS_KEPT: chrono::Duration = chrono::Duration::days(30);

/// How long a session is kept that is stale.
const SESSIONS_KEPT: chrono::Duration = chrono::Duration::days(30);

/// How long it is kept what people were told, for them and for operators.
const NOTIFICATIONS_KEPT: chrono::Duration = chrono::Duration::days(180);

/// How long a dead letter is kept that is resolved, at least: its event is kept for as long as such events are.
const LETTERS_KEPT: chrono::Duration = chrono::Duration::days(90);

/// How long it is to take to remove a portion.
const PORTION_TIME: Duration = Duration::from_millis(3);

/// Rows in a portion: to begin with, at least, and at most.
const PORTION: i64 = 50;
const PORTION_MIN: i64 = 10;
const PORTION_MAX: i64 = 1000;

/// After how many rows what they left in SQLite's log is written back: some pages each, half as many together as a commit
/// would write back by itself. More often would cost all who write another sync each time: the log begins anew.
const WRITE_BACK_AFTER: u64 = 500;

/// How long no event may have come until the next one is not expected.
const QUIET_AFTER: Duration = Duration::from_secs(10);

/// How much longer the database is left to others than a portion took: while events come, and while none does.
const REST_FACTOR: u32 = 100;
const REST_FACTOR_QUIET: u32 = 4;

/// The shortest rest: whoever waits has to be woken up. And the longest: on the slowest of disks old rows are to be removed
/// faster than new ones come.
const REST_MIN: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_secs(1);

/// How often in a row the database may have no time for a portion.
const FAILURES_MAX: u32 = 10;

const RETRY_BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    webhook_events: u64,
    /// What was tried with them: of no interest to anybody once they are gone.
    #[serde(skip)]
    webhook_batches: u64,
    license_events: u64,
    dead_letters: u64,
    sessions: u64,
    machines: u64,
    remembered_requests: u64,
    cron_runs: u64,
    release_files: u64,
    notifications: u64,
}

/// One clean-up.
struct Cleanup {
    context: Context,
    progress: Progress,
    now: Timestamp,
    removed: Removed,
    portion: i64,
    /// Rows removed since what was removed was last written back.
    unwritten: u64,
}

/// What may be too old.
#[derive(Clone, Copy, Debug)]
enum Kind {
    WebhookEvents(Status),
    WebhookBatches,
    LicenseEvents,
    Other(Other),
}

/// What is found and removed at once: whatever of it is old enough may go.
#[derive(Clone, Copy, Debug)]
enum Other {
    DeadLetters,
    Sessions,
    Machines,
    RememberedRequests,
    CronRuns,
    Notifications,
}

/// All kinds, in the order in which they are looked at.
const KINDS: [Kind; 10] = [
    Kind::WebhookEvents(Status::Processed),
    Kind::WebhookEvents(Status::Ignored),
    Kind::WebhookBatches,
    Kind::LicenseEvents,
    Kind::Other(Other::DeadLetters),
    Kind::Other(Other::Sessions),
    Kind::Other(Other::Machines),
    Kind::Other(Other::RememberedRequests),
    Kind::Other(Other::CronRuns),
    Kind::Other(Other::Notifications),
];

/// What a transaction removes.
enum Portion<'p> {
    /// Events between two positions.
    WebhookEvents { status: Status, after: &'p Position, up_to: &'p Position },
    /// What was tried with events that are gone.
    WebhookBatches(&'p [String]),
    /// Of each log what stands up to a number.
    LicenseEvents(&'p BTreeMap<String, i64>),
    /// The oldest of what is left.
    Oldest(Other),
}

/// Removes all that is too old by now.
pub(super) async fn clean_up(context: Context, progress: Progress) -> Result<(), DbError> {
    let now = context.app.clock.now();
    let mut cleanup = Cleanup { context, progress, now, removed: Removed::default(), portion: PORTION, unwritten: 0 };
    cleanup.progress.say(&cleanup.removed);
    for kind in KINDS {
        let mut after = Position { at: Timestamp::UNIX_EPOCH, id: String::new() };
        while cleanup.patiently(kind, &mut after).await? {}
    }
    cleanup.removed.release_files = releases::remove(&cleanup.context.app).await?;
    cleanup.progress.say(&cleanup.removed);
    if cleanup.removed != Removed::default() {
        cleanup.removed.tell();
    }
    Ok(())
}

impl Cleanup {
    /// Removes the next portion, again where the database has no time for it: one that is busy now and then is no reason
    /// to leave the rest until tomorrow.
    async fn patiently(&mut self, kind: Kind, after: &mut Position) -> Result<bool, DbError> {
        let mut failures = 0;
        loop {
            match self.next(kind, after).await {
                Err(failure) if failure.is_transient() && failures < FAILURES_MAX => {
                    failures += 1;
                    debug!(reason = failure.class(), "could not remove what is too old, retrying: {failure}");
                    sleep(RETRY_BACKOFF.after(failures, &self.context.app.rng)).await;
                }
                done => return done,
            }
        }
    }

    /// Removes the next portion of what stands after a position, and moves that on. Gives whether there may be more.
    async fn next(&mut self, kind: Kind, after: &mut Position) -> Result<bool, DbError> {
        match kind {
            Kind::WebhookEvents(status) => {
                let before = self.now - self.context.app.config.webhook_events_kept;
                let mut tx = self.context.app.read_list().await?;
                let next = webhook_events::next(&mut tx, status, before, after, self.portion).await?;
                drop(tx);
                let Some(up_to) = next else { return Ok(false) };
                self.remove(Portion::WebhookEvents { status, after, up_to: &up_to }).await?;
                *after = up_to;
            }
            Kind::WebhookBatches => {
                let before = self.now - self.context.app.config.webhook_events_kept;
                let mut tx = self.context.app.read_list().await?;
                let page = webhook_events::batches(&mut tx, before, &after.id).await?;
                drop(tx);
                let Some(last) = page.last else { return Ok(false) };
                if !page.removable.is_empty() {
                    self.remove(Portion::WebhookBatches(&page.removable)).await?;
                }
                after.id = last;
            }
            Kind::LicenseEvents => {
                let before = self.now - self.context.app.config.license_events_kept;
                let mut tx = self.context.app.read_list().await?;
                let page = logs::page(&mut tx, before, after, self.portion).await?;
                drop(tx);
                let Some(last) = page.last else { return Ok(false) };
                if !page.removable.is_empty() {
                    self.remove(Portion::LicenseEvents(&page.removable)).await?;
                }
                *after = last;
            }
            Kind::Other(other) => return Ok(self.remove(Portion::Oldest(other)).await? > 0),
        }
        Ok(true)
    }

    /// Removes a portion and gives how much that was; then leaves the database to others.
    async fn remove(&mut self, portion: Portion<'_>) -> Result<u64, DbError> {
        let (app, now, limit) = (&self.context.app, self.now, self.portion);
        let config = &app.config;
        let mut tx = app.db.upkeep().await?;
        // What it waited for its turn kept nobody waiting.
        let begun = Instant::now();
        let (count, removed) = match portion {
            Portion::WebhookEvents { status, after, up_to } => {
                let removed = webhook_events::remove(&mut tx, status, after, up_to).await?;
                (&mut self.removed.webhook_events, removed)
            }
            Portion::WebhookBatches(ids) => {
                (&mut self.removed.webhook_batches, webhook_events::remove_batches(&mut tx, ids).await?)
            }
            Portion::LicenseEvents(up_to) => {
                (&mut self.removed.license_events, license_events::remove(&mut tx, up_to).await?)
            }
            Portion::Oldest(Other::DeadLetters) => {
                let before = now - LETTERS_KEPT.max(config.webhook_events_kept);
                (&mut self.removed.dead_letters, dead_letters::remove(&mut tx, before, limit).await?)
            }
            Portion::Oldest(Other::Sessions) => {
                (&mut self.removed.sessions, sessions::forget(&mut tx, now - SESSIONS_KEPT, limit).await?)
            }
            Portion::Oldest(Other::Machines) => {
                let before = now - config.license_events_kept;
                (&mut self.removed.machines, machines::remove(&mut tx, now, before, limit).await?)
            }
            Portion::Oldest(Other::RememberedRequests) => {
                (&mut self.removed.remembered_requests, idempotency::forget(&mut tx, now, limit).await?)
            }
            Portion::Oldest(Other::CronRuns) => {
                (&mut self.removed.cron_runs, runs::remove_ended(&mut tx, now - RUNS_KEPT, limit).await?)
            }
            Portion::Oldest(Other::Notifications) => (
                &mut self.removed.notifications,
                notifications::forget(&mut tx, now - NOTIFICATIONS_KEPT, limit).await?,
            ),
        };
        tx.commit().await?;
        let took = begun.elapsed();
        *count += removed;
        if removed > 0 {
            self.progress.say(&self.removed);
            self.portion = next_portion(self.portion, took);
            self.unwritten += removed;
            self.rest(took).await;
        }
        Ok(removed)
    }

    /// Leaves the database to others after a portion that `took` so long.
    async fn rest(&mut self, took: Duration) {
        let begun = Instant::now();
        if self.unwritten >= WRITE_BACK_AFTER {
            self.unwritten = 0;
            if let Err(failure) = self.context.app.db.write_back().await {
                debug!(reason = failure.class(), "could not write back what was removed: {failure}");
            }
        }
        let rest = rest_after(took, self.context.inbox.is_quiet_for(QUIET_AFTER));
        sleep(rest.saturating_sub(begun.elapsed())).await;
    }
}

/// How many rows can be removed in time, where so many took so long.
fn next_portion(portion: i64, took: Duration) -> i64 {
    if took > PORTION_TIME {
        (portion / 2).max(PORTION_MIN)
    } else if took < PORTION_TIME / 2 {
        (portion * 2).min(PORTION_MAX)
    } else {
        portion
    }
}

/// How long the database is left to others after a portion that `took` so long.
fn rest_after(took: Duration, is_quiet: bool) -> Duration {
    let factor = if is_quiet { REST_FACTOR_QUIET } else { REST_FACTOR };
    (factor * took).clamp(REST_MIN, REST_MAX)
}

impl Removed {
    fn tell(self) {
        let Self { webhook_events, license_events, dead_letters, sessions, machines, .. } = self;
        let Self { remembered_requests, cron_runs, release_files, notifications, .. } = self;
        info!(
            webhook_events,
            license_events,
            dead_letters,
            sessions,
            machines,
            remembered_requests,
            cron_runs,
            release_files,
            notifications,
            "removed what is too old: {webhook_events} webhook events, {license_events} events of licences, \
             {dead_letters} dead letters, {sessions} sessions, {machines} machines, \
             {remembered_requests} remembered requests, {cron_runs} runs of jobs, {release_files} files of releases, \
             {notifications} notifications and messages"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_portion_grows_and_shrinks_until_it_takes_its_time() {
        assert_eq!(next_portion(50, MS(1)), 100);
        assert_eq!(next_portion(50, MS(2)), 50);
        assert_eq!(next_portion(50, MS(4)), 25);
        assert_eq!(next_portion(PORTION_MIN, MS(400)), PORTION_MIN);
        assert_eq!(next_portion(PORTION_MAX, MS(0)), PORTION_MAX);
    }

    #[test]
    fn of_a_hundred_events_not_one_meets_a_portion() {
        let took = MS(3);
        assert!(rest_after(took, false) >= 99 * took);
        assert!(rest_after(took, true) < rest_after(took, false));
        assert_eq!(rest_after(MS(0), true), REST_MIN);
        assert_eq!(rest_after(MS(500), false), REST_MAX);
    }
}
