//! A plan as users see it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::plans::Plan;

/// A plan as users see it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Plan")]
pub struct PlanView {
    id: String,
    tier: String,
    name: String,
    price_id: Option<String>,
    currency: Option<String>,
    unit_amount: Option<i64>,
    interval: Option<String>,
    max_activations: i64,
    features: Map<String, Value>,
    current: bool,
}

impl PlanView {
    /// What is shown of `plan` to a user whose plan is `current`.
    pub fn of(plan: &Plan, current: Option<&str>) -> Self {
        Self {
            id: plan.id.clone(),
            tier: plan.tier.clone(),
            name: plan.name.clone(),
            price_id: plan.stripe_price.clone(),
            currency: plan.currency.clone(),
            unit_amount: plan.unit_amount,
            interval: plan.interval.clone(),
            max_activations: plan.max_activations,
            features: plan.features.clone(),
            current: current == Some(&plan.id),
        }
    }
}
