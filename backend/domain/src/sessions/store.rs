//! The SQL of sessions that nothing is heard of.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Tx, id_set};
use tollgate_shared::Timestamp;

/// The machines of open sessions that were last heard of at `at` or before, the longest silent first.
pub(super) async fn silent_since(tx: &mut Tx, at: Timestamp, limit: i64) -> Result<BTreeSet<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT machine_id
             FROM sessions
             WHERE stale_at IS NULL AND last_seen_at <= $1
             ORDER BY last_seen_at, machine_id
             LIMIT $2",
        )
        .bind(at)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(machine_id,)| machine_id).collect())
}

/// Deletes sessions that have been stale since before `before`, the oldest first; says how many.
pub(super) async fn delete(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.sql(
        "DELETE FROM sessions
         WHERE machine_id IN
             (SELECT machine_id
              FROM sessions
              WHERE stale_at < $1
              ORDER BY stale_at, machine_id
              LIMIT $2)
           AND stale_at < $1",
    )
    .bind(before)
    .bind(limit)
    .run()
    .await
}

/// Deletes the sessions of these machines; says how many.
pub(super) async fn delete_of(tx: &mut Tx, machine_ids: &BTreeSet<String>) -> Result<u64, DbError> {
    tx.sql("DELETE FROM sessions WHERE machine_id IN (SELECT key FROM json_each($1))")
        .bind(id_set(machine_ids.iter().map(String::as_str)))
        .run()
        .await
}
