//! The SQL of reading `license_events`. Numbers are asked for as a document of `{"lic_…": number}`, which both engines take
//! apart alike.

use std::collections::BTreeMap;

use tollgate_db::page::Position;
use tollgate_db::{DbError, Json, Tx};
use tollgate_shared::Timestamp;

use super::{LoggedEvent, Look, OldEvent};

/// A row of a look; the event is missing where there is none.
type Row = (String, i64, Option<i64>, Option<String>, Option<String>, Option<String>, Option<Timestamp>);

/// A page of each log after its number, not in order. Numbers have no gaps where events are kept, so that a page is a range
/// of them and needs no count.
pub(super) async fn look(
    tx: &mut Tx,
    read_to: &BTreeMap<String, i64>,
    events_max: i64,
) -> Result<BTreeMap<String, Look>, DbError> {
    let rows: Vec<Row> = tx
        .sql(
            "SELECT l.license_id, l.last_seq, e.seq, e.id, e.type, CAST(e.data AS TEXT), e.created_at
             FROM json_each($1) AS wanted
             JOIN license_logs AS l ON l.license_id = wanted.key
             LEFT JOIN license_events AS e
               ON e.license_id = wanted.key
              AND e.seq > CAST(CAST(wanted.value AS TEXT) AS BIGINT)
              AND e.seq <= CAST(CAST(wanted.value AS TEXT) AS BIGINT) + $2",
        )
        .bind(Json(read_to))
        .bind(events_max)
        .all()
        .await?;
    let mut looks: BTreeMap<String, Look> = BTreeMap::new();
    for (license_id, newest, seq, id, event_type, data, created_at) in rows {
        let look = looks.entry(license_id).or_default();
        look.newest = newest;
        if let (Some(seq), Some(id), Some(event_type), Some(data), Some(created_at)) =
            (seq, id, event_type, data, created_at)
        {
            look.events.push(LoggedEvent { seq, id, event_type, data, created_at });
        }
    }
    Ok(looks)
}

/// The logs whose newest number is another one.
pub(super) async fn moved(tx: &mut Tx, read_to: &BTreeMap<String, i64>) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT l.license_id
             FROM json_each($1) AS wanted
             JOIN license_logs AS l ON l.license_id = wanted.key
             WHERE l.last_seq <> CAST(CAST(wanted.value AS TEXT) AS BIGINT)",
        )
        .bind(Json(read_to))
        .all()
        .await?;
    Ok(rows.into_iter().map(|(license_id,)| license_id).collect())
}

/// Each log's licence, the first number after the given one that is kept, and the newest number.
pub(super) async fn ends(
    tx: &mut Tx,
    read_to: &BTreeMap<String, i64>,
) -> Result<Vec<(String, Option<i64>, i64)>, DbError> {
    tx.sql(
        "SELECT wanted.key,
                (SELECT e.seq
                 FROM license_events AS e
                 WHERE e.license_id = wanted.key AND e.seq > CAST(CAST(wanted.value AS TEXT) AS BIGINT)
                 ORDER BY e.seq
                 LIMIT 1),
                COALESCE((SELECT l.last_seq FROM license_logs AS l WHERE l.license_id = wanted.key), 0)
         FROM json_each($1) AS wanted",
    )
    .bind(Json(read_to))
    .all()
    .await
}

/// The events of one log after a number.
pub(super) async fn page(tx: &mut Tx, license_id: &str, after: i64, limit: i64) -> Result<Vec<LoggedEvent>, DbError> {
    let rows: Vec<(i64, String, String, String, Timestamp)> = tx
        .sql(
            "SELECT seq, id, type, CAST(data AS TEXT), created_at
             FROM license_events
             WHERE license_id = $1 AND seq > $2
             ORDER BY seq
             LIMIT $3",
        )
        .bind(license_id)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    let event = |(seq, id, event_type, data, created_at)| LoggedEvent { seq, id, event_type, data, created_at };
    Ok(rows.into_iter().map(event).collect())
}

/// The oldest events after a position.
pub(super) async fn old(
    tx: &mut Tx,
    before: Timestamp,
    after: &Position,
    limit: i64,
) -> Result<Vec<OldEvent>, DbError> {
    tx.sql(
        "SELECT license_id, seq, id, created_at
         FROM license_events
         WHERE created_at < $1 AND (created_at, id) > ($2, $3)
         ORDER BY created_at, id
         LIMIT $4",
    )
    .bind(before)
    .bind(after.at)
    .bind(after.id.as_str())
    .bind(limit)
    .all()
    .await
}

pub(super) async fn delete_up_to(tx: &mut Tx, license_id: &str, seq: i64) -> Result<u64, DbError> {
    tx.sql("DELETE FROM license_events WHERE license_id = $1 AND seq <= $2").bind(license_id).bind(seq).run().await
}

/// One event of a log.
pub(super) async fn find(tx: &mut Tx, license_id: &str, id: &str) -> Result<Option<LoggedEvent>, DbError> {
    let row: Option<(i64, String, String, String, Timestamp)> = tx
        .sql(
            "SELECT seq, id, type, CAST(data AS TEXT), created_at
             FROM license_events
             WHERE id = $1 AND license_id = $2",
        )
        .bind(id)
        .bind(license_id)
        .optional()
        .await?;
    let event = |(seq, id, event_type, data, created_at)| LoggedEvent { seq, id, event_type, data, created_at };
    Ok(row.map(event))
}
