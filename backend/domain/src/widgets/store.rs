//! The SQL of whose a widget is.

use tollgate_db::{DbError, Tx};

/// The customer whose widget `id` is, if it is one of the user's.
pub(super) async fn customer_of(tx: &mut Tx, user_id: &str, id: &str) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = tx
        .sql(
            "SELECT widgets.customer_id
             FROM widgets
             JOIN customers ON customers.id = widgets.customer_id
             WHERE widgets.id = $1 AND customers.user_id = $2",
        )
        .bind(id)
        .bind(user_id)
        .optional()
        .await?;
    Ok(row.map(|(customer_id,)| customer_id))
}
