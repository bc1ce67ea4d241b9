//! `/api/terminals/sync`: machines take over a state, and say what became of it.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tollgate_domain::apply::Touched;
use tollgate_domain::terminals::Teller;
use tollgate_domain::terminals::sync::{self, NewSync};
use tollgate_domain::terminals::view::SyncView;
use tracing::info;

use super::broadcast::check_payload;
use super::caller::{Asking, Caller, no_license};
use super::lists::shown_by_machine;
use crate::app::App;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, Attempt, IdempotentBody};
use crate::http::query::Query;

const TYPE_CHARACTERS_MAX: usize = 64;

/// How long a payload may be, as JSON without blanks.
const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// How long the body may be: as it is sent a payload may be longer than without blanks and escapes.
const BODY_BYTES_MAX: usize = 4 * PAYLOAD_BYTES_MAX;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(
            begin,
            "Has machines take over a state, by an event of type `state_sync` in the log of their licence"
        )
        .answers(&[Status::Accepted])
        .refuses([ApiError::no_customer()]),
        endpoint!(show, "What became of a sync, at each machine that it is for")
            .takes(shown_by_machine())
            .refuses([no_sync()]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SyncRequest")]
struct Body {
    sync_type: String,
    payload: Value,
    license_id: Option<String>,
    machine_ids: Option<Vec<String>>,
    license_key: Option<String>,
    machine_id: Option<String>,
}

#[post("/api/terminals/sync", data = "<request>")]
async fn begin(
    asking: Asking<'_>,
    request: IdempotentBody<Body, { BODY_BYTES_MAX }>,
    app: &State<App>,
) -> Result<Answer<SyncView>, ApiError> {
    request.body().check()?;
    let limits = asking.limits;
    let Body { license_key, machine_id, .. } = request.body();
    let caller = asking.caller(license_key.as_deref(), machine_id.as_deref()).await?;
    let name = caller.name();
    let answer = request.once_for(app, &name, |body, attempt| {
        let caller = &caller;
        async move { tell(app, caller, body, &attempt, |license_id| limits.syncs.check(license_id)).await }
    });
    answer.await
}

async fn tell(
    app: &App,
    caller: &Caller,
    body: Body,
    attempt: &Attempt,
    count: impl Fn(&String) -> Result<(), ApiError>,
) -> Result<Answer<SyncView>, ApiError> {
    let Body { sync_type, payload, license_id, machine_ids: named, .. } = body;
    let addressed = caller.addressed(&mut app.read().await?, license_id.as_deref(), named.as_deref()).await?;
    let [addressed] = &addressed[..] else { return Err(of_several()) };
    let from = caller.teller();
    let is_other = |id: &String| named.is_some() || from != Teller::Machine(id.clone());
    let machine_ids: Vec<_> =
        addressed.meant(named.as_deref()).map(|machine| machine.id.clone()).filter(is_other).collect();
    let license_id = &addressed.license_id;
    count(license_id)?;
    let touched = attempt.touching(Touched::license(license_id));
    let begun = app.write(&touched, |work| {
        let new = NewSync {
            id: work.new_id("syn"),
            sync_type: sync_type.clone(),
            payload: payload.clone(),
            named: named.clone(),
            machine_ids: machine_ids.clone(),
            from: from.clone(),
        };
        let sync = sync::begin(work, license_id, &new).ok_or_else(no_license)?;
        let view = SyncView::of(&sync, &[], work.now());
        Ok::<_, ApiError>((sync.id, attempt.answer(work, &app.settings, Status::Accepted, &view)?))
    });
    let (id, answer) = begun.await?.0;
    info!(license.id = %license_id, "told the terminals of licence {license_id} sync {id}");
    Ok(answer)
}

#[get("/api/terminals/sync/<id>")]
async fn show(asking: Asking<'_>, id: &str, query: Query, app: &State<App>) -> Result<Json<SyncView>, ApiError> {
    let caller = asking.caller(query.text("licenseKey"), query.text("machineId")).await?;
    let mut tx = app.read().await?;
    let (sync, said) = sync::load(&mut tx, id).await?.ok_or_else(no_sync)?;
    if !caller.licenses(&mut tx, None).await?.contains(&sync.license_id) {
        return Err(no_sync());
    }
    Ok(Json(SyncView::of(&sync, &said, app.clock.now())))
}

impl Body {
    fn check(&self) -> Result<(), ApiError> {
        let is_readable = (1..=TYPE_CHARACTERS_MAX).contains(&self.sync_type.chars().count())
            && !self.sync_type.chars().any(char::is_control);
        if !is_readable {
            let message = "`syncType` has to have 1 to 64 characters, without control characters";
            return Err(ApiError::invalid_parameter("syncType", message));
        }
        check_payload(&self.payload, PAYLOAD_BYTES_MAX)
    }
}

/// 404: there is no such sync, or it is somebody else's.
fn no_sync() -> ApiError {
    ApiError::not_found("such sync")
}

/// 422: a sync is of one licence.
fn of_several() -> ApiError {
    ApiError::invalid_parameter("licenseId", "`licenseId` has to say which of your licences it is for")
}
