//! The SQL of `webhook_events`.

use std::collections::BTreeSet;

use bytes::Bytes;
use tollgate_shared::Timestamp;

use crate::db::{DbError, Lock, Tx, record};
use crate::webhooks::Status;

record! {
    /// What decides about a repeat, without the payload.
    pub struct Known in "webhook_events" {
        /// `evt_…`
        pub id: String,
        /// A [`Status`].
        pub status: String,
        /// How often it was tried.
        pub attempts: i64,
        /// When a failed one is tried again.
        pub next_attempt_at: Option<Timestamp>,
    }
}

impl Known {
    /// The status; the table's check allows no other names.
    pub fn status(&self) -> Status {
        Status::of(&self.status).expect("the table takes only names of a status")
    }

    /// Whether a failed event's next attempt is due.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_attempt_at.is_none_or(|at| at <= now)
    }
}

/// What is known of `ids`, locked.
pub async fn lock_all(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Vec<Known>, DbError> {
    tx.load("id", ids, Lock::ForUpdate).await
}

/// What is known of `id`, locked.
pub async fn lock(tx: &mut Tx, id: &str) -> Result<Option<Known>, DbError> {
    Ok(lock_all(tx, &BTreeSet::from([id.to_owned()])).await?.pop())
}

/// Claims a failed event for another attempt, with the status that it will have when this transaction commits.
pub async fn reclaim(
    tx: &mut Tx,
    now: Timestamp,
    known: &Known,
    status: Status,
    reason: Option<&str>,
) -> Result<(), DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET status = $2, reason = $3, attempts = $4, processed_at = $5, next_attempt_at = NULL
         WHERE id = $1",
    )
    .bind(known.id.as_str())
    .bind(status.name())
    .bind(reason)
    .bind(known.attempts + 1)
    .bind(now)
    .run()
    .await?;
    Ok(())
}

/// Makes a dead letter of an event that was claimed in this transaction.
pub async fn dead_letter(tx: &mut Tx, now: Timestamp, id: &str, reason: &str) -> Result<(), DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET status = 'dead_lettered', reason = $2, processed_at = $3, next_attempt_at = NULL
         WHERE id = $1",
    )
    .bind(id)
    .bind(reason)
    .bind(now)
    .run()
    .await?;
    Ok(())
}

/// Notes another failed attempt and when the next one is due.
pub async fn fail_again(
    tx: &mut Tx,
    id: &str,
    attempts: i64,
    error: &str,
    next_attempt_at: Timestamp,
) -> Result<(), DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET attempts = $2, last_error = $3, next_attempt_at = $4
         WHERE id = $1",
    )
    .bind(id)
    .bind(attempts)
    .bind(error)
    .bind(next_attempt_at)
    .run()
    .await?;
    Ok(())
}

/// Makes a dead letter of an event that was tried too often.
pub async fn dead_letter_exhausted(
    tx: &mut Tx,
    now: Timestamp,
    id: &str,
    attempts: i64,
    error: &str,
) -> Result<(), DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET status = 'dead_lettered', reason = 'retries_exhausted', attempts = $2, last_error = $3,
             processed_at = $4, next_attempt_at = NULL
         WHERE id = $1",
    )
    .bind(id)
    .bind(attempts)
    .bind(error)
    .bind(now)
    .run()
    .await?;
    Ok(())
}

/// The payloads of failed events whose attempt is due, the longest due first.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Bytes>, DbError> {
    let rows: Vec<(Vec<u8>,)> = tx
        .sql(
            "SELECT payload
             FROM webhook_events
             WHERE status = 'failed' AND next_attempt_at <= $1
             ORDER BY next_attempt_at
             LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(payload,)| Bytes::from(payload)).collect())
}

/// Makes every event that failed for want of the database due now; says how many.
pub async fn make_due_now(tx: &mut Tx, now: Timestamp) -> Result<u64, DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET next_attempt_at = $1
         WHERE status = 'failed' AND next_attempt_at > $1",
    )
    .bind(now)
    .run()
    .await
}

/// The customers whose entitlement has ended by time alone.
pub async fn customers_to_follow(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM customers
             WHERE entitled_until <= $1
             ORDER BY entitled_until
             LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
