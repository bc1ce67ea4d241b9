//! Whether anything is lost or late on its way from Stripe to the desktop apps, in numbers.

use std::collections::BTreeMap;

use chrono::Duration;
use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Tx};
use tollgate_domain::dead_letters::{self, Source};
use tollgate_shared::Timestamp;

use crate::app::App;
use crate::events::undelivered;
use crate::http::auth::Operator;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::relays::{self, Asked};
use crate::webhooks::{Status, batches, view};

#[cfg(test)]
mod tests;

/// The time that is looked at, in hours: where nothing is said, and at most.
const HOURS_DEFAULT: i64 = 24;
const HOURS_MAX: i64 = 168;

/// Of how many events it is looked at how long each was on its way: the newest.
const SAMPLES: usize = 1000;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let hours = query("hours", "How many of the last hours are looked at.").number(1, HOURS_MAX, HOURS_DEFAULT);
    vec![endpoint!(durability, "Whether events are lost or late on their way, in numbers").takes([hours])]
}

/// Whether anything is lost or late.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventDurability")]
struct DurabilityView {
    hours: i64,
    webhooks: WebhooksView,
    /// Every relay that is known; of one that is silent only its address.
    relays: Vec<RelayView>,
    desktop: DesktopView,
    dead_letters: LettersView,
}

/// Events of Stripe's that were received within these hours.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookDurability")]
struct WebhooksView {
    received: i64,
    processed: i64,
    ignored: i64,
    failed: i64,
    dead_lettered: i64,
    /// The age of the oldest that waits for another attempt, whenever it was received.
    oldest_failed_seconds: Option<i64>,
    /// From a relay's receipt to the commit, of the newest thousand.
    lag_p50_ms: Option<i64>,
    lag_p95_ms: Option<i64>,
}

/// How a relay is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RelayDurability")]
pub(super) struct RelayView {
    relay: Option<String>,
    /// Its private listener.
    url: String,
    pub(super) reachable: bool,
    pub(super) unconfirmed: Option<i64>,
    pub(super) oldest_unconfirmed_seconds: Option<i64>,
    journal_bytes: Option<i64>,
    pub(super) can_append: Option<bool>,
}

/// What desktop apps were told within these hours, and what they said.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DesktopDurability")]
struct DesktopView {
    made: i64,
    acknowledged: i64,
    failed: i64,
    /// By machines that were there, of the last week.
    unacknowledged: usize,
    /// Of all that was owed: how much was acknowledged, 0 to 1.
    ack_rate: Option<f64>,
    oldest_unacknowledged_seconds: Option<i64>,
    ack_p95_ms: Option<i64>,
}

/// What a person should look at.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LetterDurability")]
struct LettersView {
    open: i64,
    /// The age of the oldest event of Stripe's.
    oldest_open_seconds: Option<i64>,
    by_source: BTreeMap<String, i64>,
}

#[get("/api/monitoring/event-durability")]
async fn durability(
    _operator: Operator,
    query: Query,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Json<DurabilityView>, ApiError> {
    let hours = query.read("hours", "a number from 1 to 168", |text| {
        text.parse().ok().filter(|hours| (1..=HOURS_MAX).contains(hours))
    })?;
    let hours = hours.unwrap_or(HOURS_DEFAULT);
    let relays = app.relays.status(&context.request_id).await;
    let owed = undelivered::unacknowledged(app, app.clock.now()).await?;
    let now = app.clock.now();
    let since = now - Duration::hours(hours);
    let mut tx = app.read_list().await?;
    let (made, acknowledged, failed) = said_since(&mut tx, since).await?;
    let unacknowledged = owed.within_an_hour + owed.within_a_day + owed.older;
    let all = acknowledged + failed + unacknowledged as i64;
    Ok(Json(DurabilityView {
        hours,
        webhooks: webhooks(&mut tx, now, since).await?,
        relays: relays.into_iter().map(RelayView::of).collect(),
        desktop: DesktopView {
            made,
            acknowledged,
            failed,
            unacknowledged,
            ack_rate: (all > 0).then(|| acknowledged as f64 / all as f64),
            oldest_unacknowledged_seconds: owed.oldest_at().map(|at| seconds_since(now, at)),
            ack_p95_ms: percentile(ack_times(&mut tx, since).await?, 95),
        },
        dead_letters: letters(&mut tx, now).await?,
    }))
}

async fn webhooks(tx: &mut Tx, now: Timestamp, since: Timestamp) -> Result<WebhooksView, DbError> {
    let mut counts = BTreeMap::new();
    for status in Status::ALL {
        let sql = "SELECT count(*) FROM webhook_events WHERE status = $1 AND received_at >= $2";
        let (count,) = tx.sql(sql).bind(status.name()).bind(since).one::<(i64,)>().await?;
        counts.insert(status.name(), count);
    }
    let lags = batches::newest_lags(tx, since, SAMPLES).await?;
    let count = |status: Status| counts[status.name()];
    Ok(WebhooksView {
        received: counts.values().sum(),
        processed: count(Status::Processed),
        ignored: count(Status::Ignored),
        failed: count(Status::Failed),
        dead_lettered: count(Status::DeadLettered),
        oldest_failed_seconds: view::in_trouble(tx).await?.oldest_failed_at.map(|at| seconds_since(now, at)),
        lag_p50_ms: percentile(lags.clone(), 50),
        lag_p95_ms: percentile(lags, 95),
    })
}

/// How many events of logs were made since a moment, and how often an app said that it took one of them, or could not.
async fn said_since(tx: &mut Tx, since: Timestamp) -> Result<(i64, i64, i64), DbError> {
    let sql = "SELECT count(*) FROM license_events WHERE created_at >= $1";
    let (made,) = tx.sql(sql).bind(since).one::<(i64,)>().await?;
    let (acknowledged, failed) = tx
        .sql(
            "SELECT count(*) FILTER (WHERE a.status = 'processed'), count(*) FILTER (WHERE a.status = 'failed')
             FROM license_events AS e
             JOIN acknowledgements AS a ON a.event_id = e.id
             WHERE e.created_at >= $1",
        )
        .bind(since)
        .one::<(i64, i64)>()
        .await?;
    Ok((made, acknowledged, failed))
}

/// How long it took until the newest events that were made since a moment were acknowledged, in milliseconds.
async fn ack_times(tx: &mut Tx, since: Timestamp) -> Result<Vec<i64>, DbError> {
    let rows: Vec<(Timestamp, Timestamp)> = tx
        .sql(
            "SELECT e.created_at, a.acknowledged_at
             FROM license_events AS e
             JOIN acknowledgements AS a ON a.event_id = e.id
             WHERE e.created_at >= $1
             ORDER BY e.created_at DESC, e.id DESC
             LIMIT $2",
        )
        .bind(since)
        .bind(SAMPLES as i64)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(made, said)| (said - made).num_milliseconds().max(0)).collect())
}

async fn letters(tx: &mut Tx, now: Timestamp) -> Result<LettersView, DbError> {
    let by_source: BTreeMap<_, _> = dead_letters::open_by_source(tx).await?.into_iter().collect();
    let oldest = dead_letters::oldest_open(tx, Source::Webhook).await?;
    let oldest_open_seconds = oldest.map(|at| seconds_since(now, at));
    Ok(LettersView { open: by_source.values().sum(), oldest_open_seconds, by_source })
}

fn seconds_since(now: Timestamp, at: Timestamp) -> i64 {
    (now - at).num_seconds().max(0)
}

/// The smallest of these that so many of a hundred are no larger than; none of none.
fn percentile(mut numbers: Vec<i64>, of_hundred: usize) -> Option<i64> {
    numbers.sort_unstable();
    let rank = (numbers.len() * of_hundred).div_ceil(100);
    numbers.get(rank.checked_sub(1)?).copied()
}

impl RelayView {
    /// What it is called, or where it is silent its address.
    pub(super) fn name(&self) -> &str {
        self.relay.as_deref().unwrap_or(&self.url)
    }

    pub(super) fn of(asked: Asked<relays::Status>) -> Self {
        let said = asked.said.as_ref();
        Self {
            url: asked.url,
            reachable: said.is_some(),
            unconfirmed: said.map(|said| said.unconfirmed),
            oldest_unconfirmed_seconds: said.and_then(|said| said.oldest_unconfirmed_seconds),
            journal_bytes: said.map(|said| said.journal_bytes),
            can_append: said.map(|said| said.can_append),
            relay: asked.said.map(|said| said.relay),
        }
    }
}
