//! What the segments' files are called.
//!
//! `journal-0000000007.log` is being written, or holds entries that are not confirmed. When all of its entries are,
//! it becomes `journal-0000000007.confirmed-<oldest>-<newest>.log` (microseconds since the Unix epoch): a start need
//! not read it, and how old it is can be told without opening it.

use std::fmt;

/// The name of a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) segment: u32,
    /// When all entries are confirmed: when the oldest and the newest of them was received.
    pub(crate) confirmed: Option<TimeRange>,
}

/// From when to when, in microseconds since the Unix epoch, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
}

impl TimeRange {
    pub(crate) fn of(at_micros: i64) -> Self {
        Self { oldest: at_micros, newest: at_micros }
    }

    pub(crate) fn with(self, at_micros: i64) -> Self {
        Self { oldest: self.oldest.min(at_micros), newest: self.newest.max(at_micros) }
    }
}

impl SegmentName {
    /// What a file name says, if it is a segment's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (segment, state) = name.strip_prefix("journal-")?.strip_suffix("log")?.split_once('.')?;
        let segment = segment.parse().ok()?;
        let confirmed = match state.strip_suffix('.') {
            None if state.is_empty() => None,
            None => return None,
            Some(state) => {
                let (oldest, newest) = state.strip_prefix("confirmed-")?.rsplit_once('-')?;
                Some(TimeRange { oldest: oldest.parse().ok()?, newest: newest.parse().ok()? })
            }
        };
        let name_of_ours = Self { segment, confirmed };
        // Only the one spelling: two names must never mean the same segment.
        (name_of_ours.to_string() == name).then_some(name_of_ours)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal-{:010}.", self.segment)?;
        if let Some(TimeRange { oldest, newest }) = self.confirmed {
            write!(f, "confirmed-{oldest}-{newest}.")?;
        }
        f.write_str("log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_one() {
        for name in [
            SegmentName { segment: 1, confirmed: None },
            SegmentName { segment: u32::MAX, confirmed: Some(TimeRange { oldest: 1, newest: 1_700_000_000_000_000 }) },
        ] {
            assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        }
        for other in [
            "lock",
            "control.sock",
            "journal-1.log",
            "journal-0000000001.log~",
            "journal-0000000001.confirmed.log",
            "journal-0000000001.confirmed-1.log",
            "journal-0000000001.confirmed-01-2.log",
            "journal-0000000001.x.log",
            "journal-+000000001.log",
        ] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }
}
