//! How payments fare, in numbers.

use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

/// How many payments succeeded since a moment, and of how many an attempt failed.
pub async fn since(tx: &mut Tx, since: Timestamp) -> Result<(i64, i64), DbError> {
    let (succeeded,) = tx
        .sql(
            "SELECT count(*)
             FROM payments
             WHERE paid_at >= $1 AND status = 'succeeded' AND belongs_to IS NULL AND amount > 0",
        )
        .bind(since)
        .one::<(i64,)>()
        .await?;
    let sql = "SELECT count(*) FROM invoices WHERE last_failed_at >= $1";
    let (invoices,) = tx.sql(sql).bind(since).one::<(i64,)>().await?;
    let (others,) = tx
        .sql(
            "SELECT count(*)
             FROM payments
             WHERE seen_at >= $1 AND failure_code IS NOT NULL AND belongs_to IS NULL AND kind <> 'invoice'
               AND status <> 'succeeded'",
        )
        .bind(since)
        .one::<(i64,)>()
        .await?;
    Ok((succeeded, invoices + others))
}
