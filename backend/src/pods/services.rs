//! What services of the company read of pods, and the payouts that they note.

use std::collections::BTreeMap;

use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use rocket::response::status::Custom;
use rocket::response::{self, Responder};
use rocket::serde::json::Json;
use rocket::{Request, State, get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx, UnitOfWork};
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::view::{self, ActiveView, MembershipView};
use tollgate_domain::memberships::{self, Membership};
use tollgate_domain::payouts::{self, NewPayout, Payout, PayoutError, PayoutView};
use tollgate_domain::pods::{self, Pod};
use tollgate_shared::Timestamp;

use super::no_pod;
use crate::app::App;
use crate::http::auth::{INTERNAL_KEY_HEADER, Internal, User};
use crate::http::body::JsonBody;
use crate::http::endpoint::{Answers, Argument, Endpoint, Operation, Success, endpoint, query, schema_of};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::{self, A_TIME, Query};

/// The most memberships of one page.
const ACTIVE_MAX: i64 = 1000;
const REFERENCE_CHARACTERS_MAX: usize = 255;
const NOTE_CHARACTERS_MAX: usize = 1000;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let limit = query("limit", "How many the page has at most; left out, all come.").number(1, ACTIVE_MAX, ACTIVE_MAX);
    vec![
        endpoint!(active, "Every membership that goes on, by id; with `limit` in pages")
            .takes([limit, query("cursor", "The `X-Next-Cursor` of the page before.")]),
        endpoint!(mine, "A user's memberships, each with its pod"),
        endpoint!(note, "Notes what was paid out of a pod; the same reference again is 200")
            .answers(&[Status::Ok, Status::Created])
            .refuses([no_pod(), PayoutError::ExceedsPot.into(), PayoutError::Mismatch.into()]),
        endpoint!(list, "What was paid out of a pod, the newest first").refuses([no_pod()]),
    ]
}

/// A bare array; where the next page begins is a header, `X-Next-Cursor`.
struct Active {
    rows: Vec<ActiveView>,
    next_cursor: Option<String>,
}

impl Answers for Active {
    fn describe(operation: &mut Operation) {
        operation.successes.push(Success {
            status: Status::Ok,
            content: Some(("application/json", schema_of::<Vec<ActiveView>>)),
            headers: &[("X-Next-Cursor", "The `cursor` of the next page, where there is one.")],
        });
    }
}

impl<'r> Responder<'r, 'static> for Active {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Json(self.rows).respond_to(request)?;
        if let Some(cursor) = self.next_cursor {
            response.set_raw_header("X-Next-Cursor", cursor);
        }
        Ok(response)
    }
}

#[get("/v1/pods/subscriptions/active")]
async fn active(_caller: Internal, query: Query, app: &State<App>) -> Result<Active, ApiError> {
    let limit = query.read("limit", "a number from 1 to 1000", |text| {
        text.parse().ok().filter(|limit| (1..=ACTIVE_MAX).contains(limit))
    })?;
    let after = query.read("cursor", "the `X-Next-Cursor` of the page before", Position::from_cursor)?;
    let mut after = after.map_or_else(String::new, |position| position.id);
    let (now, mut rows) = (app.clock.now(), Vec::new());
    let mut tx = app.read_list().await?;
    loop {
        let wanted = limit.unwrap_or(ACTIVE_MAX);
        let mut found = memberships::live(&mut tx, &after, wanted + 1).await?;
        let has_more = found.len() as i64 > wanted;
        found.truncate(wanted.try_into().unwrap_or(usize::MAX));
        let last = found.last().map(|row| row.id.clone());
        rows.extend(shown(&mut tx, found, now).await?);
        match (last, limit) {
            (Some(last), None) if has_more => after = last,
            (last, _) => {
                let position = |id: String| Position { at: Timestamp::UNIX_EPOCH, id }.to_cursor();
                return Ok(Active { rows, next_cursor: last.filter(|_| has_more).map(position) });
            }
        }
    }
}

async fn shown(tx: &mut Tx, found: Vec<Membership>, now: Timestamp) -> Result<Vec<ActiveView>, DbError> {
    let pods = pods::of_ids(tx, found.iter().map(|row| row.pod_id.clone()).collect()).await?;
    let pods: BTreeMap<_, _> = pods.iter().map(|pod| (&pod.id, pod)).collect();
    let live = found.iter().filter(|row| row.status(now).is_live());
    Ok(live.filter_map(|row| Some(MembershipView::of(row, pods.get(&row.pod_id)?, now).into())).collect())
}

/// A user's memberships: the user's own, or whose a service names.
struct Whose(String);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Whose {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        if !request.headers().contains(INTERNAL_KEY_HEADER) {
            return User::from_request(request).await.map(|user| Self(user.id));
        }
        Internal::from_request(request).await.and_then(|_| match request.query_value::<String>("userId") {
            Some(Ok(user)) if !user.is_empty() => Outcome::Success(Self(user)),
            _ => {
                let error = ApiError::invalid_parameter("userId", "`userId` has to say whose");
                Outcome::Error((error.refuse(request), ()))
            }
        })
    }
}

impl Argument for Whose {
    fn describe(operation: &mut Operation) {
        User::describe(operation);
        Internal::describe(operation);
        operation.parameters.push(query("userId", "Whose, where a service asks."));
    }
}

#[get("/v1/pods/mine")]
async fn mine(whose: Whose, page: Paged, app: &State<App>) -> Result<Json<List<MembershipView>>, ApiError> {
    let mut tx = app.read_list().await?;
    Ok(Json(view::mine(&mut tx, app.clock.now(), &whose.0, &page).await?))
}

/// A payout as it is told.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NewPayout")]
pub(super) struct NotePayout {
    membership_id: String,
    amount: i64,
    reference: String,
    paid_at: Option<String>,
    note: Option<String>,
}

#[post("/v1/pods/<id>/payouts", data = "<body>")]
async fn note(
    _caller: Internal,
    id: &str,
    body: JsonBody<NotePayout>,
    app: &State<App>,
) -> Result<Custom<Json<PayoutView>>, ApiError> {
    let (payout, is_new) = body.0.write(app, id, |_, _| ()).await?;
    Ok(Custom(if is_new { Status::Created } else { Status::Ok }, Json(payout.into())))
}

#[get("/v1/pods/<id>/payouts")]
async fn list(_caller: Internal, id: &str, page: Paged, app: &State<App>) -> Result<Json<List<PayoutView>>, ApiError> {
    payouts_of(app, id, &page).await
}

pub(super) async fn payouts_of(app: &App, id: &str, page: &Page) -> Result<Json<List<PayoutView>>, ApiError> {
    let mut tx = app.read_list().await?;
    pods::get(&mut tx, id).await?.ok_or_else(no_pod)?;
    Ok(Json(payouts::list(&mut tx, id, page).await?))
}

impl NotePayout {
    /// Notes it, with what `and` adds where it is new. Whether it is.
    pub(super) async fn write(
        self,
        app: &App,
        pod_id: &str,
        and: impl Fn(&mut UnitOfWork, &Payout) + Send + Sync,
    ) -> Result<(Payout, bool), ApiError> {
        let pod = pods::get(&mut app.read().await?, pod_id).await?.ok_or_else(no_pod)?;
        let new = self.readable(&pod)?;
        let touched = Touched { payouts: Touched::pod(pod_id).pods, ..Touched::pod(pod_id) };
        let written = app.write(&touched, |work| {
            let is_to = |row: &&Membership| row.pod_id == new.pod_id && row.id == new.membership_id;
            let of_pod = work.all().filter(|row: &&Membership| row.pod_id == new.pod_id);
            let contributed = of_pod.fold(0_i64, |sum, row| sum.saturating_add(row.total_contributed));
            if work.all().find(is_to).is_none() {
                return Err(ApiError::not_found("such member of this pod"));
            }
            let (payout, is_new) = payouts::note(work, new.clone(), contributed)?;
            if is_new {
                and(work, &payout);
            }
            Ok((payout, is_new))
        });
        Ok(written.await?.0)
    }

    fn readable(self, pod: &Pod) -> Result<NewPayout, ApiError> {
        let reference = self.reference.trim();
        let is_reference = (1..=REFERENCE_CHARACTERS_MAX).contains(&reference.chars().count())
            && !reference.chars().any(char::is_control);
        if !is_reference {
            let message = format!("`reference` has to have 1 to {REFERENCE_CHARACTERS_MAX} characters");
            return Err(ApiError::invalid_parameter("reference", message));
        }
        if self.amount < 1 {
            return Err(ApiError::invalid_parameter("amount", "`amount` has to be 1 or more, in the minor unit"));
        }
        let note = self.note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
        if note.as_ref().is_some_and(|note| note.chars().count() > NOTE_CHARACTERS_MAX) {
            let message = format!("`note` has at most {NOTE_CHARACTERS_MAX} characters");
            return Err(ApiError::invalid_parameter("note", message));
        }
        let not_a_time = || ApiError::invalid_parameter("paidAt", format!("`paidAt` has to be {A_TIME}"));
        Ok(NewPayout {
            pod_id: pod.id.clone(),
            membership_id: self.membership_id,
            amount: self.amount,
            currency: pod.currency.clone(),
            reference: reference.to_owned(),
            paid_at: self.paid_at.map(|text| query::time(&text).ok_or_else(not_a_time)).transpose()?,
            note,
        })
    }
}

impl From<PayoutError> for ApiError {
    fn from(why: PayoutError) -> Self {
        let code = match why {
            PayoutError::ExceedsPot => "exceeds_pot",
            PayoutError::Mismatch => "payment_mismatch",
        };
        Self::new(Status::Conflict, code, why.to_string())
    }
}
