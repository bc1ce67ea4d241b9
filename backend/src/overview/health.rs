//! Whether all that Tollgate needs is there, check by check, for operators.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use rocket::http::Status as HttpStatus;
use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;
use tollgate_db::{DbError, Engine};
use tollgate_domain::alerts::snapshot::Share;
use tollgate_domain::alerts::view::AlertView;
use tollgate_domain::alerts::{self, Alert, rules};
use tollgate_domain::cron::runs;
use tollgate_domain::dead_letters;
use tollgate_domain::notifications::template::Channel;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use super::durability::RelayView;
use crate::alerts::messages;
use crate::app::App;
use crate::channels::Kind;
use crate::cron::timetable;
use crate::http::auth::Operator;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Argument, Endpoint, Operation, endpoint};
use crate::webhooks::view;

#[cfg(test)]
mod tests;

/// How long the database may take to show that it is there.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the clock of the database's server may be from ours before times are in doubt.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::seconds(5);

/// How long an event may wait: for another attempt here, or in a relay's journal.
const FAILED_MAX: TimeDelta = TimeDelta::minutes(30);
const UNCONFIRMED_SECONDS_MAX: i64 = 300;

/// Which messages are looked at.
const MESSAGES_COUNT_FOR: TimeDelta = TimeDelta::hours(1);

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(health, "Whether all that is needed is there, check by check; 503 where nothing can work")
            .answers(&[HttpStatus::Ok, HttpStatus::ServiceUnavailable]),
    ]
}

/// Since when each check has been as it is, as far as this process has seen.
#[derive(Default)]
pub struct Since(Mutex<BTreeMap<&'static str, (Status, Timestamp)>>);

impl Argument for &State<Since> {
    fn describe(_: &mut Operation) {}
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "HealthStatus")]
enum Status {
    /// As it should be.
    Ok,
    /// Something is amiss, and events are taken all the same.
    Degraded,
    /// Nothing can work.
    Down,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HealthReport")]
struct HealthView {
    /// That of the worst check.
    status: Status,
    checks: Vec<CheckView>,
    /// Those that fire, those that began last first. None while they are not known.
    alerts: Vec<AlertView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HealthCheck")]
struct CheckView {
    name: &'static str,
    status: Status,
    /// Since when it has been so, as far as this process has seen.
    since: String,
    detail: String,
}

/// What a check comes to.
struct Check {
    name: &'static str,
    status: Status,
    detail: String,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, detail: detail.into() }
    }

    fn degraded(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Degraded, detail: detail.into() }
    }

    /// Degraded for each of these reasons, or in order where there is none.
    fn by(name: &'static str, amiss: Vec<String>, in_order: impl Into<String>) -> Self {
        if amiss.is_empty() { Self::ok(name, in_order) } else { Self::degraded(name, amiss.join("; ")) }
    }
}

#[get("/api/monitoring/health")]
async fn health(
    _operator: Operator,
    context: &RequestContext,
    since: &State<Since>,
    app: &State<App>,
) -> (HttpStatus, Json<HealthView>) {
    let mut checks = database(app).await;
    checks.extend(relays(app, context).await);
    checks.push(stripe(app));
    checks.push(bells(app));
    let is_there = checks.iter().all(|check| check.status != Status::Down);
    let known = if is_there { timeout(DATABASE_TIMEOUT, of_database(app)).await.ok() } else { None };
    let unknown = || {
        let names = ["cron", "mail", "push", "clock", "backlog"];
        (names.map(|name| Check::degraded(name, "not known: no database")), Vec::new())
    };
    let (of_database, firing) = known.and_then(Result::ok).unwrap_or_else(unknown);
    checks.extend(of_database);
    let now = app.clock.now();
    let checks: Vec<_> = checks.into_iter().map(|check| since.view(check, now)).collect();
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    let code = if status == Status::Down { HttpStatus::ServiceUnavailable } else { HttpStatus::Ok };
    let alerts = firing.into_iter().map(AlertView::from).collect();
    (code, Json(HealthView { status, checks, alerts }))
}

impl Since {
    fn view(&self, Check { name, status, detail }: Check, now: Timestamp) -> CheckView {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (was, since) = known.entry(name).or_insert((status, now));
        if *was != status {
            (*was, *since) = (status, now);
        }
        CheckView { name, status, since: rfc3339(*since), detail }
    }
}

/// What only the database knows.
async fn of_database(app: &App) -> Result<([Check; 5], Vec<Alert>), DbError> {
    let [mail, push] = channels(app).await?;
    let checks = [cron(app).await?, mail, push, clock(app).await?, backlog(app).await?];
    Ok((checks, alerts::newest_firing(&mut app.read().await?).await?))
}

/// Whether the database is there, and of this release.
async fn database(app: &App) -> Vec<Check> {
    let down = |name, detail: &str| Check { name, status: Status::Down, detail: detail.to_owned() };
    match timeout(DATABASE_TIMEOUT, app.db.ready()).await {
        Ok(Ok(())) => vec![Check::ok("database", "it answers"), Check::ok("migrations", "all are applied")],
        Ok(Err(DbError::Schema(_))) => vec![
            Check::ok("database", "it answers"),
            down("migrations", "the schema is not this release's: run `tollgate-backend migrate`, or see the log"),
        ],
        _ => vec![
            down("database", "it cannot be reached: see the log"),
            Check::degraded("migrations", "not known: no database"),
        ],
    }
}

/// Whether each relay answers, and whether its disk takes what it journals.
async fn relays(app: &App, context: &RequestContext) -> [Check; 2] {
    if app.relays.is_empty() {
        return ["relays", "disk"].map(|name| Check::ok(name, "no relay is known: RELAY_ADMIN_URLS is not set"));
    }
    let asked = app.relays.status(&context.request_id).await;
    let relays: Vec<_> = asked.into_iter().map(RelayView::of).collect();
    let silent = relays.iter().filter(|relay| !relay.reachable).map(|relay| format!("{} is silent", relay.name()));
    let behind = relays.iter().filter(|relay| relay.is_behind()).map(|relay| {
        let count = relay.unconfirmed.unwrap_or_default();
        format!("{} has {count} events that no backend has confirmed", relay.name())
    });
    let full = relays.iter().filter(|relay| relay.can_append == Some(false));
    let full = full.map(|relay| format!("the journal of {} takes no events", relay.name())).collect();
    let amiss = silent.chain(behind).collect();
    [
        Check::by("relays", amiss, format!("{} answer, and none is behind", relays.len())),
        Check::by("disk", full, "every journal takes events"),
    ]
}

impl RelayView {
    fn is_behind(&self) -> bool {
        self.oldest_unconfirmed_seconds.is_some_and(|seconds| seconds > UNCONFIRMED_SECONDS_MAX)
    }
}

fn stripe(app: &App) -> Check {
    let Some(stripe) = &app.stripe else { return Check::ok("stripe", "it is not asked: STRIPE_SECRET_KEY is not set") };
    match stripe.budget_remaining() {
        calls if calls < 1.0 => Check::degraded("stripe", "every call that may be made in a second is made"),
        calls => Check::ok("stripe", format!("{calls:.0} calls may be made at this moment")),
    }
}

fn bells(app: &App) -> Check {
    match app.bells.line() {
        (name, true) => Check::ok("bells", format!("{name} rings")),
        (name, false) => Check::degraded("bells", format!("{name} is silent: apps are told up to two seconds later")),
    }
}

/// Whether each job of the timetable was run in time, and well.
async fn cron(app: &App) -> Result<Check, DbError> {
    let now = app.clock.now();
    let mut tx = app.read().await?;
    let mut amiss = Vec::new();
    for job in timetable::jobs() {
        let Some(run) = runs::known(&mut tx, job.name, now).await?.newest else { continue };
        if job.schedule.is_late(run.tick, now) {
            amiss.push(format!("{} is late", job.name));
        } else if run.outcome.as_deref() == Some("failed") {
            amiss.push(format!("{} failed", job.name));
        }
    }
    Ok(Check::by("cron", amiss, "every job was run in time"))
}

/// Whether what people are told gets through.
async fn channels(app: &App) -> Result<[Check; 2], DbError> {
    let thresholds = &*app.config.alerts.thresholds;
    let sent = messages(&mut app.read_list().await?, app.clock.now() - MESSAGES_COUNT_FOR).await?;
    let check = |name, channel: Channel, is_configured: bool, variable: &str| {
        if !is_configured {
            return Check::ok(name, format!("none is sent: {variable} is not set"));
        }
        let Share { failed, all } = sent.get(channel.name()).copied().unwrap_or_default();
        let detail = format!("{failed} of {all} messages of the last hour failed");
        if rules::are_failing(&Share { failed, all }, thresholds) {
            Check::degraded(name, detail)
        } else {
            Check::ok(name, detail)
        }
    };
    let is_there = |kind| app.channels.configured(kind);
    Ok([
        check("mail", Channel::Email, is_there(Kind::Email), "SMTP_URL"),
        check("push", Channel::Push, is_there(Kind::WebPush) || is_there(Kind::App), "VAPID_PRIVATE_KEY"),
    ])
}

/// Whether the server of the database has the time that we have. A file has no clock of its own.
async fn clock(app: &App) -> Result<Check, DbError> {
    let mut tx = app.read().await?;
    if tx.engine() == Engine::Sqlite {
        return Ok(Check::ok("clock", "there is one clock"));
    }
    let (there,) = tx.sql("SELECT CURRENT_TIMESTAMP").one::<(Timestamp,)>().await?;
    let apart = (there - app.clock.now()).abs();
    let detail = format!("the database's clock is {} s from ours", apart.num_seconds());
    Ok(if apart > CLOCKS_APART_MAX { Check::degraded("clock", detail) } else { Check::ok("clock", detail) })
}

/// Whether something waits for too long, or for a person.
async fn backlog(app: &App) -> Result<Check, DbError> {
    let now = app.clock.now();
    let mut tx = app.read().await?;
    let waiting = view::in_trouble(&mut tx).await?;
    let open: i64 = dead_letters::open_by_source(&mut tx).await?.into_iter().map(|(_, count)| count).sum();
    let is_old = waiting.oldest_failed_at.is_some_and(|at| now - at > FAILED_MAX);
    let mut amiss = Vec::new();
    if is_old {
        amiss.push(format!("{} events wait for another attempt, the oldest for over half an hour", waiting.failed));
    }
    if open > 0 {
        amiss.push(format!("{open} dead letters are open"));
    }
    Ok(Check::by("backlog", amiss, format!("{} events wait for another attempt", waiting.failed)))
}
