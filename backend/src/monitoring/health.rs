//! `/live`, `/ready`, `/metrics`.

use rocket::http::{ContentType, Status};
use rocket::serde::json::Json;
use rocket::{Route, State, get, routes};
use serde::Serialize;

use super::metrics;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::in_flight::InFlight;
use crate::webhooks::inbox::{Inbox, WRITER_TASK};

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    routes![live, ready, exposition]
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// 200 as long as the process answers at all.
#[get("/live")]
fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// 200 when events can be taken; 503 `database_unavailable` while the database is not there or not migrated, and
/// `unavailable` while nobody writes what is taken.
#[get("/ready")]
async fn ready(app: &State<App>) -> Result<Json<Health>, ApiError> {
    if !app.tasks.is_alive(WRITER_TASK) {
        return Err(ApiError::of_status(Status::ServiceUnavailable));
    }
    // Why not is logged by whoever tries to migrate, once, and not at each probe.
    app.db.ready().await.map_err(|_| ApiError::database_unavailable())?;
    Ok(Json(Health { status: "ready" }))
}

/// Everything that is counted, as Prometheus reads it. Without the database it leaves out what only that knows.
#[get("/metrics")]
async fn exposition(app: &State<App>, inbox: &State<Inbox>, in_flight: &State<InFlight>) -> (ContentType, String) {
    (ContentType::new("text", "plain").with_params(("version", "0.0.4")), metrics::render(app, inbox, in_flight).await)
}
