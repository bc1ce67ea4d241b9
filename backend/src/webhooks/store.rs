//! The SQL of `webhook_events`.

use std::collections::BTreeSet;

use bytes::Bytes;
use tollgate_shared::Timestamp;

use crate::webhooks::Status;
use tollgate_db::page::Position;
use tollgate_db::{DbError, Lock, Tx, id_set, record};

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
        /// The transaction in which it was last tried.
        pub batch_id: Option<String>,
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

/// Those of `ids` that are known.
pub async fn known_of(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, DbError> {
    let known: Vec<Known> = tx.load("id", ids, Lock::None).await?;
    Ok(known.into_iter().map(|known| known.id).collect())
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
    batch_id: &str,
) -> Result<(), DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET status = $2, reason = $3, attempts = $4, processed_at = $5, next_attempt_at = NULL, batch_id = $6
         WHERE id = $1",
    )
    .bind(known.id.as_str())
    .bind(status.name())
    .bind(reason)
    .bind(known.attempts + 1)
    .bind(now)
    .bind(batch_id)
    .run()
    .await?;
    Ok(())
}

/// Notes in which transaction an event was tried that is in effect and stays so.
pub async fn note_attempt(tx: &mut Tx, id: &str, batch_id: &str) -> Result<(), DbError> {
    tx.sql("UPDATE webhook_events SET batch_id = $2 WHERE id = $1").bind(id).bind(batch_id).run().await?;
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

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How often the event was tried by now.
    pub attempts: i64,
    /// The class of the failure.
    pub error: &'static str,
    /// Why there is no further attempt, if there is none.
    pub reason: Option<&'static str>,
    /// When it is tried again; none makes it a dead letter.
    pub next_attempt_at: Option<Timestamp>,
}

impl Failure {
    /// The status that it leads to.
    pub fn status(&self) -> Status {
        if self.next_attempt_at.is_some() { Status::Failed } else { Status::DeadLettered }
    }
}

/// Notes a failed attempt of a known event.
pub async fn fail(tx: &mut Tx, now: Timestamp, id: &str, failure: &Failure, batch_id: &str) -> Result<(), DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET status = $2, reason = $3, attempts = $4, last_error = $5, processed_at = $6, next_attempt_at = $7,
             batch_id = $8
         WHERE id = $1",
    )
    .bind(id)
    .bind(failure.status().name())
    .bind(failure.reason)
    .bind(failure.attempts)
    .bind(failure.error)
    .bind(failure.next_attempt_at.is_none().then_some(now))
    .bind(failure.next_attempt_at)
    .bind(batch_id)
    .run()
    .await?;
    Ok(())
}

/// The failed events whose attempt is due, the longest due first, with the bytes of each.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(String, i64)>, DbError> {
    tx.sql(
        "SELECT id, CAST(length(payload) AS BIGINT)
         FROM webhook_events
         WHERE next_attempt_at <= $1
         ORDER BY next_attempt_at, id
         LIMIT $2",
    )
    .bind(now)
    .bind(limit)
    .all()
    .await
}

/// Takes a due event for an attempt of ours until `until`, so that no other replica takes it meanwhile; its payload,
/// unless somebody was quicker.
pub async fn lease(tx: &mut Tx, now: Timestamp, id: &str, until: Timestamp) -> Result<Option<Bytes>, DbError> {
    let row: Option<(Vec<u8>,)> = tx
        .sql(
            "UPDATE webhook_events
             SET next_attempt_at = $3
             WHERE id = $1 AND status = 'failed' AND next_attempt_at <= $2
             RETURNING payload",
        )
        .bind(id)
        .bind(now)
        .bind(until)
        .optional()
        .await?;
    Ok(row.map(|(payload,)| Bytes::from(payload)))
}

/// The payload of an event.
pub async fn payload(tx: &mut Tx, id: &str) -> Result<Option<Bytes>, DbError> {
    let row: Option<(Vec<u8>,)> =
        tx.sql("SELECT payload FROM webhook_events WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(payload,)| Bytes::from(payload)))
}

/// Makes every event that failed for want of the database due now; says how many.
pub async fn make_due_now(tx: &mut Tx, now: Timestamp) -> Result<u64, DbError> {
    tx.sql(
        "UPDATE webhook_events
         SET next_attempt_at = $1
         WHERE status = 'failed' AND last_error = 'database_unavailable' AND next_attempt_at > $1",
    )
    .bind(now)
    .run()
    .await
}

/// Where the events stand that have ended as `status` says and were taken before `before`, the oldest first, after a
/// position and at most `limit`.
pub async fn ended(
    tx: &mut Tx,
    status: Status,
    before: Timestamp,
    after: &Position,
    limit: i64,
) -> Result<Vec<(Timestamp, String)>, DbError> {
    tx.sql(
        "SELECT received_at, id
         FROM webhook_events
         WHERE status = $1 AND received_at < $2 AND (received_at, id) > ($3, $4)
         ORDER BY received_at, id
         LIMIT $5",
    )
    .bind(status.name())
    .bind(before)
    .bind(after.at)
    .bind(after.id.as_str())
    .bind(limit)
    .all()
    .await
}

/// Deletes the events that have ended as `status` says, from after a position up to another one; gives how many.
pub async fn delete_ended(tx: &mut Tx, status: Status, after: &Position, up_to: &Position) -> Result<u64, DbError> {
    tx.sql(
        "DELETE FROM webhook_events
         WHERE status = $1 AND (received_at, id) > ($2, $3) AND (received_at, id) <= ($4, $5)",
    )
    .bind(status.name())
    .bind(after.at)
    .bind(after.id.as_str())
    .bind(up_to.at)
    .bind(up_to.id.as_str())
    .run()
    .await
}

/// Deletes those of these events that are dead letters; gives how many.
pub async fn delete_dead_lettered(tx: &mut Tx, ids: impl IntoIterator<Item = &str>) -> Result<u64, DbError> {
    tx.sql("DELETE FROM webhook_events WHERE id IN (SELECT key FROM json_each($1)) AND status = 'dead_lettered'")
        .bind(id_set(ids))
        .run()
        .await
}
