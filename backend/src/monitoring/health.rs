//! `/live`, `/ready`, `/metrics`.

use rocket::http::{ContentType, Status};
use rocket::serde::json::Json;
use rocket::{State, get, routes};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::clock::rfc3339;

use super::metrics;
use crate::app::App;
use crate::deployment_keys::KeysError;
use crate::events::{HEARTBEAT, Streams};
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::in_flight::InFlight;
use crate::webhooks::inbox::{Inbox, WRITER_TASK};

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let health = [Status::Ok, Status::ServiceUnavailable];
    let mut routes = vec![
        endpoint!(live, "200 as long as the process answers at all"),
        endpoint!(ready, "200 when events can be taken").refuses([unavailable()]),
        endpoint!(public, "Whether the service is there").answers(&health),
        endpoint!(public_sse, "Whether streams of events are to be had, and how often they say that they live")
            .answers(&health),
    ];
    routes.extend(Endpoint::unlisted(routes![exposition]));
    routes
}

#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

#[get("/live")]
async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

#[get("/ready")]
async fn ready(app: &State<App>) -> Result<Json<Health>, ApiError> {
    if !app.tasks.is_alive(WRITER_TASK) {
        return Err(unavailable());
    }
    // Why not is logged by whoever tries to migrate, once, and not at each probe.
    app.db.ready().await.map_err(|_| ApiError::database_unavailable())?;
    app.deployment_keys().await.map_err(|error| match error {
        KeysError::Unopenable(_) => unavailable(),
        KeysError::Database(_) => ApiError::database_unavailable(),
    })?;
    Ok(Json(Health { status: "ready" }))
}

/// 503: nobody writes what is taken, or what is in the database is under another `ENCRYPTION_KEY`.
fn unavailable() -> ApiError {
    ApiError::of_status(Status::ServiceUnavailable)
}

/// What anybody may know.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PublicHealth {
    status: &'static str,
    server_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_seconds: Option<u64>,
}

#[get("/api/health")]
async fn public(app: &State<App>) -> (Status, Json<PublicHealth>) {
    public_health(app, app.db.is_ready().await, None)
}

#[get("/api/health/sse")]
async fn public_sse(app: &State<App>, streams: &State<Streams>) -> (Status, Json<PublicHealth>) {
    public_health(app, !streams.are_full() && app.db.is_ready().await, Some(HEARTBEAT.as_secs()))
}

fn public_health(app: &App, is_up: bool, heartbeat_seconds: Option<u64>) -> (Status, Json<PublicHealth>) {
    let (http_status, status) = if is_up { (Status::Ok, "ok") } else { (Status::ServiceUnavailable, "down") };
    (http_status, Json(PublicHealth { status, server_time: rfc3339(app.clock.now()), heartbeat_seconds }))
}

#[get("/metrics")]
async fn exposition(app: &State<App>, inbox: &State<Inbox>, in_flight: &State<InFlight>) -> (ContentType, String) {
    (ContentType::new("text", "plain").with_params(("version", "0.0.4")), metrics::render(app, inbox, in_flight).await)
}
