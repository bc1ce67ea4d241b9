//! Pods, for users.

use rocket::http::Status;
use rocket::response::status::Custom;
use rocket::serde::json::Json;
use rocket::{State, get, patch, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_db::page::{List, Position};
use tollgate_domain::apply::Touched;
use tollgate_domain::contributions::history::{self, ContributionView};
use tollgate_domain::memberships::joining::JoinError;
use tollgate_domain::memberships::leaving::cancel_pod;
use tollgate_domain::memberships::moving::{CannotMove, move_next_date};
use tollgate_domain::memberships::retrying::CannotRetry;
use tollgate_domain::memberships::view::{self, MembershipView, PodView, Viewer};
use tollgate_domain::pods::schedule::Cadence;
use tollgate_domain::pods::{self, Filter, Pod, PodStatus};

use super::joining::{Join, currency_conflict};
use super::leaving::Leave;
use super::new_pod::{self, Create, Given, given};
use super::payer::payment_method_required;
use super::retrying::{Retried, Retry};
use super::view::{JoinedView, LeftView};
use super::{call_off, joining, leaving, no_pod, retrying, visible};
use crate::app::App;
use crate::http::auth::User;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::http::page::Paged;
use crate::http::query::Query;
use crate::http::reason;
use crate::http::stripe::failures;

/// How many pods a user may have that have not begun.
const OPEN_PODS_MAX: i64 = 10;

/// When a user may make another, at the earliest, in seconds: when one of theirs begins.
const OPEN_PODS_RETRY_SECONDS: u32 = 3600;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(list, "The public pods that somebody can join, the soonest first").takes([
            query("currency", "The code of a currency."),
            query("cadence", "How often its members pay.").one_of(&["weekly", "bi-weekly", "monthly"]),
        ]),
        endpoint!(create, "Makes a pod; its creator is no member by that")
            .answers(&[Status::Created])
            .refuses([operators_alone(), ApiError::rate_limited(OPEN_PODS_RETRY_SECONDS)]),
        endpoint!(mine, "The user's memberships, each with its pod"),
        endpoint!(show, "One pod")
            .takes([query("inviteCode", "What shows a private pod to whoever is no member.")])
            .refuses([no_pod()]),
        endpoint!(
            change,
            "Changes what the user's own pod is called, who finds it, and when its next date is, which its members' \
             subscriptions follow: 202"
        )
        .answers(&[Status::Ok, Status::Accepted])
        .refuses([no_pod()])
        .refuses([CannotMove::UnderWay, CannotMove::Closed]),
        endpoint!(join, "Makes the user a member; 200 of one who is, whose leaving is then taken back")
            .answers(&[Status::Ok, Status::Created, Status::Accepted])
            .refuses([no_pod(), ApiError::no_customer(), currency_conflict(), payment_method_required()])
            .refuses([JoinError::Full, JoinError::Closed])
            .refuses(failures()),
        endpoint!(leave, "Ends the user's part in a pod, with the period or at once")
            .answers(&[Status::Ok, Status::Accepted])
            .refuses([no_pod()])
            .refuses(failures()),
        endpoint!(retry, "Pays the oldest overdue contribution, by what is there or by another payment method")
            .refuses([no_pod()])
            .refuses([CannotRetry::NothingToPay, CannotRetry::InProgress, CannotRetry::TooOften])
            .refuses(failures()),
        endpoint!(cancel, "Calls the user's own pod off, before it has begun").refuses([no_pod(), pod_closed()]),
        endpoint!(contributions, "What the user owes and has paid to a pod, the newest first").refuses([no_pod()]),
    ]
}

#[get("/api/pods")]
async fn list(user: User, query: Query, page: Paged, app: &State<App>) -> Result<Json<List<PodView>>, ApiError> {
    let named = |text: &str| Cadence::named(text).map(|cadence| cadence.name().to_owned());
    let filter = Filter {
        currency: query.read("currency", "the code of a currency", |text| new_pod::currency(text).ok())?,
        cadence: query.read("cadence", "`weekly`, `bi-weekly` or `monthly`", named)?,
    };
    let now = app.clock.now();
    let mut tx = app.read_list().await?;
    let rows = pods::joinable(&mut tx, now, &filter, &page).await?;
    let rows = page.list(rows, |pod| Position { at: pod.next_date, id: pod.id.clone() });
    Ok(Json(view::list(&mut tx, now, rows, Viewer::User(&user.id)).await?))
}

#[post("/api/pods", data = "<request>")]
async fn create(user: User, request: IdempotentBody<Create>, app: &State<App>) -> Result<Answer<PodView>, ApiError> {
    let done = request.once(app, &user, |body, attempt| {
        let user = &user;
        async move {
            if app.config.pods_are_operators_alone {
                return Err(operators_alone());
            }
            let now = app.clock.now();
            let new = body.readable(now)?;
            if pods::open_of(&mut app.read().await?, now, &user.id).await? >= OPEN_PODS_MAX {
                return Err(ApiError::rate_limited(OPEN_PODS_RETRY_SECONDS));
            }
            let touched = attempt.touching(Touched::default());
            let made = app.write(&touched, |work| {
                let pod = pods::create(work, new.clone(), Some(user.id.clone()));
                let view = PodView::of(&pod, pods::Sums::default(), &[], Viewer::User(&user.id), now);
                attempt.answer(work, &app.settings, Status::Created, &view)
            });
            Ok(made.await?.0)
        }
    });
    done.await
}

#[get("/api/pods/mine")]
async fn mine(user: User, page: Paged, app: &State<App>) -> Result<Json<List<MembershipView>>, ApiError> {
    let mut tx = app.read_list().await?;
    Ok(Json(view::mine(&mut tx, app.clock.now(), &user.id, &page).await?))
}

#[get("/api/pods/<id>", rank = 2)]
async fn show(user: User, id: &str, query: Query, app: &State<App>) -> Result<Json<PodView>, ApiError> {
    let pod = visible(app, id, Viewer::User(&user.id), query.text("inviteCode")).await?;
    shown(app, &pod.id, Viewer::User(&user.id)).await.map(Json)
}

/// A body of `PATCH /api/pods/{id}`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PodChanges")]
struct Change {
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    description: Given<String>,
    visibility: Option<String>,
    next_contribution_date: Option<String>,
}

#[patch("/api/pods/<id>", data = "<body>")]
async fn change(
    user: User,
    id: &str,
    body: JsonBody<Change>,
    app: &State<App>,
) -> Result<Custom<Json<PodView>>, ApiError> {
    let Change { name, description, visibility, next_contribution_date } = body.0;
    let date = |text: String| new_pod::date("nextContributionDate", &text, app.clock.now());
    let date = next_contribution_date.map(date).transpose()?;
    let name = name.map(|text| new_pod::name(&text)).transpose()?;
    let description = match description {
        Given::Nothing => None,
        Given::Value(text) => Some(text.map(|text| new_pod::description(&text)).transpose()?.flatten()),
    };
    let is_public = visibility.as_deref().map(new_pod::is_public).transpose()?;
    own(app, &user, id).await?;
    let touched = Touched::pod(id);
    let changed = app.write(&touched, |work| {
        let pod: Pod = work.get_cloned(id).ok_or_else(no_pod)?;
        let (name, description) = (name.clone(), description.clone());
        work.insert(Pod {
            name: name.unwrap_or(pod.name),
            description: description.unwrap_or(pod.description),
            is_public: is_public.unwrap_or(pod.is_public),
            ..pod
        });
        if let Some(date) = date {
            move_next_date(work, id, date)?;
        }
        Ok::<_, ApiError>(())
    });
    changed.await?;
    let status = if date.is_some() { Status::Accepted } else { Status::Ok };
    Ok(Custom(status, Json(shown(app, id, Viewer::User(&user.id)).await?)))
}

#[post("/api/pods/<id>/join", data = "<request>")]
async fn join(
    user: User,
    id: &str,
    request: IdempotentBody<Join>,
    app: &State<App>,
) -> Result<Answer<JoinedView>, ApiError> {
    let user = &user;
    request.once(app, user, |body, _| Box::pin(async move { joining::join(app, user, id, body).await })).await
}

#[post("/api/pods/<id>/leave", data = "<request>")]
async fn leave(
    user: User,
    id: &str,
    request: IdempotentBody<Leave>,
    app: &State<App>,
) -> Result<Answer<LeftView>, ApiError> {
    let user = &user;
    request.once(app, user, |body, _| Box::pin(async move { leaving::leave(app, user, id, body).await })).await
}

#[post("/api/pods/<id>/retry-payment", data = "<request>")]
async fn retry(
    user: User,
    id: &str,
    request: IdempotentBody<Retry>,
    app: &State<App>,
) -> Result<Answer<Retried>, ApiError> {
    let user = &user;
    request.once(app, user, |body, _| Box::pin(async move { retrying::retry(app, user, id, body).await })).await
}

/// Why a pod is called off; it need not be said.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PodCancellation")]
struct Reason {
    reason: Option<String>,
}

#[post("/api/pods/<id>/cancel", data = "<request>")]
async fn cancel(
    user: User,
    id: &str,
    request: IdempotentBody<Reason>,
    app: &State<App>,
) -> Result<Answer<PodView>, ApiError> {
    let user = &user;
    let done = request.once(app, user, |body, _| async move {
        let reason = reason::comment(body.reason)?;
        let pod = own(app, user, id).await?;
        match pod.status(app.clock.now(), false) {
            PodStatus::Open => call_off(app, id, |work| cancel_pod(work, id, reason.as_deref())).await?,
            PodStatus::Canceled => {}
            PodStatus::Active | PodStatus::Completed => {
                return Err(pod_closed());
            }
        }
        Ok(Answer::new(Status::Ok, &shown(app, id, Viewer::User(&user.id)).await?))
    });
    done.await
}

#[get("/api/pods/<id>/contributions")]
async fn contributions(
    user: User,
    id: &str,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<ContributionView>>, ApiError> {
    visible(app, id, Viewer::User(&user.id), None).await?;
    let mut tx = app.read_list().await?;
    Ok(Json(history::list(&mut tx, &user.id, id, &page).await?))
}

/// 403: users make none here.
fn operators_alone() -> ApiError {
    ApiError { message: "pods are made by those who run this; ask them".into(), ..ApiError::forbidden() }
}

/// 409: it has begun.
fn pod_closed() -> ApiError {
    ApiError::new(Status::Conflict, "pod_closed", "this pod has begun; who runs it can end it")
}

/// A pod as `viewer` sees it now.
pub(super) async fn shown(app: &App, id: &str, viewer: Viewer<'_>) -> Result<PodView, ApiError> {
    let mut tx = app.read().await?;
    let pod = pods::get(&mut tx, id).await?.ok_or_else(no_pod)?;
    Ok(view::pod(&mut tx, app.clock.now(), &pod, viewer).await?)
}

/// The user's own pod; 404 for anybody else's.
async fn own(app: &App, user: &User, id: &str) -> Result<Pod, ApiError> {
    let pod = visible(app, id, Viewer::User(&user.id), None).await?;
    pod.is_of(&user.id).then_some(pod).ok_or_else(no_pod)
}
