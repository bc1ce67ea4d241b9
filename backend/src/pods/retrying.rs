//! A member pays what is overdue, by what is there or by another payment method.

use rocket::http::Status;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_domain::apply::Touched;
use tollgate_domain::contributions::Contribution;
use tollgate_domain::contributions::history::ContributionView;
use tollgate_domain::memberships::leaving::NotAMember;
use tollgate_domain::memberships::retrying::{Answered, CannotRetry, answered, ask};
use tollgate_domain::memberships::view::{MembershipView, Viewer};
use tollgate_domain::memberships::{self, Membership};
use tollgate_stripe::ObjectType;

use super::at_stripe::Teller;
use super::tries::count_try;
use super::visible;
use crate::app::App;
use crate::http::auth::User;
use crate::http::error::ApiError;
use crate::http::idempotency::Answer;
use crate::stripe_api::Call;
use crate::stripe_api::error::{CallError, Refusal};
use crate::stripe_api::form::Form;

/// When a member who asked too often may ask again, at the latest, in seconds.
const RETRY_SECONDS: u32 = 24 * 3600;

/// A body of `POST /api/pods/{id}/retry-payment`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PaymentRetry")]
pub(super) struct Retry {
    payment_method_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RetriedPayment")]
pub(super) struct Retried {
    membership: MembershipView,
    contribution: ContributionView,
    client_secret: Option<String>,
}

/// Pays the oldest overdue contribution.
pub(super) async fn retry(app: &App, user: &User, id: &str, body: Retry) -> Result<Answer<Retried>, ApiError> {
    let teller = Teller::open(app)?;
    let pod = visible(app, id, Viewer::User(&user.id), None).await?;
    let own = memberships::of_user_in(&mut app.read().await?, id, &user.id).await?;
    let now = app.clock.now();
    let member = own.into_iter().find(|row| row.status(now).is_live()).ok_or(NotAMember)?;
    let method = body.payment_method_id;
    if let Some(method) = &method {
        teller.owns(&member, method).await?;
    }
    let touched = Touched::membership(&member.id, member.customer_id.as_deref());
    let ((contribution, number), _) = app.write(&touched, |work| ask(work, &member.id)).await?;
    let invoice = contribution.invoice_id.as_deref().unwrap_or_default();
    let form = Form::default().with_some("payment_method", method.as_ref());
    let paid = teller.pay(invoice, form, &format!("tollgate:{invoice}:user:{number}")).await.map(drop);
    let refusal = paid.as_ref().err().and_then(CallError::refusal);
    // Where that cannot be, its events tell.
    let _ = teller.look_at_invoice(invoice, &member.id, refusal.is_some_and(Refusal::is_decline)).await;
    let mut tried = None;
    let noted = app.write(&touched, |work| {
        let one: &Contribution = work.get(&contribution.id).ok_or(NotAMember)?;
        let answer = match &paid {
            Ok(()) if one.status().was_paid() => Answered::Settled,
            Ok(()) => Answered::UnderWay,
            Err(_) => {
                let used = method.clone().or_else(|| work.get::<Membership>(&member.id)?.charged_method_id.clone());
                let answer = refusal.filter(|refusal| refusal.is_answer_to_payment());
                answer.map_or(Answered::Unknown, |refusal| refusal.of_payment(used))
            }
        };
        answered(work, &contribution.id, &answer, app.settings.pod_retries);
        tried = Some(answer);
        let row: Membership = work.get_cloned(&member.id).ok_or(NotAMember)?;
        let one: Contribution = work.get_cloned(&contribution.id).ok_or(NotAMember)?;
        Ok::<_, NotAMember>((row, one))
    });
    let ((row, one), _) = noted.await?;
    if let Some(answer) = &tried {
        count_try("user", answer);
    }
    match paid {
        Ok(()) => {}
        // It was paid, or is no longer owed, and we had not heard.
        Err(error) if error.refusal().is_some_and(Refusal::is_out_of_date) && !one.status().is_overdue() => {
            return Err(CannotRetry::NothingToPay.into());
        }
        Err(error) => return Err(error.into()),
    }
    if let (Some(method), Some(subscription)) = (&method, &member.subscription_id) {
        teller.pay_from_now_on(&contribution, number, &member.id, subscription, method).await;
    }
    let view = Retried {
        membership: MembershipView::of(&row, &pod, now),
        contribution: ContributionView::from(&one),
        client_secret: None,
    };
    Ok(Answer::new(Status::Ok, &view))
}

impl Refusal {
    /// Whether Stripe has said what becomes of a payment: that it was declined, or cannot be made.
    pub(super) fn is_answer_to_payment(&self) -> bool {
        self.is_decline() || self.is_out_of_date()
    }

    /// What that was, of a payment with `method` (`pm_…`). Only a decline says something of that.
    pub(super) fn of_payment(&self, method: Option<String>) -> Answered {
        let code = self.reason().filter(|_| self.is_decline());
        Answered::Failed { code, method, is_advised_against: self.advises_against_another_try() }
    }
}

impl Teller<'_> {
    /// Makes what was paid with what is charged from now on.
    async fn pay_from_now_on(
        self,
        contribution: &Contribution,
        number: usize,
        membership_id: &str,
        subscription: &str,
        method: &str,
    ) {
        let invoice = contribution.invoice_id.as_deref().unwrap_or_default();
        let form = Form::default().with("default_payment_method", method);
        let call = Call::post("subscriptions.update", &["subscriptions", subscription]).with(form);
        let key = format!("tollgate:{invoice}:user:{number}:default");
        if let Ok(answer) = self.stripe.once(&call, &key).await
            && let Ok(seen) = self.seen(ObjectType::Subscription, &answer)
        {
            let _ = self.take_in(&seen, membership_id).await;
        }
    }
}

impl From<CannotRetry> for ApiError {
    fn from(why: CannotRetry) -> Self {
        let code = match why {
            CannotRetry::NothingToPay => "nothing_to_pay",
            CannotRetry::InProgress => "payment_in_progress",
            CannotRetry::TooOften => return Self::rate_limited(RETRY_SECONDS),
        };
        Self::new(Status::Conflict, code, why.to_string())
    }
}
