//! The SQL of whose a customer is.

use tollgate_db::{DbError, Query, Tx};

/// The customers of a user.
pub(super) async fn of_user(tx: &mut Tx, user_id: &str) -> Result<Vec<String>, DbError> {
    ids(tx.sql("SELECT id FROM customers WHERE user_id = $1").bind(user_id)).await
}

/// The customers of nobody with this e-mail address in lower case, a hundred at most.
pub(super) async fn unlinked(tx: &mut Tx, email: &str) -> Result<Vec<String>, DbError> {
    let query = tx.sql("SELECT id FROM customers WHERE lower(email) = $1 AND user_id IS NULL ORDER BY id LIMIT 100");
    ids(query.bind(email)).await
}

async fn ids(query: Query<'_>) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = query.all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
