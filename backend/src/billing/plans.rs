//! Another plan: what it would cost, and the change to it.

use chrono::{DateTime, SubsecRound as _};
use rocket::http::Status;
use rocket::post;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_domain::audit::Cause;
use tollgate_domain::plans::Plan;
use tollgate_domain::subscriptions::Subscription;
use tollgate_domain::subscriptions::requests::Impossible;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::{from_unix, rfc3339};

use super::answers::unreadable;
use super::desk::{Desk, no_subscription, not_as_it_stands, seen_of, why_not};
use super::payable::{Payable, SECRET};
use super::press::{Asked, Press};
use super::till::unknown_plan;
use super::view::{Changed, View};
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::stripe_api::Call;
use crate::stripe_api::action::Action;
use crate::stripe_api::error::Refusal;
use crate::stripe_api::form::Form;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let impossible = || [Impossible::AlreadyCanceled, Impossible::SamePlan];
    vec![
        endpoint!(
            change_plan,
            "Moves the user's subscription to another plan. What is more to pay for the rest of the period is charged at \
             once, what is less is credited; if that cannot be paid nothing changes, and if the bank wants it confirmed \
             nothing changes until it is"
        )
        .answers(&[Status::Ok, Status::Accepted])
        .refuses([no_subscription(), unknown_plan(), not_as_it_stands()])
        .refuses(impossible()),
        endpoint!(
            preview_change,
            "What a change to another plan would cost now and at the next renewal, to the unit: a `change-plan` with this \
             `prorationDate` costs exactly that. Changes nothing"
        )
        .refuses([no_subscription(), unknown_plan(), not_as_it_stands()])
        .refuses(impossible()),
    ]
}

/// How many changes of one press may have waited and lapsed before there is one to be confirmed.
const LAPSED_MAX: usize = 4;

/// The plan that is wanted, and since when it is to be charged.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PlanChange")]
struct ChangePlan {
    plan_id: String,
    proration_date: Option<String>,
}

#[post("/api/subscriptions/change-plan", data = "<request>")]
async fn change_plan(press: Press<'_>, request: IdempotentBody<ChangePlan>) -> Result<Answer<Changed>, ApiError> {
    press.once(request, change).await
}

async fn change(ask: Asked<'_>, body: ChangePlan) -> Result<Changed, ApiError> {
    let at = body.proration_date.as_deref().map(moment).transpose()?;
    let desk = Desk::open(ask, "change-plan")?;
    let plan = desk.recurring_plan(&body.plan_id)?;
    let subscription = desk.current().await?;
    let rule = |row: &Subscription| row.can_change_to(plan);
    match rule(&subscription) {
        Err(Impossible::SamePlan) if desk.is_repeat() => return Ok(desk.shown(&subscription)),
        allowed => allowed?,
    }
    let price = desk.price_of(plan, &subscription).await?;
    let date = at.as_ref().map(DateTime::timestamp);
    let form = items(Form::default(), "items", &subscription, &price.id)?
        .with("proration_behavior", "always_invoice")
        .with_some("proration_date", date);
    let call = |form| Call::post("subscriptions.update", &["subscriptions", &subscription.id]).with(form);
    let date = date.map_or_else(String::new, |date| date.to_string());
    let action = desk.action(&[&subscription.id, subscription.state_name(), &price.id, &date]);
    let at_once = call(form.clone().with("payment_behavior", "error_if_incomplete"));
    match desk.change(&subscription, at_once, &action, None, (|_: &Subscription| false, rule)).await {
        // Nothing was changed: it is to change when its customer has confirmed the payment.
        Err(refused) if refused.is_payment_action_required() => {
            let form = form.with("payment_behavior", "pending_if_incomplete").with("expand[0]", SECRET);
            when_confirmed(&desk, &subscription, plan, &call(form), &action).await?.ok_or(refused)
        }
        changed => changed,
    }
}

/// Changes a subscription as soon as its customer has confirmed the payment: 402 until then, with what it is confirmed by. None
/// where Stripe lets no change wait as things stand.
async fn when_confirmed(
    desk: &Desk<'_>,
    subscription: &Subscription,
    plan: &Plan,
    call: &Call,
    action: &Action,
) -> Result<Option<Changed>, ApiError> {
    let call = call.clone().in_account(subscription.account.as_deref());
    let mut action = action.step("when confirmed");
    for _ in 0..LAPSED_MAX {
        let mut now = match desk.stripe.act(&call, &action).await {
            Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) => return Ok(None),
            answer => answer?,
        };
        if now.is_replayed {
            // It may have been confirmed since, have lapsed, or have made way for another one.
            now = desk.read_with_secret(subscription).await?;
        }
        let payable = Payable::of(&now)?;
        let (row, changed) = desk.take_in(&seen_of(desk, subscription, &now)?, Some(Cause::user(None))).await?;
        if payable.has_change() {
            return Err(ApiError::payment_action_required(payable.secret()));
        }
        if changed.pending || row.is_some_and(|row| row.plan_id.as_ref() == Some(&plan.id)) {
            return Ok(Some(changed));
        }
        action = action.step(payable.invoice_id());
    }
    Ok(None)
}

/// The plan that is asked about.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PreviewRequest")]
struct PreviewChange {
    plan_id: String,
}

/// What a change would cost.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Preview {
    plan_id: String,
    currency: String,
    amount_due_now: i64,
    amount_at_renewal: i64,
    renews_at: Option<String>,
    proration_date: String,
    lines: Vec<PreviewLine>,
}

impl View for Preview {}

#[derive(Serialize, JsonSchema)]
struct PreviewLine {
    description: Option<String>,
    amount: i64,
    proration: bool,
}

#[post("/api/subscriptions/preview-change", data = "<request>")]
async fn preview_change(press: Press<'_>, request: IdempotentBody<PreviewChange>) -> Result<Answer<Preview>, ApiError> {
    press.once(request, preview_of).await
}

async fn preview_of(ask: Asked<'_>, body: PreviewChange) -> Result<Preview, ApiError> {
    let desk = Desk::open(ask, "preview-change")?;
    let plan = desk.recurring_plan(&body.plan_id)?;
    let subscription = desk.current().await?;
    subscription.can_change_to(plan)?;
    let price = desk.price_of(plan, &subscription).await?;
    // Whole seconds, as Stripe counts them.
    let at = subscription.prorated_at(desk.app.clock.now().trunc_subsecs(0));
    let form = Form::default().with("subscription", &subscription.id);
    let form = items(form, "subscription_details[items]", &subscription, &price.id)?
        .with("subscription_details[proration_behavior]", "always_invoice")
        .with("subscription_details[proration_date]", at.timestamp());
    let due = preview(&desk, &subscription, form.clone()).await?;
    let form = form.with("preview_mode", "recurring");
    let renewal = preview(&desk, &subscription, form).await?;
    let charged = due.lines.data.iter().filter(|line| line.amount >= 0);
    let paid_until = charged.filter_map(|line| from_unix(line.period.as_ref()?.end)).max();
    Ok(Preview {
        plan_id: plan.id.clone(),
        currency: due.currency,
        amount_due_now: due.amount_due,
        amount_at_renewal: renewal.total,
        renews_at: paid_until.or(subscription.current_period_end).map(rfc3339),
        proration_date: rfc3339(at),
        lines: due.lines.data.into_iter().map(PreviewLine::of).collect(),
    })
}

/// The invoice that Stripe would make.
#[derive(Deserialize)]
struct Invoice {
    currency: String,
    amount_due: i64,
    total: i64,
    lines: Lines,
}

#[derive(Deserialize)]
struct Lines {
    data: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    description: Option<String>,
    amount: i64,
    period: Option<Period>,
    parent: Option<Parent>,
}

#[derive(Deserialize)]
struct Period {
    end: i64,
}

#[derive(Deserialize)]
struct Parent {
    subscription_item_details: Option<Details>,
    invoice_item_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    proration: bool,
}

impl PreviewLine {
    fn of(line: Line) -> Self {
        let details = line.parent.and_then(|parent| parent.subscription_item_details.or(parent.invoice_item_details));
        let proration = details.is_some_and(|details| details.proration);
        Self { description: line.description, amount: line.amount, proration }
    }
}

async fn preview(desk: &Desk<'_>, subscription: &Subscription, form: Form) -> Result<Invoice, ApiError> {
    let call = Call::post("invoices.preview", &["invoices", "create_preview"]).with(form);
    let call = call.in_account(subscription.account.as_deref());
    let answer = match desk.stripe.act(&call, &desk.look()).await {
        Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) => {
            let (row, _) = desk.look_again(subscription).await?;
            return Err(why_not((!row.is_live()).then_some(Impossible::AlreadyCanceled), error));
        }
        answer => answer?,
    };
    serde_json::from_slice(&answer.body).map_err(|_| unreadable())
}

/// The members that name the item which is changed and what it is changed to.
fn items(form: Form, name: &str, subscription: &Subscription, price: &str) -> Result<Form, ApiError> {
    let item = subscription.chosen_item_id().ok_or_else(unreadable)?;
    Ok(form
        .with(format!("{name}[0][id]"), item)
        .with(format!("{name}[0][price]"), price)
        .with_some(&format!("{name}[0][quantity]"), subscription.quantity))
}

fn moment(text: &str) -> Result<Timestamp, ApiError> {
    let read = DateTime::parse_from_rfc3339(text);
    let what = "`prorationDate` has to be a time such as `2026-11-27T09:30:00Z`";
    read.as_ref().map(DateTime::to_utc).map_err(|_| ApiError::invalid_parameter("prorationDate", what))
}
