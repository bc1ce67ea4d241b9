//! What a metric was within a span of time: from its rows where those are known to be right, else from what they are made of.

use chrono::Duration;
use tollgate_db::{DbError, Tx};
use tollgate_domain::analytics::numbers::{self, Numbers};
use tollgate_domain::analytics::spans::{Span, Step};
use tollgate_domain::analytics::{
    Amount, ByKey, HOURS_KEPT, Metric, Origin, Series, fold, join, points, samples, sources,
};
use tollgate_shared::Timestamp;

use crate::app::App;

/// The end of a time is counted at each look, for so long: the job that makes an hour's row may come an hour after it is
/// closed, and have found it open once.
const COUNTED_FOR: Duration = Duration::hours(3);

/// Dead letters and messages are kept for as long, at least.
const LETTERS_KEPT: Duration = Duration::days(90);

/// From when on tables hold all that a metric is counted from.
pub(super) fn held_since(app: &App, metric: Metric, now: Timestamp) -> Timestamp {
    let kept = match metric {
        Metric::Events | Metric::EventsFailed => app.config.webhook_events_kept,
        Metric::AckRate => app.config.license_events_kept,
        Metric::DeadLetters | Metric::MessagesFailed => LETTERS_KEPT,
        _ => return Timestamp::UNIX_EPOCH,
    };
    now - kept
}

/// A metric within a span, by its hours or days. Of the first and the last of them only what is within the span counts, where
/// that is known.
pub(super) async fn series(
    app: &App,
    metric: Metric,
    span: Span,
    step: Step,
    now: Timestamp,
) -> Result<Series, DbError> {
    let mut tx = app.read_list().await?;
    match (metric.origin(), step) {
        (Origin::Facts, _) => facts(&mut tx, metric, span, step, held_since(app, metric, now)).await,
        (Origin::Records | Origin::Processes, Step::Hour) => by_hour(&mut tx, metric, span, now).await,
        (Origin::Records | Origin::Processes, Step::Day) => by_day(&mut tx, metric, span, now).await,
        (Origin::Now, _) => samples_of_now(&mut tx, app, metric, span, step, now).await,
    }
}

/// What may come late is counted; its rows are read where tables may no longer hold all of it.
async fn facts(tx: &mut Tx, metric: Metric, span: Span, step: Step, held_since: Timestamp) -> Result<Series, DbError> {
    let mut series = fold(sources::count(tx, metric, span).await?, step);
    // The step from which on tables hold all is the first that is counted whole: of the one before some is gone.
    let gone = Span { from: step.floor(span.from), to: span.to.min(step.ceil(held_since)) };
    if !gone.is_empty() {
        series.extend(points::series(points::within(tx, metric, step, gone).await?));
    }
    Ok(series)
}

async fn by_hour(tx: &mut Tx, metric: Metric, span: Span, now: Timestamp) -> Result<Series, DbError> {
    // The rows of hours that were before are gone.
    let kept_since = Step::Hour.ceil(now - HOURS_KEPT);
    let past = Span { from: span.from, to: span.to.min(kept_since) };
    let kept = Span { from: span.from.max(kept_since), to: span.to };
    let [before, whole, after] = kept.cut(Step::Hour, known_until(tx, metric, Step::Hour, now).await?);
    let mut series = points::series(points::within(tx, metric, Step::Hour, whole).await?);
    for part in [past, before, after] {
        series = join(series, made_of(tx, metric, part, Step::Hour, now).await?);
    }
    Ok(series)
}

async fn by_day(tx: &mut Tx, metric: Metric, span: Span, now: Timestamp) -> Result<Series, DbError> {
    let [before, whole, after] = span.cut(Step::Day, known_until(tx, metric, Step::Day, now).await?);
    let mut series = points::series(points::within(tx, metric, Step::Day, whole).await?);
    for part in [before, after] {
        let part = match metric.origin() {
            // Not the sum of its hours.
            Origin::Processes => made_of(tx, metric, part, Step::Day, now).await?,
            _ => fold(by_hour(tx, metric, part, now).await?, Step::Day),
        };
        series = join(series, part);
    }
    Ok(series)
}

/// Until when the rows of a metric are right.
async fn known_until(tx: &mut Tx, metric: Metric, step: Step, now: Timestamp) -> Result<Option<Timestamp>, DbError> {
    let newest = points::newest(tx, metric, step, now).await?;
    Ok(newest.map(|at| (at + step.length()).min(step.floor(now - COUNTED_FOR))))
}

/// What rows are made of.
pub(super) async fn made_of(
    tx: &mut Tx,
    metric: Metric,
    span: Span,
    step: Step,
    now: Timestamp,
) -> Result<Series, DbError> {
    match metric.origin() {
        Origin::Processes if span.is_empty() => Ok(Series::new()),
        // An hour's sample is of all of it.
        Origin::Processes => {
            let span = Span { from: Step::Hour.floor(span.from), ..span };
            Ok(samples::series(metric, &samples::within(tx, span).await?, step, now))
        }
        _ => Ok(fold(sources::count(tx, metric, span).await?, step)),
    }
}

/// What was so at a moment is what the job saw then, and since the last time that it looked what is so now.
async fn samples_of_now(
    tx: &mut Tx,
    app: &App,
    metric: Metric,
    span: Span,
    step: Step,
    now: Timestamp,
) -> Result<Series, DbError> {
    let known = points::within(tx, metric, step, Span { from: step.floor(span.from), ..span }).await?;
    let mut series = points::series(known);
    let newest = points::newest(tx, metric, step, now).await?;
    let is_of_now = |at: &Timestamp| *at <= now && newest.map_or(*at == step.floor(now), |newest| *at > newest);
    let of_now: Vec<_> = span.starts(step).filter(is_of_now).collect();
    if !of_now.is_empty() {
        let values = current(tx, app, metric, now).await?;
        series.extend(of_now.into_iter().map(|at| (at, values.clone())));
    }
    Ok(series)
}

/// How things are at the moment.
pub(super) async fn current(tx: &mut Tx, app: &App, metric: Metric, now: Timestamp) -> Result<ByKey, DbError> {
    let plans = &*app.settings.plans;
    let by_key = |numbers: Numbers| numbers.into_iter().map(|(key, value)| (key, Amount::of(value))).collect();
    let alone = |amount| ByKey::from([(String::new(), amount)]);
    Ok(match metric {
        Metric::Mrr => by_key(numbers::monthly_revenue(tx, plans).await?),
        Metric::SubscriptionsActive => by_key(numbers::entitling(tx, plans).await?),
        Metric::MembershipsInGrace => alone(Amount::of(numbers::in_grace(tx, now).await?)),
        Metric::RetrySuccessRate => {
            let (value, total) = numbers::retries_settled(tx, now, plans.past_due_days()).await?;
            alone(Amount { value, total })
        }
        _ => ByKey::new(),
    })
}
