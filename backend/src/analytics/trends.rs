//! `GET /api/analytics/trends`: a metric by hours or days.

use std::collections::BTreeMap;

use chrono::Duration;
use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Number;
use tollgate_domain::analytics::spans::{Span, Step};
use tollgate_domain::analytics::{Amount, ByKey, Metric, Series};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use super::sources;
use crate::app::App;
use crate::http::auth::Operator;
use crate::http::endpoint::{Endpoint, endpoint, query};
use crate::http::error::ApiError;
use crate::http::query::Query;

/// The most points of one answer.
const POINTS_MAX: i64 = 1000;

/// How much is shown where nobody says how much.
const HOURS_DEFAULT: Duration = Duration::hours(24);
const DAYS_DEFAULT: Duration = Duration::days(30);

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let parameters = [
        query("metric", "What is measured.").one_of(&Metric::ALL.map(Metric::name)).required(),
        query("from", "Its first moment; left out: 24 hours or 30 days before the last one.").time(),
        query("to", "The moment after the last one; left out: the end of the present hour or day.").time(),
        query("step", "What a point is of; left out: `hour`.").one_of(&["hour", "day"]),
    ];
    vec![endpoint!(trends, "A metric by hours or days, the first first; 1000 points at most").takes(parameters)]
}

/// A metric by hours or days.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Trend")]
struct TrendView {
    metric: &'static str,
    /// What its numbers are of: `count`, `ms`, `ratio` (0 to 1), or `minor`: the minor units of currencies.
    unit: &'static str,
    step: &'static str,
    points: Vec<PointView>,
}

/// An hour, or a day.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TrendPoint")]
struct PointView {
    /// Its beginning.
    at: String,
    /// What was measured; 0 where nothing was. Where `by` tells it apart, the sum of that.
    value: Number,
    /// The same by currency, or by tier.
    by: BTreeMap<String, Number>,
}

#[get("/api/analytics/trends")]
async fn trends(_operator: Operator, query: Query, app: &State<App>) -> Result<Json<TrendView>, ApiError> {
    let unknown = || ApiError::invalid_parameter("metric", "`metric` has to be one of the metrics that there are");
    let metric = query.text("metric").and_then(Metric::named).ok_or_else(unknown)?;
    let step = query.read("step", "`hour` or `day`", Step::named)?.unwrap_or(Step::Hour);
    let now = app.clock.now();
    let span = requested(&query, step, now)?;
    let series = sources::series(app, metric, span, step, now).await?;
    let points = span.starts(step).map(|at| PointView::of(metric, &series, at)).collect();
    Ok(Json(TrendView { metric: metric.name(), unit: metric.unit().name(), step: step.name(), points }))
}

fn requested(query: &Query, step: Step, now: Timestamp) -> Result<Span, ApiError> {
    let default = if step == Step::Hour { HOURS_DEFAULT } else { DAYS_DEFAULT };
    let to = query.time("to")?.unwrap_or_else(|| step.floor(now) + step.length());
    let from = query.time("from")?.unwrap_or_else(|| to - default);
    let refusal = if from > to {
        "`from` has to be no later than `to`"
    } else if (Span { from, to }).steps(step) > POINTS_MAX {
        "between `from` and `to` there have to be no more than 1000 hours, or days where `step` is `day`"
    } else {
        return Ok(Span { from, to });
    };
    Err(ApiError::invalid_parameter("from", refusal))
}

impl PointView {
    fn of(metric: Metric, series: &Series, at: Timestamp) -> Self {
        let nothing = ByKey::new();
        let by_key = series.get(&at).unwrap_or(&nothing);
        let sum = by_key.values().fold(Amount::default(), |sum, amount| Amount {
            value: sum.value.saturating_add(amount.value),
            total: sum.total.saturating_add(amount.total),
        });
        let is_told_apart = |(key, amount): &(&String, &Amount)| !key.is_empty() && **amount != Amount::default();
        let by = by_key.iter().filter(is_told_apart).map(|(key, amount)| (key.clone(), metric.number(*amount)));
        Self { at: rfc3339(at), value: metric.number(sum), by: by.collect() }
    }
}
