//! What services of the company tell of payments, and of subscriptions.

use std::collections::BTreeSet;

use rocket::http::Status;
use rocket::response::status::Custom;
use rocket::serde::json::Json;
use rocket::{State, patch, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_db::Lock;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::contributions::history::ContributionView;
use tollgate_domain::contributions::reported::{Mismatch, Report, report};
use tollgate_domain::contributions::{self, Contribution};
use tollgate_domain::memberships::settled::settle;
use tollgate_domain::memberships::view::MembershipView;
use tollgate_domain::memberships::{self, Membership, tied};
use tollgate_domain::pods::{self, Pod};
use tollgate_domain::subscriptions::{StatusClass, Subscription};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;
use tollgate_stripe::{self as stripe, Item, Object, Observation, PodRef};
use tracing::warn;

use super::at_stripe::Teller;
use super::new_pod::currency;
use super::{is_shown, no_pod};
use crate::app::App;
use crate::billing::answers;
use crate::http::auth::Internal;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::query;
use crate::http::stripe::failures;
use crate::stripe_api::Call;
use crate::stripe_api::form::Form;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(payment, "Takes in what the company tells of a payment; told again it is 200")
            .answers(&[Status::Ok, Status::Created])
            .refuses([no_pod(), Mismatch.into()]),
        endpoint!(
            subscription_status,
            "Takes in what the company tells of a subscription; where Stripe can be asked, a difference is settled by that"
        )
        .refuses([no_pod()])
        .refuses(failures()),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReportedPayment")]
struct Payment {
    pod_id: String,
    stripe_reference: String,
    amount: i64,
    currency: String,
    status: String,
    user_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReportedContribution")]
pub(super) struct Told {
    contribution: ContributionView,
    membership: MembershipView,
}

#[post("/v1/payments", data = "<body>")]
async fn payment(_caller: Internal, body: JsonBody<Payment>, app: &State<App>) -> Result<Custom<Json<Told>>, ApiError> {
    let told = body.0.readable()?;
    let pod = pods::get(&mut app.read().await?, &told.pod_id).await?.ok_or_else(no_pod)?;
    let known = contributions::of_reference(&mut app.read().await?, &told.stripe_reference).await?;
    let membership = membership_of(app, &told, known.as_ref()).await?;
    let invoice = match &known {
        Some(_) => None,
        None => paid_invoice(app, &told.stripe_reference).await,
    };
    let touched =
        Touched::membership(&membership.id, membership.customer_id.as_deref()).reported(&told.stripe_reference);
    let written = app.write(&touched, |work| {
        let (contribution, is_new) = report(
            work,
            &Report {
                reference: &told.stripe_reference,
                whose: (&membership.id, &membership.pod_id, &membership.user_id),
                amount: told.amount,
                currency: &told.currency,
                status: &told.status,
                invoice: invoice.as_deref(),
            },
        )?;
        tied::join_reported(work, &told.stripe_reference);
        settle(work, &membership.id, app.settings.pod_retries);
        let row: Membership = work.get_cloned(&membership.id).ok_or(Mismatch)?;
        Ok::<_, Mismatch>((contribution, row, is_new))
    });
    let ((contribution, row, is_new), _) = written.await?;
    let view = Told {
        contribution: ContributionView::from(&contribution),
        membership: MembershipView::of(&row, &pod, app.clock.now()),
    };
    Ok(Custom(if is_new { Status::Created } else { Status::Ok }, Json(view)))
}

impl Payment {
    fn readable(self) -> Result<Self, ApiError> {
        let reference = &self.stripe_reference;
        let is_reference = ["pi_", "in_", "ch_"].iter().any(|start| reference.starts_with(start))
            && (4..=255).contains(&reference.len())
            && reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_reference {
            let message = "`stripeReference` has to be the id of a payment intent, an invoice or a charge";
            return Err(ApiError::invalid_parameter("stripeReference", message));
        }
        if self.amount < 1 {
            return Err(ApiError::invalid_parameter("amount", "`amount` has to be 1 or more, in the minor unit"));
        }
        if contributions::progress(&self.status) == 0 {
            let message = "`status` has to be `pending`, `failed`, `succeeded` or `refunded`";
            return Err(ApiError::invalid_parameter("status", message));
        }
        Ok(Self { currency: currency(&self.currency)?, ..self })
    }
}

/// Whose payment it is: of whom it was told before, else the user's who is named.
async fn membership_of(app: &App, told: &Payment, known: Option<&Contribution>) -> Result<Membership, ApiError> {
    let mut tx = app.read().await?;
    if let Some(known) = known {
        let row = memberships::get(&mut tx, &known.membership_id).await?.ok_or_else(no_member)?;
        let is_named = told.user_id.as_ref().is_none_or(|user| *user == row.user_id);
        return if row.pod_id == told.pod_id && is_named { Ok(row) } else { Err(Mismatch.into()) };
    }
    let Some(user) = &told.user_id else {
        let message = "`userId` has to say whose payment it is: nothing was told of it before";
        return Err(ApiError::invalid_parameter("userId", message));
    };
    let own = memberships::of_user_in(&mut tx, &told.pod_id, user).await?;
    let shown = own.into_iter().filter(|row| is_shown(row, app.clock.now()));
    shown.max_by_key(|row| (row.ended_at.is_none(), row.joined_at)).ok_or_else(no_member)
}

#[derive(Deserialize)]
struct InvoicePayments {
    data: Vec<InvoicePayment>,
}

#[derive(Deserialize)]
struct InvoicePayment {
    invoice: Option<String>,
}

#[derive(Deserialize)]
struct Charge {
    payment_intent: Option<String>,
}

/// The invoice that a payment pays, where Stripe can be asked and says so.
async fn paid_invoice(app: &App, reference: &str) -> Option<String> {
    let teller = Teller::open(app).ok().filter(|_| !reference.starts_with("in_"))?;
    let asked = async {
        let intent = if reference.starts_with("ch_") {
            let answer = teller.stripe.read(&Call::get("charges.read", &["charges", reference])).await?;
            serde_json::from_slice::<Charge>(&answer.body).map_err(|_| answers::unreadable())?.payment_intent
        } else {
            Some(reference.to_owned())
        };
        let Some(intent) = intent else { return Ok(None) };
        let form = Form::default()
            .with("payment[type]", "payment_intent")
            .with("payment[payment_intent]", intent)
            .with("limit", 1);
        let answer = teller.stripe.read(&Call::get("invoice_payments.list", &["invoice_payments"]).with(form)).await?;
        let InvoicePayments { data } = serde_json::from_slice(&answer.body).map_err(|_| answers::unreadable())?;
        Ok::<_, ApiError>(data.into_iter().next().and_then(|payment| payment.invoice))
    };
    asked.await.unwrap_or_else(|error| {
        // An event will tell.
        warn!("could not ask Stripe what a payment pays: {}", error.code);
        None
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReportedStatus")]
struct StatusSeen {
    subscription_id: String,
    status: String,
    current_period_end: Option<Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppliedStatus")]
pub(super) struct Applied {
    membership: MembershipView,
    applied: bool,
}

#[patch("/v1/pods/<id>/subscription/status", data = "<body>")]
async fn subscription_status(
    _caller: Internal,
    id: &str,
    body: JsonBody<StatusSeen>,
    app: &State<App>,
) -> Result<Json<Applied>, ApiError> {
    let StatusSeen { subscription_id, status, current_period_end } = body.0;
    if StatusClass::of(&status).is_none() {
        return Err(ApiError::invalid_parameter("status", "`status` has to be one of Stripe's eight"));
    }
    let period_end = current_period_end.map(time).transpose()?;
    let mut tx = app.read().await?;
    let pod = pods::get(&mut tx, id).await?.ok_or_else(no_pod)?;
    let membership = memberships::of_subscription(&mut tx, &subscription_id).await?;
    let membership = membership.filter(|row| row.pod_id == id).ok_or_else(no_member)?;
    drop(tx);
    let seen = match Teller::open(app) {
        Ok(teller) => teller.subscription(&subscription_id).await?,
        Err(_) => as_told(app, &pod, &membership, &status, period_end).await?,
    };
    let mut touched = Touched::membership(&membership.id, membership.customer_id.as_deref());
    touched.add(&seen);
    let settings = &app.settings;
    let written = app.write(&touched, |work| {
        apply::apply(work, settings, &seen);
        let row: Membership = work.get_cloned(&membership.id).ok_or_else(no_member)?;
        let subscription: Option<Subscription> = work.get_cloned(&subscription_id);
        Ok::<_, ApiError>((row, subscription))
    });
    let ((row, subscription), _) = written.await?;
    let is_so = |subscription: Subscription| {
        subscription.status.as_deref() == Some(&*status)
            && period_end.is_none_or(|end| subscription.current_period_end == Some(end))
    };
    let applied = subscription.is_some_and(is_so);
    Ok(Json(Applied { membership: MembershipView::of(&row, &pod, app.clock.now()), applied }))
}

/// A snapshot of what a service says, where Stripe cannot be asked: what is known, so changed.
async fn as_told(
    app: &App,
    pod: &Pod,
    membership: &Membership,
    status: &str,
    period_end: Option<Timestamp>,
) -> Result<Observation, ApiError> {
    let id = membership.subscription_id.clone().ok_or_else(no_member)?;
    let mut rows: Vec<Subscription> = app.read().await?.load("id", &BTreeSet::from([id.clone()]), Lock::None).await?;
    let row = rows.pop();
    let known = row.as_ref().and_then(|row| Some(row.history.last()?.state.clone()));
    let mut state = known.unwrap_or_else(|| stripe::Subscription {
        id,
        customer: membership.customer_id.clone().unwrap_or_default(),
        items: vec![Item::default()],
        pod: PodRef { pod_id: Some(pod.id.clone()), membership_id: Some(membership.id.clone()) },
        ..stripe::Subscription::default()
    });
    status.clone_into(&mut state.status);
    for item in &mut state.items {
        item.period_end = period_end.map(|end| end.timestamp()).or(item.period_end);
    }
    let now = app.clock.now();
    Ok(Observation {
        source: answers::source(app),
        is_creation: false,
        is_announcement: false,
        seen_at: now,
        account: row.as_ref().and_then(|row| row.account.clone()),
        livemode: row.and_then(|row| row.livemode),
        object: Object::Subscription { before: None, after: state, ended: false },
    })
}

/// Unix seconds, or RFC 3339.
fn time(value: Value) -> Result<Timestamp, ApiError> {
    let by_number = value.as_i64().and_then(from_unix);
    by_number.or_else(|| query::time(value.as_str()?)).ok_or_else(|| {
        let message = format!("`currentPeriodEnd` has to be Unix seconds, or {}", query::A_TIME);
        ApiError::invalid_parameter("currentPeriodEnd", message)
    })
}

fn no_member() -> ApiError {
    ApiError::not_found("such member of this pod")
}

impl From<Mismatch> for ApiError {
    fn from(why: Mismatch) -> Self {
        Self::new(Status::Conflict, "payment_mismatch", why.to_string())
    }
}
