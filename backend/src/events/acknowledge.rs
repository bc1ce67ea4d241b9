//! `/api/events/acknowledge`: what apps say of the events that they were told.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_db::page::List;
use tollgate_db::{DbError, Tx};
use tollgate_domain::acknowledgements::{self, Acknowledgement, News, Said, Status};
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::verdict::Verdict;
use tollgate_shared::clock::rfc3339;

use super::Streams;
use super::batches::Batches;
use crate::app::App;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;
use crate::licenses::key_holder::KeyHolder;
use crate::licenses::request::{MACHINE_ID_CHARACTERS_MAX, text};
use crate::licenses::routes::refusal;

/// How many acknowledgements are written in one transaction: a thousand apps that were told something at one moment say so
/// at one moment.
const TOGETHER_MAX: usize = 64;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(acknowledge, "Takes in what an app says of an event, once: it may repeat itself")
            .refuses([refusal(Verdict::Unknown), no_event()]),
        endpoint!(list, "What was said of an event of a licence, or of all of its events; the newest first")
            .takes([
                query("licenseKey", "The licence's key.").required(),
                query("eventId", "The event: the `data.id` of the stream."),
            ])
            .refuses([refusal(Verdict::Unknown), no_event()]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AcknowledgementRequest")]
struct Body {
    event_id: String,
    license_key: String,
    machine_id: Option<String>,
    status: Option<String>,
    error: Option<String>,
}

/// What is known of an event at a machine.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Acknowledgement")]
struct AcknowledgementView {
    event_id: String,
    machine_id: Option<String>,
    status: String,
    acknowledged_at: String,
}

#[post("/api/events/acknowledge", data = "<body>")]
async fn acknowledge(
    holder: KeyHolder<'_>,
    body: JsonBody<Body>,
    streams: &State<Streams>,
) -> Result<Json<AcknowledgementView>, ApiError> {
    let Body { event_id, license_key, machine_id, status, error } = body.0;
    let machine_id = text("machineId", machine_id, MACHINE_ID_CHARACTERS_MAX)?;
    let status = status.map_or(Some(Status::Processed), |name| Status::of(&name));
    let no_status = || ApiError::invalid_parameter("status", "`status` has to be `processed` or `failed`");
    let status = status.ok_or_else(no_status)?;
    let app = holder.app;
    let keys = if machine_id.is_some() { Some(app.deployment_keys().await?) } else { None };
    let mut tx = app.read().await?;
    let count = |key: &LicenseKey| holder.count_acknowledgement(key);
    let license_id = license_of(&mut tx, &holder, &license_key, count).await?;
    let hash = keys.zip(machine_id).map(|(keys, machine_id)| keys.fingerprint.hash(&license_id, &machine_id));
    let of = acknowledgements::subject(&mut tx, &license_id, &event_id, hash.as_deref()).await?;
    drop(tx);
    let said = Said { of: of.ok_or_else(no_event)?, status, error };
    let taken = streams.0.acknowledgements.ask(said).await?;
    Ok(Json(AcknowledgementView::of(taken.ok_or_else(no_event)?)))
}

#[get("/api/events/acknowledge")]
async fn list(holder: KeyHolder<'_>, query: Query, page: Paged) -> Result<Json<List<AcknowledgementView>>, ApiError> {
    let no_key = || ApiError::invalid_parameter("licenseKey", "`licenseKey` is missing");
    let key = query.text("licenseKey").ok_or_else(no_key)?;
    let mut tx = holder.app.read_list().await?;
    let license_id = license_of(&mut tx, &holder, key, |key| holder.count(key)).await?;
    let event_id = query.text("eventId").filter(|id| !id.is_empty());
    if let Some(event_id) = event_id {
        acknowledgements::subject(&mut tx, &license_id, event_id, None).await?.ok_or_else(no_event)?;
    }
    let shown = acknowledgements::list(&mut tx, &license_id, event_id, &page).await?;
    Ok(Json(shown.map(AcknowledgementView::of)))
}

/// The licence of a key, counted by `count`, or as every request about a key of nobody is.
async fn license_of(
    tx: &mut Tx,
    holder: &KeyHolder<'_>,
    key: &str,
    count: impl Fn(&LicenseKey) -> Result<(), ApiError>,
) -> Result<String, ApiError> {
    let key = LicenseKey::parse(key);
    if let Some(key) = &key {
        count(key)?;
        if let Some(license_id) = acknowledgements::license_of(tx, key).await? {
            return Ok(license_id);
        }
    }
    Err(refusal(holder.count_nobodys(key.as_ref())?))
}

fn no_event() -> ApiError {
    ApiError::not_found("such event")
}

impl AcknowledgementView {
    fn of(row: Acknowledgement) -> Self {
        Self {
            event_id: row.event_id,
            machine_id: row.machine_id,
            status: row.status,
            acknowledged_at: rfc3339(row.acknowledged_at),
        }
    }
}

/// Starts what writes acknowledgements. Of an event that is no longer kept there is none.
pub(super) fn start(app: &App) -> Batches<Said, Option<Acknowledgement>> {
    let writing = app.clone();
    Batches::start(&app.tasks, "acknowledgements", 1, TOGETHER_MAX, move |said| {
        let app = writing.clone();
        async move { take(&app, &said).await }
    })
}

pub(super) async fn take(app: &App, said: &[Said]) -> Result<Vec<Option<Acknowledgement>>, DbError> {
    match take_together(app, said).await {
        Err(DbError::Conflict { .. }) => take_together(app, said).await,
        // An event was removed after it was found: the others are not at fault.
        Err(DbError::Constraint { .. }) => {
            let mut taken = Vec::with_capacity(said.len());
            for said in said {
                taken.push(match take_together(app, std::slice::from_ref(said)).await {
                    Err(DbError::Constraint { .. }) => None,
                    alone => alone?.pop().flatten(),
                });
            }
            Ok(taken)
        }
        taken => taken,
    }
}

async fn take_together(app: &App, said: &[Said]) -> Result<Vec<Option<Acknowledgement>>, DbError> {
    let mut tx = app.begin_write().await?;
    let taken = acknowledgements::take(&mut tx, app.clock.now(), &app.rng, said).await?;
    tx.commit().await?;
    let count = |status: &'static str| {
        metrics::counter!("tollgate_backend_acknowledgements_total", "status" => status).increment(1);
    };
    let new = said.iter().zip(&taken).filter(|(_, (_, news))| *news != News::Nothing);
    new.for_each(|(said, _)| count(said.status.name()));
    Ok(taken.into_iter().map(|(acknowledgement, _)| Some(acknowledgement)).collect())
}
