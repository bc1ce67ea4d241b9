//! The SQL of `remembered_requests`, but for what the unit of work does.

use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

/// Deletes those that have expired, the oldest first.
pub(super) async fn delete(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.sql(
        "DELETE FROM remembered_requests
         WHERE id IN (SELECT id FROM remembered_requests
                      WHERE expires_at <= $1
                      ORDER BY expires_at, id
                      LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .run()
    .await
}
