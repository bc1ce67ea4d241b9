//! `/api/monitoring/alerts`, for operators.

use std::collections::BTreeSet;

use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_db::page::List;
use tollgate_db::{Lock, Tx, UnitOfWork};
use tollgate_domain::alerts::messages::Attempted;
use tollgate_domain::alerts::view::AlertView;
use tollgate_domain::alerts::{self, Alert};
use tollgate_domain::audit::acts::{self, Act, ActedBy};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;
use tracing::info;

use super::telling::{self, Tested};
use crate::app::App;
use crate::channels::pager::WEBHOOK;
use crate::http::auth::Operator;
use crate::http::body::JsonBody;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::page::Paged;
use crate::http::query::{A_TIME, Query, time};
use crate::http::reason;

/// The longest silence: what nobody wants to hear of for longer is switched off in `ALERTS_FILE`.
const SILENCE_DAYS_MAX: i64 = 365;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let states = alerts::State::ALL.map(alerts::State::name);
    vec![
        endpoint!(list, "The alerts that ever fired, those that began last first").takes([query(
            "state",
            "How they stand.",
        )
        .one_of(&states)]),
        endpoint!(silence, "Tells nobody of an alert until a moment").refuses([no_alert()]),
        endpoint!(test_all, "Tells each destination of alerts that this is a test, and says what became of it"),
    ]
}

#[get("/api/monitoring/alerts")]
async fn list(
    _operator: Operator,
    query: Query,
    page: Paged,
    app: &State<App>,
) -> Result<Json<List<AlertView>>, ApiError> {
    let state = query.read("state", "`firing` or `resolved`", alerts::State::named)?;
    let mut tx = app.read_list().await?;
    Ok(Json(alerts::list(&mut tx, state, &page).await?.map(AlertView::from)))
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AlertSilence")]
struct Silence {
    until: String,
    reason: String,
}

#[post("/api/monitoring/alerts/<fingerprint>/silence", data = "<body>")]
async fn silence(
    operator: Operator,
    fingerprint: &str,
    body: JsonBody<Silence>,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<AlertView>, ApiError> {
    let until = body.0.until(app.clock.now())?;
    let by = operator.acting(context, Some(reason::readable(&body.0.reason)?));
    let mut tx = app.begin_write().await?;
    let alert = of_fingerprint(&mut tx, fingerprint).await?.ok_or_else(no_alert)?;
    let silenced = Alert { silenced_until: Some(until), ..alert.clone() };
    tx.upsert(&[&silenced]).await?;
    let said = |alert: &Alert| json!({ "alert": alert.alert, "silencedUntil": alert.silenced_until.map(rfc3339) });
    let (before, after) = (Some(said(&alert)), Some(said(&silenced)));
    record(&mut tx, app, &by, Act { action: "alert.silence", target: ("alert", fingerprint), before, after }).await?;
    tx.commit().await?;
    info!(request_id = %context.request_id, "silenced alert {} until {until}", silenced.alert);
    Ok(Json(silenced.into()))
}

impl Silence {
    fn until(&self, now: Timestamp) -> Result<Timestamp, ApiError> {
        let latest = now + chrono::Duration::days(SILENCE_DAYS_MAX);
        let until = time(&self.until).filter(|until| *until > now && *until <= latest);
        let message = || format!("`until` has to be {A_TIME}, after now and at most {SILENCE_DAYS_MAX} days from it");
        until.ok_or_else(|| ApiError::invalid_parameter("until", message()))
    }
}

async fn of_fingerprint(tx: &mut Tx, fingerprint: &str) -> Result<Option<Alert>, ApiError> {
    let keys = BTreeSet::from([fingerprint.to_owned()]);
    Ok(tx.load("fingerprint", &keys, Lock::ForUpdate).await?.pop())
}

async fn record(tx: &mut Tx, app: &App, by: &ActedBy, act: Act<'_>) -> Result<(), ApiError> {
    let mut work = UnitOfWork::new(app.clock.now(), app.rng.clone());
    acts::record(&mut work, by, act);
    work.release_savepoint();
    work.write(tx).await?;
    Ok(())
}

fn no_alert() -> ApiError {
    ApiError::not_found("such alert")
}

/// What became of each destination: there is a handful, so that they need no pages.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AlertTests")]
struct TestsView {
    data: Vec<TestView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AlertTest")]
struct TestView {
    /// `webhook` or `email`.
    channel: &'static str,
    /// The address of an e-mail.
    to: Option<String>,
    /// `sent`, `refused`, or `failed` where it may work later.
    outcome: &'static str,
    error: Option<String>,
}

#[post("/api/monitoring/alerts/test")]
async fn test_all(operator: Operator, context: &RequestContext, app: &State<App>) -> Result<Json<TestsView>, ApiError> {
    let by = operator.acting(context, None);
    let mut tx = app.begin_write().await?;
    record(&mut tx, app, &by, Act { action: "alert.test", target: ("alert", "test"), before: None, after: None })
        .await?;
    tx.commit().await?;
    let data = telling::test(app).await.into_iter().map(TestView::from).collect();
    Ok(Json(TestsView { data }))
}

impl From<Tested> for TestView {
    fn from(Tested { destination, attempted }: Tested) -> Self {
        let (outcome, error) = match attempted {
            Attempted::Sent => ("sent", None),
            Attempted::Refused(why) => ("refused", Some(why)),
            Attempted::Failed(why, _) => ("failed", Some(why)),
        };
        let is_webhook = destination == WEBHOOK;
        let channel = if is_webhook { WEBHOOK } else { "email" };
        Self { channel, to: (!is_webhook).then_some(destination), outcome, error }
    }
}
