//! The SQL of which events are replayed.

use std::collections::BTreeSet;

use bytes::Bytes;
use tollgate_db::page::{Page, Position};
use tollgate_db::{DbError, Lock, Tx, record, row};
use tollgate_shared::Timestamp;

use super::Received;
use crate::webhooks::Status;

row! {
    /// An event, and how large it is.
    pub(super) struct Found {
        pub(super) id: String,
        pub(super) received_at: Timestamp,
        pub(super) payload_bytes: i64,
    }
}

record! {
    /// An event's bytes.
    struct Payload in "webhook_events" {
        pub id: String,
        pub payload: Bytes,
    }
}

/// One event.
pub(super) async fn find(tx: &mut Tx, id: &str) -> Result<Option<Found>, DbError> {
    tx.sql(
        "SELECT id, received_at, CAST(length(payload) AS BIGINT) AS payload_bytes
         FROM webhook_events
         WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The oldest events of a status that were received within a time, after the page's position.
pub(super) async fn received(
    tx: &mut Tx,
    status: Status,
    received: &Received,
    page: &Page,
) -> Result<Vec<Found>, DbError> {
    let after = page.after.clone().unwrap_or_else(|| Position { at: received.from, id: String::new() });
    // A cursor leads nowhere before the time that is asked for.
    let after = if after.at < received.from { Position { at: received.from, id: String::new() } } else { after };
    let query = match received.event_type {
        None => tx.sql(
            "SELECT id, received_at, CAST(length(payload) AS BIGINT) AS payload_bytes
             FROM webhook_events
             WHERE status = $1 AND (received_at, id) > ($2, $3) AND received_at < $4
             ORDER BY received_at, id
             LIMIT $5",
        ),
        Some(_) => tx.sql(
            "SELECT id, received_at, CAST(length(payload) AS BIGINT) AS payload_bytes
             FROM webhook_events
             WHERE status = $1 AND (received_at, id) > ($2, $3) AND received_at < $4 AND type = $6
             ORDER BY received_at, id
             LIMIT $5",
        ),
    };
    let query = query.bind(status.name()).bind(after.at).bind(after.id).bind(received.to).bind(page.rows_wanted());
    match &received.event_type {
        Some(event_type) => query.bind(event_type.as_str()).all().await,
        None => query.all().await,
    }
}

/// How many events of a status were received within a time, counted up to `most`.
pub(super) async fn count(tx: &mut Tx, status: Status, received: &Received, most: i64) -> Result<i64, DbError> {
    let query = match received.event_type {
        None => tx.sql(
            "SELECT count(*)
             FROM (SELECT id FROM webhook_events WHERE status = $1 AND received_at >= $2 AND received_at < $3 LIMIT $4)
                  AS received",
        ),
        Some(_) => tx.sql(
            "SELECT count(*)
             FROM (SELECT id
                   FROM webhook_events
                   WHERE status = $1 AND received_at >= $2 AND received_at < $3 AND type = $5
                   LIMIT $4) AS received",
        ),
    };
    let query = query.bind(status.name()).bind(received.from).bind(received.to).bind(most);
    let (count,): (i64,) = match &received.event_type {
        Some(event_type) => query.bind(event_type.as_str()).one().await?,
        None => query.one().await?,
    };
    Ok(count)
}

/// The bytes of those events that are there.
pub(super) async fn payloads(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Vec<(String, Bytes)>, DbError> {
    let events = tx.load::<Payload>("id", ids, Lock::None).await?;
    Ok(events.into_iter().map(|event| (event.id, event.payload)).collect())
}
