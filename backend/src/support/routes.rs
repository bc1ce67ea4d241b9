//! `/api/support`: the tickets of a signed-in user.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_db::UnitOfWork;
use tollgate_db::page::List;
use tollgate_domain::apply::Touched;
use tollgate_domain::customers;
use tollgate_domain::licenses::License;
use tollgate_domain::support::search;
use tollgate_domain::support::view::{TicketHeadView, TicketView};
use tollgate_domain::support::{self, CATEGORIES, NewTicket, PRIORITIES, SupportError, Ticket};
use tracing::info;

use super::{BODY_BYTES_MAX, no_ticket, readable_message};
use crate::app::App;
use crate::http::auth::User;
use crate::http::body::Nothing;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, Attempt, IdempotentBody};
use crate::http::page::Paged;

/// How long a subject may be.
const SUBJECT_CHARACTERS_MAX: usize = 200;

/// How urgent a ticket is where nothing is said.
const PRIORITY: &str = "normal";

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(open, "Opens a ticket")
            .answers(&[Status::Created])
            .refuses([no_license(), ApiError::rate_limited(1)]),
        endpoint!(list, "The tickets of the user, the newest first, without what was written in them"),
        endpoint!(show, "A ticket of the user's, with what was written in it").refuses([no_ticket()]),
        endpoint!(add, "Writes into a ticket, which opens it again").refuses([no_ticket(), full()]),
        endpoint!(close, "Closes a ticket; one that is closed stays as it is").refuses([no_ticket()]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NewTicket")]
struct Open {
    subject: String,
    message: String,
    category: Option<String>,
    priority: Option<String>,
    license_id: Option<String>,
}

#[post("/api/support", data = "<request>")]
async fn open(
    user: User,
    request: IdempotentBody<Open, { BODY_BYTES_MAX }>,
    app: &State<App>,
) -> Result<Answer<TicketView>, ApiError> {
    let new = request.body().readable(&user.id)?;
    let answer = request.once(app, &user, |_, attempt| async move {
        if let Some(license_id) = &new.license_id {
            let mut tx = app.read().await?;
            let license: Option<License> =
                customers::thing_of_user(&mut tx, &new.user_id, license_id, |row: &License| &row.customer_id).await?;
            license.ok_or_else(no_license)?;
        }
        let touched = attempt.touching(Touched::new_ticket_of(&new.user_id));
        let opened = app.write(&touched, |work| {
            let ticket = support::open(work, new.clone()).map_err(|error| refusal(app, error))?;
            Ok::<_, ApiError>((ticket.id.clone(), answer(app, work, &attempt, Status::Created, ticket)?))
        });
        let (id, answer) = opened.await?.0;
        info!("opened ticket {id}");
        Ok(answer)
    });
    answer.await
}

#[get("/api/support")]
async fn list(user: User, page: Paged, app: &State<App>) -> Result<Json<List<TicketHeadView>>, ApiError> {
    let mut tx = app.read_list().await?;
    Ok(Json(search::of_user(&mut tx, &user.id, &page).await?.map(TicketHeadView::from)))
}

#[get("/api/support/<id>")]
async fn show(user: User, id: &str, app: &State<App>) -> Result<Json<TicketView>, ApiError> {
    let found = support::find(&mut app.read().await?, id).await?;
    let (ticket, messages) = found.filter(|(ticket, _)| ticket.user_id == user.id).ok_or_else(no_ticket)?;
    Ok(Json(TicketView::of(ticket, messages)))
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewTicketMessage")]
struct Add {
    message: String,
}

#[post("/api/support/<id>/messages", data = "<request>")]
async fn add(
    user: User,
    id: &str,
    request: IdempotentBody<Add, { BODY_BYTES_MAX }>,
    app: &State<App>,
) -> Result<Answer<TicketView>, ApiError> {
    let text = readable_message(&request.body().message)?;
    let user_id = &user.id;
    let answer = request.once(app, &user, |_, attempt| async move {
        let touched = attempt.touching(Touched::ticket(id));
        let added = app.write(&touched, |work| {
            let ticket = support::add(work, user_id, id, text.clone()).map_err(|error| refusal(app, error))?;
            answer(app, work, &attempt, Status::Ok, ticket)
        });
        Ok(added.await?.0)
    });
    answer.await
}

#[post("/api/support/<id>/close", data = "<request>")]
async fn close(
    user: User,
    id: &str,
    request: IdempotentBody<Nothing>,
    app: &State<App>,
) -> Result<Answer<TicketView>, ApiError> {
    let user_id = &user.id;
    let answer = request.once(app, &user, |_, attempt| async move {
        let touched = attempt.touching(Touched::ticket(id));
        let closed = app.write(&touched, |work| {
            let ticket = support::close(work, user_id, id).map_err(|error| refusal(app, error))?;
            answer(app, work, &attempt, Status::Ok, ticket)
        });
        Ok(closed.await?.0)
    });
    answer.await
}

/// The ticket as its customer sees it, which is remembered with what is written.
fn answer(
    app: &App,
    work: &mut UnitOfWork,
    attempt: &Attempt,
    status: Status,
    ticket: Ticket,
) -> Result<Answer<TicketView>, ApiError> {
    let messages = support::messages_in(work, &ticket.id);
    attempt.answer(work, &app.settings, status, &TicketView::of(ticket, messages))
}

pub(super) fn refusal(app: &App, error: SupportError) -> ApiError {
    match error {
        SupportError::Unknown => no_ticket(),
        SupportError::Full => full(),
        SupportError::TooMany { until } => {
            let seconds = (until - app.clock.now()).num_seconds().max(0) + 1;
            ApiError::rate_limited(u32::try_from(seconds).unwrap_or(u32::MAX))
        }
    }
}

/// 409: the ticket holds as much as one may.
fn full() -> ApiError {
    ApiError::new(Status::Conflict, "ticket_full", "the ticket holds as many messages as one may; open another one")
}

/// 404: there is no such licence, or it is somebody else's.
fn no_license() -> ApiError {
    ApiError::not_found("such licence")
}

impl Open {
    fn readable(&self, user_id: &str) -> Result<NewTicket, ApiError> {
        let subject = self.subject.trim();
        let is_readable =
            (1..=SUBJECT_CHARACTERS_MAX).contains(&subject.chars().count()) && !subject.chars().any(char::is_control);
        if !is_readable {
            let message = "`subject` has to have 1 to 200 characters, without control characters";
            return Err(ApiError::invalid_parameter("subject", message));
        }
        Ok(NewTicket {
            user_id: user_id.to_owned(),
            subject: subject.to_owned(),
            text: readable_message(&self.message)?,
            category: one_of("category", self.category.as_deref(), &CATEGORIES)?,
            priority: one_of("priority", self.priority.as_deref(), &PRIORITIES)?.unwrap_or_else(|| PRIORITY.to_owned()),
            license_id: self.license_id.clone(),
        })
    }
}

fn one_of(param: &'static str, given: Option<&str>, known: &[&str]) -> Result<Option<String>, ApiError> {
    match given {
        Some(given) if !known.contains(&given) => {
            let message = format!("`{param}` has to be one of `{}`", known.join("`, `"));
            Err(ApiError::invalid_parameter(param, message))
        }
        given => Ok(given.map(str::to_owned)),
    }
}
