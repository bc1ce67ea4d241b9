//! Pages of Stripe's own: the till, and the portal.

use reqwest::Url;
use rocket::post;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_domain::plans::{Plan, Sale};
use tollgate_domain::user_state::{UserState, UsersCustomer};

use super::answers::unreadable;
use super::desk::{Desk, already_subscribed};
use super::press::{Asked, Press};
use super::till::{Price, unknown_plan};
use super::view::View;
use crate::app::App;
use crate::config::Config;
use crate::http::auth::link::PAGE_PATH;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(create_session, "Opens the till for a plan: a subscription, or something that is bought for good")
            .refuses([unknown_plan(), already_subscribed()]),
        endpoint!(open_portal, "Opens the portal, where the user changes cards and reads invoices")
            .refuses([ApiError::no_customer()]),
    ]
}

/// How many sessions of one press may have been gone through or run out before there is one to go through.
const SPENT_SESSIONS_MAX: usize = 8;

/// What is bought, and where the buyer is sent then.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CheckoutRequest")]
struct CreateSession {
    plan_id: String,
    success_url: Option<String>,
    cancel_url: Option<String>,
}

/// Where the buyer pays.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Checkout")]
struct SessionView {
    url: String,
    session_id: String,
}

impl View for SessionView {}

/// Stripe's session, as far as it matters here.
#[derive(Deserialize)]
struct Session {
    id: String,
    status: Option<String>,
    url: Option<String>,
}

#[post("/api/stripe/checkout/create", data = "<request>")]
async fn create_session(
    press: Press<'_>,
    request: IdempotentBody<CreateSession>,
) -> Result<Answer<SessionView>, ApiError> {
    press.once(request, session_for).await
}

async fn session_for(ask: Asked<'_>, body: CreateSession) -> Result<SessionView, ApiError> {
    let urls = [
        own_url(ask.app, "successUrl", body.success_url, "?checkout=success&session_id={CHECKOUT_SESSION_ID}")?,
        own_url(ask.app, "cancelUrl", body.cancel_url, "?checkout=cancelled")?,
    ];
    let mut desk = Desk::open(ask, "checkout")?;
    let plan = desk.plan(&body.plan_id)?;
    loop {
        let state = desk.user_state().await?;
        if state.has(plan) {
            return Err(already_subscribed());
        }
        let opened = open_till(&desk, plan, &state, &urls).await;
        match state.customer() {
            Some(customer) if opened.as_ref().is_err_and(ApiError::is_no_customer) => desk.let_go(customer).await?,
            _ => return opened,
        }
    }
}

async fn open_till(
    desk: &Desk<'_>,
    plan: &Plan,
    state: &UserState,
    urls: &[String; 2],
) -> Result<SessionView, ApiError> {
    let customer = state.customer();
    let account = customer.and_then(|customer| customer.account.as_deref());
    let price = desk.price_in(plan, account).await?;
    let is_first = state.subscription.is_none();
    let customer_id = customer.map(|row| &*row.id);
    let form = session_form(&desk.user.id, plan, &price, is_first, customer_id, urls);
    let call = Call::post("checkout.create", &["checkout", "sessions"]).with(form).in_account(account);
    let [success, cancel] = urls;
    let had = customer.map_or_else(String::new, |row| format!("{} {}", row.id, row.last_change));
    let mut action = desk.action(&[&plan.id, &price.id, success, cancel, &had]).step(customer_id.unwrap_or_default());
    for _ in 0..SPENT_SESSIONS_MAX {
        let answer = desk.stripe.act(&call, &action).await?;
        let mut session: Session = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        if answer.is_replayed {
            let read = Call::get("checkout.read", &["checkout", "sessions", &session.id]).in_account(account);
            session = serde_json::from_slice(&desk.stripe.read(&read).await?.body).map_err(|_| unreadable())?;
        }
        if let (Some(url), true) = (session.url, session.status.as_deref() == Some("open")) {
            return Ok(SessionView { url, session_id: session.id });
        }
        // An earlier press's, which is spent: this one is for another.
        action = action.step(&session.id);
    }
    Err(unreadable())
}

fn session_form(
    user_id: &str,
    plan: &Plan,
    price: &Price,
    is_first: bool,
    customer: Option<&str>,
    [success_url, cancel_url]: &[String; 2],
) -> Form {
    let form = Form::default()
        .with("mode", if plan.sale() == Sale::Recurring { "subscription" } else { "payment" })
        .with("line_items[0][price]", &price.id)
        .with("line_items[0][quantity]", 1)
        .with("success_url", success_url)
        .with("cancel_url", cancel_url)
        .with("client_reference_id", user_id)
        .with("metadata[user_id]", user_id)
        .with("metadata[plan_id]", &plan.id)
        .with("allow_promotion_codes", true)
        .with_some("customer", customer);
    match plan.sale() {
        // Free days are for who comes for the first time.
        Sale::Recurring => form
            .with("subscription_data[metadata][user_id]", user_id)
            .with_some("subscription_data[trial_period_days]", price.trial_days().filter(|_| is_first)),
        Sale::ForGood if customer.is_none() => form.with("customer_creation", "always"),
        Sale::ForGood => form,
    }
}

/// Where the user comes back to.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PortalRequest")]
struct OpenPortal {
    return_url: Option<String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Portal {
    url: String,
}

impl View for Portal {}

#[post("/api/stripe/billing/portal", data = "<request>")]
async fn open_portal(press: Press<'_>, request: IdempotentBody<OpenPortal>) -> Result<Answer<Portal>, ApiError> {
    press.once(request, portal_for).await
}

async fn portal_for(ask: Asked<'_>, body: OpenPortal) -> Result<Portal, ApiError> {
    let return_url = match (body.return_url, home(&ask.app.config)) {
        (None, None) => None,
        (given, _) => Some(own_url(ask.app, "returnUrl", given, "")?),
    };
    let mut desk = Desk::open(ask, "portal")?;
    loop {
        let state = desk.user_state().await?;
        let customer = state.customer().ok_or_else(ApiError::no_customer)?;
        let opened = portal_of(&desk, customer, return_url.as_deref()).await;
        if !opened.as_ref().is_err_and(ApiError::is_no_customer) {
            return opened;
        }
        desk.let_go(customer).await?;
    }
}

async fn portal_of(desk: &Desk<'_>, customer: &UsersCustomer, return_url: Option<&str>) -> Result<Portal, ApiError> {
    let form = Form::default().with("customer", &customer.id).with_some("return_url", return_url);
    let call = Call::post("portal.create", &["billing_portal", "sessions"]).with(form);
    // Its address is good for minutes: one for each request.
    let action = desk.action_of_request().step(&customer.id);
    let answer = desk.stripe.act(&call.in_account(customer.account.as_deref()), &action).await?;
    serde_json::from_slice(&answer.body).map_err(|_| unreadable())
}

/// An address of our own: the one given, if it is of the origin of `APP_URL` or `PUBLIC_URL`, else that of the application, or
/// of the account page where there is none, with `rest`.
fn own_url(app: &App, param: &'static str, given: Option<String>, rest: &str) -> Result<String, ApiError> {
    let refused = |message: &'static str| Err(ApiError::invalid_parameter(param, message));
    let Some(given) = given else {
        return match home(&app.config) {
            Some(home) => Ok(format!("{home}{rest}")),
            None => refused("this address has to be given, and APP_URL or PUBLIC_URL to be set"),
        };
    };
    let mut own = [&app.config.app_url, &app.config.public_url].into_iter().flatten();
    match Url::parse(&given) {
        // Text that is an address to us and another one to a browser is none.
        Ok(url)
            if own.any(|own| url.origin() == own.origin())
                && url.username().is_empty()
                && url.password().is_none()
                && !given.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) =>
        {
            Ok(given)
        }
        _ => refused("this has to be an address of the origin of APP_URL or PUBLIC_URL"),
    }
}

/// Where users are at home: the application, else the account page.
fn home(config: &Config) -> Option<Url> {
    let page = || {
        let mut page = config.public_url.clone()?;
        page.set_path(PAGE_PATH);
        Some(page)
    };
    config.app_url.clone().or_else(page)
}
