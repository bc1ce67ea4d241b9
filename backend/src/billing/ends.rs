//! A subscription's end: asked for, and taken back.

use rocket::http::Status;
use rocket::post;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::subscriptions::requests::{Cancellation, Impossible, Reactivation};

use super::desk::{Desk, no_subscription, not_as_it_stands};
use super::press::{Asked, Press};
use super::view::Changed;
use crate::http::body::Nothing;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::http::reason;
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(cancel, "Ends what the user is subscribed to, with its period or at once")
            .answers(&[Status::Ok, Status::Accepted])
            .refuses([no_subscription(), Impossible::AlreadyCanceled.into(), not_as_it_stands()]),
        endpoint!(reactivate, "Takes the end back that the user's subscription is to have")
            .answers(&[Status::Ok, Status::Accepted])
            .refuses([no_subscription(), not_as_it_stands()])
            .refuses([Impossible::AlreadyCanceled, Impossible::NotCancelScheduled]),
    ]
}

/// When a subscription is to end, and why.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Cancellation")]
struct Cancel {
    #[serde(default)]
    immediately: bool,
    reason: Option<String>,
}

#[post("/api/subscriptions/cancel", data = "<request>")]
async fn cancel(press: Press<'_>, request: IdempotentBody<Cancel>) -> Result<Answer<Changed>, ApiError> {
    press.once(request, end).await
}

async fn end(ask: Asked<'_>, body: Cancel) -> Result<Changed, ApiError> {
    let Cancel { immediately, reason } = body;
    let reason = reason::comment(reason)?;
    let desk = Desk::open(ask, "cancel")?;
    let subscription = desk.current().await?;
    let rule = |row: &Subscription| row.cancellation(immediately);
    let cancellation = match rule(&subscription) {
        Err(Impossible::AlreadyCanceled) if desk.is_repeat() => return Ok(desk.shown(&subscription)),
        allowed => allowed?,
    };
    let call = match cancellation {
        Cancellation::Now => Call::delete("subscriptions.cancel", &["subscriptions", &subscription.id]),
        Cancellation::AtPeriodEnd => update(&subscription, Form::default().with("cancel_at_period_end", true)),
        Cancellation::IsScheduled => {
            // Whether it still is Stripe knows.
            let (row, changed) = desk.look_again(&subscription).await?;
            match rule(&row)? {
                Cancellation::IsScheduled => return Ok(changed),
                _ => update(&subscription, Form::default().with("cancel_at_period_end", true)),
            }
        }
    };
    let how = if immediately { "now" } else { "at period end" };
    let action = desk.action(&[&subscription.id, subscription.state_name(), how]);
    // Pressed twice at once, the second finds it ended.
    let is_done = |row: &Subscription| immediately && !row.is_live();
    desk.change(&subscription, call, &action, reason.as_deref(), (is_done, rule)).await
}

#[post("/api/subscriptions/reactivate", data = "<request>")]
async fn reactivate(press: Press<'_>, request: IdempotentBody<Nothing>) -> Result<Answer<Changed>, ApiError> {
    press.once(request, take_back).await
}

async fn take_back(ask: Asked<'_>, _: Nothing) -> Result<Changed, ApiError> {
    let desk = Desk::open(ask, "reactivate")?;
    let subscription = desk.current().await?;
    let reactivation = match subscription.reactivation() {
        Err(Impossible::NotCancelScheduled) if desk.is_repeat() => return Ok(desk.shown(&subscription)),
        allowed => allowed?,
    };
    let form = match reactivation {
        Reactivation::OfFlag => Form::default().with("cancel_at_period_end", false),
        Reactivation::OfDate => Form::default().with("cancel_at", ""),
    };
    let action = desk.action(&[&subscription.id, subscription.state_name()]);
    let rules = (|_: &Subscription| false, Subscription::reactivation);
    desk.change(&subscription, update(&subscription, form), &action, None, rules).await
}

fn update(subscription: &Subscription, form: Form) -> Call {
    Call::post("subscriptions.update", &["subscriptions", &subscription.id]).with(form)
}
