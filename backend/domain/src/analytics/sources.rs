//! What tables hold of a metric, counted by hours.

use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::spans::Span;
use super::{Amount, Metric, Series};

/// Counts by hours what happened from `$1` up to `$2`: hour, key, how much, of how many. A time's text is the same on both
/// engines up to its hour, but for what stands between date and time; PostgreSQL's is in UTC, since that is what the driver
/// sets for each of its connections.
macro_rules! by_hour {
    ($at:literal, $key:literal, $value:literal, $total:literal, $from:literal) => {
        concat!(
            "SELECT substr(CAST(",
            $at,
            " AS TEXT), 1, 13) AS hour, ",
            $key,
            ", CAST(",
            $value,
            " AS BIGINT), CAST(",
            $total,
            " AS BIGINT) FROM ",
            $from,
            " GROUP BY 1, 2"
        )
    };
}

const EVENTS: &str = by_hour!(
    "received_at",
    "''",
    "count(*)",
    "0",
    "webhook_events
     WHERE status IN ('processed', 'ignored', 'failed', 'dead_lettered') AND received_at >= $1 AND received_at < $2"
);

const EVENTS_FAILED: &str = by_hour!(
    "received_at",
    "''",
    "count(*)",
    "0",
    "webhook_events WHERE status IN ('failed', 'dead_lettered') AND received_at >= $1 AND received_at < $2"
);

const DEAD_LETTERS: &str = by_hour!(
    "created_at",
    "''",
    "count(*)",
    "0",
    "dead_letters
     WHERE status IN ('open', 'retrying', 'resolved') AND source IN ('webhook', 'delivery', 'desktop', 'notification')
       AND created_at >= $1 AND created_at < $2"
);

/// Of each event what machines said of it that were there, and what those owe.
const ACK_RATE: &str = by_hour!(
    "at",
    "''",
    "sum(taken)",
    "count(*)",
    "(SELECT e.created_at AS at, CASE a.status WHEN 'processed' THEN 1 ELSE 0 END AS taken
      FROM license_events AS e
      JOIN acknowledgements AS a ON a.event_id = e.id
      WHERE e.created_at >= $1 AND e.created_at < $2
      UNION ALL
      SELECT e.created_at, 0
      FROM license_events AS e
      JOIN machines AS m ON m.seat_of = e.license_id
      JOIN sessions AS s ON s.machine_id = m.id
      WHERE e.created_at >= $1 AND e.created_at < $2 AND s.connected_at < e.created_at AND s.last_seen_at >= e.created_at
        AND NOT EXISTS (SELECT 1 FROM acknowledgements AS a WHERE a.id = e.id || '/' || m.id)) AS said"
);

const PAYMENTS_SUCCEEDED: &str = by_hour!(
    "paid_at",
    "''",
    "count(*)",
    "0",
    "payments
     WHERE paid_at >= $1 AND paid_at < $2 AND status = 'succeeded' AND belongs_to IS NULL AND amount > 0"
);

const PAYMENTS_FAILED: &str = by_hour!(
    "at",
    "''",
    "count(*)",
    "0",
    "(SELECT last_failed_at AS at FROM invoices WHERE last_failed_at >= $1 AND last_failed_at < $2
      UNION ALL
      SELECT seen_at
      FROM payments
      WHERE seen_at >= $1 AND seen_at < $2 AND failure_code IS NOT NULL AND belongs_to IS NULL AND kind <> 'invoice'
        AND status <> 'succeeded') AS failed"
);

const REVENUE: &str = by_hour!(
    "paid_at",
    "currency",
    "sum(amount)",
    "0",
    "payments
     WHERE paid_at >= $1 AND paid_at < $2 AND status = 'succeeded' AND belongs_to IS NULL AND currency IS NOT NULL"
);

/// A subscription runs in these statuses, whatever it gives. What it was before it was first seen is null.
const SUBSCRIPTIONS_STARTED: &str = by_hour!(
    "at",
    "''",
    "count(*)",
    "0",
    "changes
     WHERE at >= $1 AND at < $2 AND change = 'status'
       AND to_value IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
       AND (from_value IS NULL OR from_value NOT IN ('trialing', 'active', 'past_due', 'unpaid', 'paused'))"
);

const SUBSCRIPTIONS_ENDED: &str = by_hour!(
    "at",
    "''",
    "count(*)",
    "0",
    "changes
     WHERE at >= $1 AND at < $2 AND change = 'status'
       AND from_value IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
       AND (to_value IS NULL OR to_value NOT IN ('trialing', 'active', 'past_due', 'unpaid', 'paused'))"
);

const MESSAGES_FAILED: &str = by_hour!(
    "created_at",
    "''",
    "count(*)",
    "0",
    "messages WHERE status = 'dead_lettered' AND created_at >= $1 AND created_at < $2"
);

/// The statements, each of which goes by an index.
pub const STATEMENTS: [&str; 10] = [
    EVENTS,
    EVENTS_FAILED,
    DEAD_LETTERS,
    ACK_RATE,
    PAYMENTS_SUCCEEDED,
    PAYMENTS_FAILED,
    REVENUE,
    SUBSCRIPTIONS_STARTED,
    SUBSCRIPTIONS_ENDED,
    MESSAGES_FAILED,
];

/// The statement of a metric that is counted from tables.
fn statement(metric: Metric) -> Option<&'static str> {
    Some(match metric {
        Metric::Events => EVENTS,
        Metric::EventsFailed => EVENTS_FAILED,
        Metric::DeadLetters => DEAD_LETTERS,
        Metric::AckRate => ACK_RATE,
        Metric::PaymentsSucceeded => PAYMENTS_SUCCEEDED,
        Metric::PaymentsFailed => PAYMENTS_FAILED,
        Metric::Revenue => REVENUE,
        Metric::SubscriptionsStarted => SUBSCRIPTIONS_STARTED,
        Metric::SubscriptionsEnded => SUBSCRIPTIONS_ENDED,
        Metric::MessagesFailed => MESSAGES_FAILED,
        Metric::EventLagP95
        | Metric::ResponseAverage
        | Metric::ResponseP95
        | Metric::Mrr
        | Metric::SubscriptionsActive
        | Metric::MembershipsInGrace
        | Metric::RetrySuccessRate
        | Metric::Streams
        | Metric::MachinesSeen => return None,
    })
}

/// What tables hold of `metric` within `span`, by hours; nothing of a metric that is not counted from tables.
pub async fn count(tx: &mut Tx, metric: Metric, span: Span) -> Result<Series, DbError> {
    let mut series = Series::new();
    let Some(statement) = statement(metric).filter(|_| !span.is_empty()) else { return Ok(series) };
    let rows: Vec<(String, String, i64, i64)> = tx.sql(statement).bind(span.from).bind(span.to).all().await?;
    for (hour, key, value, total) in rows {
        if let Some(hour) = hour_of(&hour) {
            series.entry(hour).or_default().insert(key, Amount { value, total });
        }
    }
    Ok(series)
}

/// The hour that a time's text begins with.
pub(super) fn hour_of(text: &str) -> Option<Timestamp> {
    let (date, hour) = text.split_at_checked(10)?;
    format!("{date}T{}:00:00Z", hour.get(1..)?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_read_as_either_engine_writes_it() {
        let hour: Option<Timestamp> = Some("2025-06-15T15:00:00Z".parse().unwrap());
        assert_eq!((hour_of("2025-06-15T15"), hour_of("2025-06-15 15")), (hour, hour));
        assert_eq!((hour_of(""), hour_of("2025-06-15"), hour_of("2025-06-15 1é")), (None, None, None));
    }
}
