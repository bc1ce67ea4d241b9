//! The SQL of whose a licence or a machine is.

use tollgate_db::{DbError, Tx, row};

row! {
    /// Whose a machine is.
    pub(super) struct Holder {
        /// The licence that it was activated for.
        pub(super) license_id: String,
        /// The user of that licence's customer, if there is one.
        pub(super) user_id: Option<String>,
    }
}

/// The customer whose licence `id` is.
pub(super) async fn customer_of(tx: &mut Tx, id: &str) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = tx.sql("SELECT customer_id FROM licenses WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(customer_id,)| customer_id))
}

/// Whose the machine `id` is, whether or not it holds a seat.
pub(super) async fn holder_of(tx: &mut Tx, id: &str) -> Result<Option<Holder>, DbError> {
    tx.sql(
        "SELECT machines.license_id, customers.user_id
         FROM machines
         JOIN licenses ON licenses.id = machines.license_id
         JOIN customers ON customers.id = licenses.customer_id
         WHERE machines.id = $1",
    )
    .bind(id)
    .optional()
    .await
}
