//! What there is to say: facts, of which texts are made when they are sent or shown, and which programs read as `data`.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// What a notification tells of. What does not belong to it is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NotificationData")]
#[expect(missing_docs, reason = "each is what its name says, as elsewhere in the API")]
pub struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contribution_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_name: Option<String>,
    /// In the currency's minor unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ends_at: Option<String>,
    /// Whole days until then, when this was written; one that has begun counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contribution_progress: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contributions_total: Option<i64>,
    /// In the currency's minor unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_contributed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where an invoice can be paid, at Stripe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pay_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Facts {
    /// As a row has them.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("facts have only texts as names")
    }

    /// Those of a row; none of what a later release wrote and this one does not know.
    pub fn of_json(data: &Value) -> Self {
        Self::deserialize(data).unwrap_or_default()
    }

    /// The same with the end of a grace, and how many days are left of it.
    pub(super) fn with_grace(self, grace_ends_at: Option<Timestamp>, now: Timestamp) -> Self {
        let days_left = grace_ends_at.map(|end| days_until(end, now));
        Self { grace_ends_at: grace_ends_at.map(rfc3339), days_left, ..self }
    }

    /// Whether the grace that it tells of is over.
    pub(super) fn grace_has_ended(&self, now: Timestamp) -> bool {
        self.grace_end().is_some_and(|end| end <= now)
    }

    /// How many days of the grace are left now.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        self.grace_end().map(|end| days_until(end, now))
    }

    fn grace_end(&self) -> Option<Timestamp> {
        let end = DateTime::parse_from_rfc3339(self.grace_ends_at.as_deref()?).ok()?;
        Some(end.with_timezone(&Utc))
    }
}

/// Whole days; one that has begun counts.
fn days_until(end: Timestamp, now: Timestamp) -> i64 {
    const DAY_SECONDS: i64 = 86_400;
    ((end - now).num_seconds().max(0) + DAY_SECONDS - 1) / DAY_SECONDS
}
