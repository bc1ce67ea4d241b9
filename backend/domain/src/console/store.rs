//! The SQL of `console_sessions`, but for what the unit of work does.

use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::ConsoleSession;

/// The session of whoever holds what `token_hash` is the hash of.
pub async fn find(tx: &mut Tx, token_hash: &str) -> Result<Option<ConsoleSession>, DbError> {
    tx.sql("SELECT id, token_hash, actor, begun_at, seen_at FROM console_sessions WHERE token_hash = $1")
        .bind(token_hash)
        .optional()
        .await
}

/// Ends the session `id`; says whether it was there.
pub async fn end(tx: &mut Tx, id: &str) -> Result<bool, DbError> {
    let removed = tx.sql("DELETE FROM console_sessions WHERE id = $1").bind(id).run().await?;
    Ok(removed > 0)
}

/// Notes that the session `id` is used at `now`.
pub async fn note_use(tx: &mut Tx, id: &str, now: Timestamp) -> Result<(), DbError> {
    tx.sql("UPDATE console_sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2").bind(id).bind(now).run().await?;
    Ok(())
}

/// Deletes sessions that nobody has used since `before`, the longest unused first.
pub(super) async fn delete_unused_since(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.sql(
        "DELETE FROM console_sessions
         WHERE id IN
             (SELECT id
              FROM console_sessions
              WHERE seen_at < $1
              ORDER BY seen_at, id
              LIMIT $2)
           AND seen_at < $1",
    )
    .bind(before)
    .bind(limit)
    .run()
    .await
}
