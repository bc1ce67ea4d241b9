//! How a user's things are at Stripe, taken in on demand.

use rocket::{Route, State, post, routes};
use serde::{Deserialize, Serialize};
use tollgate_domain::apply::Touched;
use tollgate_domain::customers::Customer;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;
use tollgate_stripe::{ObjectType, Observation};

use super::desk::{Asked, Desk};
use super::named_key::NamedKey;
use super::till::no_customer;
use super::view::View;
use crate::app::App;
use crate::differences::Difference;
use crate::http::auth::User;
use crate::http::context::RequestContext;
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;
use crate::stripe_api::list::{OBJECTS_MAX, Page};

/// The routes of this module.
pub(super) fn routes() -> Vec<Route> {
    routes![sync, sync_subscriptions]
}

/// How many pages of one customer's subscriptions are read: a thousand.
const PAGES_MAX: usize = 10;

/// Nothing.
#[derive(Deserialize)]
struct Nothing {}

/// What was found.
#[derive(Serialize)]
struct Synced {
    changed: bool,
    differences: Vec<Difference>,
    subscription: Option<PlannedSubscriptionView>,
}

impl View for Synced {}

/// Brings the user's customers and their subscriptions into step with Stripe.
#[post("/api/stripe/sync", data = "<request>")]
async fn sync(
    user: User,
    key: NamedKey<'_>,
    request: IdempotentBody<Nothing>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Answer, ApiError> {
    Asked { app, user: &user, context, key }.once(request, in_step_with).await
}

async fn in_step_with(ask: Asked<'_>, _: Nothing) -> Result<Synced, ApiError> {
    in_step(&Desk::open(ask, "sync")?).await
}

/// The same, by its other name.
#[post("/api/stripe/subscriptions/sync", data = "<request>")]
async fn sync_subscriptions(
    user: User,
    key: NamedKey<'_>,
    request: IdempotentBody<Nothing>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Answer, ApiError> {
    Asked { app, user: &user, context, key }.once(request, in_step_with).await
}

async fn in_step(desk: &Desk<'_>) -> Result<Synced, ApiError> {
    let app = desk.app;
    let customers = desk.holdings().await?.customers;
    if customers.is_empty() {
        return Err(no_customer());
    }
    let mut differences = Vec::new();
    for customer in &customers {
        let seen = at_stripe(desk, customer).await?;
        differences.append(&mut app.take_in(&seen, Touched::customer(&customer.id)).await?);
    }
    let holdings = desk.holdings().await?;
    let subscription = holdings.subscription.as_ref().map(|row| PlannedSubscriptionView::of(row, &app.settings.plans));
    Ok(Synced { changed: !differences.is_empty(), differences, subscription })
}

/// The customer and its subscriptions as Stripe has them.
async fn at_stripe(desk: &Desk<'_>, customer: &Customer) -> Result<Vec<Observation>, ApiError> {
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
