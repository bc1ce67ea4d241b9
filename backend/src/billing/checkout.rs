//! Pages of Stripe's own: the till, and the portal.

use reqwest::Url;
use rocket::post;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_domain::idempotency::turns::{Begun, Turn};
use tollgate_domain::plans::{Plan, Sale};
use tollgate_domain::user_state::{UserState, UsersCustomer};

use super::answers::unreadable;
use super::desk::{Desk, already_subscribed};
use super::press::{Asked, Press};
use super::purchases;
use super::session::{Session, Till};
use super::till::{Price, unknown_plan};
use super::view::View;
use crate::app::App;
use crate::config::Config;
use crate::http::auth::link::PAGE_PATH;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::action::Action;
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

/// How often it is looked what the user has, and which session is open, before there is one to go through.
const SESSIONS_MAX: usize = 8;

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

impl SessionView {
    fn of((session_id, url): (String, String)) -> Self {
        Self { url, session_id }
    }
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
    // Who has it waits for nobody.
    if desk.user_state().await?.has(plan) {
        return Err(already_subscribed());
    }
    let mut turn = desk.begin_turn().await?;
    let opened = in_turn(&mut desk, &mut turn, plan, &urls).await;
    desk.end_turn(&turn).await;
    opened
}

async fn in_turn(
    desk: &mut Desk<'_>,
    turn: &mut Turn,
    plan: &Plan,
    urls: &[String; 2],
) -> Result<SessionView, ApiError> {
    match plan.sale() {
        Sale::Recurring => {
            desk.look_at_subscriptions().await?;
            let state = desk.user_state().await?;
            if !state.has(plan) {
                desk.end_what_waits(&state, None).await?;
            }
        }
        // What was sold by a page of the shop's own is known when Stripe has listed it.
        Sale::ForGood => {
            for customer in desk.user_state().await?.customers {
                purchases::read_of(desk.app, desk.stripe, &customer.id).await?;
            }
        }
    }
    for _ in 0..SESSIONS_MAX {
        let state = desk.user_state().await?;
        if state.has(plan) {
            return Err(already_subscribed());
        }
        let opened = open_till(desk, turn, plan, &state, urls).await;
        match (state.customer(), opened) {
            (Some(customer), Err(error)) if error.is_no_customer() => desk.let_go(customer).await?,
            (_, Ok(None)) => {}
            (_, opened) => return opened?.ok_or_else(unreadable),
        }
    }
    Err(unreadable())
}

/// The session for what is asked: the one that is open already, or a new one. None where there was another one, of which only
/// now is known what became of it: then it is to be asked again what the user has.
async fn open_till(
    desk: &Desk<'_>,
    turn: &mut Turn,
    plan: &Plan,
    state: &UserState,
    urls: &[String; 2],
) -> Result<Option<SessionView>, ApiError> {
    let customer = state.customer();
    let account = customer.and_then(|customer| customer.account.as_deref());
    let price = desk.price_in(plan, account).await?;
    let customer_id = customer.map(|row| &*row.id);
    let form = session_form(&desk.user.id, plan, &price, state.is_newcomer(), customer_id, urls);
    let asked = Action::of_state(&["checkout", &desk.user.id, account.unwrap_or_default(), &form.encoded()]);
    match desk.settle_till(turn, Some(&asked.name())).await? {
        Till::Open(session) => return Ok(session.open().map(SessionView::of)),
        Till::GoneThrough => return Ok(None),
        Till::Closed => {}
    }
    desk.keep_turn(turn).await?;
    let call = Call::post("checkout.create", &["checkout", "sessions"]).with(form).in_account(account);
    // One that is spent is followed by another one.
    let action = asked.step(turn.begun.as_ref().map_or("", |begun| &begun.id));
    let answer = desk.stripe.act(&call, &action).await?;
    let session = Session::of(&answer)?;
    let account = account.map(str::to_owned);
    desk.note_begun(turn, Begun { id: session.id.clone(), account, asked: Some(asked.name()) }).await?;
    // Of an earlier press's nobody was told: whether it is still open Stripe knows.
    Ok(if answer.is_replayed { None } else { session.open().map(SessionView::of) })
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
