//! A licence as those see it who may ask about it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_shared::clock::rfc3339;

use crate::licenses::License;
use crate::plans::Plans;

/// A licence as an internal service sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LicenseView {
    id: String,
    key: String,
    status: String,
    tier: String,
    max_activations: i64,
    activations: i64,
    expires_at: Option<String>,
}

/// A licence as its log tells of it. The key is not repeated there: the log is read by whoever shows the key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LicenseEventView {
    id: String,
    status: String,
    tier: String,
    max_activations: i64,
    activations: i64,
    expires_at: Option<String>,
    plan_id: Option<String>,
    features: Map<String, Value>,
    grace_ends_at: Option<String>,
    machines: Vec<Value>,
}

impl LicenseView {
    /// What is shown of `row`.
    pub fn of(row: License) -> Self {
        Self {
            id: row.id,
            key: row.key,
            status: row.status,
            tier: row.tier,
            max_activations: row.max_activations,
            activations: 0, // No machine can be activated yet.
            expires_at: row.expires_at.map(rfc3339),
        }
    }
}

impl LicenseEventView {
    /// What is told of `row`.
    pub fn of(row: &License, plans: &Plans) -> Self {
        let plan = row.plan_id.as_deref().and_then(|id| plans.by_id(id));
        Self {
            id: row.id.clone(),
            status: row.status.clone(),
            tier: row.tier.clone(),
            max_activations: row.max_activations,
            activations: 0, // No machine can be activated yet.
            expires_at: row.expires_at.map(rfc3339),
            plan_id: row.plan_id.clone(),
            features: plan.map(|plan| plan.features.clone()).unwrap_or_default(),
            grace_ends_at: None,
            machines: Vec::new(),
        }
    }
}

/// The licence of a customer.
pub async fn of_customer(tx: &mut Tx, customer_id: &str) -> Result<Vec<LicenseView>, DbError> {
    let rows: Vec<License> = tx.load("customer_id", &BTreeSet::from([customer_id.to_owned()]), Lock::None).await?;
    Ok(rows.into_iter().map(LicenseView::of).collect())
}
