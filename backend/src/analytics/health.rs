//! `GET /api/analytics/health`: how well the apps of each licence take what they are told, the worst first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Position};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::analytics::health::{self, BEST, Ranking, Status};
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::sessions::Session;
use tollgate_domain::terminals::view::is_connected;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::{from_unix, rfc3339};

use crate::app::App;
use crate::events::undelivered;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::{Paged, not_of_this_list};
use crate::http::query::Query;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let status = query("status", "Only those of this status.").one_of(&Status::ALL.map(Status::name));
    vec![endpoint!(list, "How well the apps of each licence take what they are told, the worst first").takes([status])]
}

/// How the apps of a licence are.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LicenseHealth")]
struct HealthView {
    license_id: String,
    /// 100 where nothing is amiss; never less than 0.
    score: i64,
    status: &'static str,
    /// Events that were made for it within 24 hours.
    sent: i64,
    /// What its machines said of those, that they failed too.
    acknowledged: i64,
    failed: i64,
    /// The age of the oldest event, of the last week, that a machine which was there has said nothing of.
    oldest_unacknowledged_seconds: Option<i64>,
    /// Of its machines.
    open_dead_letters: i64,
    /// That hold its seats.
    machines: usize,
    /// Of those, whose app is there.
    connected: usize,
    last_seen_at: Option<String>,
}

/// A page of that, and how many licences are how.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LicenseHealths")]
struct HealthsView {
    counts: BTreeMap<&'static str, i64>,
    #[serde(flatten)]
    list: List<HealthView>,
}

#[get("/api/analytics/health")]
async fn list(_operator: Operator, query: Query, page: Paged, app: &State<App>) -> Result<Json<HealthsView>, ApiError> {
    let status = query.read("status", "`healthy`, `degraded`, `critical` or `inactive`", Status::named)?;
    if page.after.as_ref().is_some_and(|after| !(0..=BEST).contains(&after.at.timestamp())) {
        return Err(not_of_this_list());
    }
    let now = app.clock.now();
    let ranking = ranking(app, now).await?;
    let mut tx = app.read_list().await?;
    let rows = ranking.page(&mut tx, status, &page, now).await?;
    let list = page.list(rows, |(id, score)| place(id, *score));
    let views = views(&ranking, &mut tx, app, &list.data, now).await?;
    let List { has_more, next_cursor, .. } = list;
    Ok(Json(HealthsView { counts: ranking.counts(), list: List { data: views, has_more, next_cursor } }))
}

/// All licences by how they are, as it was counted within the last minute: an operator who pages through them, and a page that
/// looks every few seconds, do not have all of it counted each time.
async fn ranking(app: &App, now: Timestamp) -> Result<Arc<Ranking>, DbError> {
    if let Some(ranking) = app.ranking.known(now) {
        return Ok(ranking);
    }
    let _turn = app.ranking.turn().await;
    if let Some(ranking) = app.ranking.known(now) {
        return Ok(ranking);
    }
    let owed = undelivered::unacknowledged(app, now).await?;
    let mut tx = app.read_list().await?;
    let ranking = Arc::new(Ranking::count(&mut tx, &owed.oldest_of, now).await?);
    app.ranking.keep(now, &ranking);
    Ok(ranking)
}

/// What of each licence of a page is shown.
async fn views(
    ranking: &Ranking,
    tx: &mut Tx,
    app: &App,
    rows: &[(String, i64)],
    now: Timestamp,
) -> Result<Vec<HealthView>, DbError> {
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| id.clone()).collect();
    let told = health::told(tx, &ids, now).await?;
    let machines = machines::in_seats_of(tx, &ids, Lock::None).await?;
    let machine_ids = machines.iter().map(|machine| machine.id.clone()).collect();
    let sessions: Vec<Session> = tx.load("machine_id", &machine_ids, Lock::None).await?;
    let sessions: BTreeMap<_, _> = sessions.iter().map(|session| (&session.machine_id, session)).collect();
    let last_seen = health::last_seen(&machines);
    let is_there =
        |machine: &Machine| is_connected(sessions.get(&machine.id).copied(), app.last_seen.of(&machine.id), now);
    let view = |(id, score): &(String, i64)| {
        let amiss = ranking.amiss_of(id);
        let (sent, acknowledged) = told.get(id).copied().unwrap_or_default();
        let of_license = || machines.iter().filter(|machine| machine.seat_of.as_ref() == Some(id));
        let last_seen_at = last_seen.get(id).copied();
        HealthView {
            license_id: id.clone(),
            score: *score,
            status: Status::of(*score, last_seen_at, now).name(),
            sent,
            acknowledged,
            failed: amiss.failed,
            oldest_unacknowledged_seconds: amiss.oldest_owed_at.map(|at| (now - at).num_seconds().max(0)),
            open_dead_letters: amiss.open_letters,
            machines: of_license().count(),
            connected: of_license().filter(|machine| is_there(machine)).count(),
            last_seen_at: last_seen_at.map(rfc3339),
        }
    };
    Ok(rows.iter().map(view).collect())
}

/// Where a licence stands in the list: by its score, which takes the place of a time, then by its id.
fn place(id: &str, score: i64) -> Position {
    Position { at: from_unix(score).expect("a score is a second of 1970"), id: id.to_owned() }
}
