//! `GET /api/analytics/health`: how well the apps of each licence take what they are told, the worst first.

use std::collections::{BTreeMap, BTreeSet};

use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::analytics::health::{self, Amiss, BEST, Status};
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::sessions::Session;
use tollgate_domain::terminals::view::is_connected;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::{from_unix, rfc3339};

use crate::app::App;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::{Paged, not_of_this_list};
use crate::http::query::Query;

/// How many licences are looked at at once, of which only some may be wanted.
const LOOK: i64 = 1000;

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
    let mut tx = app.read_list().await?;
    let known = Known::load(&mut tx, now).await?;
    let rows = known.list(&mut tx, status, &page, now).await?;
    let list = page.list(rows, |(id, score)| place(id, *score));
    let views = known.views(&mut tx, app, &list.data, now).await?;
    let List { has_more, next_cursor, .. } = list;
    Ok(Json(HealthsView { counts: known.counts(), list: List { data: views, has_more, next_cursor } }))
}

/// What is known of all licences.
struct Known {
    amiss: BTreeMap<String, Amiss>,
    /// Those whose score is not the best, the worst first.
    worst: Vec<(i64, String, Status)>,
    licenses: i64,
    in_use: i64,
}

impl Known {
    async fn load(tx: &mut Tx, now: Timestamp) -> Result<Self, DbError> {
        let amiss = health::amiss(tx, now).await?;
        let scores = amiss.iter().map(|(id, amiss)| (amiss.score(now), id)).filter(|(score, _)| *score < BEST);
        let scores: Vec<_> = scores.collect();
        let ids = scores.iter().map(|(_, id)| (*id).clone()).collect();
        let last_seen = last_seen(&machines::in_seats_of(tx, &ids, Lock::None).await?);
        let rated =
            |(score, id): (i64, &String)| (score, id.clone(), Status::of(score, last_seen.get(id).copied(), now));
        let mut worst: Vec<_> = scores.into_iter().map(rated).collect();
        worst.sort_unstable();
        let (licenses, in_use) = health::count(tx, now).await?;
        Ok(Self { amiss, worst, licenses, in_use })
    }

    fn counts(&self) -> BTreeMap<&'static str, i64> {
        let of = |status| self.worst.iter().filter(|(.., is)| *is == status).count() as i64;
        let (degraded, critical) = (of(Status::Degraded), of(Status::Critical));
        let counts = [
            (Status::Healthy, self.in_use - degraded - critical),
            (Status::Degraded, degraded),
            (Status::Critical, critical),
            (Status::Inactive, self.licenses - self.in_use),
        ];
        counts.into_iter().map(|(status, count)| (status.name(), count)).collect()
    }

    /// The licences of a page, with their scores, and one more where there is one.
    async fn list(
        &self,
        tx: &mut Tx,
        status: Option<Status>,
        page: &Page,
        now: Timestamp,
    ) -> Result<Vec<(String, i64)>, DbError> {
        let wanted = page.rows_wanted();
        let (after_score, after_id) =
            page.after.as_ref().map_or((-1, ""), |after| (after.at.timestamp(), after.id.as_str()));
        let is_wanted = |is: Status| status.is_none_or(|status| status == is);
        let is_after = |score: i64, id: &str| (score, id) > (after_score, after_id);
        let worst = self.worst.iter().filter(|(score, id, is)| is_wanted(*is) && is_after(*score, id));
        let mut rows: Vec<_> = worst.take(wanted as usize).map(|(score, id, _)| (id.clone(), *score)).collect();
        let is_in_use = match status {
            None => None,
            Some(Status::Healthy) => Some(true),
            Some(Status::Inactive) => Some(false),
            Some(Status::Degraded | Status::Critical) => return Ok(rows),
        };
        // All others have the best score, and stand by their ids.
        let others = self.worst.iter().map(|(_, id, _)| id).collect::<BTreeSet<_>>();
        let mut after = if after_score == BEST { after_id.to_owned() } else { String::new() };
        while (rows.len() as i64) < wanted {
            let ids = health::by_use(tx, is_in_use, &after, wanted.max(LOOK), now).await?;
            let Some(last) = ids.last() else { break };
            after.clone_from(last);
            rows.extend(ids.into_iter().filter(|id| !others.contains(&id)).map(|id| (id, BEST)));
        }
        rows.truncate(wanted as usize);
        Ok(rows)
    }

    async fn views(
        &self,
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
        let last_seen = last_seen(&machines);
        let is_there =
            |machine: &Machine| is_connected(sessions.get(&machine.id).copied(), app.last_seen.of(&machine.id), now);
        let view = |(id, score): &(String, i64)| {
            let amiss = self.amiss.get(id).copied().unwrap_or_default();
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
}

/// When a machine of each licence was last heard of.
fn last_seen(machines: &[Machine]) -> BTreeMap<String, Timestamp> {
    let mut last_seen = BTreeMap::new();
    for machine in machines {
        let Some(license_id) = &machine.seat_of else { continue };
        let at = last_seen.entry(license_id.clone()).or_insert(machine.last_seen_at);
        *at = machine.last_seen_at.max(*at);
    }
    last_seen
}

/// Where a licence stands in the list: by its score, which takes the place of a time, then by its id.
fn place(id: &str, score: i64) -> Position {
    Position { at: from_unix(score).expect("a score is a second of 1970"), id: id.to_owned() }
}
