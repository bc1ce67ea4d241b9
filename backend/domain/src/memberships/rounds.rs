//! A round reads the subscription of every membership from Stripe, pod by pod, and counts what its members are to be told
//! of. How far the newest one has come is kept, so that one which was stopped goes on where it was.

use chrono::Duration;
use tollgate_db::{DbError, Tx, row};
use tollgate_shared::Timestamp;

use crate::memberships::{Membership, MembershipStatus};
use crate::pods::Pod;

/// A date counts as soon that comes within so long.
const SOON: Duration = Duration::hours(72);

/// A grace counts as ending of which no more is left.
const ENDING: Duration = Duration::hours(48);

/// How long after its begin a round that was stopped goes on; later a new one begins.
const GOES_ON_WITHIN: Duration = Duration::days(1);

row! {
    /// A row of `membership_rounds`.
    pub struct Round {
        /// When it began.
        pub began_at: Timestamp,
        /// When it had come through.
        pub ended_at: Option<Timestamp>,
        /// The last pod that it is through with, in the order of their ids.
        pub after_pod_id: String,
        /// Memberships whose subscriptions were read, and are here now as they were read.
        pub synced: i64,
        /// Of those the ones that were not so here.
        pub changed: i64,
        /// Memberships whose subscriptions could not be read or taken in.
        pub errors: i64,
        /// Memberships with a date within 72 hours.
        pub due_soon: i64,
        /// Memberships that are past due or have failed.
        pub failed_payments: i64,
        /// Memberships with less than 48 hours of grace left.
        pub grace_ending: i64,
    }
}

impl Round {
    /// One that begins at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            began_at: now,
            ended_at: None,
            after_pod_id: String::new(),
            synced: 0,
            changed: 0,
            errors: 0,
            due_soon: 0,
            failed_payments: 0,
            grace_ending: 0,
        }
    }

    /// Whether it was stopped and is to go on at `now`.
    pub fn goes_on(&self, now: Timestamp) -> bool {
        let age = now - self.began_at;
        self.ended_at.is_none() && age >= Duration::zero() && age < GOES_ON_WITHIN
    }

    /// Counts a membership whose subscription was read: whether it is here now as it was read, and was not before.
    pub fn read(&mut self, is_synced: bool, is_changed: bool) {
        self.synced += i64::from(is_synced);
        self.changed += i64::from(is_changed);
    }

    /// Adds what was counted of a part of it.
    pub fn add(&mut self, part: &Self) {
        self.synced += part.synced;
        self.changed += part.changed;
        self.errors += part.errors;
        self.due_soon += part.due_soon;
        self.failed_payments += part.failed_payments;
        self.grace_ending += part.grace_ending;
    }

    /// Counts a membership as it is at `now`.
    pub fn count(&mut self, row: &Membership, pod: &Pod, now: Timestamp) {
        let status = row.status(now);
        self.due_soon += i64::from(row.next_date(pod, now).is_some_and(|date| date <= now + SOON));
        self.failed_payments += i64::from(matches!(status, MembershipStatus::PastDue | MembershipStatus::Failed));
        let is_ending = row.grace_ends_at.is_some_and(|end| end < now + ENDING);
        self.grace_ending += i64::from(status == MembershipStatus::PastDue && is_ending);
    }
}

/// The newest round.
pub async fn newest(tx: &mut Tx) -> Result<Option<Round>, DbError> {
    tx.sql(
        "SELECT began_at, ended_at, after_pod_id, synced, changed, errors, due_soon, failed_payments, grace_ending
         FROM membership_rounds
         WHERE name = 'newest'",
    )
    .optional()
    .await
}

/// Keeps how far a round has come, in the place of the one before.
pub async fn keep(tx: &mut Tx, round: &Round) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO membership_rounds (name, began_at, ended_at, after_pod_id, synced, changed, errors, due_soon,
                                        failed_payments, grace_ending)
         VALUES ('newest', $1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (name) DO UPDATE
         SET began_at = excluded.began_at, ended_at = excluded.ended_at, after_pod_id = excluded.after_pod_id,
             synced = excluded.synced, changed = excluded.changed, errors = excluded.errors,
             due_soon = excluded.due_soon, failed_payments = excluded.failed_payments,
             grace_ending = excluded.grace_ending",
    )
    .bind(round.began_at)
    .bind(round.ended_at)
    .bind(round.after_pod_id.as_str())
    .bind(round.synced)
    .bind(round.changed)
    .bind(round.errors)
    .bind(round.due_soon)
    .bind(round.failed_payments)
    .bind(round.grace_ending)
    .run()
    .await?;
    Ok(())
}

/// Pods with memberships that go on, in the order of their ids, after one of them.
pub async fn pods_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<String>, DbError> {
    let sql = "SELECT id
               FROM pods
               WHERE id > $1
                 AND EXISTS (SELECT 1
                             FROM memberships
                             WHERE memberships.pod_id = pods.id AND memberships.subscription_id IS NOT NULL
                               AND memberships.seat_of IS NOT NULL)
               ORDER BY id
               LIMIT $2";
    let ids: Vec<(String,)> = tx.sql(sql).bind(after).bind(limit).all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// How many memberships go on of pods after one of them.
pub async fn count_after(tx: &mut Tx, after: &str) -> Result<i64, DbError> {
    let sql = "SELECT count(*)
               FROM memberships
               WHERE pod_id > $1 AND subscription_id IS NOT NULL AND seat_of IS NOT NULL";
    let count: Option<(i64,)> = tx.sql(sql).bind(after).optional().await?;
    Ok(count.map_or(0, |(count,)| count))
}
