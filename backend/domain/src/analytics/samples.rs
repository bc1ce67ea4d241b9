//! What processes measured: a row for each hour of each process, which adds up over both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_db::{DbError, Json, Tx, record};
use tollgate_shared::Timestamp;

use super::histogram::Histogram;
use super::spans::{Span, Step};
use super::{Amount, ByKey, Metric, Series};

record! {
    /// A row of `analytics_samples`.
    pub struct Sample in "analytics_samples" {
        /// `smp_…`, another one for each process and hour; and where a clock comes back to an hour.
        pub id: String,
        /// The hour's beginning.
        pub hour: Timestamp,
        /// What was measured in it so far.
        pub measured: Json<Measured>,
    }
}

/// What a process measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// How long answers took.
    pub responses: Histogram,
    /// How late events were processed.
    pub lags: Histogram,
    /// For how long streams were open, all of them together.
    pub stream_seconds: i64,
}

impl Measured {
    fn merge(&mut self, other: &Self) {
        self.responses.merge(&other.responses);
        self.lags.merge(&other.lags);
        self.stream_seconds += other.stream_seconds;
    }

    /// What it comes to for a metric over so many seconds.
    fn amount(&self, metric: Metric, seconds: i64) -> Amount {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match metric {
            Metric::EventLagP95 => Amount::of(number(self.lags.percentile(95))),
            Metric::ResponseP95 => Amount::of(number(self.responses.percentile(95))),
            Metric::ResponseAverage => {
                Amount { value: number(self.responses.sum()), total: number(self.responses.count()) }
            }
            _ => Amount { value: self.stream_seconds, total: seconds },
        }
    }
}

/// A metric by hours or days, up to `now`.
pub fn series(metric: Metric, samples: &[Sample], step: Step, now: Timestamp) -> Series {
    let mut measured: BTreeMap<Timestamp, Measured> = BTreeMap::new();
    for sample in samples {
        measured.entry(step.floor(sample.hour)).or_default().merge(&sample.measured);
    }
    let amount = |(at, measured): (Timestamp, Measured)| {
        let seconds = (now - at).min(step.length()).num_seconds().max(1);
        (at, ByKey::from([(String::new(), measured.amount(metric, seconds))]))
    };
    measured.into_iter().map(amount).collect()
}

/// What was measured in the hours that begin within a span.
const WITHIN: &str = "SELECT id, hour, measured FROM analytics_samples WHERE hour >= $1 AND hour < $2";

/// Reads those.
pub async fn within(tx: &mut Tx, span: Span) -> Result<Vec<Sample>, DbError> {
    tx.sql(WITHIN).bind(span.from).bind(span.to).all().await
}

/// Forgets what was measured in hours before `before`, `limit` rows at most; says how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.sql(FORGET).bind(before).bind(limit).run().await
}

const FORGET: &str = "DELETE FROM analytics_samples
     WHERE id IN (SELECT id FROM analytics_samples WHERE hour < $1 ORDER BY hour, id LIMIT $2)";

/// The statements that may read many rows.
pub const STATEMENTS: [&str; 2] = [WITHIN, FORGET];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn sample(hour: &str, micros: &[u64], stream_seconds: i64) -> Sample {
        let mut measured = Measured { stream_seconds, ..Measured::default() };
        for micros in micros {
            measured.responses.record(*micros);
            measured.lags.record(*micros);
        }
        Sample { id: format!("smp_{hour}"), hour: at(hour), measured: Json(measured) }
    }

    #[test]
    fn what_several_processes_measured_is_one_number() {
        let samples = [
            sample("2025-06-15T15:00:00Z", &[10, 10, 10], 1800),
            sample("2025-06-15T15:00:00Z", &[14], 3600),
            sample("2025-06-15T16:00:00Z", &[2], 0),
        ];
        let of = |metric, step| {
            let series = series(metric, &samples, step, at("2025-06-16T12:00:00Z"));
            series.into_values().map(|by_key| by_key[""]).collect::<Vec<_>>()
        };
        assert_eq!(
            of(Metric::ResponseAverage, Step::Hour),
            [Amount { value: 44, total: 4 }, Amount { value: 2, total: 1 }]
        );
        assert_eq!(of(Metric::ResponseP95, Step::Hour), [Amount::of(14), Amount::of(2)]);
        assert_eq!(of(Metric::EventLagP95, Step::Day), [Amount::of(14)]);
        assert_eq!(of(Metric::Streams, Step::Hour)[0], Amount { value: 5400, total: 3600 });
    }

    #[test]
    fn an_hour_that_goes_on_is_as_long_as_it_has_been() {
        let samples = [sample("2025-06-15T15:00:00Z", &[], 600)];
        let series = series(Metric::Streams, &samples, Step::Hour, at("2025-06-15T15:10:00Z"));
        assert_eq!(series.into_values().next().unwrap()[""], Amount { value: 600, total: 600 });
    }
}
