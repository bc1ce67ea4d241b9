//! How a user's things are at Stripe, taken in on demand.

use rocket::post;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::apply::Touched;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;
use tollgate_domain::user_state::UsersCustomer;
use tollgate_stripe::{ObjectType, Observation};

use super::desk::Desk;
use super::press::{Asked, Press};
use super::view::View;
use crate::differences::Difference;
use crate::http::body::Nothing;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;
use crate::stripe_api::list::{OBJECTS_MAX, Page};

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(sync, "Brings the user's customers and their subscriptions into step with Stripe")
            .refuses([ApiError::no_customer()]),
        endpoint!(sync_subscriptions, "The same, by its other name").refuses([ApiError::no_customer()]),
    ]
}

/// How many pages of one customer's subscriptions are read: a thousand.
const PAGES_MAX: usize = 10;

/// What was found.
#[derive(Serialize, JsonSchema)]
struct Synced {
    changed: bool,
    differences: Vec<Difference>,
    subscription: Option<PlannedSubscriptionView>,
}

impl View for Synced {}

#[post("/api/stripe/sync", data = "<request>")]
async fn sync(press: Press<'_>, request: IdempotentBody<Nothing>) -> Result<Answer<Synced>, ApiError> {
    press.once(request, in_step).await
}

#[post("/api/stripe/subscriptions/sync", data = "<request>")]
async fn sync_subscriptions(press: Press<'_>, request: IdempotentBody<Nothing>) -> Result<Answer<Synced>, ApiError> {
    press.once(request, in_step).await
}

async fn in_step(ask: Asked<'_>, _: Nothing) -> Result<Synced, ApiError> {
    let desk = Desk::open(ask, "sync")?;
    let app = desk.app;
    let customers = desk.user_state().await?.customers;
    if customers.is_empty() {
        return Err(ApiError::no_customer());
    }
    let mut differences = Vec::new();
    for customer in &customers {
        let seen = at_stripe(&desk, customer).await?;
        differences.append(&mut app.take_in(&seen, Touched::customer(&customer.id)).await?);
    }
    let state = desk.user_state().await?;
    let subscription = state.subscription.as_ref().map(|row| PlannedSubscriptionView::of(row, &app.settings.plans));
    Ok(Synced { changed: !differences.is_empty(), differences, subscription })
}

/// The customer and its subscriptions as Stripe has them.
async fn at_stripe(desk: &Desk<'_>, customer: &UsersCustomer) -> Result<Vec<Observation>, ApiError> {
    let account = customer.account.as_deref();
    let read = Call::get("customers.read", &["customers", &customer.id]).in_account(account);
    let answer = desk.stripe.read(&read).await?;
    let mut seen = vec![desk.seen(ObjectType::Customer, account, &answer.body, answer.looked_after)?];
    let mut last = None;
    for _ in 0..PAGES_MAX {
        let form = Form::default().with("customer", &customer.id).with("status", "all").with("limit", OBJECTS_MAX);
        let call = Call::get("subscriptions.list", &["subscriptions"]).with(form.with_some("starting_after", last));
        let answer = desk.stripe.read(&call.in_account(account)).await?;
        let page = Page::of(&answer)?;
        for object in &page.objects {
            let object = object.get().as_bytes();
            seen.push(desk.seen(ObjectType::Subscription, account, object, answer.looked_after)?);
        }
        if !page.has_more {
            break;
        }
        last = page.last()?.map(|listed| listed.id);
    }
    Ok(seen)
}
