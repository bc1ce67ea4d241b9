//! Where a desktop app is in its licence's log, and where it goes on from there.
//!
//! A number alone would not do: a database that was restored from a backup numbers other events with the numbers that an
//! app has seen. So a cursor names the *epoch* of the log beside the number, and a restored log has another one.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The cursor that asks for everything there is.
pub const OLDEST: &str = "0";

/// Hexadecimal digits of an epoch.
const EPOCH_DIGITS: usize = 16;

/// Which life of the database a number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch that `facts` tell from every other: what they say together, not what each says alone.
    pub fn of<'a>(facts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for fact in facts {
            hash.update((fact.len() as u64).to_be_bytes());
            hash.update(fact);
        }
        let hash = hash.finalize();
        Self(hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0EPOCH_DIGITS$x}", self.0)
    }
}

/// The place after an event: `<epoch>.<seq>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Of the log.
    pub epoch: Epoch,
    /// The event's number; 0 is the place before the first.
    pub seq: i64,
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of ours")]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    /// Takes only what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (epoch, seq) = text.split_once('.').ok_or(NoCursor)?;
        let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let is_epoch = epoch.len() == EPOCH_DIGITS && epoch.bytes().all(is_hex);
        let is_seq = seq == "0" || seq.bytes().all(|digit| digit.is_ascii_digit()) && !seq.starts_with('0');
        if !is_epoch || !is_seq {
            return Err(NoCursor);
        }
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| NoCursor)?;
        Ok(Self { epoch: Epoch(epoch), seq: seq.parse().map_err(|_| NoCursor)? })
    }
}

/// From where an app wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It has seen nothing and wants only what comes.
    Now,
    /// It wants everything that is kept.
    Oldest,
    /// It has seen everything up to here.
    After(Cursor),
    /// It has seen something, but what it shows is no cursor.
    Unknown,
}

impl Start {
    /// What an app shows as its last event's id; a blank one is none.
    pub fn of(shown: Option<&str>) -> Self {
        match shown.unwrap_or_default() {
            "" => Self::Now,
            OLDEST => Self::Oldest,
            text => text.parse().map_or(Self::Unknown, Self::After),
        }
    }
}

/// What of a log can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The number of the oldest event that is kept; none when none is.
    pub oldest: Option<i64>,
    /// The number of the newest event that there ever was, kept or not; 0 before the first.
    pub newest: i64,
}

/// How an app is told what it has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With the event after this number; nothing is missing between.
    After(i64),
    /// There were events that it has not seen and cannot be told: it is told so, then what comes after this number.
    Gap {
        /// The place before the oldest event that is kept.
        after: i64,
    },
}

impl Kept {
    /// Where an app goes on that wants to be told from `start`.
    pub fn resume(&self, start: Start) -> Resume {
        let before_oldest = self.oldest.map_or(self.newest, |oldest| oldest - 1);
        match start {
            Start::Now => Resume::After(self.newest),
            Start::Oldest => Resume::After(before_oldest),
            // A number ahead of the log is of a life of the database of which this one knows nothing.
            Start::After(cursor)
                if cursor.epoch == self.epoch && (before_oldest..=self.newest).contains(&cursor.seq) =>
            {
                Resume::After(cursor.seq)
            }
            Start::After(_) | Start::Unknown => Resume::Gap { after: before_oldest },
        }
    }

    /// The place of the oldest event that is kept, and of the newest; none when none is.
    pub fn ends(&self) -> Option<(Cursor, Cursor)> {
        let oldest = self.oldest?;
        Some((self.at(oldest), self.at(self.newest)))
    }

    /// A place in this log.
    pub fn at(&self, seq: i64) -> Cursor {
        Cursor { epoch: self.epoch, seq }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const EPOCH: Epoch = Epoch(0x0123_4567_89ab_cdef);
    const OTHER: Epoch = Epoch(0);

    #[test]
    fn a_cursor_is_written_as_epoch_and_number() {
        let cursor = Cursor { epoch: EPOCH, seq: 42 };
        assert_eq!(cursor.to_string(), "0123456789abcdef.42");
        assert_eq!("0123456789abcdef.42".parse(), Ok(cursor));
        assert_eq!(Cursor { epoch: OTHER, seq: 0 }.to_string(), "0000000000000000.0");
    }

    #[test]
    fn what_we_would_not_have_written_is_no_cursor() {
        for text in [
            "",
            "0",
            "42",
            ".",
            "0123456789abcdef",
            "0123456789abcdef.",
            ".42",
            "0123456789abcde.42",
            "00123456789abcdef.42",
            "0123456789ABCDEF.42",
            "0123456789abcdeg.42",
            "+123456789abcdef.42",
            "0123456789abcdef.042",
            "0123456789abcdef.00",
            "0123456789abcdef.+42",
            "0123456789abcdef.-1",
            "0123456789abcdef. 42",
            "0123456789abcdef.42 ",
            " 0123456789abcdef.42",
            "0123456789abcdef.42\n",
            "0123456789abcdef.4_2",
            "0123456789abcdef.42.1",
            "0123456789abcdef.9223372036854775808",
            "0123456789abcdef.٤٢",
            "refused",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text:?}");
        }
    }

    #[test]
    fn an_app_may_show_nothing_the_oldest_a_cursor_or_something_else() {
        let cursor = Cursor { epoch: EPOCH, seq: 7 };
        for (shown, start) in [
            (None, Start::Now),
            (Some(""), Start::Now),
            (Some("0"), Start::Oldest),
            (Some("0123456789abcdef.7"), Start::After(cursor)),
            (Some("7"), Start::Unknown),
            (Some("00"), Start::Unknown),
            (Some("sev_1"), Start::Unknown),
        ] {
            assert_eq!(Start::of(shown), start, "{shown:?}");
        }
    }

    #[test]
    fn facts_make_an_epoch_together_and_in_their_order() {
        let known = Epoch::of(["a", "b"]);
        assert_eq!(known, Epoch::of(["a", "b"]));
        for other in [Epoch::of(["ab"]), Epoch::of(["b", "a"]), Epoch::of(["a", "b", ""]), Epoch::of(["", "ab"])] {
            assert_ne!(known, other);
        }
    }

    /// Every small log, and every cursor that may be shown of it.
    fn each_case(mut check: impl FnMut(Kept, Start)) {
        for newest in 0..6 {
            let kept_from = (1..=newest).map(Some).chain([None]);
            for oldest in kept_from {
                let kept = Kept { epoch: EPOCH, oldest, newest };
                let cursors = [EPOCH, OTHER].into_iter().flat_map(|epoch| (0..8).map(move |seq| Cursor { epoch, seq }));
                for start in cursors.map(Start::After).chain([Start::Now, Start::Oldest, Start::Unknown]) {
                    check(kept, start);
                }
            }
        }
    }

    /// What is told after a number: every event that is kept from there on.
    fn told(kept: Kept, after: i64) -> Vec<i64> {
        let first = kept.oldest.unwrap_or(kept.newest + 1).max(after + 1);
        (first..=kept.newest).collect()
    }

    #[test]
    fn an_app_is_told_every_event_it_has_missed_or_that_it_cannot_be() {
        each_case(|kept, start| {
            let Start::After(cursor) = start else { return };
            let missed: Vec<_> = (cursor.seq + 1..=kept.newest).collect();
            let is_of_this_log = cursor.epoch == kept.epoch && cursor.seq <= kept.newest;
            match kept.resume(start) {
                Resume::After(after) => {
                    assert!(is_of_this_log, "{kept:?} {cursor:?}");
                    assert_eq!(told(kept, after), missed, "{kept:?} {cursor:?}");
                }
                Resume::Gap { after } => {
                    let can_be_told = is_of_this_log && told(kept, cursor.seq) == missed;
                    assert!(!can_be_told, "{kept:?} {cursor:?}");
                    assert_eq!(told(kept, after), told(kept, 0), "everything that is kept: {kept:?} {cursor:?}");
                }
            }
        });
    }

    #[test]
    fn without_a_cursor_it_is_now_and_with_the_oldest_all_that_is_kept() {
        each_case(|kept, start| {
            let resume = kept.resume(start);
            match start {
                Start::Now => assert_eq!(resume, Resume::After(kept.newest)),
                Start::Oldest => {
                    let Resume::After(after) = resume else { panic!("{kept:?}: it asked for no more than that") };
                    assert_eq!(told(kept, after), told(kept, 0));
                    assert!(after < kept.newest || told(kept, 0).is_empty());
                }
                Start::Unknown => assert!(matches!(resume, Resume::Gap { .. })),
                Start::After(_) => {}
            }
        });
    }

    #[test]
    fn the_place_that_an_app_resumes_from_is_one_it_can_resume_from_again() {
        each_case(|kept, start| {
            let (Resume::After(after) | Resume::Gap { after }) = kept.resume(start);
            assert_eq!(kept.resume(Start::After(kept.at(after))), Resume::After(after), "{kept:?} {start:?}");
        });
    }

    #[test]
    fn the_ends_of_a_log_are_those_of_what_is_kept() {
        let kept = Kept { epoch: EPOCH, oldest: Some(3), newest: 5 };
        assert_eq!(kept.ends(), Some((kept.at(3), kept.at(5))));
        assert_eq!(Kept { oldest: None, ..kept }.ends(), None);
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(epoch in any::<u64>(), seq in 0..=i64::MAX) {
            let cursor = Cursor { epoch: Epoch(epoch), seq };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_makes_it_panic_and_what_is_read_is_what_was_written(text in "[0-9a-f.+ -]{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert!(cursor.to_string() == text);
            }
        }
    }
}
