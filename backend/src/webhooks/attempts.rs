//! How often an event is tried, and when.

/// How long to wait after the first, second, … failed attempt; after one more than these it is a dead letter.
const RETRY_DELAYS: [chrono::Duration; 7] = [
    chrono::Duration::seconds(5),
    chrono::Duration::seconds(30),
    chrono::Duration::minutes(2),
    chrono::Duration::minutes(10),
    chrono::Duration::hours(1),
    chrono::Duration::hours(4),
    chrono::Duration::hours(12),
];

/// How long to wait after an attempt that failed for want of the database. Such an attempt is none of the event's.
pub const OUTAGE_DELAY: chrono::Duration = chrono::Duration::seconds(5);

/// How long to wait after attempt number `attempts` failed; none when it was the last.
pub fn retry_delay(attempts: i64) -> Option<chrono::Duration> {
    RETRY_DELAYS.get(usize::try_from(attempts.checked_sub(1)?).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_attempts_are_made_each_later_than_the_last() {
        let delays: Vec<_> = (1..).map_while(retry_delay).collect();
        assert_eq!(delays.len(), 7);
        assert!(delays.is_sorted());
        assert_eq!(retry_delay(0), None);
    }
}
