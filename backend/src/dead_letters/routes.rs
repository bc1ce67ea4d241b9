//! The queue of dead letters, for operators.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_db::page::List;
use tollgate_domain::dead_letters::{Source, Status};
use tracing::info;

use super::acts::{self, Done};
use super::view::{self, DeadLetterView, Filter, StatsView};
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::body::OptionalJsonBody;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;
use crate::http::reason::MaybeReason;
use crate::webhooks::inbox::Inbox;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let unresolved = [acts::unknown(), acts::already_resolved()];
    vec![
        endpoint!(list, "The dead letters, the newest first; or how many are open, and why").takes([
            query("status", "How far along they are.").one_of(&Status::ALL.map(Status::name)),
            query("source", "Where they come from.").one_of(&Source::ALL.map(Source::name)),
            query("type", "The type of their events."),
            query("q", "The id of one letter, or of what failed: that one alone, whatever else is asked for."),
            query("stats", "Numbers in the place of the letters.").switch(),
        ]),
        endpoint!(retry, "Has what failed tried again at once; `id` is the letter's, or that of its event of Stripe's")
            .refuses(unresolved.clone()),
        endpoint!(resolve, "Takes a letter off the queue, without trying anything").refuses(unresolved),
    ]
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "DeadLetters")]
enum Listed {
    Letters(List<DeadLetterView>),
    Stats(StatsView),
}

#[get("/api/dlq")]
async fn list(_operator: Operator, query: Query, page: Paged, app: &State<App>) -> Result<Json<Listed>, ApiError> {
    let filter = Filter {
        status: query.read("status", "`open`, `retrying` or `resolved`", Status::of)?,
        source: query.read("source", "`webhook`, `delivery`, `desktop` or `notification`", Source::of)?,
        event_type: query.text("type").map(str::to_owned),
    };
    let wants_stats = query.switch("stats")?;
    let mut tx = app.read_list().await?;
    Ok(Json(if wants_stats {
        Listed::Stats(view::stats(&mut tx, app.clock.now()).await?)
    } else if let Some(id) = query.text("q") {
        Listed::Letters(view::one(&mut tx, id).await?)
    } else {
        Listed::Letters(view::list(&mut tx, &filter, &page).await?)
    }))
}

#[post("/api/dlq/retry/<id>", data = "<body>")]
async fn retry(
    operator: Operator,
    id: &str,
    body: OptionalJsonBody<MaybeReason>,
    context: &RequestContext,
    inbox: &State<Inbox>,
) -> Result<Json<Done>, ApiError> {
    let by = operator.acting(context, body.0.readable()?);
    let done = acts::retry(inbox, id, by, &context.request_id).await?;
    info!(request_id = %context.request_id, "retried dead letter {}: {}", done.event_id, done.outcome);
    Ok(Json(done))
}

/// What an operator says of a letter that is done with.
#[derive(Default, Deserialize, JsonSchema)]
struct Resolution {
    note: Option<String>,
}

/// How long a note may be: a paragraph, with a link to a ticket.
const NOTE_CHARACTERS_MAX: usize = 1000;

#[post("/api/dlq/resolve/<id>", data = "<body>")]
async fn resolve(
    operator: Operator,
    id: &str,
    body: OptionalJsonBody<Resolution>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<Done>, ApiError> {
    let by = operator.acting(context, body.0.readable()?);
    let done = acts::resolve(app, id, by).await?;
    info!(request_id = %context.request_id, "resolved dead letter {}", done.event_id);
    Ok(Json(done))
}

impl Resolution {
    fn readable(self) -> Result<Option<String>, ApiError> {
        let note = self.note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
        if note.as_ref().is_none_or(|note| note.chars().count() <= NOTE_CHARACTERS_MAX) {
            return Ok(note);
        }
        let message = format!("`note` may have at most {NOTE_CHARACTERS_MAX} characters");
        Err(ApiError::invalid_parameter("note", message))
    }
}
