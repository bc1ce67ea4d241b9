//! Events as operators look for them: one, or the newest first by what is asked for.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::{from_unix, rfc3339};

use super::Status;
use tollgate_db::{DbError, Query, Tx, row};

row! {
    /// An event without its payload.
    pub struct EventRow {
        /// `evt_…`
        pub id: String,
        /// For example `invoice.paid`.
        pub r#type: String,
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
        /// The transaction in which it was last tried.
        pub batch_id: Option<String>,
        /// The request that brought it.
        pub request_id: Option<String>,
    }
}

/// An event as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookEvent")]
pub struct EventView {
    id: String,
    r#type: String,
    api_version: Option<String>,
    status: String,
    reason: Option<String>,
    attempts: i64,
    last_error: Option<String>,
    created_at: Option<String>,
    received_at: String,
    processed_at: Option<String>,
    next_attempt_at: Option<String>,
    /// The exact bytes, as the text that they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl From<EventRow> for EventView {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            r#type: row.r#type,
            api_version: row.api_version,
            status: row.status,
            reason: row.reason,
            attempts: row.attempts,
            last_error: row.last_error,
            created_at: row.created_at.map(rfc3339),
            received_at: rfc3339(row.received_at),
            processed_at: row.processed_at.map(rfc3339),
            next_attempt_at: row.next_attempt_at.map(rfc3339),
            payload: None,
        }
    }
}

/// Which events are asked for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What became of them.
    pub status: Option<Status>,
    /// Their type.
    pub event_type: Option<String>,
    /// The customer whom their object names.
    pub customer: Option<String>,
    /// Their object, where it names no customer; then `customer` does not matter.
    pub object: Option<String>,
}

/// The newest after a position (`$1`, `$2`), at most `$3`, of those for which every condition holds. A condition names its
/// parameter, from `$4` on.
macro_rules! newest {
    ($($condition:literal),*) => {
        concat!(
            "SELECT id, type, api_version, status, reason, attempts, last_error,
                    created_at, received_at, processed_at, next_attempt_at, batch_id, request_id
             FROM webhook_events
             WHERE (received_at, id) < ($1, $2)",
            $(" AND ", $condition,)*
            " ORDER BY received_at DESC, id DESC LIMIT $3"
        )
    };
    // Each status has its own newest ones, of which the newest are taken: by itself PostgreSQL would sort the whole table.
    (of any status $(, $condition:literal)*) => {
        concat!(
            "SELECT * FROM (",
            "SELECT * FROM (", newest!("status = 'processed'" $(, $condition)*), ") AS processed UNION ALL ",
            "SELECT * FROM (", newest!("status = 'ignored'" $(, $condition)*), ") AS ignored UNION ALL ",
            "SELECT * FROM (", newest!("status = 'failed'" $(, $condition)*), ") AS failed UNION ALL ",
            "SELECT * FROM (", newest!("status = 'dead_lettered'" $(, $condition)*), ") AS dead_lettered",
            ") AS of_any_status ORDER BY received_at DESC, id DESC LIMIT $3"
        )
    };
}

/// The statement for a filter. Each goes by one index from its first row to its last, whatever the table holds: those by
/// status and by type are merged where any status will do, and of one customer's or object's events, which are few, the rest of the
/// filter only picks. (`|| ''` keeps an engine from going by the index of that instead.)
fn page_sql(filter: &Filter) -> &'static str {
    if filter.object.is_some() {
        return match (filter.status, &filter.event_type) {
            (None, None) => newest!("object_id = $4", "customer_id IS NULL"),
            (Some(_), None) => newest!("object_id = $4", "customer_id IS NULL", "status || '' = $5"),
            (None, Some(_)) => newest!("object_id = $4", "customer_id IS NULL", "type || '' = $5"),
            (Some(_), Some(_)) => {
                newest!("object_id = $4", "customer_id IS NULL", "status || '' = $5", "type || '' = $6")
            }
        };
    }
    match (&filter.customer, filter.status, &filter.event_type) {
        (None, None, None) => newest!(of any status),
        (None, Some(_), None) => newest!("status = $4"),
        (None, None, Some(_)) => newest!(of any status, "type = $4"),
        (None, Some(_), Some(_)) => newest!("status = $4", "type = $5"),
        (Some(_), None, None) => newest!("customer_id = $4"),
        (Some(_), Some(_), None) => newest!("customer_id = $4", "status || '' = $5"),
        (Some(_), None, Some(_)) => newest!("customer_id = $4", "type || '' = $5"),
        (Some(_), Some(_), Some(_)) => newest!("customer_id = $4", "status || '' = $5", "type || '' = $6"),
    }
}

/// One page of the events that `filter` asks for.
pub async fn list(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<List<EventRow>, DbError> {
    let rows = bound(tx.sql(page_sql(filter)), filter, page).all::<EventRow>().await?;
    Ok(page.list(rows, |row| Position { at: row.received_at, id: row.id.clone() }))
}

/// The same of those that were received not before the first of two moments and before the second.
pub async fn list_between(
    tx: &mut Tx,
    filter: &Filter,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    page: &Page,
) -> Result<List<EventRow>, DbError> {
    let end = to.map(|at| Position { at, id: String::new() });
    let after = page.after.iter().chain(&end).min_by_key(|place| (place.at, &place.id)).cloned();
    let mut listed = list(tx, filter, &Page { limit: page.limit, after }).await?;
    let Some(from) = from else { return Ok(listed) };
    // They come in the order in which they were received.
    let within = listed.data.partition_point(|row| row.received_at >= from);
    if within < listed.data.len() {
        listed.data.truncate(within);
        (listed.has_more, listed.next_cursor) = (false, None);
    }
    Ok(listed)
}

fn bound<'t>(mut query: Query<'t>, filter: &Filter, page: &Page) -> Query<'t> {
    let after = page.after.clone().unwrap_or_else(|| Position { at: end_of_time(), id: String::new() });
    query = query.bind(after.at).bind(after.id.as_str()).bind(page.rows_wanted());
    if let Some(of) = filter.object.as_ref().or(filter.customer.as_ref()) {
        query = query.bind(of.as_str());
    }
    if let Some(status) = filter.status {
        query = query.bind(status.name());
    }
    if let Some(event_type) = &filter.event_type {
        query = query.bind(event_type.as_str());
    }
    query
}

/// Later than any event: both engines' times end with the year 9999 or later.
fn end_of_time() -> Timestamp {
    from_unix(253_402_300_799).expect("the last second of 9999 is one that chrono knows")
}

/// One event.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<EventRow>, DbError> {
    tx.sql(
        "SELECT id, type, api_version, status, reason, attempts, last_error,
                created_at, received_at, processed_at, next_attempt_at, batch_id, request_id
         FROM webhook_events
         WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The exact bytes of one event.
pub async fn payload(tx: &mut Tx, id: &str) -> Result<Option<Vec<u8>>, DbError> {
    let row: Option<(Vec<u8>,)> =
        tx.sql("SELECT payload FROM webhook_events WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(payload,)| payload))
}

row! {
    /// Events that have not ended.
    pub struct InTrouble {
        /// How many wait for another attempt.
        pub failed: i64,
        /// When the oldest of those that wait was taken.
        pub oldest_failed_at: Option<Timestamp>,
    }
}

/// The events that have not ended, in numbers.
pub async fn in_trouble(tx: &mut Tx) -> Result<InTrouble, DbError> {
    tx.sql(
        "SELECT count(*) AS failed, min(received_at) AS oldest_failed_at
         FROM webhook_events
         WHERE status = 'failed'",
    )
    .one()
    .await
}

#[cfg(test)]
mod tests;
