//! Events as operators look for them: one, or the newest first by what is asked for.

use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use super::Status;
use crate::http::page::{List, Page, Position};
use tollgate_db::{DbError, Tx};

/// An event without its payload.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct EventRow {
    /// `evt_…`
    pub id: String,
    /// For example `invoice.paid`.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// The version that the payload is shaped by.
    pub api_version: Option<String>,
    /// A [`Status`].
    pub status: String,
    /// Why it was ignored or dead-lettered.
    pub reason: Option<String>,
    /// How often it was tried.
    pub attempts: i64,
    /// The class of the last failure.
    pub last_error: Option<String>,
    /// When Stripe made it.
    pub created_at: Option<Timestamp>,
    /// When it was first taken.
    pub received_at: Timestamp,
    /// When it ended.
    pub processed_at: Option<Timestamp>,
    /// When a failed one is tried again.
    pub next_attempt_at: Option<Timestamp>,
}

/// Which events are asked for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What became of them.
    pub status: Option<Status>,
    /// Their type.
    pub kind: Option<String>,
    /// The customer whom their object names.
    pub customer: Option<String>,
}

/// The newest first. `$1` to `$3` are the filter, of which each access path answers one part by its index; `$4` and `$5` are
/// where the page begins.
macro_rules! page_of {
    ($by_index:literal) => {
        concat!(
            "SELECT id, type, api_version, status, reason, attempts, last_error,
                    created_at, received_at, processed_at, next_attempt_at
             FROM webhook_events
             WHERE ",
            $by_index,
            "
               AND (CAST($1 AS TEXT) IS NULL OR customer_id = $1)
               AND (CAST($2 AS TEXT) IS NULL OR type = $2)
               AND (CAST($3 AS TEXT) IS NULL OR status = $3)
               AND (received_at, id) < ($4, $5)
             ORDER BY received_at DESC, id DESC
             LIMIT $6"
        )
    };
}

/// One page of the events that `filter` asks for.
pub async fn list(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<List<EventRow>, DbError> {
    // The conditions that repeat the filter are what an engine needs to see before it takes the index.
    let sql = match (&filter.customer, filter.status) {
        (Some(_), _) => page_of!("customer_id = $1"),
        (None, Some(Status::Failed | Status::DeadLettered | Status::Ignored)) => {
            page_of!("status <> 'processed' AND status = $3")
        }
        (None, Some(Status::Processed) | None) => page_of!("TRUE"),
    };
    let after = page.after.clone().unwrap_or_else(|| Position { at: end_of_time(), id: String::new() });
    let rows = tx
        .sql(sql)
        .bind(filter.customer.as_deref())
        .bind(filter.kind.as_deref())
        .bind(filter.status.map(Status::name))
        .bind(after.at)
        .bind(after.id.as_str())
        .bind(page.rows_wanted())
        .all::<EventRow>()
        .await?;
    Ok(page.list(rows, |row| Position { at: row.received_at, id: row.id.clone() }))
}

/// Later than any event: both engines' times end with the year 9999 or later.
fn end_of_time() -> Timestamp {
    from_unix(253_402_300_799).expect("the last second of 9999 is one that chrono knows")
}

/// One event.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<EventRow>, DbError> {
    tx.sql(
        "SELECT id, type, api_version, status, reason, attempts, last_error,
                created_at, received_at, processed_at, next_attempt_at
         FROM webhook_events
         WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The very bytes of one event.
pub async fn payload(tx: &mut Tx, id: &str) -> Result<Option<Vec<u8>>, DbError> {
    let row: Option<(Vec<u8>,)> =
        tx.sql("SELECT payload FROM webhook_events WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(payload,)| payload))
}

/// Events that did not end well.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct InTrouble {
    /// How many wait for another attempt.
    pub failed: i64,
    /// How many are dead letters.
    pub dead_lettered: i64,
    /// When the oldest of those that wait was taken.
    pub oldest_failed_at: Option<Timestamp>,
    /// When the oldest dead letter was taken.
    pub oldest_dead_lettered_at: Option<Timestamp>,
}

/// The events that did not end well, in numbers.
pub async fn in_trouble(tx: &mut Tx) -> Result<InTrouble, DbError> {
    // The first condition is what lets the partial index answer.
    tx.sql(
        "SELECT count(CASE WHEN status = 'failed' THEN 1 END) AS failed,
                count(CASE WHEN status = 'dead_lettered' THEN 1 END) AS dead_lettered,
                min(CASE WHEN status = 'failed' THEN received_at END) AS oldest_failed_at,
                min(CASE WHEN status = 'dead_lettered' THEN received_at END) AS oldest_dead_lettered_at
         FROM webhook_events
         WHERE status <> 'processed' AND status IN ('failed', 'dead_lettered')",
    )
    .one()
    .await
}
