//! Streams of events, and what was missed, by the licence's key. The key is part of the path: nothing here logs a path.

use std::time::Duration;

use rocket::http::{ContentType, Header, Status};
use rocket::request::{self, FromRequest};
use rocket::response::{self, Responder, Response};
use rocket::serde::json::Json;
use rocket::{Request, State, get, outcome};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use tollgate_db::DbError;
use tollgate_domain::events::cursor::{Resume, Start};
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::verdict::Verdict;
use tracing::debug;

use super::acknowledge;
use super::body::StreamBody;
use super::frames::{EventView, Frames, GapView, REFUSED};
use super::reader::{Opening, Question};
use super::{Shared, Streams, between, count_refused};
use crate::http::context::RequestContext;
use crate::http::endpoint::{Answers, Argument, Endpoint, Operation, Parameter, endpoint, query, schema_of};
use crate::http::error::ApiError;
use crate::http::query::Query;

/// When a client comes back that could not be served: spread, so that not all come at one moment.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// How long the database may take to say whose key it is.
const OPENING_TIMEOUT: Duration = Duration::from_secs(5);

/// The header by which a client says which event it saw last.
const LAST_EVENT_ID: &str = "last-event-id";

/// The longest of our ids: an epoch, a dot and a number.
const EVENT_ID_CHARACTERS_MAX: usize = 100;

/// How many events are given where nothing is said of that, and at most.
const MISSED_DEFAULT: i64 = 25;
const MISSED_MAX: i64 = 1000;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let since = query("since", "The `nextCursor` of the page before, or `0` for the oldest that is kept.");
    let limit = query("limit", "How many events the page has at most.").number(1, MISSED_MAX, MISSED_DEFAULT);
    let mut routes = vec![
        endpoint!(stream, "The events of a licence as they happen. Whatever is wrong, it is not said by a status")
            .takes([
                query("machineId", "What the app knows its machine by; its new stream ends its older one."),
                query("lastEventId", "As the header `Last-Event-ID`, which goes before it."),
            ]),
        endpoint!(missed, "The events of a licence since a cursor, for who does not stream")
            .takes([since, limit])
            .refuses([no_license(), ApiError::database_unavailable()]),
    ];
    routes.extend(acknowledge::routes());
    routes
}

// A browser that is answered anything but 200 never comes again.
#[get("/api/events/<key>")]
async fn stream(
    key: &str,
    query: Query,
    last_event_id: LastEventId,
    context: &RequestContext,
    streams: &State<Streams>,
) -> StreamResponse {
    let shown = last_event_id.0.as_deref().or_else(|| query.text("lastEventId")).unwrap_or_default();
    let app = &streams.0.app;
    let come_again = || StreamResponse::ComeAgain(between(RETRY, &app.rng));
    let machine = query.text("machineId").filter(|id| !id.is_empty()).map(str::to_owned);
    let refused = |verdict| if shown == REFUSED { StreamResponse::Stop } else { StreamResponse::Refused(verdict) };
    let opening = match LicenseKey::parse(key) {
        // It is only said by a status once it was said by an event.
        None => return refused(Verdict::Mistyped),
        Some(_) if streams.are_full() => {
            count_refused("full");
            return come_again();
        }
        Some(key) => match timeout(OPENING_TIMEOUT, streams.0.reader.open(Question { key, machine })).await {
            Ok(Ok(opening)) => opening,
            failed => {
                count_refused("database");
                if let Ok(Err(failure)) = failed {
                    let request_id = &context.request_id;
                    debug!(%request_id, reason = failure.class(), "could not open a stream: {failure}");
                }
                return come_again();
            }
        },
    };
    match opening {
        None => refused(Verdict::Unknown),
        Some(opening) => {
            let start = if shown == REFUSED { Start::Now } else { Start::of(Some(shown)) };
            context.leave();
            StreamResponse::Events(StreamBody::new(streams.inner().clone(), opening, start))
        }
    }
}

/// The first that is not blank counts.
struct LastEventId(Option<String>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for LastEventId {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Self::Error> {
        let mut given = request.headers().get(LAST_EVENT_ID).map(str::trim).filter(|id| !id.is_empty());
        outcome::Outcome::Success(Self(given.next().map(str::to_owned)))
    }
}

impl Argument for LastEventId {
    fn describe(operation: &mut Operation) {
        let id = "The id of the last event that was seen: what came after it is told first.";
        operation.parameters.push(Parameter::header("Last-Event-ID", 0..=EVENT_ID_CHARACTERS_MAX, id));
    }
}

impl Argument for &State<Streams> {
    fn describe(_: &mut Operation) {}
}

impl Answers for StreamResponse {
    fn describe(operation: &mut Operation) {
        // Whatever is wrong, it is not said by a status.
        operation.refusals.clear();
        operation.succeed(Status::Ok, "text/event-stream", schema_of::<Value>);
        operation.succeed_empty(Status::NoContent);
    }
}

enum StreamResponse {
    Events(StreamBody),
    ComeAgain(Duration),
    Refused(Verdict),
    Stop,
}

impl<'r> Responder<'r, 'static> for StreamResponse {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        response
            .header(ContentType::EventStream)
            // Nobody on the way is to keep it, gather it, or change it.
            .header(Header::new("Cache-Control", "no-cache, no-store, no-transform"))
            .header(Header::new("X-Accel-Buffering", "no"));
        let text = match self {
            Self::Events(body) => return response.streamed_body(body).ok(),
            Self::ComeAgain(after) => Frames::default().retry(after).into_text(),
            Self::Refused(verdict) => Frames::default().refused(verdict).into_text(),
            Self::Stop => return Response::build().status(Status::NoContent).ok(),
        };
        response.sized_body(text.len(), std::io::Cursor::new(text)).ok()
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MissedEvents")]
struct Missed {
    data: Vec<EventView>,
    has_more: bool,
    next_cursor: String,
    gap: Option<GapView>,
}

#[get("/api/events/<key>/missed")]
async fn missed(key: &str, query: Query, streams: &State<Streams>) -> Result<Json<Missed>, ApiError> {
    let since = query.read("since", "a cursor: the `nextCursor` of the page before, or `0`", |text| {
        Some(Start::of(Some(text))).filter(|start| matches!(start, Start::Oldest | Start::After(_)))
    })?;
    let limit = query.read("limit", "a number from 1 to 1000", |text| {
        text.parse().ok().filter(|limit| (1..=MISSED_MAX).contains(limit))
    })?;
    let key = LicenseKey::parse(key).ok_or_else(no_license)?;
    let opening = streams.0.reader.open(Question { key, machine: None }).await?.ok_or_else(no_license)?;
    let resume = opening.kept.resume(since.unwrap_or(Start::Oldest));
    Ok(Json(streams.0.missed(&opening, resume, limit.unwrap_or(MISSED_DEFAULT)).await?))
}

fn no_license() -> ApiError {
    ApiError::new(Status::NotFound, "license_not_found", "there is no such licence: check the key")
}

impl Shared {
    async fn missed(&self, opening: &Opening, resume: Resume, limit: i64) -> Result<Missed, DbError> {
        let (mut kept, license_id) = (opening.kept, &*opening.license_id);
        let (mut after, mut is_gap) = match resume {
            Resume::After(after) => (after, false),
            Resume::Gap { after } => (after, true),
        };
        let mut events = self.reader.page(license_id, after, limit).await?;
        if events.first().is_none_or(|event| event.seq != after + 1) && after < kept.newest {
            // What would come next is not there, though what stands before and after it is.
            kept = self.reader.kept_after(license_id, after).await?;
            let (Resume::After(next) | Resume::Gap { after: next }) = kept.resume(Start::Oldest);
            is_gap |= next != after;
            after = next;
            events = self.reader.page(license_id, after, limit).await?;
        }
        // The next page begins with what is missing in this one.
        let in_order = events.iter().zip(after + 1..).take_while(|(event, seq)| event.seq == *seq).count();
        let last = after + in_order as i64;
        Ok(Missed {
            data: events.into_iter().take(in_order).map(EventView::of).collect(),
            has_more: last < kept.newest,
            next_cursor: kept.at(last).to_string(),
            gap: is_gap.then(|| GapView::of(&kept)),
        })
    }
}
