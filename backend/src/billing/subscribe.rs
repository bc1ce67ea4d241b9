//! A subscription that is made without the till: by a card that the user has already, or by one whose payment the user
//! then confirms.

use rocket::http::Status;
use rocket::post;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::audit::Cause;
use tollgate_domain::plans::Plan;
use tollgate_domain::user_state::UserState;
use tollgate_stripe::{Object, ObjectType};

use super::answers::{customer, unreadable};
use super::desk::{Desk, already_subscribed};
use super::press::{Asked, Press};
use super::till::unknown_plan;
use super::view::Changed;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::action::Action;
use crate::stripe_api::error::{CallError, Refusal};
use crate::stripe_api::form::Form;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(
            subscribe,
            "Subscribes the user; with a `clientSecret` and `incomplete` where the payment has to be confirmed"
        )
        .answers(&[Status::Created, Status::Accepted])
        .refuses([unknown_plan(), already_subscribed()]),
    ]
}

/// How many customers that one press has made may have been deleted since.
const DELETED_CUSTOMERS_MAX: usize = 8;

/// What is subscribed to, and with which card.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SubscriptionRequest")]
struct Subscribe {
    plan_id: String,
    payment_method_id: Option<String>,
}

/// Stripe's subscription, with what its first payment is confirmed by.
#[derive(Deserialize)]
struct Made {
    status: Option<String>,
    latest_invoice: Option<Invoice>,
}

#[derive(Deserialize)]
struct Invoice {
    confirmation_secret: Option<Secret>,
}

#[derive(Deserialize)]
struct Secret {
    client_secret: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[post("/api/stripe/subscriptions", data = "<request>")]
async fn subscribe(press: Press<'_>, request: IdempotentBody<Subscribe>) -> Result<Answer<Changed>, ApiError> {
    press.once(request, begin).await
}

async fn begin(ask: Asked<'_>, body: Subscribe) -> Result<Changed, ApiError> {
    let mut desk = Desk::open(ask, "subscribe")?;
    let plan = desk.recurring_plan(&body.plan_id)?;
    loop {
        let state = desk.user_state().await?;
        if state.is_subscribed() {
            let asked_for = state.subscription.filter(|row| desk.is_repeat() && row.plan_id.as_ref() == Some(&plan.id));
            let made = asked_for.map(|row| Changed { is_new: true, ..desk.shown(&row) });
            return made.ok_or_else(already_subscribed);
        }
        let made = make(&desk, plan, &state, body.payment_method_id.as_deref()).await;
        match state.customer() {
            Some(customer) if made.as_ref().is_err_and(ApiError::is_no_customer) => desk.let_go(customer).await?,
            _ => return made,
        }
    }
}

async fn make(desk: &Desk<'_>, plan: &Plan, state: &UserState, method: Option<&str>) -> Result<Changed, ApiError> {
    let is_first = state.subscription.is_none();
    let customer = state.customer();
    let account = customer.and_then(|row| row.account.as_deref());
    let price = desk.price_in(plan, account).await?;
    let state_of = customer.map_or_else(String::new, |row| format!("{} {}", row.id, row.last_change));
    let action = desk.action(&[&plan.id, &price.id, method.unwrap_or_default(), &state_of]);
    let has_card = method.is_some() || customer.is_some_and(|row| row.default_payment_method_id.is_some());
    let customer = match customer {
        Some(customer) => customer.id.clone(),
        None => make_customer(desk, &action).await?,
    };
    let action = action.step(&customer);
    if let Some(method) = method {
        let form = Form::default().with("customer", &customer);
        let call = Call::post("payment_methods.attach", &["payment_methods", method, "attach"]).with(form);
        desk.stripe.act(&call.in_account(account), &action.step("attach")).await.map_err(of_method)?;
    }
    let form = Form::default()
        .with("customer", &customer)
        .with("items[0][price]", &price.id)
        .with("metadata[user_id]", &desk.user.id)
        .with_some("default_payment_method", method)
        .with_some("trial_period_days", price.trial_days().filter(|_| is_first))
        .with("expand[0]", "latest_invoice.confirmation_secret");
    let call = |behavior: &str| {
        let form = form.clone().with("payment_behavior", behavior);
        Call::post("subscriptions.create", &["subscriptions"]).with(form).in_account(account)
    };
    let made = if has_card {
        match desk.stripe.act(&call("error_if_incomplete"), &action.step("paid")).await {
            // Nothing was made: it is made to wait for its customer.
            Err(error) if error.refusal().is_some_and(Refusal::needs_customer) => {
                desk.stripe.act(&call("default_incomplete"), &action.step("incomplete")).await
            }
            made => made,
        }
    } else {
        desk.stripe.act(&call("default_incomplete"), &action.step("incomplete")).await
    }?;
    let answered: Made = serde_json::from_slice(&made.body).map_err(|_| unreadable())?;
    let waits = answered.status.as_deref() == Some("incomplete");
    let secret = answered.latest_invoice.and_then(|invoice| invoice.confirmation_secret?.client_secret);
    let seen = if made.is_replayed {
        let Named { id } = serde_json::from_slice(&made.body).map_err(|_| unreadable())?;
        let read = Call::get("subscriptions.read", &["subscriptions", &id]).in_account(account);
        let now = desk.stripe.read(&read).await?;
        desk.seen(ObjectType::Subscription, account, &now.body, now.at)?
    } else {
        desk.seen(ObjectType::Subscription, account, &made.body, made.at)?
    };
    let (_, changed) = desk.take_in(&seen, Some(Cause::user(None))).await?;
    Ok(Changed { is_new: true, client_secret: secret.filter(|_| waits), ..changed })
}

/// Makes a customer at Stripe for a user who has none.
async fn make_customer(desk: &Desk<'_>, action: &Action) -> Result<String, ApiError> {
    let form = Form::default().with("metadata[user_id]", &desk.user.id);
    let call = Call::post("customers.create", &["customers"]).with(form);
    let mut action = action.step("customer");
    for _ in 0..DELETED_CUSTOMERS_MAX {
        let answer = desk.stripe.act(&call, &action).await?;
        let Named { id } = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        if !answer.is_replayed {
            return Ok(id);
        }
        // An earlier press's, which may have been deleted since.
        let now = customer(desk.app, desk.stripe, &id, None).await?;
        match now.map(|seen| seen.object) {
            Some(Object::Customer { after, .. }) if !after.deleted => return Ok(id),
            _ => action = action.step(&id),
        }
    }
    Err(unreadable())
}

/// A payment method that is not there, or is somebody else's, is the caller's mistake.
fn of_method(error: CallError) -> ApiError {
    match error.refusal() {
        Some(refusal) if matches!(refusal.status.as_u16(), 400 | 404) && !refusal.has_no("customer") => {
            ApiError::invalid_parameter("paymentMethodId", "there is no such payment method of yours")
        }
        _ => error.into(),
    }
}
