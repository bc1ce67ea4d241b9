//! A subscription as anybody outside sees it.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::plans::Plans;
use crate::subscriptions::Subscription;

/// A subscription as anybody outside sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CustomerSubscription")]
pub struct SubscriptionView {
    stripe_subscription_id: String,
    status: Option<String>,
    tier: Option<String>,
    price_id: Option<String>,
    quantity: Option<i64>,
    item_count: i64,
    cancel_at_period_end: bool,
    cancel_at: Option<String>,
    cancel_scheduled: bool,
    current_period_start: Option<String>,
    current_period_end: Option<String>,
    trial_end: Option<String>,
    ended_at: Option<String>,
    collection_paused: bool,
}

impl SubscriptionView {
    /// What is shown of `row`.
    pub fn of(row: &Subscription) -> Self {
        let time = |at: Option<Timestamp>| at.map(rfc3339);
        Self {
            stripe_subscription_id: row.id.clone(),
            status: row.status.clone(),
            tier: row.tier.clone(),
            price_id: row.price_id.clone(),
            quantity: row.quantity,
            item_count: row.item_count,
            cancel_at_period_end: row.cancel_at_period_end,
            cancel_at: time(row.cancel_at),
            cancel_scheduled: row.is_cancel_scheduled(),
            current_period_start: time(row.current_period_start),
            current_period_end: time(row.current_period_end),
            trial_end: time(row.trial_end),
            ended_at: time(row.ended_at),
            collection_paused: row.collection_paused,
        }
    }
}

/// A subscription as its user sees it: with the plan that it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Subscription")]
pub struct PlannedSubscriptionView {
    #[serde(flatten)]
    subscription: SubscriptionView,
    plan_id: Option<String>,
    plan_name: Option<String>,
}

impl PlannedSubscriptionView {
    /// What is shown of `row`; both are null while no plan matches.
    pub fn of(row: &Subscription, plans: &Plans) -> Self {
        let plan = row.plan_id.as_deref().and_then(|id| plans.by_id(id));
        Self {
            subscription: SubscriptionView::of(row),
            plan_id: plan.map(|plan| plan.id.clone()),
            plan_name: plan.map(|plan| plan.name.clone()),
        }
    }
}
