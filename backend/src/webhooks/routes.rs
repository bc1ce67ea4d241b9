//! The webhook intake, and what became of the events that it took.

use std::convert::Infallible;

use bytes::Bytes;
use rocket::data::{self, Data, FromData};
use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::{ContentType, Status as HttpStatus};
use rocket::outcome::Outcome as GuardOutcome;
use rocket::request::{self, FromRequest};
use rocket::response::{self, Responder, Response};
use rocket::serde::json::Json;
use rocket::{Request, State, get, post};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::List;
use tollgate_shared::error_body::ErrorDetail;
use tollgate_shared::json_seq;
use tollgate_shared::receipt::{self, RECEIPTS_HEADER, Receipt};

use super::Status;
use super::inbox::{Delivery, Inbox, IntakeError};
use super::view::{self, EventView, Filter};
use crate::app::App;
use crate::http::auth::{Intake, Internal};
use crate::http::body;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Answers, Argument, Body, Endpoint, Operation, Parameter, endpoint, query, schema_of};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;

#[cfg(test)]
mod tests;

/// Where the relay hands events over.
pub const INTAKE_PATH: &str = "/subscriptions/internal/stripe-webhook";

/// The largest body of the intake, whatever the relay's limit for one event: it also has to hold a sequence of them.
pub const INTAKE_BYTES_MAX: usize = 32 << 20;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(take, "Takes one event, or a sequence of up to 256 (RFC 7464)"),
        endpoint!(list, "The events that were taken, the newest first").takes([
            query("status", "What became of them.").one_of(&Status::ALL.map(Status::name)),
            query("type", "Their type."),
            query("customer", "The customer that their object names."),
        ]),
        endpoint!(show, "One event, with its payload if asked for")
            .takes([query("payload", "With the exact bytes that came.").switch()])
            .refuses([no_such_event()]),
    ]
}

/// Says on every answer of the intake, refusals included, that it takes several events at once: the relay sends
/// several only to a backend that said so.
pub struct AcceptPost;

#[rocket::async_trait]
impl Fairing for AcceptPost {
    fn info(&self) -> Info {
        Info { name: "Accept-Post of the webhook intake", kind: Kind::Response }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        if request.uri().path() == INTAKE_PATH {
            response.set_raw_header("Accept-Post", json_seq::ACCEPT_POST);
        }
    }
}

/// What the relay hands over: the exact bytes, of one event or of several.
enum IntakeBody {
    One(Bytes),
    Several(Vec<Bytes>),
}

#[rocket::async_trait]
impl<'r> FromData<'r> for IntakeBody {
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        let body = match body::read(request, data, INTAKE_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return body::refuse(request, error),
        };
        if !request.content_type().is_some_and(is_sequence) {
            return GuardOutcome::Success(Self::One(body));
        }
        // One more than there may be, to know that there are more.
        let events: Vec<_> =
            json_seq::split(&body).take(json_seq::EVENTS_MAX + 1).map(|event| body.slice_ref(event)).collect();
        if events.len() > json_seq::EVENTS_MAX {
            return body::refuse(request, batch_too_large());
        }
        GuardOutcome::Success(Self::Several(events))
    }
}

/// An event, as far as it has to be one to be taken.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is there for its schema")]
struct StripeEvent {
    #[schemars(length(min = 1, max = 255))]
    id: String,
    r#type: String,
}

impl Argument for IntakeBody {
    fn describe(operation: &mut Operation) {
        let media_types = &["application/json", "application/json-seq"];
        operation.body = Some(Body { media_types, schema: schema_of::<StripeEvent>, is_required: true });
        body::refuse_unreadable(operation, INTAKE_BYTES_MAX);
        operation.refuse(batch_too_large());
    }
}

fn is_sequence(content_type: &ContentType) -> bool {
    content_type.top() == "application" && content_type.sub() == "json-seq"
}

#[post("/subscriptions/internal/stripe-webhook", data = "<body>")]
async fn take(
    _relay: Intake,
    receipts: Receipts,
    body: IntakeBody,
    inbox: &State<Inbox>,
    context: &RequestContext,
) -> IntakeResponse {
    let take = async |events| inbox.take_of_relay(events, &receipts.0, &context.request_id).await;
    match body {
        IntakeBody::One(event) => IntakeResponse::One(take(vec![event]).await.remove(0)),
        IntakeBody::Several(events) => IntakeResponse::Several(take(events).await),
    }
}

/// What the relay says of the events; nothing where it does not.
struct Receipts(Vec<Receipt>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Receipts {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Infallible> {
        let receipts = request.headers().get_one(RECEIPTS_HEADER).and_then(receipt::parse);
        GuardOutcome::Success(Self(receipts.unwrap_or_default()))
    }
}

impl Argument for Receipts {
    fn describe(operation: &mut Operation) {
        let text = "By which request each of the events came to the relay, and when: `req_a=1764302400123456,req_b=…`.";
        // Any text: one that cannot be read tells of no event.
        operation.parameters.push(Parameter { place: "header", ..query("X-Event-Receipts", text) });
    }
}

enum IntakeResponse {
    One(Delivery),
    Several(Vec<Delivery>),
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReceivedEvent")]
struct Received {
    received: bool,
    event_id: String,
    outcome: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StoredEvent")]
struct Stored {
    error: ErrorDetail,
    stored: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReceivedEvents")]
struct Results {
    results: Vec<EventResult>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EventResult {
    event_id: Option<String>,
    status: u16,
    received: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorDetail>,
}

impl EventResult {
    fn of(delivery: Delivery, request_id: &str) -> Self {
        match delivery {
            Ok((event_id, outcome)) => Self {
                event_id: Some(event_id),
                status: HttpStatus::Ok.code,
                received: true,
                outcome: Some(outcome.name()),
                error: None,
            },
            Err((event_id, error)) => {
                let error = ApiError::from(error);
                let detail = error.detail(request_id);
                Self { event_id, status: error.status.code, received: false, outcome: None, error: Some(detail) }
            }
        }
    }
}

/// What is said of one event, or of several in their order.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is there for its schema")]
enum Taken {
    One(Received),
    Several(Results),
}

impl Answers for IntakeResponse {
    fn describe(operation: &mut Operation) {
        operation.succeed(HttpStatus::Ok, "application/json", schema_of::<Taken>);
        operation.succeed(HttpStatus::InternalServerError, "application/json", schema_of::<Stored>);
        operation.refuse(IntakeError::Malformed);
        operation.refuse(IntakeError::NotStored);
    }
}

impl Argument for &State<Inbox> {
    fn describe(operation: &mut Operation) {
        operation.refuse(IntakeError::NotStored);
    }
}

impl<'r> Responder<'r, 'static> for IntakeResponse {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let request_id = RequestContext::of(request).request_id.as_str();
        match self {
            Self::One(Ok((event_id, outcome))) => {
                Json(Received { received: true, event_id, outcome: outcome.name() }).respond_to(request)
            }
            Self::One(Err((_, error @ IntakeError::RetryScheduled))) => {
                let error = ApiError::from(error);
                let stored = Json(Stored { error: error.detail(request_id), stored: true });
                response::status::Custom(error.status, stored).respond_to(request)
            }
            Self::One(Err((_, error))) => ApiError::from(error).respond_to(request),
            Self::Several(deliveries) => {
                let results = deliveries.into_iter().map(|delivery| EventResult::of(delivery, request_id)).collect();
                Json(Results { results }).respond_to(request)
            }
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Malformed => Self::new(
                HttpStatus::BadRequest,
                "malformed_event",
                "an event is a JSON object with a string `id` of 1 to 255 characters and a string `type`",
            ),
            IntakeError::RetryScheduled => Self::new(
                HttpStatus::InternalServerError,
                "processing_failed",
                "the event is stored and will be tried again here",
            ),
            IntakeError::NotStored => Self::database_unavailable(),
        }
    }
}

fn no_such_event() -> ApiError {
    ApiError::not_found("such event")
}

fn batch_too_large() -> ApiError {
    let message = format!("a sequence holds at most {} events; none of it was stored", json_seq::EVENTS_MAX);
    ApiError::new(HttpStatus::PayloadTooLarge, "batch_too_large", message)
}

#[get("/v1/webhook-events")]
async fn list(
    _caller: Internal,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<EventView>>, ApiError> {
    let filter = Filter {
        status: query.read("status", "`processed`, `failed`, `dead_lettered` or `ignored`", Status::of)?,
        event_type: query.text("type").map(str::to_owned),
        customer: query.text("customer").map(str::to_owned),
        object: None,
    };
    let mut tx = app.read_list().await?;
    Ok(Json(view::list(&mut tx, &filter, &page).await?.map(EventView::from)))
}

#[get("/v1/webhook-events/<id>")]
async fn show(_caller: Internal, id: &str, query: Query, app: &State<App>) -> Result<Json<EventView>, ApiError> {
    let wants_payload = query.switch("payload")?;
    let mut tx = app.read().await?;
    let row = view::find(&mut tx, id).await?.ok_or_else(no_such_event)?;
    let mut event = EventView::from(row);
    if wants_payload {
        let payload = view::payload(&mut tx, id).await?.unwrap_or_default();
        // Only UTF-8 is taken for an event, so nothing is lost.
        event.payload = Some(String::from_utf8_lossy(&payload).into_owned());
    }
    Ok(Json(event))
}
