//! `POST /api/terminals/broadcast`: something is said to machines, which those that are away hear when they are back.

use rocket::http::Status;
use rocket::{State, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_domain::apply::Touched;
use tollgate_domain::terminals::{self, Broadcast};
use tracing::info;

use super::caller::{Asking, Caller, connected, no_license};
use crate::app::App;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, Attempt, IdempotentBody};

/// How long an event's name may be.
const EVENT_CHARACTERS_MAX: usize = 64;

/// How long a payload may be, as JSON without blanks.
const PAYLOAD_BYTES_MAX: usize = 8 << 10;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(broadcast, "Tells machines something, by an event of type `broadcast` in the log of their licence")
            .answers(&[Status::Accepted])
            .refuses([ApiError::no_customer()]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "BroadcastRequest")]
struct Body {
    event: String,
    payload: Map<String, Value>,
    license_id: Option<String>,
    machine_ids: Option<Vec<String>>,
    license_key: Option<String>,
    machine_id: Option<String>,
}

/// What machines were told.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Broadcast")]
struct BroadcastView {
    broadcast_id: String,
    events: Vec<BroadcastEvent>,
    connected: usize,
}

/// The event of one licence's log.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BroadcastEvent {
    license_id: String,
    event_id: String,
}

#[post("/api/terminals/broadcast", data = "<request>")]
async fn broadcast(
    asking: Asking<'_>,
    request: IdempotentBody<Body>,
    app: &State<App>,
) -> Result<Answer<BroadcastView>, ApiError> {
    request.body().check()?;
    let limits = asking.limits;
    let Body { license_key, machine_id, .. } = request.body();
    let caller = asking.caller(license_key.as_deref(), machine_id.as_deref()).await?;
    let name = caller.name();
    let answer = request.once_for(app, &name, |body, attempt| {
        let caller = &caller;
        async move { tell(app, caller, body, &attempt, |license_id| limits.broadcasts.check(license_id)).await }
    });
    answer.await
}

async fn tell(
    app: &App,
    caller: &Caller,
    body: Body,
    attempt: &Attempt,
    count: impl Fn(&String) -> Result<(), ApiError>,
) -> Result<Answer<BroadcastView>, ApiError> {
    let Body { event, payload, license_id, machine_ids, .. } = body;
    let mut tx = app.read().await?;
    let addressed = caller.addressed(&mut tx, license_id.as_deref(), machine_ids.as_deref()).await?;
    let meant = addressed.iter().flat_map(|one| one.meant(machine_ids.as_deref()));
    let connected = connected(app, &mut tx, &meant.map(|machine| machine.id.clone()).collect()).await?;
    drop(tx);
    addressed.iter().try_for_each(|one| count(&one.license_id))?;
    let licenses = addressed.iter().map(|one| one.license_id.clone()).collect();
    let touched = attempt.touching(Touched { licenses, ..Touched::default() });
    let told = app.write(&touched, |work| {
        let broadcast = Broadcast {
            id: work.new_id("brd"),
            event: event.clone(),
            payload: payload.clone(),
            machine_ids: machine_ids.clone(),
            from: caller.teller(),
        };
        let mut events = Vec::with_capacity(addressed.len());
        for one in &addressed {
            let license_id = one.license_id.clone();
            let event_id = terminals::broadcast(work, &license_id, &broadcast).ok_or_else(no_license)?;
            events.push(BroadcastEvent { license_id, event_id });
        }
        let id = broadcast.id.clone();
        let view = BroadcastView { broadcast_id: broadcast.id, events, connected };
        Ok::<_, ApiError>((id, attempt.answer(work, &app.settings, Status::Accepted, &view)?))
    });
    let (id, answer) = told.await?.0;
    info!("told the terminals of {} licences broadcast {id}", addressed.len());
    Ok(answer)
}

impl Body {
    fn check(&self) -> Result<(), ApiError> {
        let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_.".contains(letter);
        if !(1..=EVENT_CHARACTERS_MAX).contains(&self.event.chars().count()) || !self.event.chars().all(is_letter) {
            let message = "`event` has to be 1 to 64 of the letters a to z, digits, `_` and `.`";
            return Err(ApiError::invalid_parameter("event", message));
        }
        check_payload(&self.payload, PAYLOAD_BYTES_MAX)
    }
}

/// 422 for a payload that is longer than this, as JSON without blanks.
pub(super) fn check_payload(payload: &impl Serialize, bytes_max: usize) -> Result<(), ApiError> {
    let bytes = serde_json::to_vec(payload).map_or(usize::MAX, |json| json.len());
    let message = || format!("`payload` has to have at most {bytes_max} bytes as JSON");
    (bytes <= bytes_max).then_some(()).ok_or_else(|| ApiError::invalid_parameter("payload", message()))
}
