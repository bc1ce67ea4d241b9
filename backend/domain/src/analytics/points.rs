//! The rows: what each closed hour and day came to.

use std::collections::BTreeMap;

use tollgate_db::{DbError, Tx, record};
use tollgate_shared::Timestamp;

use super::spans::{Span, Step};
use super::{Amount, ByKey, Metric, Series};

record! {
    /// A row of `analytics_points`.
    pub struct Point in "analytics_points" {
        /// `<metric>/<step>/<Unix seconds>/<key>`
        pub id: String,
        /// [`Metric::name`].
        pub metric: String,
        /// [`Step::name`].
        pub step: String,
        /// The beginning.
        pub at: Timestamp,
        /// What it is told apart by; empty where by nothing.
        pub by_key: String,
        /// How much.
        pub value: i64,
        /// Of a quotient what it is divided by.
        pub total: i64,
    }
}

impl Point {
    fn of(metric: Metric, step: Step, at: Timestamp, key: &str, amount: Amount) -> Self {
        let (metric, step) = (metric.name(), step.name());
        Self {
            id: format!("{metric}/{step}/{}/{key}", at.timestamp()),
            metric: metric.to_owned(),
            step: step.to_owned(),
            at,
            by_key: key.to_owned(),
            value: amount.value,
            total: amount.total,
        }
    }
}

/// The rows that are to be written so that the steps of `span` are as `series` says, where they are `known` now. A step that
/// has nothing in it has a row all the same, and a key that is no longer in one has nothing: it is written as 0.
pub fn changed(metric: Metric, step: Step, span: Span, series: &Series, known: &[Point]) -> Vec<Point> {
    let known: BTreeMap<&str, &Point> = known.iter().map(|point| (&*point.id, point)).collect();
    let mut wanted = BTreeMap::new();
    for at in span.starts(step) {
        let nothing = ByKey::new();
        let by_key = series.get(&at).unwrap_or(&nothing);
        let mut points: Vec<_> = by_key.iter().map(|(key, amount)| Point::of(metric, step, at, key, *amount)).collect();
        if points.is_empty() {
            points.push(Point::of(metric, step, at, "", Amount::default()));
        }
        wanted.extend(points.into_iter().map(|point| (point.id.clone(), point)));
    }
    let gone = known.values().filter(|point| !wanted.contains_key(&point.id) && (point.value, point.total) != (0, 0));
    let gone: Vec<_> = gone.map(|point| Point { value: 0, total: 0, ..(*point).clone() }).collect();
    let new = wanted.into_values().filter(|point| known.get(&*point.id) != Some(&point));
    new.chain(gone).collect()
}

/// What rows say.
pub fn series(points: Vec<Point>) -> Series {
    let mut series = Series::new();
    for Point { at, by_key, value, total, .. } in points {
        series.entry(at).or_default().insert(by_key, Amount { value, total });
    }
    series
}

const WITHIN: &str = "SELECT id, metric, step, at, by_key, value, total
     FROM analytics_points
     WHERE metric = $1 AND step = $2 AND at >= $3 AND at < $4";

const NEWEST: &str =
    "SELECT at FROM analytics_points WHERE metric = $1 AND step = $2 AND at < $3 ORDER BY at DESC LIMIT $4";

const FORGET: &str = "DELETE FROM analytics_points
     WHERE id IN (SELECT id FROM analytics_points WHERE step = $1 AND at < $2 ORDER BY at, id LIMIT $3)";

/// The statements that may read many rows.
pub const STATEMENTS: [&str; 3] = [WITHIN, NEWEST, FORGET];

/// The rows of the steps that begin within a span.
pub async fn within(tx: &mut Tx, metric: Metric, step: Step, span: Span) -> Result<Vec<Point>, DbError> {
    tx.sql(WITHIN).bind(metric.name()).bind(step.name()).bind(span.from).bind(span.to).all().await
}

/// The beginning of the newest step before `before` that has a row.
pub async fn newest(tx: &mut Tx, metric: Metric, step: Step, before: Timestamp) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(Timestamp,)> =
        tx.sql(NEWEST).bind(metric.name()).bind(step.name()).bind(before).bind(1_i64).optional().await?;
    Ok(row.map(|(at,)| at))
}

/// Forgets rows of steps that began before `before`, the oldest first and `limit` at most; says how many.
pub async fn forget(tx: &mut Tx, step: Step, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.sql(FORGET).bind(step.name()).bind(before).bind(limit).run().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn span() -> Span {
        Span { from: at("2025-06-15T15:00:00Z"), to: at("2025-06-15T17:00:00Z") }
    }

    fn revenue(hours: &[(&str, &str, i64)]) -> Series {
        let mut series = Series::new();
        for (hour, currency, amount) in hours {
            series.entry(at(hour)).or_default().insert((*currency).to_owned(), Amount::of(*amount));
        }
        series
    }

    fn ids(points: &[Point]) -> Vec<(&str, i64)> {
        points.iter().map(|point| (&*point.id, point.value)).collect()
    }

    #[test]
    fn every_hour_has_a_row_and_what_is_made_again_changes_none() {
        let series = revenue(&[("2025-06-15T15:00:00Z", "usd", 2900)]);
        let made = changed(Metric::Revenue, Step::Hour, span(), &series, &[]);
        assert_eq!(ids(&made), [("revenue/hour/1749999600/usd", 2900), ("revenue/hour/1750003200/", 0)]);
        assert_eq!(changed(Metric::Revenue, Step::Hour, span(), &series, &made), []);
    }

    #[test]
    fn what_is_no_longer_in_an_hour_is_nothing_there() {
        let was = revenue(&[("2025-06-15T15:00:00Z", "usd", 2900), ("2025-06-15T16:00:00Z", "eur", 500)]);
        let known = changed(Metric::Revenue, Step::Hour, span(), &was, &[]);
        let is = revenue(&[("2025-06-15T16:00:00Z", "usd", 2900), ("2025-06-15T16:00:00Z", "eur", 500)]);
        let made = changed(Metric::Revenue, Step::Hour, span(), &is, &known);
        let expected = [
            ("revenue/hour/1749999600/", 0),
            ("revenue/hour/1750003200/usd", 2900),
            ("revenue/hour/1749999600/usd", 0),
        ];
        assert_eq!(ids(&made), expected);
    }

    #[test]
    fn rows_say_what_they_were_made_of() {
        let was = revenue(&[("2025-06-15T15:00:00Z", "usd", 2900), ("2025-06-15T15:00:00Z", "eur", 500)]);
        let made = changed(Metric::Revenue, Step::Hour, Span { to: at("2025-06-15T16:00:00Z"), ..span() }, &was, &[]);
        assert_eq!(series(made), was);
    }
}
