//! How a user's things are at Stripe, taken in on demand.

use std::collections::BTreeMap;

use rocket::{Route, State, post, routes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tollgate_db::UnitOfWork;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::audit::Cause;
use tollgate_domain::customers::Customer;
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::subscriptions::view::PlannedSubscriptionView;
use tollgate_stripe::{ObjectType, Observation};

use super::answers::unreadable;
use super::desk::{Asked, Desk};
use super::named_key::NamedKey;
use super::till::no_customer;
use super::view::View;
use crate::app::App;
use crate::http::auth::User;
use crate::http::context::RequestContext;
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;

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

/// Something that was not as Stripe has it.
#[derive(Serialize)]
struct Difference {
    object: String,
    field: String,
    was: Value,
    is: Value,
}

/// A page of Stripe's list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    has_more: bool,
}

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
        let mut touched = Touched::customer(&customer.id);
        for seen in &seen {
            touched.add(seen);
        }
        let written = app.write(&touched, |work| {
            let before = shown(work, app);
            for seen in &seen {
                apply::apply_because(work, &app.settings, seen, Cause::stripe(seen));
            }
            Ok::<_, ApiError>(differences_of(&before, &shown(work, app)))
        });
        differences.append(&mut written.await?.0);
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
    let mut seen = vec![desk.seen(ObjectType::Customer, account, &answer.body, answer.at)?];
    let mut last = None;
    for _ in 0..PAGES_MAX {
        let form = Form::default().with("customer", &customer.id).with("status", "all").with("limit", 100);
        let call = Call::get("subscriptions.list", &["subscriptions"]).with(form.with_some("starting_after", last));
        let answer = desk.stripe.read(&call.in_account(account)).await?;
        let page: Page<'_> = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        for object in &page.data {
            seen.push(desk.seen(ObjectType::Subscription, account, object.get().as_bytes(), answer.at)?);
        }
        if !page.has_more {
            break;
        }
        last = page
            .data
            .last()
            .and_then(|object| serde_json::from_str::<Value>(object.get()).ok()?["id"].as_str().map(str::to_owned));
    }
    Ok(seen)
}

/// What a user sees of the rows, by object and field.
fn shown(work: &UnitOfWork, app: &App) -> BTreeMap<String, Value> {
    let subscriptions = work.all::<Subscription>().filter(|row| row.status.is_some()).map(|row| {
        let view = PlannedSubscriptionView::of(row, &app.settings.plans);
        (row.id.clone(), serde_json::to_value(view).unwrap_or_default())
    });
    let customers = work.all::<Customer>().map(|row| {
        let shown = [
            ("name", row.name.clone()),
            ("email", row.email.clone()),
            ("tier", Some(row.tier.clone())),
            ("defaultPaymentMethod", row.default_payment_method_id.clone()),
        ];
        let members = shown.map(|(name, value)| (name.to_owned(), Value::from(value)));
        let deleted = [("deleted".to_owned(), row.deleted.into())];
        (row.id.clone(), members.into_iter().chain(deleted).collect::<Value>())
    });
    customers.chain(subscriptions).collect()
}

fn differences_of(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<Difference> {
    let mut found = Vec::new();
    for (object, is) in after {
        for (field, is) in is.as_object().into_iter().flatten() {
            let was = before.get(object).and_then(|was| was.get(field)).cloned().unwrap_or_default();
            if was != *is {
                found.push(Difference { object: object.clone(), field: field.clone(), was, is: is.clone() });
            }
        }
    }
    found
}
