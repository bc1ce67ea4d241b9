//! The SQL of whose a customer is.

use tollgate_db::{DbError, Tx};

/// The customers of a user.
pub(super) async fn of_user(tx: &mut Tx, user_id: &str) -> Result<Vec<String>, DbError> {
    let sql = "SELECT id FROM customers WHERE user_id = $1";
    let rows: Vec<(String,)> = tx.sql(sql).bind(user_id).all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
