//! `/api/admin/support`: all tickets, for operators.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_db::UnitOfWork;
use tollgate_db::page::List;
use tollgate_domain::apply::Touched;
use tollgate_domain::notifications::{self, SupportReply};
use tollgate_domain::support::search::{self, Filter, Search};
use tollgate_domain::support::view::{OperatorTicketHeadView, OperatorTicketView};
use tollgate_domain::support::{self, Response, Ticket, TicketMessage, TicketStatus};
use tracing::info;

use super::routes::refusal;
use super::{BODY_BYTES_MAX, no_ticket, readable_message};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::body::JsonBody;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let filter = [
        query("status", "How they stand.").one_of(&["open", "answered", "closed"]),
        query("q", "A ticket's number or id, a licence's id, or the id of a user."),
    ];
    vec![
        endpoint!(list, "Tickets, the newest first, without what was written in them").takes(filter),
        endpoint!(show, "A ticket with all that was written in it, notes too").refuses([no_ticket()]),
        endpoint!(
            respond,
            "Answers a ticket, of which its customer is told; or notes something of which they see nothing"
        )
        .refuses([no_ticket()]),
    ]
}

const STATUSES: &str = "`open`, `answered` or `closed`";

#[get("/api/admin/support")]
async fn list(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<OperatorTicketHeadView>>, ApiError> {
    let filter = Filter {
        status: query.read("status", STATUSES, TicketStatus::named)?,
        search: query.text("q").and_then(Search::typed),
    };
    let mut tx = app.read_list().await?;
    Ok(Json(search::search(&mut tx, &filter, &page).await?.map(OperatorTicketHeadView::from)))
}

#[get("/api/admin/support/<id>")]
async fn show(_operator: Operator, id: &str, app: &State<App>) -> Result<Json<OperatorTicketView>, ApiError> {
    let (ticket, messages) = support::find(&mut app.read().await?, id).await?.ok_or_else(no_ticket)?;
    Ok(Json(OperatorTicketView::of(ticket, messages)))
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TicketResponse")]
struct Respond {
    message: String,
    status: Option<String>,
    #[serde(default)]
    internal: bool,
}

#[post("/api/admin/support/<id>/respond", data = "<body>")]
async fn respond(
    operator: Operator,
    id: &str,
    body: JsonBody<Respond, { BODY_BYTES_MAX }>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<OperatorTicketView>, ApiError> {
    let response = body.0.readable()?;
    let by = operator.acting(context, None);
    let touched = Touched::ticket(id);
    let responded = app.write(&touched, |work| {
        let (ticket, message) =
            support::respond(work, &by, id, response.clone()).map_err(|error| refusal(app, error))?;
        if !message.is_internal {
            tell_customer(work, &ticket, &message);
        }
        let messages = support::messages_in(work, id);
        Ok::<_, ApiError>(OperatorTicketView::of(ticket, messages))
    });
    let (ticket, _) = responded.await?;
    info!(request_id = %context.request_id, "responded to ticket {id}");
    Ok(Json(ticket))
}

fn tell_customer(work: &mut UnitOfWork, ticket: &Ticket, answer: &TicketMessage) {
    let reply = SupportReply {
        ticket_id: &ticket.id,
        message_id: &answer.id,
        number: ticket.number,
        subject: &ticket.subject,
        text: &answer.text,
    };
    notifications::support_reply(work, &ticket.user_id, reply);
}

impl Respond {
    fn readable(self) -> Result<Response, ApiError> {
        let named = |name: String| {
            let message = || format!("`status` has to be {STATUSES}");
            TicketStatus::named(&name).ok_or_else(|| ApiError::invalid_parameter("status", message()))
        };
        Ok(Response {
            text: readable_message(&self.message)?,
            status: self.status.map(named).transpose()?,
            is_internal: self.internal,
        })
    }
}
