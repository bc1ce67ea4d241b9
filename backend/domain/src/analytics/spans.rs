//! Spans of time, and the hours and days in them. All of it is UTC: each hour has 60 minutes, each day 24 hours.

use chrono::Duration;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

/// What a row or a point is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Step {
    /// The step of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Hour, Self::Day].into_iter().find(|step| step.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::hours(1),
            Self::Day => Duration::days(1),
        }
    }

    /// The beginning of the one that `at` is in.
    pub fn floor(self, at: Timestamp) -> Timestamp {
        let since = at.timestamp().rem_euclid(self.length().num_seconds());
        from_unix(at.timestamp() - since).expect("it is as far from the Unix epoch as what is in it")
    }

    /// The first beginning that is not before `at`.
    pub fn ceil(self, at: Timestamp) -> Timestamp {
        let floor = self.floor(at);
        if floor == at { at } else { floor + self.length() }
    }
}

/// From a moment up to another one, without that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it; where that is not after the first one, the span is empty.
    pub to: Timestamp,
}

impl Span {
    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.from >= self.to
    }

    /// The beginnings of the hours or days that have a part in it.
    pub fn starts(self, step: Step) -> impl Iterator<Item = Timestamp> {
        let mut next = step.floor(self.from);
        std::iter::from_fn(move || {
            let start = next;
            next += step.length();
            (!self.is_empty() && start < self.to).then_some(start)
        })
    }

    /// How many those are.
    pub fn steps(self, step: Step) -> i64 {
        if self.is_empty() {
            return 0;
        }
        (step.ceil(self.to) - step.floor(self.from)).num_seconds() / step.length().num_seconds()
    }

    /// Cut into what is before the whole hours or days of it that end by `known_until`, those, and what is after them.
    pub fn cut(self, step: Step, known_until: Option<Timestamp>) -> [Self; 3] {
        let empty = Self { from: self.to, to: self.to };
        let Some(known_until) = known_until else { return [empty, empty, self] };
        let whole = Self { from: step.ceil(self.from), to: step.floor(self.to.min(known_until)) };
        if whole.is_empty() {
            return [empty, empty, self];
        }
        [Self { from: self.from, to: whole.from }, whole, Self { from: whole.to, to: self.to }]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn hours_and_days_begin_at_their_full_hours_in_utc() {
        let moment = at("2025-06-15T15:06:40.5Z");
        assert_eq!(
            (Step::Hour.floor(moment), Step::Hour.ceil(moment)),
            (at("2025-06-15T15:00:00Z"), at("2025-06-15T16:00:00Z"))
        );
        assert_eq!(
            (Step::Day.floor(moment), Step::Day.ceil(moment)),
            (at("2025-06-15T00:00:00Z"), at("2025-06-16T00:00:00Z"))
        );
        let midnight = at("2025-06-15T00:00:00Z");
        assert_eq!((Step::Day.floor(midnight), Step::Day.ceil(midnight)), (midnight, midnight));
    }

    #[test]
    fn a_span_has_each_hour_that_has_a_part_in_it() {
        let span = Span { from: at("2025-06-15T15:06:40Z"), to: at("2025-06-15T17:00:00Z") };
        let starts: Vec<_> = span.starts(Step::Hour).collect();
        assert_eq!(starts, [at("2025-06-15T15:00:00Z"), at("2025-06-15T16:00:00Z")]);
        assert_eq!((span.steps(Step::Hour), span.steps(Step::Day)), (2, 1));
        let empty = Span { from: span.to, to: span.from };
        assert_eq!((empty.starts(Step::Hour).count(), empty.steps(Step::Hour)), (0, 0));
    }

    proptest! {
        #[test]
        fn a_span_that_is_cut_is_all_there_and_whole_in_the_middle(
            from in 0..2_000_000_i64, length in 0..2_000_000_i64, known in proptest::option::of(0..4_000_000_i64), days: bool,
        ) {
            let step = if days { Step::Day } else { Step::Hour };
            let moment = |seconds: i64| from_unix(1_750_000_000 + seconds).unwrap();
            let span = Span { from: moment(from), to: moment(from + length) };
            let known = known.map(moment);
            let pieces = span.cut(step, known);
            // One after the other, without a gap.
            let mut next = span.from;
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                prop_assert_eq!(piece.from, next);
                next = piece.to;
            }
            prop_assert!(span.is_empty() || next == span.to);
            let [_, whole, _] = pieces;
            if !whole.is_empty() {
                prop_assert_eq!((step.floor(whole.from), step.floor(whole.to)), (whole.from, whole.to));
                prop_assert!(known.is_some_and(|known| whole.to <= known));
            }
            prop_assert_eq!(span.starts(step).count() as i64, span.steps(step));
        }
    }
}
