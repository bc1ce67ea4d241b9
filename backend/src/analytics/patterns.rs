//! `GET /api/analytics/patterns`: what is out of the ordinary, and when and on what the product is used.

use std::collections::BTreeMap;

use chrono::Duration;
use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::analytics::patterns::{self, Pattern, Usage};
use tollgate_domain::analytics::spans::{Span, Step};
use tollgate_domain::analytics::{Metric, points};
use tollgate_shared::clock::rfc3339;

use crate::app::App;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::query::Query;

/// The time that is looked at, in hours: where nothing is said, and at most.
const HOURS_DEFAULT: i64 = 24;
const HOURS_MAX: i64 = 168;

/// The most that is told of.
const PATTERNS_MAX: usize = 100;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let hours = query("hours", "How many of the last hours are looked at.").number(1, HOURS_MAX, HOURS_DEFAULT);
    vec![endpoint!(show, "What is out of the ordinary, and when and on what the product is used").takes([hours])]
}

/// What is out of the ordinary, and what is ordinary.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Patterns")]
struct PatternsView {
    /// The newest first; 100 at most.
    failures: Vec<PatternView>,
    usage: UsageView,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FailurePattern")]
struct PatternView {
    /// `burst`, `repeated_error`, `declines`, `unknown_price` or `unknown_version`.
    kind: &'static str,
    /// Of what: a licence, a source with its reason, a code, a price, a version.
    subject: String,
    count: i64,
    first_at: String,
    last_at: String,
}

/// By machines that were heard of.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UsagePattern")]
struct UsageView {
    /// By hour of the day, in UTC.
    by_hour: [i64; 24],
    /// From Monday, in UTC.
    by_weekday: [i64; 7],
    by_platform: BTreeMap<String, i64>,
    by_app_version: BTreeMap<String, i64>,
}

#[get("/api/analytics/patterns")]
async fn show(_operator: Operator, query: Query, app: &State<App>) -> Result<Json<PatternsView>, ApiError> {
    let hours = query.read("hours", "a number from 1 to 168", |text| {
        text.parse().ok().filter(|hours| (1..=HOURS_MAX).contains(hours))
    })?;
    let now = app.clock.now();
    let since = now - Duration::hours(hours.unwrap_or(HOURS_DEFAULT));
    let mut tx = app.read_list().await?;
    let found = patterns::since(&mut tx, since).await?;
    let heard = patterns::heard(&mut tx, since).await?;
    let noted = points::within(&mut tx, Metric::MachinesSeen, Step::Hour, Span { from: since, to: now }).await?;
    let noted = noted.into_iter().map(|point| (point.at, point.value)).collect();
    let failures = patterns::sorted(found, PATTERNS_MAX).into_iter().map(PatternView::from).collect();
    Ok(Json(PatternsView { failures, usage: Usage::of(&noted, heard).into() }))
}

impl From<Pattern> for PatternView {
    fn from(found: Pattern) -> Self {
        Self {
            kind: found.kind.name(),
            subject: found.subject,
            count: found.count,
            first_at: rfc3339(found.first_at),
            last_at: rfc3339(found.last_at),
        }
    }
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        let Usage { by_hour, by_weekday, by_platform, by_app_version } = usage;
        Self { by_hour, by_weekday, by_platform, by_app_version }
    }
}
