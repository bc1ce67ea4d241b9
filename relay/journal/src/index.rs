//! What the journal knows without reading: the unconfirmed entries, some 40 bytes each, and the segments. A confirmed
//! entry costs nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use tollgate_shared::Timestamp;

use crate::entry::Position;
use crate::segment_name::{SegmentName, TimeRange};

/// An entry that is not confirmed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) received_at_micros: i64,
    /// How many deliveries of it failed.
    pub(crate) attempts: u32,
}

/// One file of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// What the file takes on disk, space set aside included.
    pub(crate) bytes: u64,
    /// How many of its entries are not confirmed.
    pub(crate) unconfirmed: u64,
    /// When its entries were received, once it has any.
    pub(crate) received: Option<TimeRange>,
    pub(crate) opened_at_micros: i64,
    /// Nothing is written to it any more.
    pub(crate) sealed: bool,
    /// Its name says that all of its entries are confirmed.
    pub(crate) archived: bool,
    /// Some of it cannot be read. What stood there may not be confirmed, so its name never says that all of it is; it
    /// stays until someone has looked at it.
    pub(crate) damaged: bool,
    /// A write behind this offset failed, and may be in the file all the same: entries that nobody was told are kept.
    /// They have to go for good before the segment's name says anything of its entries.
    pub(crate) cut_at: Option<u64>,
}

impl Segment {
    /// When its entries were received; when it was opened, if it has none.
    pub(crate) fn received(&self) -> TimeRange {
        self.received.unwrap_or(TimeRange::of(self.opened_at_micros))
    }

    pub(crate) fn name(&self, segment: u32) -> SegmentName {
        SegmentName { segment, confirmed: self.archived.then(|| self.received()) }
    }
}

/// All that is known of the log.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) unconfirmed: BTreeMap<Position, Waiting>,
    pub(crate) segments: BTreeMap<u32, Segment>,
}

impl Index {
    pub(crate) fn add(&mut self, position: Position, received_at_micros: i64) {
        let segment = self.segments.get_mut(&position.segment()).expect("an entry is added to a segment that is known");
        segment.unconfirmed += 1;
        let at = received_at_micros;
        segment.received = Some(segment.received.map_or(TimeRange::of(at), |range| range.with(at)));
        let waiting = Waiting { received_at_micros, attempts: 0 };
        assert!(self.unconfirmed.insert(position, waiting).is_none(), "no position is used twice");
    }

    /// The entry at `position` is delivered or discarded. `None`: it was already, or there is none.
    pub(crate) fn end(&mut self, position: Position) -> Option<Waiting> {
        let waiting = self.unconfirmed.remove(&position)?;
        let segment = self.segments.get_mut(&position.segment()).expect("a segment outlives its unconfirmed entries");
        segment.unconfirmed -= 1;
        Some(waiting)
    }

    pub(crate) fn unconfirmed_after(&self, after: Option<Position>, limit: usize) -> Vec<Position> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.unconfirmed.range((from, Bound::Unbounded)).take(limit).map(|(position, _)| *position).collect()
    }

    /// When the oldest entry was received.
    pub(crate) fn oldest_micros(&self) -> Option<i64> {
        self.segments.values().filter_map(|segment| segment.received).map(|received| received.oldest).min()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Sealed segments that hold nothing unconfirmed, are intact and are not named so yet, oldest first.
    pub(crate) fn ended(&self) -> Vec<u32> {
        let ended =
            |segment: &Segment| segment.sealed && !segment.archived && !segment.damaged && segment.unconfirmed == 0;
        self.segments.iter().filter(|(_, segment)| ended(segment)).map(|(number, _)| *number).collect()
    }

    /// Segments older than `segment` that a start would read: what later segments say of their entries still matters.
    pub(crate) fn read_at_start_before(&self, segment: u32) -> Vec<u32> {
        self.segments.range(..segment).filter(|(_, older)| !older.archived).map(|(number, _)| *number).collect()
    }

    /// The oldest segment that may go, if one has to: none with an unconfirmed entry ever may.
    pub(crate) fn to_prune(&self, keep_from: Timestamp, bytes_max: u64) -> Option<u32> {
        let over = self.bytes() > bytes_max;
        let may_go =
            |segment: &Segment| segment.archived && (over || segment.received().newest < keep_from.timestamp_micros());
        self.segments.iter().find(|(_, segment)| may_go(segment)).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    const DAY: i64 = 86_400_000_000;

    /// Five segments of 100 bytes, received a day apart; the fifth is being written, the third has an unconfirmed entry.
    fn index() -> Index {
        let segment = |number: u32| Segment {
            bytes: 100,
            unconfirmed: u64::from(number == 3),
            received: Some(TimeRange::of(i64::from(number) * DAY)),
            opened_at_micros: 0,
            sealed: number < 5,
            archived: number < 3 || number == 4,
            damaged: false,
            cut_at: None,
        };
        let mut index =
            Index { segments: (1..=5).map(|number| (number, segment(number))).collect(), ..Index::default() };
        index.unconfirmed.insert(Position::new(3, 20), Waiting { received_at_micros: 3 * DAY, attempts: 0 });
        index
    }

    fn pruned(keep_from_day: i64, bytes_max: u64) -> Vec<u32> {
        let mut index = index();
        let mut pruned = Vec::new();
        while let Some(number) = index.to_prune(from_unix(keep_from_day * 86_400).unwrap(), bytes_max) {
            index.segments.remove(&number);
            pruned.push(number);
        }
        pruned
    }

    #[test]
    fn pruning_takes_the_oldest_confirmed_segments_until_the_rest_is_young_and_small_enough() {
        assert!(pruned(0, 500).is_empty());
        assert_eq!(pruned(0, 499), [1]);
        assert_eq!(pruned(0, 350), [1, 2]);
        assert_eq!(pruned(2, 500), [1]);
        assert_eq!(pruned(3, 500), [1, 2]);
    }

    #[test]
    fn pruning_never_takes_a_segment_that_is_written_or_holds_an_unconfirmed_entry() {
        assert_eq!(pruned(1000, 0), [1, 2, 4]);
    }

    #[test]
    fn an_entry_ends_once() {
        let mut index = index();
        assert!(index.end(Position::new(3, 20)).is_some());
        assert!(index.end(Position::new(3, 20)).is_none());
        assert!(index.end(Position::new(9, 0)).is_none());
        assert_eq!(index.ended(), [3]);
    }
}
