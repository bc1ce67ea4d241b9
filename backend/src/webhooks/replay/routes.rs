//! Replay, for operators.

use rocket::serde::json::Json;
use rocket::{State, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_db::page::Position;
use tollgate_shared::{Clock, Timestamp};
use tracing::info;

use super::view::{NOT_DONE, ReplayView, ReplayedView};
use super::{ACTION, EVENTS_MAX, REACH, REQUESTS_PER_MINUTE, Received, SelectError, Selection};
use crate::http::auth::Operator;
use crate::http::body::JsonBody;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Argument, Endpoint, Operation, endpoint};
use crate::http::error::ApiError;
use crate::http::query;
use crate::http::rate_limit::RateLimit;
use crate::http::reason::maybe_readable;
use crate::webhooks::inbox::{Inbox, Order};

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(replay, "Replays one event, some of them, or a page of those that were received within a time")
            .refuses([ApiError::from(SelectError::Unknown)]),
    ]
}

/// How often operators may ask, in this process.
pub struct ReplayLimit(RateLimit<()>);

impl ReplayLimit {
    /// None has asked yet.
    pub fn new(clock: Clock) -> Self {
        Self(RateLimit::per_minute(REQUESTS_PER_MINUTE, clock))
    }
}

impl Argument for &State<ReplayLimit> {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::rate_limited(1));
    }
}

/// What is to be replayed, and whether only to say what would come of it.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReplayRequest")]
struct Request {
    event_id: Option<String>,
    event_ids: Option<Vec<String>>,
    from: Option<String>,
    to: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    dry_run: bool,
    cursor: Option<String>,
    /// Why, for the audit trail.
    reason: Option<String>,
}

#[post("/api/stripe/webhooks/replay", data = "<body>")]
async fn replay(
    operator: Operator,
    body: JsonBody<Request>,
    context: &RequestContext,
    limit: &State<ReplayLimit>,
    inbox: &State<Inbox>,
) -> Result<Json<ReplayView>, ApiError> {
    let (selection, after) = body.0.selection(inbox.app().clock.now())?;
    let reason = maybe_readable(body.0.reason)?;
    limit.0.check(&())?;
    let (dry_run, request_id) = (body.0.dry_run, &context.request_id);
    let selected = super::select(inbox.app(), &selection, after).await?;
    let order = Order { action: ACTION, by: operator.acting(context, reason) };
    let replayed = super::run(inbox, &selected, order, dry_run, request_id).await?;
    let results: Vec<_> = replayed.into_iter().map(ReplayedView::from).collect();
    info!(%request_id, events = results.len(), dry_run, "replayed {} events", results.len());
    if !results.is_empty() && results.iter().all(|result| result.outcome == NOT_DONE) {
        return Err(ApiError::database_unavailable());
    }
    let next_cursor = selected.next_cursor().map(str::to_owned);
    Ok(Json(ReplayView { matched: selected.matched, results, has_more: next_cursor.is_some(), next_cursor }))
}

impl Request {
    fn selection(&self, now: Timestamp) -> Result<(Selection, Option<Position>), ApiError> {
        let range = [("from", &self.from), ("to", &self.to), ("type", &self.r#type), ("cursor", &self.cursor)];
        let given = range.iter().find(|(_, value)| value.is_some()).map(|(name, _)| *name);
        match (&self.event_id, &self.event_ids, given) {
            (Some(id), None, None) => Ok((Selection::Named(vec![id.clone()]), None)),
            (None, Some(ids), None) => Ok((Selection::Named(named(ids)?), None)),
            (None, None, Some(_)) => self.received(now),
            (Some(_), Some(_), _) => Err(ApiError::invalid_parameter("eventIds", WHICH)),
            (_, _, Some(name)) => Err(ApiError::invalid_parameter(name, WHICH)),
            (None, None, None) => Err(ApiError::invalid_parameter("eventId", WHICH)),
        }
    }

    fn received(&self, now: Timestamp) -> Result<(Selection, Option<Position>), ApiError> {
        let from = time("from", self.from.as_deref())?;
        let to = time("to", self.to.as_deref())?;
        if from < now - REACH {
            let message = format!("`from` may lie at most {} days back; older events can be named", REACH.num_days());
            return Err(ApiError::invalid_parameter("from", message));
        }
        if to <= from {
            return Err(ApiError::invalid_parameter("to", "`to` has to be later than `from`"));
        }
        let after = match self.cursor.as_deref().map(Position::from_cursor) {
            Some(None) => {
                return Err(ApiError::invalid_parameter(
                    "cursor",
                    "`cursor` has to be the `nextCursor` of the page before",
                ));
            }
            after => after.flatten(),
        };
        // What comes from now on is processed anyway.
        let received = Received { from, to: to.min(now), event_type: self.r#type.clone() };
        Ok((Selection::Received(received), after))
    }
}

const WHICH: &str =
    "say which events: one by `eventId`, some by `eventIds`, or `from` and `to`, with or without `type`";

/// Each id once, in the order in which they were given.
fn named(ids: &[String]) -> Result<Vec<String>, ApiError> {
    let mut named: Vec<String> = Vec::with_capacity(ids.len());
    for id in ids.iter().take(EVENTS_MAX) {
        if !named.contains(id) {
            named.push(id.clone());
        }
    }
    if (1..=EVENTS_MAX).contains(&ids.len()) {
        return Ok(named);
    }
    Err(ApiError::invalid_parameter("eventIds", format!("`eventIds` has to name 1 to {EVENTS_MAX} events")))
}

fn time(name: &'static str, text: Option<&str>) -> Result<Timestamp, ApiError> {
    let time = text.and_then(query::time);
    time.ok_or_else(|| ApiError::invalid_parameter(name, format!("`{name}` has to be {}", query::A_TIME)))
}

impl From<SelectError> for ApiError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Unknown => Self::not_found("such event"),
            SelectError::Database(failure) => failure.into(),
        }
    }
}
