//! A subscription that is made without the till: by a card that the user has already, or by one whose payment the user
//! then confirms.

use rocket::http::Status;
use rocket::post;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::audit::Cause;
use tollgate_stripe::ObjectType;

use super::answers::unreadable;
use super::desk::{Desk, already_subscribed};
use super::press::{Asked, Press};
use super::till::unknown_plan;
use super::view::Changed;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::action::Action;
use crate::stripe_api::error::CallError;
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
    let desk = Desk::open(ask, "subscribe")?;
    let plan = desk.recurring_plan(&body.plan_id)?;
    let state = desk.user_state().await?;
    if state.is_subscribed() {
        let asked_for = state.subscription.filter(|row| desk.is_repeat() && row.plan_id.as_ref() == Some(&plan.id));
        let made = asked_for.map(|row| Changed { is_new: true, ..desk.shown(&row) });
        return made.ok_or_else(already_subscribed);
    }
    let is_first = state.subscription.is_none();
    let customer = state.customers.into_iter().next();
    let account = customer.as_ref().and_then(|row| row.account.clone());
    let price = desk.price_in(plan, account.as_deref()).await?;
    let state_of = customer.as_ref().map_or_else(String::new, |row| format!("{} {}", row.id, row.last_change));
    let method = body.payment_method_id;
    let action = desk.action(&[&plan.id, &price.id, method.as_deref().unwrap_or_default(), &state_of]);
    let has_card = method.is_some() || customer.as_ref().is_some_and(|row| row.default_payment_method_id.is_some());
    let customer = match customer {
        Some(customer) => customer.id,
        None => make_customer(&desk, &action).await?,
    };
    if let Some(method) = &method {
        let form = Form::default().with("customer", &customer);
        let call = Call::post("payment_methods.attach", &["payment_methods", method, "attach"]).with(form);
        desk.stripe.act(&call.in_account(account.as_deref()), &action.step("attach")).await.map_err(of_method)?;
    }
    let form = Form::default()
        .with("customer", &customer)
        .with("items[0][price]", &price.id)
        .with("metadata[user_id]", &desk.user.id)
        .with_some("default_payment_method", method.as_ref())
        .with_some("trial_period_days", price.trial_days().filter(|_| is_first))
        .with("expand[0]", "latest_invoice.confirmation_secret");
    let call = |behavior: &str| {
        let form = form.clone().with("payment_behavior", behavior);
        Call::post("subscriptions.create", &["subscriptions"]).with(form).in_account(account.as_deref())
    };
    let made = if has_card {
        match desk.stripe.act(&call("error_if_incomplete"), &action.step("paid")).await {
            // Nothing was made: it is made to wait for its customer.
            Err(error) if needs_customer(&error) => {
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
        let read = Call::get("subscriptions.read", &["subscriptions", &id]).in_account(account.as_deref());
        let now = desk.stripe.read(&read).await?;
        desk.seen(ObjectType::Subscription, account.as_deref(), &now.body, now.at)?
    } else {
        desk.seen(ObjectType::Subscription, account.as_deref(), &made.body, made.at)?
    };
    let (_, changed) = desk.take_in(&seen, Some(Cause::user(None))).await?;
    Ok(Changed { is_new: true, client_secret: secret.filter(|_| waits), ..changed })
}

/// Makes a customer at Stripe for a user who has none.
async fn make_customer(desk: &Desk<'_>, action: &Action) -> Result<String, ApiError> {
    let form = Form::default().with("metadata[user_id]", &desk.user.id);
    let call = Call::post("customers.create", &["customers"]).with(form);
    let answer = desk.stripe.act(&call, &action.step("customer")).await?;
    let Named { id } = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    Ok(id)
}

fn needs_customer(error: &CallError) -> bool {
    error.refusal().is_some_and(|refusal| {
        let words = [refusal.code.as_deref(), refusal.decline_code.as_deref()];
        let asks = |word: &str| word == "authentication_required" || word.ends_with("payment_intent_requires_action");
        refusal.client_secret.is_some() || words.into_iter().flatten().any(asks)
    })
}

/// A payment method that is not there, or is somebody else's, is the caller's mistake.
fn of_method(error: CallError) -> ApiError {
    if error.refusal().is_some_and(|refusal| matches!(refusal.status.as_u16(), 400 | 404)) {
        return ApiError::invalid_parameter("paymentMethodId", "there is no such payment method of yours");
    }
    error.into()
}
