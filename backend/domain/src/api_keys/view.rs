//! A key as others than its holder see it.

use serde::Serialize;
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// A key as others than its holder see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    id: String,
    prefix: String,
    created_at: String,
    revoked_at: Option<String>,
}

/// The keys of a customer, in order of making.
pub async fn of_customer(tx: &mut Tx, customer_id: &str) -> Result<Vec<ApiKeyView>, DbError> {
    let rows: Vec<(String, String, Timestamp, Option<Timestamp>)> = tx
        .sql(
            "SELECT id, prefix, created_at, revoked_at
             FROM api_keys
             WHERE customer_id = $1
             ORDER BY id",
        )
        .bind(customer_id)
        .all()
        .await?;
    let view = |(id, prefix, created_at, revoked_at): (_, _, _, Option<Timestamp>)| ApiKeyView {
        id,
        prefix,
        created_at: rfc3339(created_at),
        revoked_at: revoked_at.map(rfc3339),
    };
    Ok(rows.into_iter().map(view).collect())
}
