//! `GET /api/terminals` and `GET /api/terminal-sessions`.

use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::List;
use tollgate_domain::sessions::Presence;
use tollgate_domain::terminals;
use tollgate_domain::terminals::view::{SessionView, StatsView, TerminalView};

use super::caller::Asking;
use crate::app::App;
use crate::http::endpoint::{Endpoint, Parameter, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::Query;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let license = || query("licenseId", "Only those of this licence.");
    let status = query("status", "Only those of this status.").one_of(&["connected", "suspect", "stale", "ended"]);
    let stats = query("stats", "Only how many there are of the machines that hold seats.").switch();
    vec![
        endpoint!(list, "The machines that hold seats, the newest first").takes(shown_by_machine()).takes([license()]),
        endpoint!(sessions, "Whose app is there, by machine, the newest first; those that ended for 30 days")
            .takes(shown_by_machine())
            .takes([license(), status, stats]),
    ]
}

/// What a machine shows instead of a sign-in.
pub(super) fn shown_by_machine() -> [Parameter; 2] {
    [
        query("licenseKey", "The licence's key, which a machine shows instead of a sign-in."),
        query("machineId", "With it, what its app knows the machine by."),
    ]
}

#[get("/api/terminals")]
async fn list(
    asking: Asking<'_>,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<TerminalView>>, ApiError> {
    let caller = asking.caller(query.text("licenseKey"), query.text("machineId")).await?;
    let mut tx = app.read_list().await?;
    let licenses = caller.licenses(&mut tx, query.text("licenseId")).await?;
    let (now, stale_after) = (app.clock.now(), app.settings.machines_stale_after);
    let shown = terminals::list(&mut tx, &licenses, &page).await?;
    Ok(Json(shown.map(|(machine, session)| {
        let heard_at = app.last_seen.of(&machine.id);
        TerminalView::of(&machine, session, heard_at, now, stale_after)
    })))
}

/// Sessions, or how many there are.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "TerminalSessions")]
enum Sessions {
    List(List<SessionView>),
    Stats(StatsView),
}

#[get("/api/terminal-sessions")]
async fn sessions(asking: Asking<'_>, query: Query, page: Paged, app: &State<App>) -> Result<Json<Sessions>, ApiError> {
    let statuses = [Presence::Connected, Presence::Suspect, Presence::Stale, Presence::Ended];
    let status = query.read("status", "`connected`, `suspect`, `stale` or `ended`", |name| {
        statuses.into_iter().find(|status| status.name() == name)
    })?;
    let is_stats = query.switch("stats")?;
    let caller = asking.caller(query.text("licenseKey"), query.text("machineId")).await?;
    let mut tx = app.read_list().await?;
    let licenses = caller.licenses(&mut tx, query.text("licenseId")).await?;
    let now = app.clock.now();
    if is_stats {
        return Ok(Json(Sessions::Stats(terminals::count(&mut tx, now, &licenses).await?.into())));
    }
    let rows = terminals::sessions(&mut tx, now, &licenses, status, &page).await?;
    Ok(Json(Sessions::List(rows.map(|row| SessionView::of(row, now)))))
}
