//! What the database knows of a moment, for the rules.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::alerts::snapshot::{EventNumbers, JobNumbers, LetterNumbers, Share};
use tollgate_domain::alerts::thresholds::{self as of, Thresholds};
use tollgate_domain::cron::runs;
use tollgate_domain::cron::schedule::Schedule;
use tollgate_domain::dead_letters::{self, Source};
use tollgate_domain::sightings::{self, SightingKind};
use tollgate_domain::subscriptions::Subscription;
use tollgate_shared::Timestamp;

use super::counted;
use crate::payments::tried;
use crate::webhooks::view;

/// Where a dead letter comes from that somebody has to look at; of what machines do not take, their users are the first to know.
const SOURCES: [Source; 2] = [Source::Webhook, Source::Notification];

/// The statuses of a subscription of which events have to come.
const LIVE_STATUSES: [&str; 6] = ["trialing", "active", "past_due", "unpaid", "paused", "incomplete"];

/// The jobs that compare with Stripe.
const SYNC_SUBSCRIPTIONS: &str = "sync-subscriptions";
const RECONCILE: &str = "reconcile";

/// How many subscriptions, versions and runs are looked at, at most: one is enough to be amiss.
const LOOKED_AT_MAX: i64 = 100;

/// What the database knows; none where nothing has come yet.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) oldest_failed_at: Option<Timestamp>,
    pub(super) last_webhook_at: Option<Timestamp>,
    pub(super) has_live_subscriptions: bool,
    pub(super) letters: LetterNumbers,
    pub(super) jobs: Vec<JobNumbers>,
    pub(super) payments: Share,
    pub(super) payments_before: Share,
    pub(super) grace_ending: i64,
    pub(super) stripe_calls: Share,
    pub(super) messages: BTreeMap<String, Share>,
    pub(super) unmatched_subscriptions: i64,
    pub(super) unknown_versions: Vec<String>,
    pub(super) synced_changes: i64,
    pub(super) reconciled: i64,
}

impl Known {
    /// What is known at `now`, of `jobs` too.
    pub(super) async fn gather(
        tx: &mut Tx,
        now: Timestamp,
        thresholds: &Thresholds,
        jobs: &[(&'static str, Schedule)],
    ) -> Result<Self, DbError> {
        let hours = |number| Duration::hours(thresholds.of(number));
        let (payments, payments_before) = payments(tx, now).await?;
        let price_since = now - hours(of::PRICE_HOURS);
        let version_since = now - hours(of::VERSION_HOURS);
        let drift_since = now - hours(of::DRIFT_HOURS);
        Ok(Self {
            oldest_failed_at: view::in_trouble(tx).await?.oldest_failed_at,
            last_webhook_at: sightings::last_webhook(tx).await?,
            has_live_subscriptions: has_live_subscriptions(tx).await?,
            letters: letters(tx).await?,
            payments,
            payments_before,
            grace_ending: grace_ending(tx, now, now + hours(of::GRACE_HOURS)).await?,
            stripe_calls: counted::calls_since(tx, now - Duration::minutes(thresholds.of(of::STRIPE_MINUTES))).await?,
            messages: messages(tx, now - Duration::hours(1)).await?,
            unmatched_subscriptions: unmatched_subscriptions(tx, price_since).await?,
            unknown_versions: sightings::since(tx, SightingKind::UnknownVersion, version_since, LOOKED_AT_MAX).await?,
            synced_changes: said_most(tx, SYNC_SUBSCRIPTIONS, "changed", drift_since).await?,
            reconciled: said_most(tx, RECONCILE, "found", drift_since).await?,
            // Last: after an outage all jobs are late until they have begun, which they do at this very moment.
            jobs: job_numbers(tx, now, jobs).await?,
        })
    }

    /// Of events; where no webhook has come yet, it is quiet `since` that is looked at.
    pub(super) fn events(&self, since: Timestamp) -> EventNumbers {
        EventNumbers {
            oldest_failed_at: self.oldest_failed_at,
            quiet_since: self.last_webhook_at.unwrap_or(since),
            has_live_subscriptions: self.has_live_subscriptions,
        }
    }
}

async fn has_live_subscriptions(tx: &mut Tx) -> Result<bool, DbError> {
    for status in LIVE_STATUSES {
        let sql = "SELECT id FROM subscriptions WHERE status = $1 LIMIT $2";
        if tx.sql(sql).bind(status).bind(1_i64).optional::<(String,)>().await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn letters(tx: &mut Tx) -> Result<LetterNumbers, DbError> {
    let by_source = dead_letters::open_by_source(tx).await?;
    let is_ours = |name: &str| SOURCES.iter().any(|source| source.name() == name);
    let open = by_source.iter().filter(|(source, _)| is_ours(source)).map(|(_, count)| count).sum();
    let mut oldest_at: Option<Timestamp> = None;
    for source in SOURCES {
        let oldest = dead_letters::oldest_open(tx, source).await?;
        oldest_at = oldest_at.into_iter().chain(oldest).min();
    }
    Ok(LetterNumbers { open, oldest_at })
}

async fn job_numbers(
    tx: &mut Tx,
    now: Timestamp,
    jobs: &[(&'static str, Schedule)],
) -> Result<Vec<JobNumbers>, DbError> {
    let mut numbers = Vec::new();
    for &(job, schedule) in jobs {
        let newest = runs::known(tx, job, now).await?.newest;
        let late = newest.map_or(Duration::zero(), |run| now - schedule.next(run.tick));
        numbers.push(JobNumbers {
            job,
            interval_seconds: schedule.interval().num_seconds(),
            late_seconds: late.num_seconds().max(0),
            failed_running: runs::failed_running(tx, job, now, LOOKED_AT_MAX).await?,
        });
    }
    Ok(numbers)
}

/// Of the last hour, and of the seven days before.
async fn payments(tx: &mut Tx, now: Timestamp) -> Result<(Share, Share), DbError> {
    let hour = now - Duration::hours(1);
    let (succeeded, failed) = tried::since(tx, hour).await?;
    let (all_succeeded, all_failed) = tried::since(tx, hour - Duration::days(7)).await?;
    let before = Share { failed: all_failed - failed, all: all_succeeded + all_failed - succeeded - failed };
    Ok((Share { failed, all: succeeded + failed }, before))
}

/// Memberships whose grace is over before `before`.
async fn grace_ending(tx: &mut Tx, now: Timestamp, before: Timestamp) -> Result<i64, DbError> {
    let (count,) = tx
        .sql(
            "SELECT count(*)
             FROM memberships
             WHERE joined_at > $3 AND grace_ends_at > $1 AND grace_ends_at < $2 AND subscription_id IS NOT NULL
               AND (over_at IS NULL OR is_over_in_time AND contribution_progress < COALESCE(contributions_total, 0))",
        )
        .bind(now)
        .bind(before)
        .bind(Timestamp::UNIX_EPOCH)
        .one::<(i64,)>()
        .await?;
    Ok(count)
}

/// Of the messages that were written since a moment and were tried: how many did not get through so far, by channel.
pub async fn messages(tx: &mut Tx, since: Timestamp) -> Result<BTreeMap<String, Share>, DbError> {
    let rows: Vec<(String, i64, i64)> = tx
        .sql(
            "SELECT channel,
                    count(*) FILTER (WHERE status = 'dead_lettered' OR status = 'queued' AND last_error IS NOT NULL),
                    count(*) FILTER (WHERE status IN ('sent', 'dead_lettered')
                                        OR status = 'queued' AND last_error IS NOT NULL)
             FROM messages
             WHERE created_at >= $1
             GROUP BY channel",
        )
        .bind(since)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(channel, failed, all)| (channel, Share { failed, all })).collect())
}

/// Subscriptions that came to be ones that no plan matches since a moment, as far as they are live and still are.
async fn unmatched_subscriptions(tx: &mut Tx, since: Timestamp) -> Result<i64, DbError> {
    let ids = sightings::since(tx, SightingKind::UnmatchedSubscription, since, LOOKED_AT_MAX).await?;
    let ids: BTreeSet<_> = ids.into_iter().collect();
    let rows: Vec<Subscription> = tx.load("id", &ids, Lock::None).await?;
    Ok(rows.iter().filter(|row| row.plan_id.is_none() && row.is_live() && !row.is_of_pod()).count() as i64)
}

/// The greatest `number` that runs of a job said since a moment: one may go on with what another began.
async fn said_most(tx: &mut Tx, job: &str, number: &str, since: Timestamp) -> Result<i64, DbError> {
    let summaries = runs::summaries_since(tx, job, since, LOOKED_AT_MAX).await?;
    Ok(summaries.iter().filter_map(|summary| summary[number].as_i64()).max().unwrap_or(0))
}
