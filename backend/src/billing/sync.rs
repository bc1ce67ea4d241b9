//! How a customer's things are at Stripe, taken in at its user's or an operator's word.

use std::collections::BTreeSet;

use rocket::post;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{Lock, UnitOfWork};
use tollgate_domain::apply::Touched;
use tollgate_domain::customers::Customer;
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;
use tollgate_stripe::{ObjectType, Observation};

use super::answers;
use super::desk::Desk;
use super::press::{Asked, Press};
use super::purchases;
use super::view::View;
use crate::app::App;
use crate::differences::Difference;
use crate::http::body::Nothing;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::form::Form;
use crate::stripe_api::list::{OBJECTS_MAX, Page};
use crate::stripe_api::{Call, Client};

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(sync, "Brings the user's customers and their subscriptions into step with Stripe")
            .refuses([ApiError::no_customer()]),
        endpoint!(
            sync_subscriptions,
            "Brings the user's customers and their subscriptions into step with Stripe, by another name"
        )
        .refuses([ApiError::no_customer()]),
    ]
}

/// How many pages of one customer's subscriptions are read: a thousand.
const PAGES_MAX: usize = 10;

/// What was not as Stripe has it, and what the user is subscribed to.
#[derive(Serialize, JsonSchema)]
pub struct Synced {
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
    let (mut differences, mut is_customer) = (Vec::new(), false);
    for customer in &desk.user_state().await?.customers {
        let seen = at_stripe(app, desk.stripe, &customer.id, customer.account.as_deref()).await?;
        let Some(seen) = seen else { continue };
        differences.append(&mut app.take_in(&seen, Touched::customer(&customer.id)).await?);
        differences.append(&mut purchases::read_of(app, desk.stripe, &customer.id).await?);
        is_customer = true;
    }
    if !is_customer {
        return Err(ApiError::no_customer());
    }
    let state = desk.user_state().await?;
    Ok(Synced::of(app, differences, state.subscription.as_ref()))
}

/// Brings one customer, of that account where it is not our own, into step with Stripe, and writes what `and` does given what
/// was found in the same transaction.
pub async fn customer_in_step(
    app: &App,
    id: &str,
    account: Option<&str>,
    and: impl FnMut(&mut UnitOfWork, &[Difference]) + Send,
) -> Result<Synced, ApiError> {
    let stripe = app.stripe.as_ref().ok_or_else(ApiError::stripe_not_configured)?;
    let seen = at_stripe(app, stripe, id, account).await?;
    let seen = seen.ok_or_else(|| ApiError::not_found("such customer at Stripe"))?;
    let mut by_items = purchases::read_of(app, stripe, id).await?;
    let mut differences = app.take_in_and(&seen, Touched::customer(id), and).await?;
    differences.append(&mut by_items);
    let ids = BTreeSet::from([id.to_owned()]);
    let mut tx = app.read().await?;
    let current = tx.load::<Customer>("id", &ids, Lock::None).await?.pop().and_then(|row| row.current_subscription_id);
    let subscription: Option<Subscription> = tx.load("id", &current.into_iter().collect(), Lock::None).await?.pop();
    Ok(Synced::of(app, differences, subscription.as_ref()))
}

impl Synced {
    fn of(app: &App, differences: Vec<Difference>, subscription: Option<&Subscription>) -> Self {
        let subscription = subscription.map(|row| PlannedSubscriptionView::of(row, &app.settings.plans));
        Self { changed: !differences.is_empty(), differences, subscription }
    }
}

/// A customer and its subscriptions as Stripe has them; none where it never had such a customer.
async fn at_stripe(
    app: &App,
    stripe: &Client,
    id: &str,
    account: Option<&str>,
) -> Result<Option<Vec<Observation>>, ApiError> {
    let Some(itself) = answers::customer(app, stripe, id, account).await? else { return Ok(None) };
    let mut seen = vec![itself];
    // Of one that was deleted its subscriptions were, too.
    seen.append(&mut subscriptions_of(app, stripe, id, account).await?.unwrap_or_default());
    Ok(Some(seen))
}

/// The subscriptions of a customer as Stripe has them, ended ones too; none where it has no such customer.
pub(super) async fn subscriptions_of(
    app: &App,
    stripe: &Client,
    id: &str,
    account: Option<&str>,
) -> Result<Option<Vec<Observation>>, ApiError> {
    let (mut seen, mut last) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let form = Form::default().with("customer", id).with("status", "all").with("limit", OBJECTS_MAX);
        let call = Call::get("subscriptions.list", &["subscriptions"]).with(form.with_some("starting_after", last));
        let answer = match stripe.read(&call.in_account(account)).await {
            Err(error) if error.refusal().is_some_and(|refusal| refusal.has_no("customer")) => return Ok(None),
            read => read?,
        };
        let page = Page::of(&answer)?;
        for object in &page.objects {
            let object = object.get().as_bytes();
            seen.push(answers::seen(app, ObjectType::Subscription, account, object, answer.looked_after)?);
        }
        if !page.has_more {
            break;
        }
        last = page.last()?.map(|listed| listed.id);
    }
    Ok(Some(seen))
}
