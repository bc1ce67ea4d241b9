//! What users see of themselves.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::clock::rfc3339;

use super::User;

/// A user, as `GET /api/user/me` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "User")]
pub struct UserView {
    user_id: String,
    email: Option<String>,
    name: Option<String>,
    role: String,
    tier: String,
    stripe_customer_id: Option<String>,
    created_at: String,
}

impl UserView {
    /// What is shown of `row`, who may use `tier` as the customer `customer_id`.
    pub fn of(row: User, tier: String, customer_id: Option<String>) -> Self {
        Self {
            user_id: row.id,
            email: row.email,
            name: row.name,
            role: row.role,
            tier,
            stripe_customer_id: customer_id,
            created_at: rfc3339(row.created_at),
        }
    }
}
