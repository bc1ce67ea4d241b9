//! What is for sale, and whose it becomes: plans and their prices, the user's customer at Stripe.

use rocket::http::Status;
use serde::Deserialize;
use tollgate_domain::plans::{Plan, Sale};
use tollgate_domain::subscriptions::Subscription;

use super::answers::unreadable;
use super::desk::Desk;
use crate::http::error::ApiError;
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;

/// A price, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Price {
    pub(super) id: String,
    currency: Option<String>,
    unit_amount: Option<i64>,
    recurring: Option<Recurring>,
}

#[derive(Deserialize)]
struct Recurring {
    interval: Option<String>,
    trial_period_days: Option<u32>,
}

#[derive(Deserialize)]
struct Prices {
    data: Vec<Price>,
}

impl Price {
    /// The free days that it begins with.
    pub(super) fn trial_days(&self) -> Option<u32> {
        self.recurring.as_ref()?.trial_period_days
    }

    /// Whether it is what `plan` says of its own.
    fn is_of(&self, plan: &Plan) -> bool {
        let fits = |said: Option<&String>, own: Option<&String>| said.is_none() || said == own;
        let interval = self.recurring.as_ref().and_then(|recurring| recurring.interval.as_ref());
        let said = plan.interval.as_ref().filter(|_| plan.sale() == Sale::Recurring);
        fits(plan.currency.as_ref(), self.currency.as_ref())
            && fits(said, interval)
            && (plan.sale() == Sale::Recurring) == self.recurring.is_some()
            && (plan.unit_amount.is_none() || plan.unit_amount == self.unit_amount)
    }
}

impl<'a> Desk<'a> {
    /// A plan of the operator's file.
    pub(super) fn plan(&self, id: &str) -> Result<&'a Plan, ApiError> {
        self.app.settings.plans.by_id(id).ok_or_else(unknown_plan)
    }

    /// One that is paid for again and again.
    pub(super) fn recurring_plan(&self, id: &str) -> Result<&'a Plan, ApiError> {
        let plan = self.plan(id)?;
        if plan.sale() == Sale::Recurring {
            return Ok(plan);
        }
        let message = "this plan is bought for good, at the checkout";
        Err(ApiError::invalid_parameter("planId", message))
    }

    /// What is paid for `plan` at Stripe, in the account where `subscription` is.
    pub(super) async fn price_of(&self, plan: &Plan, subscription: &Subscription) -> Result<Price, ApiError> {
        self.price_in(plan, subscription.account.as_deref()).await
    }

    /// What is paid for `plan`: its price, else that which has its lookup key now, else one of its product.
    pub(super) async fn price_in(&self, plan: &Plan, account: Option<&str>) -> Result<Price, ApiError> {
        if let Some(id) = &plan.stripe_price {
            let call = Call::get("prices.read", &["prices", id]).in_account(account);
            let answer = self.stripe.read(&call).await?;
            return serde_json::from_slice(&answer.body).map_err(|_| unreadable());
        }
        let form = Form::default().with("active", true).with("limit", 100);
        let form = match (&plan.lookup_key, &plan.stripe_product) {
            (Some(key), _) => form.with("lookup_keys[0]", key),
            (None, product) => form.with_some("product", product.as_ref()),
        };
        let answer = self.stripe.read(&Call::get("prices.list", &["prices"]).with(form).in_account(account)).await?;
        let Prices { data } = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        let is_named = plan.lookup_key.is_some();
        data.into_iter().find(|price| is_named || price.is_of(plan)).ok_or_else(|| {
            let cause = ApiError::internal_because("stripe", "a plan of PLANS_FILE has no price at Stripe").cause;
            ApiError { cause, ..ApiError::new(Status::BadGateway, "stripe_error", "this plan has no price at Stripe") }
        })
    }
}

/// 422: the operator's file has no such plan.
pub(super) fn unknown_plan() -> ApiError {
    ApiError {
        param: Some("planId".into()),
        ..ApiError::new(
            Status::UnprocessableEntity,
            "unknown_plan",
            "there is no such plan; `GET /api/subscriptions/plans` lists them",
        )
    }
}
