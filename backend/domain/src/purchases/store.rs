//! The SQL of `purchases`, but for what the unit of work does.

use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use crate::purchases::Unread;

type Row = (String, String, String, Option<String>);

/// Those whose items are due at `now`, the longest first.
pub(super) async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Unread>, DbError> {
    let rows: Vec<Row> = tx
        .sql(
            "SELECT purchases.id, purchases.session_id, purchases.customer_id, customers.account
             FROM purchases
             JOIN customers ON customers.id = purchases.customer_id
             WHERE purchases.items_due_at <= $1
             ORDER BY purchases.items_due_at, purchases.id
             LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Unread::of).collect())
}

/// Those of one customer whose items are wanted, due or not.
pub(super) async fn wanted_of(tx: &mut Tx, customer_id: &str) -> Result<Vec<Unread>, DbError> {
    let rows: Vec<Row> = tx
        .sql(
            "SELECT purchases.id, purchases.session_id, purchases.customer_id, customers.account
             FROM purchases
             JOIN customers ON customers.id = purchases.customer_id
             WHERE purchases.customer_id = $1 AND purchases.items_due_at IS NOT NULL
             ORDER BY purchases.id",
        )
        .bind(customer_id)
        .all()
        .await?;
    Ok(rows.into_iter().map(Unread::of).collect())
}

impl Unread {
    fn of((id, session_id, customer_id, account): Row) -> Self {
        Self { id, session_id, customer_id, account }
    }
}
