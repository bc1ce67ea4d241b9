//! What must hold for any bytes that a start of the relay finds in its journal. Run by the fuzz target, and over the
//! committed corpus by an ordinary test of the relay.
//!
//! The first byte of an input chooses. An even one: the rest is a segment as it stands. An odd one: the rest is a
//! script, first of records that are written, then of what happens to their bytes.

use std::ops::Range;

use bytes::Bytes;
use tollgate_journal::record::{self, Record};
use tollgate_journal::scan::{Item, Scan};
use tollgate_journal::{NewEntry, Position};
use tollgate_shared::RequestId;
use tollgate_shared::clock::from_unix;

const SEGMENT: u32 = 7;

/// Panics when recovery does something wrong with `input`.
pub(crate) fn check(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    if choice % 2 == 0 {
        scanned(rest);
    } else {
        damaged(&mut Script(rest));
    }
}

/// What a scan gives, in an owned form: where each intact record begins, and of an entry its body.
fn scanned(segment: &[u8]) -> Vec<(u64, Option<Vec<u8>>)> {
    let mut scan = Scan::new(segment, SEGMENT);
    let mut records = Vec::new();
    let mut end_of_damage = None;
    let mut begin_max = 0;
    while let Some(item) = scan.next_item().expect("memory can be read") {
        match item {
            Item::Damage(range) => {
                assert!(range.start < range.end && range.start >= begin_max, "damage is in order and not empty");
                assert_eq!(end_of_damage, None, "damage is one piece up to the next record");
                end_of_damage = Some(range.end);
                begin_max = range.end;
            }
            Item::Record { position, record } => {
                let offset = position.0 & u64::from(u32::MAX);
                assert_eq!(position.0 >> 32, u64::from(SEGMENT));
                assert!(end_of_damage.take().is_none_or(|end| end == offset), "a record follows damage at once");
                assert!(offset >= begin_max, "records are in order");
                begin_max = offset + record::HEADER_BYTES as u64;
                let body = match record {
                    Record::Entry(entry) => Some(entry.body.to_vec()),
                    _ => None,
                };
                records.push((offset, body));
            }
        }
    }
    assert_eq!(end_of_damage, None, "damage is what has a record behind it");
    let tail = scan.tail().expect("memory can be read");
    assert!(tail.offset >= begin_max || records.is_empty());
    assert!(tail.offset + tail.torn_bytes <= segment.len() as u64);
    let rest = &segment[(tail.offset + tail.torn_bytes) as usize..];
    assert!(rest.iter().all(|byte| *byte == 0), "only zeros lie behind a torn tail");
    // Cut there, as a start does, it reads as before.
    if tail.torn_bytes > 0 || !rest.is_empty() {
        assert_eq!(scanned(&segment[..tail.offset as usize]), records);
    }
    records
}

/// Writes a segment, damages it, and looks that nothing is lost but what was hit, and nothing comes up that was not written.
fn damaged(script: &mut Script<'_>) {
    let mut segment = Vec::new();
    record::push_opened(&mut segment, SEGMENT, from_unix(0).expect("an instant"));
    let mut written: Vec<(Range<usize>, Option<Vec<u8>>)> = vec![(0..segment.len(), None)];
    for _ in 0..script.byte() % 12 {
        let start = segment.len();
        let position = Position(u64::from(SEGMENT) << 32 | start as u64);
        let body = match script.byte() % 8 {
            0 => {
                record::push_confirmed(&mut segment, position, &script.positions());
                None
            }
            1 => {
                record::push_discarded(&mut segment, position, &script.positions());
                None
            }
            2 => {
                let attempted: Vec<_> = script.positions().into_iter().map(|position| (position, 3)).collect();
                record::push_attempted(&mut segment, position, &attempted);
                None
            }
            3 => {
                record::push_probe(&mut segment, position);
                None
            }
            // A body that is itself a piece of the segment: what a scan through damage must not fall for.
            4 => Some(segment.clone()),
            _ => {
                let length = script.byte() as usize * 16;
                Some(script.bytes(length).to_vec())
            }
        };
        if let Some(body) = &body {
            let entry = NewEntry {
                event_id: format!("evt_{start}"),
                event_type: "x.y".to_owned(),
                received_at: from_unix(start as i64).expect("an instant"),
                request_id: RequestId::parse("req_1234").expect("an id"),
                body: Bytes::from(body.clone()),
            };
            record::push_entry(&mut segment, position, &entry);
        }
        written.push((start..segment.len(), body));
    }
    let before = segment.clone();
    for _ in 0..script.byte() % 8 {
        let (action, at) = (script.byte(), script.place(segment.len()));
        match action % 4 {
            0 => segment.truncate(at),
            1 => segment.extend(std::iter::repeat_n(0, at)),
            2 => {
                if let Some(byte) = segment.get_mut(at) {
                    *byte ^= script.byte();
                }
            }
            _ => {
                let bytes = script.bytes(16);
                let end = segment.len().min(at + bytes.len());
                segment[at..end].copy_from_slice(&bytes[..end - at]);
            }
        }
    }
    let found = scanned(&segment);
    for (range, body) in &written {
        let there = found.iter().find(|(offset, _)| *offset == range.start as u64);
        if segment.get(range.clone()) == Some(&before[range.clone()]) {
            assert_eq!(there.map(|(_, body)| body), Some(body), "a record that was not hit is found");
        }
    }
    for (offset, body) in &found {
        let there = written.iter().find(|(range, _)| range.start as u64 == *offset);
        assert_eq!(there.map(|(_, body)| body), Some(body), "only what was written is found");
    }
}

/// Bytes that say what to do; zeros when they run out.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A place in `length` bytes, its end included.
    fn place(&mut self, length: usize) -> usize {
        let place = usize::from(self.byte()) << 8 | usize::from(self.byte());
        place % (length + 1)
    }

    fn positions(&mut self) -> Vec<Position> {
        (0..self.byte() % 5).map(|_| Position(u64::from(SEGMENT) << 32 | u64::from(self.byte()))).collect()
    }
}
