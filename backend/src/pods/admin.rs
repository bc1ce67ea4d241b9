//! Pods, for operators: of everybody.

use rocket::http::Status;
use rocket::response::status::Custom;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde_json::{Value, json};
use tollgate_db::UnitOfWork;
use tollgate_db::page::{List, Position};
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::acts::{self, Act, ActedBy};
use tollgate_domain::memberships::leaving::{cancel_pod, end_here};
use tollgate_domain::memberships::lists;
use tollgate_domain::memberships::view::{self, MembershipView, PodView, Viewer, WholePodView};
use tollgate_domain::memberships::{self, Membership, MembershipStatus};
use tollgate_domain::payouts::{Payout, PayoutError, PayoutView};
use tollgate_domain::pods::{self, Pod};

use super::new_pod::Create;
use super::routes::shown;
use super::services::{NotePayout, payouts_of};
use super::{call_off, no_pod};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::body::JsonBody;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;
use crate::http::reason::Reason;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(list, "All pods, the newest first"),
        endpoint!(show, "One pod with all of its memberships").refuses([no_pod()]),
        endpoint!(create, "Makes a pod, which is no user's").answers(&[Status::Created]),
        endpoint!(cancel, "Calls a pod off, begun or not").refuses([no_pod()]),
        endpoint!(list_memberships, "Memberships, the newest first").takes([query("status", "How they stand.")
            .one_of(&["joining", "active", "past_due", "failed", "completed", "canceled"])]),
        endpoint!(cancel_membership, "Puts a member out of its pod").refuses([no_membership()]),
        endpoint!(note_payout, "Notes what was paid out of a pod; the same reference again is 200")
            .answers(&[Status::Ok, Status::Created])
            .refuses([no_pod(), PayoutError::ExceedsPot.into(), PayoutError::Mismatch.into()]),
        endpoint!(list_payouts, "What was paid out of a pod, the newest first").refuses([no_pod()]),
    ]
}

#[get("/api/admin/pods")]
async fn list(_operator: Operator, page: Paged, app: &State<App>) -> Result<Json<List<PodView>>, ApiError> {
    let mut tx = app.read_list().await?;
    let rows =
        page.list(pods::newest(&mut tx, &page).await?, |pod| Position { at: pod.created_at, id: pod.id.clone() });
    Ok(Json(view::list(&mut tx, app.clock.now(), rows, Viewer::Operator).await?))
}

#[get("/api/admin/pods/<id>")]
async fn show(_operator: Operator, id: &str, app: &State<App>) -> Result<Json<WholePodView>, ApiError> {
    let mut tx = app.read().await?;
    let pod = pods::get(&mut tx, id).await?.ok_or_else(no_pod)?;
    Ok(Json(view::whole(&mut tx, app.clock.now(), &pod).await?))
}

#[post("/api/admin/pods", data = "<body>")]
async fn create(
    operator: Operator,
    body: JsonBody<Create>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Custom<Json<PodView>>, ApiError> {
    let by = operator.acting(context, None);
    let now = app.clock.now();
    let new = body.0.readable(now)?;
    let touched = Touched::default();
    let made = app.write(&touched, |work| {
        let pod = pods::create(work, new.clone(), None);
        record(work, &by, "pod.create", ("pod", &pod.id), None, Some(json!({ "name": pod.name })));
        Ok::<_, ApiError>(PodView::of(&pod, pods::Sums::default(), &[], Viewer::Operator, now))
    });
    Ok(Custom(Status::Created, Json(made.await?.0)))
}

#[post("/api/admin/pods/<id>/cancel", data = "<body>")]
async fn cancel(
    operator: Operator,
    id: &str,
    body: JsonBody<Reason>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<PodView>, ApiError> {
    let reason = body.0.readable()?;
    let by = operator.acting(context, Some(reason.clone()));
    let pod = pods::get(&mut app.read().await?, id).await?.ok_or_else(no_pod)?;
    if pod.canceled_at.is_none() {
        call_off(app, id, |work| {
            cancel_pod(work, id, Some(&reason));
            record(work, &by, "pod.cancel", ("pod", id), None, None);
        })
        .await?;
    }
    shown(app, id, Viewer::Operator).await.map(Json)
}

#[get("/api/admin/memberships")]
async fn list_memberships(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<MembershipView>>, ApiError> {
    let named = "`joining`, `active`, `past_due`, `failed`, `completed` or `canceled`";
    let status = query.read("status", named, MembershipStatus::named)?;
    let now = app.clock.now();
    let mut tx = app.read_list().await?;
    Ok(Json(lists::by_status(&mut tx, now, status, &page).await?))
}

#[post("/api/admin/memberships/<id>/cancel", data = "<body>")]
async fn cancel_membership(
    operator: Operator,
    id: &str,
    body: JsonBody<Reason>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<MembershipView>, ApiError> {
    let reason = body.0.readable()?;
    let by = operator.acting(context, Some(reason.clone()));
    let membership = memberships::get(&mut app.read().await?, id).await?.ok_or_else(no_membership)?;
    call_off(app, &membership.pod_id, |work| {
        let before = work.get::<Membership>(id).map(|row| row.status(work.now()));
        end_here(work, id, Some(&reason));
        let after = work.get::<Membership>(id).map(|row| row.status(work.now()));
        if before != after {
            let shown = |status: Option<MembershipStatus>| Some(json!({ "status": status }));
            record(work, &by, "membership.cancel", ("membership", id), shown(before), shown(after));
        }
    })
    .await?;
    let mut tx = app.read().await?;
    let row = memberships::get(&mut tx, id).await?.ok_or_else(no_membership)?;
    let pod: Pod = pods::get(&mut tx, &row.pod_id).await?.ok_or_else(no_pod)?;
    Ok(Json(MembershipView::of(&row, &pod, app.clock.now())))
}

#[post("/api/admin/pods/<id>/payouts", data = "<body>")]
async fn note_payout(
    operator: Operator,
    id: &str,
    body: JsonBody<NotePayout>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Custom<Json<PayoutView>>, ApiError> {
    let by = operator.acting(context, None);
    let noted = body.0.write(app, id, |work, payout: &Payout| {
        let after = json!({ "amount": payout.amount, "currency": payout.currency });
        record(work, &by, "pod.payout", ("payout", &payout.id), None, Some(after));
    });
    let (payout, is_new) = noted.await?;
    Ok(Custom(if is_new { Status::Created } else { Status::Ok }, Json(payout.into())))
}

#[get("/api/admin/pods/<id>/payouts")]
async fn list_payouts(
    _operator: Operator,
    id: &str,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<PayoutView>>, ApiError> {
    payouts_of(app, id, &page).await
}

fn no_membership() -> ApiError {
    ApiError::not_found("such membership")
}

fn record(
    work: &mut UnitOfWork,
    by: &ActedBy,
    action: &'static str,
    target: (&'static str, &str),
    before: Option<Value>,
    after: Option<Value>,
) {
    acts::record(work, by, Act { action, target, before, after });
}
