//! The SQL of acknowledgements.

use std::collections::BTreeSet;

use tollgate_db::page::{Page, Position};
use tollgate_db::{DbError, Tx, id_set};
use tollgate_shared::Timestamp;

use super::{Acknowledgement, LogEvent, Subject, Told};

/// The licence of a key.
pub(super) async fn license_of(tx: &mut Tx, key: &str) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = tx.sql("SELECT id FROM licenses WHERE key = $1").bind(key).optional().await?;
    Ok(row.map(|(id,)| id))
}

/// An event of a licence's log, with the newest activation of a machine.
pub(super) async fn subject(
    tx: &mut Tx,
    license_id: &str,
    event_id: &str,
    fingerprint_hash: &str,
) -> Result<Option<Subject>, DbError> {
    tx.sql(
        "SELECT e.id AS event_id, e.license_id, l.customer_id, e.type AS event_type, e.created_at,
                (SELECT m.id
                 FROM machines AS m
                 WHERE m.license_id = e.license_id AND m.fingerprint_hash = $3
                 ORDER BY m.activated_at DESC, m.id DESC
                 LIMIT 1) AS machine_id,
                EXISTS (SELECT 1
                        FROM machines AS m
                        WHERE m.license_id = e.license_id AND m.fingerprint_hash = $3
                          AND m.deactivated_at IS NULL) AS has_seat
         FROM license_events AS e
         JOIN licenses AS l ON l.id = e.license_id
         WHERE e.id = $1 AND e.license_id = $2",
    )
    .bind(event_id)
    .bind(license_id)
    .bind(fingerprint_hash)
    .optional()
    .await
}

/// The newest events of a licence's log.
pub(super) async fn newest_told(tx: &mut Tx, license_id: &str, limit: i64) -> Result<Vec<Told>, DbError> {
    tx.sql(
        "SELECT id, license_id, seq, type, stripe_event_id, created_at
         FROM license_events
         WHERE license_id = $1
         ORDER BY seq DESC
         LIMIT $2",
    )
    .bind(license_id)
    .bind(limit)
    .all()
    .await
}

/// Events of logs by their ids, in order of making.
pub(super) async fn told(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Vec<Told>, DbError> {
    tx.sql(
        "SELECT e.id, e.license_id, e.seq, e.type, e.stripe_event_id, e.created_at
         FROM json_each($1) AS wanted
         JOIN license_events AS e ON e.id = wanted.key
         ORDER BY e.created_at, e.license_id, e.seq",
    )
    .bind(id_set(ids.iter().map(String::as_str)))
    .all()
    .await
}

/// What was said of events, in the order in which it was said.
pub(super) async fn said_of<'i>(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = &'i str>,
) -> Result<Vec<Acknowledgement>, DbError> {
    tx.sql(
        "SELECT a.id, a.event_id, a.license_id, a.machine_id, a.status, a.error, a.acknowledged_at
         FROM json_each($1) AS wanted
         JOIN acknowledgements AS a ON a.event_id = wanted.key
         ORDER BY a.acknowledged_at, a.id",
    )
    .bind(id_set(ids))
    .all()
    .await
}

type Row = (String, String, String, Option<String>, String, Option<String>, Timestamp);

/// A page of what was said of an event of a licence, or of all of its events.
pub(super) async fn newest(
    tx: &mut Tx,
    license_id: &str,
    event_id: Option<&str>,
    page: &Page,
) -> Result<Vec<Acknowledgement>, DbError> {
    let after = page.after.clone().unwrap_or_else(Position::end);
    let query = match event_id {
        None => tx.sql(
            "SELECT id, event_id, license_id, machine_id, status, error, acknowledged_at
             FROM acknowledgements
             WHERE license_id = $1 AND (acknowledged_at, id) < ($2, $3)
             ORDER BY acknowledged_at DESC, id DESC
             LIMIT $4",
        ),
        Some(_) => tx.sql(
            "SELECT id, event_id, license_id, machine_id, status, error, acknowledged_at
             FROM acknowledgements
             WHERE license_id = $1 AND event_id = $5 AND (acknowledged_at, id) < ($2, $3)
             ORDER BY acknowledged_at DESC, id DESC
             LIMIT $4",
        ),
    };
    let query = query.bind(license_id).bind(after.at).bind(after.id).bind(page.rows_wanted());
    let rows: Vec<Row> = match event_id {
        None => query.all().await?,
        Some(event_id) => query.bind(event_id).all().await?,
    };
    let of_row = |(id, event_id, license_id, machine_id, status, error, acknowledged_at)| Acknowledgement {
        id,
        event_id,
        license_id,
        machine_id,
        status,
        error,
        acknowledged_at,
    };
    Ok(rows.into_iter().map(of_row).collect())
}

/// Machines that gave up their seats since `since` and have letters that wait for somebody, `limit` at most.
pub(super) async fn left_with_letters(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<BTreeSet<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT m.id
             FROM machines AS m
             WHERE m.deactivated_at >= $1
               AND EXISTS (SELECT 1
                           FROM dead_letters AS letter
                           WHERE letter.machine_id = m.id AND letter.machine_id IS NOT NULL
                             AND letter.status <> 'resolved')
             ORDER BY m.deactivated_at, m.id
             LIMIT $2",
        )
        .bind(since)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The place of the search for what nobody acknowledged, as a text; held until the transaction ends.
pub(super) async fn lock_place(tx: &mut Tx, name: &str) -> Result<String, DbError> {
    let (place,) = tx
        .sql(
            "INSERT INTO settings (name, value)
             VALUES ($1, '')
             ON CONFLICT (name) DO UPDATE SET value = settings.value
             RETURNING value",
        )
        .bind(name)
        .one()
        .await?;
    Ok(place)
}

/// Moves the place on.
pub(super) async fn move_place(tx: &mut Tx, name: &str, place: &str) -> Result<(), DbError> {
    tx.sql("UPDATE settings SET value = $2 WHERE name = $1").bind(name).bind(place).run().await?;
    Ok(())
}

/// A page of the events of all logs by their time, after a position and up to a time.
pub(super) async fn events_until(
    tx: &mut Tx,
    after: &Position,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<LogEvent>, DbError> {
    tx.sql(
        "SELECT id, license_id, type, created_at
         FROM license_events
         WHERE (created_at, id) > ($1, $2) AND created_at <= $3
         ORDER BY created_at, id
         LIMIT $4",
    )
    .bind(after.at)
    .bind(&*after.id)
    .bind(until)
    .bind(limit)
    .all()
    .await
}
