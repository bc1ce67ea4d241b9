//! Analytics: how things went, hour by hour and day by day; how licences are; what is out of the ordinary.
//!
//! Whatever tables tell is counted from them, so that what comes late is in the hour in which it happened. For each closed hour
//! and day there are rows beside that ([`points`]): they are read where counting would take long and nothing can come late any
//! more, and where the tables no longer hold what was counted. What no table tells, because it is so only at the moment
//! ([`Origin::Now`]) or known only to the process in which it was measured ([`Origin::Processes`]), is in rows alone.

pub mod health;
pub mod histogram;
pub mod numbers;
pub mod patterns;
pub mod points;
pub mod samples;
pub mod sources;
pub mod spans;

use std::collections::BTreeMap;

use chrono::Duration;
use serde_json::Number;
use tollgate_shared::Timestamp;

use self::spans::Step;

/// How long the rows of hours are kept.
pub const HOURS_KEPT: Duration = Duration::days(90);

/// How long the rows of days are kept.
pub const DAYS_KEPT: Duration = Duration::days(400);

/// How long after its end an hour is closed: what was being written then has been written since, or never is. The clocks of
/// several backends may be minutes apart.
pub const CLOSES_AFTER: Duration = Duration::hours(1);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Events of Stripe's that were taken.
    Events,
    /// Those of them that wait for another attempt, or are dead letters.
    EventsFailed,
    /// How late events were processed, from a relay's receipt on: all but one in twenty were no later.
    EventLagP95,
    /// How long answers took.
    ResponseAverage,
    /// All but one in twenty took no longer.
    ResponseP95,
    /// Dead letters that were opened.
    DeadLetters,
    /// How much was acknowledged of what machines that were there were told.
    AckRate,
    /// Payments over 0 that succeeded.
    PaymentsSucceeded,
    /// Payments of which an attempt failed, at the last one that did.
    PaymentsFailed,
    /// What was paid, by currency, gross.
    Revenue,
    /// What subscriptions bring in a month, by currency.
    Mrr,
    /// Subscriptions that entitle, by tier.
    SubscriptionsActive,
    /// Subscriptions that began to run.
    SubscriptionsStarted,
    /// Subscriptions that run no more.
    SubscriptionsEnded,
    /// Memberships whose grace runs.
    MembershipsInGrace,
    /// How much was paid after all of what had failed within 30 days.
    RetrySuccessRate,
    /// Messages that became dead letters, by when they were written.
    MessagesFailed,
    /// Streams of events that were open, on average.
    Streams,
    /// Machines that were heard of: no metric of [`Metric::ALL`], but what [`patterns`] tell of hours and weekdays.
    MachinesSeen,
}

/// Where a metric comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Tables, in which facts may come late, or move from one hour to another: it is counted whenever it is asked for.
    Facts,
    /// Tables, in which nothing comes later than [`CLOSES_AFTER`]: what a closed hour held it holds for good. Or nearly so, and
    /// counting takes long: then closed hours are made again for a while.
    Records,
    /// What each process measured: [`samples`].
    Processes,
    /// How things are at the moment: nobody knows later.
    Now,
}

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// 0 to 1.
    Ratio,
    /// In the currency's minor unit.
    Minor,
}

impl Unit {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Milliseconds => "ms",
            Self::Ratio => "ratio",
            Self::Minor => "minor",
        }
    }
}

impl Metric {
    /// Those that can be asked for.
    pub const ALL: [Self; 18] = [
        Self::Events,
        Self::EventsFailed,
        Self::EventLagP95,
        Self::ResponseAverage,
        Self::ResponseP95,
        Self::DeadLetters,
        Self::AckRate,
        Self::PaymentsSucceeded,
        Self::PaymentsFailed,
        Self::Revenue,
        Self::Mrr,
        Self::SubscriptionsActive,
        Self::SubscriptionsStarted,
        Self::SubscriptionsEnded,
        Self::MembershipsInGrace,
        Self::RetrySuccessRate,
        Self::MessagesFailed,
        Self::Streams,
    ];

    /// The metric of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::EventsFailed => "events_failed",
            Self::EventLagP95 => "event_lag_p95_ms",
            Self::ResponseAverage => "response_avg_ms",
            Self::ResponseP95 => "response_p95_ms",
            Self::DeadLetters => "dead_letters",
            Self::AckRate => "ack_rate",
            Self::PaymentsSucceeded => "payments_succeeded",
            Self::PaymentsFailed => "payments_failed",
            Self::Revenue => "revenue",
            Self::Mrr => "mrr",
            Self::SubscriptionsActive => "subscriptions_active",
            Self::SubscriptionsStarted => "subscriptions_started",
            Self::SubscriptionsEnded => "subscriptions_ended",
            Self::MembershipsInGrace => "memberships_in_grace",
            Self::RetrySuccessRate => "retry_success_rate",
            Self::MessagesFailed => "messages_failed",
            Self::Streams => "streams",
            Self::MachinesSeen => "machines_seen",
        }
    }

    /// Where it comes from.
    pub fn origin(self) -> Origin {
        match self {
            Self::EventsFailed
            | Self::DeadLetters
            | Self::PaymentsSucceeded
            | Self::PaymentsFailed
            | Self::Revenue
            | Self::MessagesFailed => Origin::Facts,
            Self::Events | Self::AckRate | Self::SubscriptionsStarted | Self::SubscriptionsEnded => Origin::Records,
            Self::EventLagP95 | Self::ResponseAverage | Self::ResponseP95 | Self::Streams => Origin::Processes,
            Self::Mrr
            | Self::SubscriptionsActive
            | Self::MembershipsInGrace
            | Self::RetrySuccessRate
            | Self::MachinesSeen => Origin::Now,
        }
    }

    /// For how long the rows of closed hours are made again at each run. Stripe sends what happened for 30 days, relays keep
    /// events for 14; a machine is waited for a week.
    pub fn made_again_for(self) -> Duration {
        match self {
            Self::AckRate => Duration::days(8),
            _ if self.origin() == Origin::Facts => Duration::days(35),
            _ => Duration::days(2),
        }
    }

    /// What its numbers are of.
    pub fn unit(self) -> Unit {
        match self {
            Self::EventLagP95 | Self::ResponseAverage | Self::ResponseP95 => Unit::Milliseconds,
            Self::AckRate | Self::RetrySuccessRate => Unit::Ratio,
            Self::Revenue | Self::Mrr => Unit::Minor,
            _ => Unit::Count,
        }
    }

    /// The number that is shown for what was measured: of nothing 0.
    pub fn number(self, amount: Amount) -> Number {
        let Amount { value, total } = amount;
        let whole = |divided: f64| Number::from_f64(divided).unwrap_or_else(|| 0.into());
        let quotient = if total == 0 { 0.0 } else { value as f64 / total as f64 };
        match self {
            Self::AckRate | Self::RetrySuccessRate => whole(quotient),
            Self::Streams => whole((quotient * 100.0).round() / 100.0),
            Self::ResponseAverage => whole(quotient.round() / 1000.0),
            Self::EventLagP95 | Self::ResponseP95 => whole(value as f64 / 1000.0),
            _ => value.into(),
        }
    }
}

/// What was measured in an hour or on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How much; times in microseconds.
    pub value: i64,
    /// Of a quotient what it is divided by; else 0.
    pub total: i64,
}

impl Amount {
    /// So many.
    pub fn of(value: i64) -> Self {
        Self { value, total: 0 }
    }
}

/// What was measured at one time, by key: under the empty one where it is told apart by none.
pub type ByKey = BTreeMap<String, Amount>;

/// The same by the beginnings of hours or days; of one that is not in it nothing is known, or there was nothing.
pub type Series = BTreeMap<Timestamp, ByKey>;

/// The same by longer times. Only of what adds up.
pub fn fold(series: Series, step: Step) -> Series {
    let mut folded = Series::new();
    for (at, by_key) in series {
        add(folded.entry(step.floor(at)).or_default(), by_key);
    }
    folded
}

/// Two series as one; of a time that is in both the sums.
pub fn join(mut one: Series, other: Series) -> Series {
    for (at, by_key) in other {
        add(one.entry(at).or_default(), by_key);
    }
    one
}

fn add(sums: &mut ByKey, by_key: ByKey) {
    for (key, amount) in by_key {
        let sum = sums.entry(key).or_default();
        sum.value += amount.value;
        sum.total += amount.total;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_metric_has_a_name_of_its_own() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(metric));
        }
        assert_eq!((Metric::named("machines_seen"), Metric::named("")), (None, None));
    }

    #[test]
    fn a_number_is_in_its_metrics_unit_and_of_nothing_zero() {
        let number = |metric: Metric, value, total| json!(metric.number(Amount { value, total }));
        assert_eq!(number(Metric::Revenue, 2900, 0), json!(2900));
        assert_eq!(number(Metric::AckRate, 3, 4), json!(0.75));
        assert_eq!(number(Metric::AckRate, 0, 0), json!(0.0));
        assert_eq!(number(Metric::ResponseAverage, 9_000, 2), json!(4.5));
        assert_eq!(number(Metric::ResponseP95, 12_345, 0), json!(12.345));
        assert_eq!(number(Metric::Streams, 5400, 3600), json!(1.5));
    }

    #[test]
    fn days_are_the_sums_of_their_hours() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let hour = |key: &str, value| ByKey::from([(key.to_owned(), Amount { value, total: 1 })]);
        let hours = Series::from([
            (at("2025-06-15T00:00:00Z"), hour("usd", 1)),
            (at("2025-06-15T23:00:00Z"), hour("usd", 2)),
            (at("2025-06-16T00:00:00Z"), hour("eur", 4)),
        ]);
        let days = Series::from([
            (at("2025-06-15T00:00:00Z"), ByKey::from([("usd".to_owned(), Amount { value: 3, total: 2 })])),
            (at("2025-06-16T00:00:00Z"), hour("eur", 4)),
        ]);
        assert_eq!(fold(hours, Step::Day), days);
    }
}
