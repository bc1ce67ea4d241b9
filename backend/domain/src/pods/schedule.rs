//! When a pod's members pay: the first date, and then always counted from it, in UTC.
//!
//! Each date is so many cadences after the first, and never one after the date before: a pod that begins on 31 January
//! has its dates on 28 February and on 31 March. So does Stripe, whose anchor of a subscription is a day of the month
//! that a short one cuts off: <https://docs.stripe.com/billing/subscriptions/billing-cycle>. A date that was moved is
//! what all later ones count from.

use chrono::{Datelike as _, Duration, Months};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_shared::Timestamp;

/// How far apart the dates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cadence {
    /// Seven days.
    Weekly,
    /// Fourteen days.
    BiWeekly,
    /// A month of the calendar.
    Monthly,
}

impl Cadence {
    /// Its name on the wire and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weekly => "weekly",
            Self::BiWeekly => "bi-weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The cadence of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Weekly, Self::BiWeekly, Self::Monthly].into_iter().find(|cadence| cadence.name() == name)
    }

    /// What Stripe calls it: a price's `recurring[interval]`, and how many of them.
    pub fn interval(self) -> (&'static str, u32) {
        match self {
            Self::Weekly => ("week", 1),
            Self::BiWeekly => ("week", 2),
            Self::Monthly => ("month", 1),
        }
    }

    /// `times` cadences after `start`. A day that the month has not is its last one.
    pub fn after(self, start: Timestamp, times: u32) -> Timestamp {
        let end = match self {
            Self::Weekly => start.checked_add_signed(Duration::weeks(i64::from(times))),
            Self::BiWeekly => start.checked_add_signed(Duration::weeks(2 * i64::from(times))),
            Self::Monthly => start.checked_add_months(Months::new(times)),
        };
        // The calendar ends in some hundred thousand years.
        end.unwrap_or(Timestamp::MAX_UTC)
    }

    /// How often it fits between two times, give or take one.
    fn about_between(self, start: Timestamp, end: Timestamp) -> u32 {
        let days = |length: i64| (end - start).num_days() / length;
        let months = |at: Timestamp| i64::from(at.year()) * 12 + i64::from(at.month0());
        let count = match self {
            Self::Weekly => days(7),
            Self::BiWeekly => days(14),
            Self::Monthly => months(end) - months(start),
        };
        count.try_into().unwrap_or(0)
    }
}

/// A date that later ones count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Which date it is, from 0.
    pub index: u32,
    /// When it is.
    pub at: Timestamp,
}

/// The dates of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cadence: Cadence,
    /// The first date, and those that were moved, in order. Never empty.
    anchors: Vec<Anchor>,
}

impl Schedule {
    /// One that begins at `first`.
    pub fn new(cadence: Cadence, first: Timestamp) -> Self {
        Self::of(cadence, vec![], first)
    }

    /// One whose dates were moved by `moved`, in order of their numbers.
    pub fn of(cadence: Cadence, moved: Vec<Anchor>, first: Timestamp) -> Self {
        let anchors = [Anchor { index: 0, at: first }].into_iter().chain(moved).collect();
        Self { cadence, anchors }
    }

    /// The date number `index`, from 0.
    pub fn date(&self, index: u32) -> Timestamp {
        let earlier = self.anchors.iter().rev().find(|anchor| anchor.index <= index);
        let anchor = earlier.unwrap_or(&self.anchors[0]);
        self.cadence.after(anchor.at, index - anchor.index)
    }

    /// The number of the first date that comes after `now`: how many there have been.
    pub fn next_index(&self, now: Timestamp) -> u32 {
        let begun = self.anchors.iter().take_while(|anchor| anchor.at <= now).count();
        let Some(anchor) = self.anchors[..begun].last() else { return 0 };
        let about = anchor.index + self.cadence.about_between(anchor.at, now).saturating_sub(1);
        // Beyond an anchor that is to come everything is counted from that one.
        let about = self.anchors.get(begun).map_or(about, |to_come| about.min(to_come.index));
        (about..=u32::MAX).find(|&index| self.date(index) > now).unwrap_or(u32::MAX)
    }

    /// The first date that comes after `now`.
    pub fn next_date(&self, now: Timestamp) -> Timestamp {
        self.date(self.next_index(now))
    }

    /// The same with the next date after `now` moved to `at`, from which later ones count.
    #[must_use]
    pub fn moved(&self, now: Timestamp, at: Timestamp) -> Self {
        let index = self.next_index(now);
        let kept = self.anchors.iter().copied().filter(|anchor| anchor.index < index);
        Self { cadence: self.cadence, anchors: kept.chain([Anchor { index, at }]).collect() }
    }

    /// How far apart they are.
    pub fn cadence(&self) -> Cadence {
        self.cadence
    }

    /// The first date.
    pub fn first(&self) -> Timestamp {
        self.date(0)
    }

    /// The dates that were moved, which later ones count from.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone as _, Utc};

    use super::*;

    fn at(year: i32, month: u32, day: u32) -> Timestamp {
        Utc.with_ymd_and_hms(year, month, day, 17, 30, 59).unwrap()
    }

    /// Days of a month, by a table: nothing that the code under test uses.
    fn days_in(year: i32, month: u32) -> u32 {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Every day of two years, one of them a leap year.
    fn days() -> impl Iterator<Item = (i32, u32, u32)> {
        let months = [2027, 2028].into_iter().flat_map(|year| (1..=12).map(move |month| (year, month)));
        months.flat_map(|(year, month)| (1..=days_in(year, month)).map(move |day| (year, month, day)))
    }

    #[test]
    fn a_month_later_is_the_same_day_or_the_last_there_is() {
        for (year, month, day) in days() {
            let schedule = Schedule::new(Cadence::Monthly, at(year, month, day));
            for index in 0..40 {
                let months = month - 1 + index;
                let (in_year, in_month) = (year + (months / 12) as i32, months % 12 + 1);
                let expected = at(in_year, in_month, day.min(days_in(in_year, in_month)));
                assert_eq!(schedule.date(index), expected, "{index} after {year}-{month}-{day}");
            }
        }
    }

    #[test]
    fn weeks_have_seven_days_wherever_they_begin() {
        for (year, month, day) in days() {
            let first = at(year, month, day);
            for (cadence, seconds) in [(Cadence::Weekly, 604_800), (Cadence::BiWeekly, 1_209_600)] {
                let schedule = Schedule::new(cadence, first);
                let since = |index: u32| schedule.date(index).timestamp() - first.timestamp();
                assert!((0..60).all(|index| since(index) == seconds * i64::from(index)), "{first}");
            }
        }
    }

    #[test]
    fn the_next_date_is_the_first_that_is_to_come() {
        for cadence in [Cadence::Weekly, Cadence::BiWeekly, Cadence::Monthly] {
            let schedule = Schedule::new(cadence, at(2027, 1, 31));
            assert_eq!(schedule.next_index(at(2026, 12, 31)), 0);
            for (year, month, day) in days() {
                let now = at(year, month, day);
                let next = schedule.next_index(now);
                assert!(schedule.date(next) > now, "{now}");
                assert!(next == 0 || schedule.date(next - 1) <= now, "{now}");
            }
        }
    }

    #[test]
    fn at_a_date_it_has_come() {
        let schedule = Schedule::new(Cadence::Monthly, at(2027, 1, 31));
        let second = schedule.date(1);
        assert_eq!((second, schedule.next_date(second)), (at(2027, 2, 28), at(2027, 3, 31)));
        assert_eq!(schedule.next_date(second - Duration::seconds(1)), second);
    }

    #[test]
    fn later_dates_count_from_one_that_was_moved() {
        let schedule = Schedule::new(Cadence::Monthly, at(2027, 1, 31));
        // Put off beyond the date after it, then brought forward, then moved twice.
        let moved = schedule.moved(at(2027, 3, 1), at(2027, 5, 10));
        let dates = |schedule: &Schedule| [0, 1, 2, 3, 4].map(|index| schedule.date(index));
        let before = [at(2027, 1, 31), at(2027, 2, 28)];
        assert_eq!(dates(&moved), [before[0], before[1], at(2027, 5, 10), at(2027, 6, 10), at(2027, 7, 10)]);
        assert_eq!((moved.next_index(at(2027, 5, 9)), moved.next_index(at(2027, 5, 10))), (2, 3));
        let again = moved.moved(at(2027, 4, 30), at(2027, 5, 1));
        assert_eq!(dates(&again), [before[0], before[1], at(2027, 5, 1), at(2027, 6, 1), at(2027, 7, 1)]);
        let later = again.moved(at(2027, 6, 2), at(2027, 6, 30));
        assert_eq!(dates(&later)[3..], [at(2027, 6, 1), at(2027, 6, 30)]);
        assert_eq!(later.next_date(at(2027, 6, 30)), at(2027, 7, 30));
        // The first may be moved too.
        let first = schedule.moved(at(2027, 1, 1), at(2027, 2, 1));
        assert_eq!((first.first(), first.date(1)), (at(2027, 2, 1), at(2027, 3, 1)));
    }

    #[test]
    fn cadences_have_the_names_of_the_wire() {
        for (cadence, name) in
            [(Cadence::Weekly, "weekly"), (Cadence::BiWeekly, "bi-weekly"), (Cadence::Monthly, "monthly")]
        {
            assert_eq!((cadence.name(), Cadence::named(name)), (name, Some(cadence)));
            assert_eq!(serde_json::to_value(cadence).unwrap(), name);
        }
        assert_eq!(Cadence::named("yearly"), None);
    }
}
