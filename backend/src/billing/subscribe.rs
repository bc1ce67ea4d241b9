//! A subscription that is made without the till: by a card that the user has already, or by one whose payment the user
//! then confirms.

use rocket::http::Status;
use rocket::post;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::Cause;
use tollgate_domain::idempotency::turns::Turn;
use tollgate_domain::plans::Plan;
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::user_state::{UserState, UsersCustomer};
use tollgate_stripe::ObjectType;

use super::answers::{customer, unreadable};
use super::desk::{Desk, already_subscribed, no_subscription};
use super::payable::{Payable, SECRET};
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

/// How many customers of a user may have been deleted before there is one to buy for.
const CUSTOMERS_MAX: usize = 8;

/// What is subscribed to, and with which card.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SubscriptionRequest")]
struct Subscribe {
    plan_id: String,
    payment_method_id: Option<String>,
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
    // Who is subscribed waits for nobody.
    if let Some(answer) = subscribed(&desk, plan, &desk.user_state().await?, desk.is_repeat()) {
        return answer;
    }
    let mut turn = desk.begin_turn().await?;
    let made = in_turn(&mut desk, &mut turn, plan, body.payment_method_id.as_deref()).await;
    desk.end_turn(&turn).await;
    made
}

/// What somebody is answered who is subscribed: what was made, where it `is_this_press` that made it.
fn subscribed(
    desk: &Desk<'_>,
    plan: &Plan,
    state: &UserState,
    is_this_press: bool,
) -> Option<Result<Changed, ApiError>> {
    let row = state.subscription.as_ref().filter(|_| state.is_subscribed())?;
    if is_this_press && row.plan_id.as_ref() == Some(&plan.id) {
        return Some(Ok(Changed { is_new: true, ..desk.shown(row) }));
    }
    Some(Err(already_subscribed()))
}

async fn in_turn(desk: &mut Desk<'_>, turn: &mut Turn, plan: &Plan, method: Option<&str>) -> Result<Changed, ApiError> {
    desk.settle_till(turn, None).await?;
    for _ in 0..CUSTOMERS_MAX {
        if let Some(answer) = subscribed(desk, plan, &desk.user_state().await?, desk.is_repeat()) {
            return answer;
        }
        desk.look_at_subscriptions().await?;
        let state = desk.user_state().await?;
        // Of what was not known here until now nobody was told, either: it is what an earlier press has made.
        if let Some(answer) = subscribed(desk, plan, &state, true) {
            return answer;
        }
        if let Some(waiting) = desk.end_what_waits(&state, Some((plan, method))).await? {
            match still_waits(desk, &waiting).await {
                Err(gone) if gone.code == no_subscription().code => {}
                waits => return waits,
            }
        }
        // One may have been paid for while it was to be ended.
        let state = desk.user_state().await?;
        if let Some(answer) = subscribed(desk, plan, &state, false) {
            return answer;
        }
        let Some(customer) = state.customer() else {
            make_customer(desk).await?;
            continue;
        };
        let made = make(desk, turn, plan, &state, customer, method).await;
        if !made.as_ref().is_err_and(ApiError::is_no_customer) {
            return made;
        }
        desk.let_go(customer).await?;
    }
    Err(unreadable())
}

/// One that an earlier press has made, and whose payment is still to be confirmed.
async fn still_waits(desk: &Desk<'_>, row: &Subscription) -> Result<Changed, ApiError> {
    let answer = desk.read_with_secret(row).await?;
    let account = row.account.as_deref();
    let seen = desk.seen(ObjectType::Subscription, account, &answer.body, answer.at)?;
    let client_secret = Payable::of(&answer)?.secret_while("incomplete");
    let (_, changed) = desk.take_in(&seen, None).await?;
    Ok(Changed { is_new: true, client_secret, ..changed })
}

async fn make(
    desk: &Desk<'_>,
    turn: &Turn,
    plan: &Plan,
    state: &UserState,
    customer: &UsersCustomer,
    method: Option<&str>,
) -> Result<Changed, ApiError> {
    let account = customer.account.as_deref();
    let price = desk.price_in(plan, account).await?;
    if let Some(method) = method {
        let form = Form::default().with("customer", &customer.id);
        let call = Call::post("payment_methods.attach", &["payment_methods", method, "attach"]).with(form);
        let had = customer.last_change.to_string();
        let action = desk.action(&[&plan.id, &price.id, method, &customer.id, &had]).step("attach");
        desk.stripe.act(&call.in_account(account), &action).await.map_err(of_method)?;
    }
    let form = Form::default()
        .with("customer", &customer.id)
        .with("items[0][price]", &price.id)
        .with("metadata[user_id]", &desk.user.id)
        .with_some("default_payment_method", method)
        .with_some("trial_period_days", price.trial_days().filter(|_| state.is_newcomer()))
        .with("expand[0]", SECRET);
    // Whatever the request is called: in this state of things it is made once.
    let status_of = |row: &Subscription| format!("{} {}", row.id, row.status.as_deref().unwrap_or_default());
    let had: Vec<_> = state.subscriptions.iter().map(status_of).collect();
    let had: Vec<_> = had.iter().map(String::as_str).collect();
    let action = Action::of_state(&[&["subscribe", &customer.id, &form.encoded()], &had[..]].concat());
    let call = |behavior: &str| {
        let form = form.clone().with("payment_behavior", behavior);
        Call::post("subscriptions.create", &["subscriptions"]).with(form).in_account(account)
    };
    desk.keep_turn(turn).await?;
    let made = if method.is_some() || customer.default_payment_method_id.is_some() {
        match desk.stripe.act(&call("error_if_incomplete"), &action.step("paid")).await {
            // Nothing was made: it is made to wait for its customer.
            Err(error) if error.refusal().is_some_and(Refusal::needs_customer) => {
                desk.keep_turn(turn).await?;
                desk.stripe.act(&call("default_incomplete"), &action.step("incomplete")).await
            }
            made => made,
        }
    } else {
        desk.stripe.act(&call("default_incomplete"), &action.step("incomplete")).await
    }?;
    let client_secret = Payable::of(&made)?.secret_while("incomplete");
    let seen = if made.is_replayed {
        let Named { id } = serde_json::from_slice(&made.body).map_err(|_| unreadable())?;
        let read = Call::get("subscriptions.read", &["subscriptions", &id]).in_account(account);
        let now = desk.stripe.read(&read).await?;
        desk.seen(ObjectType::Subscription, account, &now.body, now.at)?
    } else {
        desk.seen(ObjectType::Subscription, account, &made.body, made.at)?
    };
    let (_, changed) = desk.take_in(&seen, Some(Cause::user(None))).await?;
    Ok(Changed { is_new: true, client_secret, ..changed })
}

/// Makes a customer at Stripe for a user who has none, and takes it in before anything is bought for it.
async fn make_customer(desk: &Desk<'_>) -> Result<(), ApiError> {
    let form = Form::default().with("metadata[user_id]", &desk.user.id);
    let call = Call::post("customers.create", &["customers"]).with(form);
    let mut action = Action::of_state(&["customer", &desk.user.id]);
    for _ in 0..CUSTOMERS_MAX {
        let answer = desk.stripe.act(&call, &action).await?;
        let Named { id } = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        let made = if answer.is_replayed {
            // An earlier press's, which may have been deleted since, or be another user's by now.
            customer(desk.app, desk.stripe, &id, None).await?
        } else {
            Some(desk.seen(ObjectType::Customer, None, &answer.body, answer.looked_after)?)
        };
        if let Some(made) = made {
            desk.app.take_in(&[made], Touched::customer(&id)).await?;
            if desk.user_state().await?.customers.iter().any(|row| row.id == id) {
                return Ok(());
            }
        }
        action = action.step(&id);
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
