//! To join a pod: a seat is taken and committed, Stripe is asked for the subscription, and what it answered is committed. A
//! refusal gives the seat back; of an answer that is lost the next try, the event or a job tells.

use rocket::http::Status;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::joining::{self, JoinError, Joined};
use tollgate_domain::memberships::leaving;
use tollgate_domain::memberships::view::Viewer;
use tollgate_domain::memberships::{self, Membership};
use tollgate_domain::pods::Pod;
use tracing::info;

use super::at_stripe::{CallOrApiError, Teller};
use super::payer::Payer;
use super::view::JoinedView;
use super::{is_shown, visible};
use crate::app::App;
use crate::http::auth::User;
use crate::http::error::ApiError;
use crate::http::idempotency::Answer;
use crate::stripe_api::error::CallError;

/// A body of `POST /api/pods/{id}/join`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "JoinRequest")]
pub(super) struct Join {
    invite_code: Option<String>,
    payment_method_id: Option<String>,
}

/// Makes the user a member: 201; 200 of one who is, whose leaving is then taken back; 202 where it is not written yet.
pub(super) async fn join(app: &App, user: &User, id: &str, body: Join) -> Result<Answer<JoinedView>, ApiError> {
    let teller = Teller::open(app)?;
    let pod = visible(app, id, Viewer::User(&user.id), body.invite_code.as_deref()).await?;
    let own = memberships::of_user_in(&mut app.read().await?, id, &user.id).await?;
    let now = app.clock.now();
    if let Some(member) = own.iter().find(|row| row.status(now).is_live()) {
        return stay(teller, &pod, member).await;
    }
    let method = body.payment_method_id.as_deref();
    let payer = teller.payer(user, method).await?;
    if let Some(answer) = recover(teller, &pod, &own).await? {
        return Ok(answer);
    }
    let (joined, _) = app
        .write(&Touched::pod(id), |work| joining::join(work, id, &user.id, payer.customer.as_deref(), method))
        .await?;
    let membership = match joined {
        Joined::Begun(row) | Joined::Resumed(row) => row,
        Joined::Member(row) => return stay(teller, &pod, &row).await,
    };
    match subscribe(teller, user, &pod, &membership, payer).await {
        Ok(answer) => Ok(answer),
        Err(CallOrApiError::Api(error)) => {
            if is_final(&error) {
                teller.give_back(&membership).await;
            }
            Err(error)
        }
        Err(CallOrApiError::Call(error)) => Err(refused(teller, &pod, &membership, error).await),
    }
}

async fn subscribe(
    teller: Teller<'_>,
    user: &User,
    pod: &Pod,
    membership: &Membership,
    payer: Payer,
) -> Result<Answer<JoinedView>, CallOrApiError> {
    // One that was begun before is paid by whom Stripe was told of then.
    let customer = match &membership.customer_id {
        Some(customer) if membership.asked_at.is_some() => customer.clone(),
        _ => teller.settle_payer(user, payer, &membership.id).await?,
    };
    let price = teller.price(pod).await?;
    teller.note_asked(membership, &customer, &price).await?;
    let seen = teller.subscribe(pod, membership, &customer, &price).await?;
    let is_written = teller.take_in(&seen, &membership.id).await?;
    info!(pod.id = %pod.id, "user joined pod {}", pod.id);
    Ok(answer(teller, pod, membership, is_written).await)
}

/// The membership as it is now, or as it was begun where that cannot be read.
async fn answer(teller: Teller<'_>, pod: &Pod, membership: &Membership, is_written: bool) -> Answer<JoinedView> {
    let app = teller.app;
    let read = async { memberships::get(&mut app.read().await?, &membership.id).await };
    let row = read.await.ok().flatten().unwrap_or_else(|| membership.clone());
    let view = JoinedView::of(&row, pod, app.clock.now(), !is_written);
    Answer::new(if is_written { Status::Created } else { Status::Accepted }, &view)
}

/// A membership that lost its seat while Stripe may have made its subscription: it is looked for before another is asked for.
async fn recover(teller: Teller<'_>, pod: &Pod, own: &[Membership]) -> Result<Option<Answer<JoinedView>>, ApiError> {
    let now = teller.app.clock.now();
    let is_lost = |row: &&Membership| !is_shown(row, now) && row.asked_at.is_some();
    let (Some(lost), Some(price)) = (own.iter().rev().find(is_lost), &pod.price_id) else { return Ok(None) };
    let Some(made) = teller.made_before(lost, price).await? else { return Ok(None) };
    let seen = teller.subscription(&made).await?;
    let is_written = teller.take_in(&seen, &lost.id).await?;
    let row = memberships::get(&mut teller.app.read().await?, &lost.id).await?;
    match row.filter(|row| !is_written || row.status(now).is_live()) {
        Some(row) => Ok(Some(answer(teller, pod, &row, is_written).await)),
        None => Ok(None),
    }
}

/// Who is a member already, and may have wanted to leave.
async fn stay(teller: Teller<'_>, pod: &Pod, member: &Membership) -> Result<Answer<JoinedView>, ApiError> {
    let app = teller.app;
    let touched = Touched::membership(&member.id, member.customer_id.as_deref());
    let (what, _) = app.write(&touched, |work| Ok::<_, ApiError>(leaving::stay(work, &member.id))).await?;
    let is_written = match teller.carry_out(&member.id, &what).await? {
        Some(seen) => teller.take_in(&seen, &member.id).await?,
        None => true,
    };
    let row = memberships::get(&mut app.read().await?, &member.id).await?;
    let view = JoinedView::of(row.as_ref().unwrap_or(member), pod, app.clock.now(), !is_written);
    Ok(Answer::new(if is_written { Status::Ok } else { Status::Accepted }, &view))
}

/// What Stripe's refusal of a subscription is to the user. The seat is given back, unless it is not known whether there is
/// one at Stripe.
async fn refused(teller: Teller<'_>, pod: &Pod, membership: &Membership, error: CallError) -> ApiError {
    let is_bad_request = error.refusal().is_some_and(|refusal| refusal.status.as_u16() == 400);
    if error.is_transient() || matches!(error, CallError::Lost(_) | CallError::UnexpectedResponse(_)) {
        return error.into();
    }
    teller.give_back(membership).await;
    let customer = membership.customer_id.as_deref().filter(|_| is_bad_request);
    if let Some(customer) = customer
        && teller.pays_in_another(customer, &pod.currency).await.unwrap_or(false)
    {
        return currency_conflict();
    }
    error.into()
}

/// 409: Stripe would not charge this customer so.
pub(super) fn currency_conflict() -> ApiError {
    ApiError::new(
        Status::Conflict,
        "currency_conflict",
        "you pay in another currency already, and Stripe takes one at a time of a customer; join with the payment \
         method of another customer",
    )
}

/// Whether an error is about what was asked, so that the same again would meet it again.
fn is_final(error: &ApiError) -> bool {
    (400..500).contains(&error.status.code) && error.status != Status::TooManyRequests
}

impl From<JoinError> for ApiError {
    fn from(why: JoinError) -> Self {
        let code = match why {
            JoinError::Full => "pod_full",
            JoinError::Closed => "pod_closed",
        };
        Self::new(Status::Conflict, code, why.to_string())
    }
}
