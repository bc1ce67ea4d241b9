//! Events of Stripe's, for operators: those that are asked for, and one from end to end.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tollgate_db::page::List;
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::acts::{self, Act};
use tracing::info;

use super::one_event::{self, WholeEvent};
use crate::app::App;
use crate::audit::looks;
use crate::http::auth::Operator;
use crate::http::body::JsonBody;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;
use crate::http::reason::Reason;
use crate::relays::{Asked, Redelivered};
use crate::webhooks::Status;
use crate::webhooks::view::{self, EventView, Filter};

#[cfg(test)]
mod tests;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let filter = [
        query("status", "What became of them.").one_of(&Status::ALL.map(Status::name)),
        query("type", "Their type."),
        query("customer", "The customer that their object names."),
        query("object", "Their object, where that names no customer; `customer` does not matter then."),
        query("from", "Received not before this moment.").time(),
        query("to", "Received before this moment.").time(),
    ];
    vec![
        endpoint!(list, "The events that were taken, the newest first").takes(filter),
        endpoint!(
            show,
            "One event from end to end: in the relays' journals, at each attempt, in the rows that it changed and in licences' logs"
        )
        .takes([query("payload", "With the exact bytes that came; that somebody saw them is in the audit trail.").switch()])
        .refuses([no_such_event()]),
        endpoint!(redeliver, "Has every relay that holds an event deliver it again"),
    ]
}

#[get("/api/admin/events")]
async fn list(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<EventView>>, ApiError> {
    let filter = Filter {
        status: query.read("status", "`processed`, `failed`, `dead_lettered` or `ignored`", Status::of)?,
        event_type: query.text("type").map(str::to_owned),
        customer: query.text("customer").map(str::to_owned),
        object: query.text("object").map(str::to_owned),
    };
    let (from, to) = (query.time("from")?, query.time("to")?);
    let mut tx = app.read_list().await?;
    Ok(Json(view::list_between(&mut tx, &filter, (from, to), &page).await?.map(EventView::from)))
}

#[get("/api/admin/events/<id>")]
async fn show(
    operator: Operator,
    id: &str,
    query: Query,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<WholeEvent>, ApiError> {
    let wants_payload = query.switch("payload")?;
    let event = one_event::load(app, id, &context.request_id).await?.ok_or_else(no_such_event)?;
    if !wants_payload {
        return Ok(Json(event));
    }
    looks::note(app, &operator.acting(context, None), "webhook_event.look", ("webhook_event", id)).await?;
    let payload = view::payload(&mut app.read().await?, id).await?;
    Ok(Json(event.with_payload(payload)))
}

/// What came of an event at each relay.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventRedelivered")]
struct RedeliveredView {
    event_id: String,
    relays: Vec<RelayResult>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct RelayResult {
    /// What it is called, or its address where it is silent.
    relay: String,
    reachable: bool,
    /// `confirmed`, `refused` or `unanswered` by the backend; `unknown` where its journal has no such event.
    outcome: Option<String>,
}

#[post("/api/admin/events/<id>/redeliver", data = "<body>")]
async fn redeliver(
    operator: Operator,
    id: &str,
    body: JsonBody<Reason>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<RedeliveredView>, ApiError> {
    let by = operator.acting(context, Some(body.0.readable()?));
    let known = view::find(&mut app.read().await?, id).await?;
    // What is done is done by relays, and each says so when it is done: that it was wanted is put on record before.
    let touched = Touched::default();
    let noted = app.write(&touched, |work| {
        let after = json!({ "relays": app.config.relay_admin_urls.len() });
        let target = ("webhook_event", id);
        acts::record(work, &by, Act { action: "webhook_event.redeliver", target, before: None, after: Some(after) });
        Ok::<_, ApiError>(())
    });
    noted.await?;
    let from = one_event::received_from(known.as_ref());
    let asked = app.relays.redeliver(id, from, &context.request_id).await;
    info!(request_id = %context.request_id, relays = asked.len(), "had event redelivered by its relays");
    let result = |asked: Asked<Redelivered>| match asked.said {
        Some(said) => RelayResult {
            relay: said.relay,
            reachable: true,
            outcome: said.results.into_iter().find(|result| result.event_id == id).map(|result| result.outcome),
        },
        None => RelayResult { relay: asked.url, reachable: false, outcome: None },
    };
    Ok(Json(RedeliveredView { event_id: id.to_owned(), relays: asked.into_iter().map(result).collect() }))
}

fn no_such_event() -> ApiError {
    ApiError::not_found("such event, in the database or in a relay's journal")
}
