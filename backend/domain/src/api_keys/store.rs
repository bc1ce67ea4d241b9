//! The SQL of `api_keys`.

use tollgate_shared::Timestamp;

use tollgate_db::{DbError, Tx};

/// A key, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldKey {
    /// `key_…`
    pub id: String,
    /// `cus_…`
    pub customer_id: String,
    /// When it was revoked, or will be.
    pub revoked_at: Option<Timestamp>,
    /// The customer's user.
    pub user_id: Option<String>,
    /// What the customer may use.
    pub tier: String,
    /// The plan that the customer's licence is of.
    pub plan_id: Option<String>,
}

/// The key with this hash.
#[expect(clippy::type_complexity, reason = "the columns of one statement, named right below")]
pub async fn find_by_hash(tx: &mut Tx, hash: &str) -> Result<Option<HeldKey>, DbError> {
    let row: Option<(String, String, Option<Timestamp>, Option<String>, String, Option<String>)> = tx
        .sql(
            "SELECT api_keys.id, api_keys.customer_id, api_keys.revoked_at,
                    customers.user_id, customers.tier, licenses.plan_id
             FROM api_keys
             JOIN customers ON customers.id = api_keys.customer_id
             LEFT JOIN licenses ON licenses.customer_id = customers.id
             WHERE api_keys.hash = $1",
        )
        .bind(hash)
        .optional()
        .await?;
    let held = |(id, customer_id, revoked_at, user_id, tier, plan_id)| HeldKey {
        id,
        customer_id,
        revoked_at,
        user_id,
        tier,
        plan_id,
    };
    Ok(row.map(held))
}
