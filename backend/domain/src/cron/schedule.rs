//! When a job is due. Times are UTC, which has no hour that comes twice.

use std::fmt;

use chrono::Duration;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How late a job has to be, at least, until somebody should look.
const LATE_AT_LEAST: Duration = Duration::minutes(10);

/// The ticks of a job: the same on every clock, whenever it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval_seconds: i64,
    /// Of the first tick after the Unix epoch.
    offset_seconds: i64,
}

impl Schedule {
    /// So many minutes apart, from the full hour on: a divisor of 60.
    pub const fn minutes(minutes: i64) -> Self {
        assert!(minutes > 0 && 60 % minutes == 0);
        Self { interval_seconds: minutes * MINUTE, offset_seconds: 0 }
    }

    /// Each full hour.
    pub const fn hourly() -> Self {
        Self::minutes(60)
    }

    /// Each day at this full hour.
    pub const fn daily(hour: i64) -> Self {
        assert!(hour >= 0 && hour < 24);
        Self { interval_seconds: DAY, offset_seconds: hour * HOUR }
    }

    /// The newest tick that is not after `now`.
    pub fn latest(&self, now: Timestamp) -> Timestamp {
        let since = (now.timestamp() - self.offset_seconds).rem_euclid(self.interval_seconds);
        from_unix(now.timestamp() - since).expect("a tick is as far from the Unix epoch as the present is")
    }

    /// The first tick after `at`.
    pub fn next(&self, at: Timestamp) -> Timestamp {
        self.latest(at) + self.interval()
    }

    /// From one tick to the next.
    pub fn interval(&self) -> Duration {
        Duration::seconds(self.interval_seconds)
    }

    /// Whether somebody should look why a job has not run whose last run was for `last`: two intervals late, and ten
    /// minutes.
    pub fn is_late(&self, last: Timestamp, now: Timestamp) -> bool {
        now - self.next(last) >= (self.interval() * 2).max(LATE_AT_LEAST)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interval_seconds {
            DAY => write!(f, "daily {:02}:00", self.offset_seconds / HOUR),
            HOUR => f.write_str("hourly"),
            MINUTE => f.write_str("each minute"),
            seconds => write!(f, "every {} minutes", seconds / MINUTE),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const ALL: [Schedule; 5] =
        [Schedule::minutes(1), Schedule::minutes(5), Schedule::hourly(), Schedule::daily(0), Schedule::daily(3)];

    #[test]
    fn the_ticks_of_each_schedule_are_full_minutes_hours_and_days() {
        let now = at("2026-02-28T23:59:59.999999Z");
        let ticks = ALL.map(|schedule| (schedule.to_string(), schedule.latest(now), schedule.next(now)));
        let expected = [
            ("each minute", "2026-02-28T23:59:00Z", "2026-03-01T00:00:00Z"),
            ("every 5 minutes", "2026-02-28T23:55:00Z", "2026-03-01T00:00:00Z"),
            ("hourly", "2026-02-28T23:00:00Z", "2026-03-01T00:00:00Z"),
            ("daily 00:00", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("daily 03:00", "2026-02-28T03:00:00Z", "2026-03-01T03:00:00Z"),
        ];
        assert_eq!(ticks, expected.map(|(name, latest, next)| (name.to_owned(), at(latest), at(next))));
    }

    #[test]
    fn before_three_in_the_morning_the_latest_tick_is_yesterdays() {
        let schedule = Schedule::daily(3);
        assert_eq!(schedule.latest(at("2026-03-01T02:59:59Z")), at("2026-02-28T03:00:00Z"));
        assert_eq!(schedule.latest(at("2026-03-01T03:00:00Z")), at("2026-03-01T03:00:00Z"));
        assert_eq!(schedule.next(at("2026-03-01T03:00:00Z")), at("2026-03-02T03:00:00Z"));
        assert_eq!(schedule.next(at("1969-12-31T03:00:00.5Z")), at("1970-01-01T03:00:00Z"));
    }

    #[test]
    fn a_job_is_late_after_two_intervals_and_ten_minutes() {
        let last = at("2026-03-01T03:00:00Z");
        for (schedule, on_time, late) in [
            (Schedule::minutes(1), "2026-03-01T03:10:59Z", "2026-03-01T03:11:00Z"),
            (Schedule::minutes(5), "2026-03-01T03:14:59Z", "2026-03-01T03:15:00Z"),
            (Schedule::hourly(), "2026-03-01T05:59:59Z", "2026-03-01T06:00:00Z"),
            (Schedule::daily(3), "2026-03-04T02:59:59Z", "2026-03-04T03:00:00Z"),
        ] {
            assert!(!schedule.is_late(last, at(on_time)), "{schedule}");
            assert!(schedule.is_late(last, at(late)), "{schedule}");
            assert!(
                !schedule.is_late(at("2036-03-01T03:00:00Z"), at(late)),
                "a clock that went back makes nothing late"
            );
        }
    }

    proptest! {
        #[test]
        fn the_present_is_between_the_latest_tick_and_the_next(
            which in 0..ALL.len(),
            micros in -4_000_000_000_000_000_i64..4_000_000_000_000_000,
        ) {
            let (schedule, now) = (ALL[which], Timestamp::from_timestamp_micros(micros).unwrap());
            let (latest, next) = (schedule.latest(now), schedule.next(now));
            prop_assert!(latest <= now && now < next);
            prop_assert_eq!(next - latest, schedule.interval());
            // A tick is one by itself, and there is none between.
            prop_assert_eq!((schedule.latest(latest), schedule.next(latest)), (latest, next));
        }
    }
}
