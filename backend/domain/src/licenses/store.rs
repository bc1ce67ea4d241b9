//! The SQL of machines that gave up their seats.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Tx, id_set};
use tollgate_shared::Timestamp;

/// Those that did so before `before`, the earliest first and at most `limit`.
pub(super) async fn deactivated_before(
    tx: &mut Tx,
    before: Timestamp,
    limit: i64,
) -> Result<BTreeSet<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM machines
             WHERE deactivated_at < $1
             ORDER BY deactivated_at, id
             LIMIT $2",
        )
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Deletes those of `ids` that hold no seat; says how many.
pub(super) async fn delete_deactivated(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<u64, DbError> {
    tx.sql("DELETE FROM machines WHERE id IN (SELECT key FROM json_each($1)) AND deactivated_at IS NOT NULL")
        .bind(id_set(ids.iter().map(String::as_str)))
        .run()
        .await
}
