//! Whatever becomes of the bytes of a journal, a start makes the best of them.

use std::cell::Cell;
use std::io;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::sim::SimDisk;
use super::*;
use crate::reader::{self, Reader, Selection};
use crate::scan::ReadAt;
use crate::segment_name::SegmentName;

const SEGMENT: &str = "journal-0000000001.log";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn open_on(disk: &SimDisk) -> Journal {
    let options = Options::new("sim".into(), 14, u64::MAX);
    Journal::open_on(Arc::new(disk.clone()), None, options, 1 << 20, clock()).unwrap()
}

/// A segment with an entry for each of `bodies`, as a clean end leaves it, and where each of its entries begins.
fn written(bodies: &[Vec<u8>]) -> (Vec<u8>, Vec<Position>) {
    let disk = SimDisk::default();
    let positions = runtime().block_on(async {
        let (journal, clock) = (open_on(&disk), clock());
        let mut positions = Vec::new();
        for (number, body) in bodies.iter().enumerate() {
            let entry = NewEntry { body: body.clone().into(), ..entry(&format!("evt_{number}"), "", &clock) };
            positions.push(journal.append(entry).await.unwrap());
        }
        journal.close().await;
        positions
    });
    (disk.bytes_of(SEGMENT), positions)
}

/// What a start makes of `bytes`: the bodies that wait, by position. It has to work, and to work again.
fn recovered(bytes: &[u8]) -> BTreeMap<Position, Vec<u8>> {
    let disk = SimDisk::default();
    disk.put(SEGMENT, bytes);
    runtime().block_on(async {
        let journal = open_on(&disk);
        let positions = journal.unconfirmed_after(None, usize::MAX);
        let bodies = positions.iter().map(|position| journal.read(*position).unwrap().body.to_vec());
        let bodies: BTreeMap<_, _> = positions.iter().copied().zip(bodies).collect();
        let later = append(&journal, "evt_later", &clock()).await;
        journal.close().await;

        let mut reader = Reader::over(Box::new(disk.clone()), Path::new("sim"));
        let again: Vec<_> = reader.select(&Selection::default()).unwrap();
        let again: Vec<_> = again.iter().map(|found| reader.entry(found).unwrap().unwrap().position).collect();
        let expected: Vec<_> = bodies.keys().copied().chain([later]).collect();
        assert_eq!(again, expected, "a second look gives the same, and what was appended since");
        bodies
    })
}

#[test]
fn a_segment_cut_at_any_byte_of_its_last_record_keeps_all_the_others() {
    let bodies: Vec<_> = (0..4_u8).map(|number| vec![number; 70]).collect();
    let (bytes, positions) = written(&bodies);
    let last = positions[3].offset() as usize;
    for cut in last..bytes.len() {
        for zeros in [0, 1, 5000] {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            let recovered: Vec<_> = recovered(&torn).into_values().collect();
            assert_eq!(recovered, bodies[..3], "cut at {cut} of {}, then {zeros} zeros", bytes.len());
        }
    }
    assert_eq!(recovered(&bytes).into_values().collect::<Vec<_>>(), bodies);
}

#[test]
fn a_record_in_the_middle_that_is_damaged_costs_itself_alone() {
    let bodies: Vec<_> = (0..5_u8).map(|number| vec![number; 300]).collect();
    let (bytes, positions) = written(&bodies);
    let (from, to) = (positions[2].offset() as usize, positions[3].offset() as usize);
    for at in from..to {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let kept: Vec<_> = recovered(&damaged).into_values().map(|body| body[0]).collect();
        assert_eq!(kept, [0, 1, 3, 4], "byte {at}");
    }
}

#[test]
fn damage_is_counted() {
    let bodies: Vec<_> = (0..3_u8).map(|number| vec![number; 300]).collect();
    let (mut bytes, positions) = written(&bodies);
    let (from, to) = (positions[1].offset() as usize, positions[2].offset() as usize);
    bytes[from..to].fill(0xAA);
    let disk = SimDisk::default();
    disk.put(SEGMENT, &bytes);
    assert_eq!(open_on(&disk).stats().damaged_bytes, (to - from) as u64);
}

/// Written by hand from the description in `record`, and never changed: journals out there look like it.
const FORMAT_1: &[u8] = include_bytes!("../../../../fuzz/corpus/journal_recovery/segment-whole");

#[test]
fn a_segment_of_format_1_reads_as_it_always_did() {
    let disk = SimDisk::default();
    // Its first byte is the fuzz target's.
    disk.put("journal-0000000007.log", &FORMAT_1[1..]);
    runtime().block_on(async {
        let journal = open_on(&disk);
        let waiting = journal.unconfirmed_after(None, usize::MAX);
        let entry = journal.read(waiting[0]).unwrap();
        assert_eq!((waiting.len(), &*entry.event_id, &*entry.event_type, entry.attempts), (1, "evt_2", "x.y", 3));
        assert_eq!((&*entry.request_id, &*entry.body), ("req_1234", &br#"{"id":"evt_2","type":"x.y"}"#[..]));
        assert_eq!(entry.received_at.timestamp_micros(), 1_700_000_000_000_002);
        assert_eq!(journal.stats().damaged_bytes, 0);
        journal.close().await;
    });
    let mut reader = Reader::over(Box::new(disk), Path::new("sim"));
    let found = reader.select(&Selection::default()).unwrap();
    let seen: Vec<_> = found.iter().map(|found| (found.confirmed, found.attempts())).collect();
    assert_eq!(seen, [(true, 1), (false, 3), (true, 0)], "confirmed, waiting, discarded");
    assert_eq!(reader.entry(&found[2]).unwrap().unwrap().event_id, "evt_3");
}

#[test]
fn a_journal_inside_an_events_body_is_no_journal() {
    let (inner, _) = written(&[b"inner".to_vec()]);
    let (mut bytes, positions) = written(&[inner, b"after".to_vec()]);
    assert_eq!(recovered(&bytes).len(), 2);
    // Its header is gone, so the scan goes through its body.
    bytes[positions[0].offset() as usize] ^= 1;
    assert_eq!(recovered(&bytes).into_values().collect::<Vec<_>>(), [b"after"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn recovery_gives_what_was_appended(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20)) {
        let (bytes, positions) = written(&bodies);
        let expected: BTreeMap<_, _> = positions.into_iter().zip(bodies).collect();
        prop_assert_eq!(recovered(&bytes), expected);
    }

    #[test]
    fn a_segment_cut_anywhere_gives_a_prefix(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..10), cut: prop::sample::Index) {
        let (bytes, positions) = written(&bodies);
        let cut = cut.index(bytes.len());
        let kept: Vec<_> = recovered(&bytes[..cut]).into_values().collect();
        let whole = positions.iter().skip(1).filter(|next| next.offset() as usize <= cut).count();
        prop_assert_eq!(&kept[..], &bodies[..whole]);
    }

    #[test]
    fn bits_that_flip_anywhere_cost_only_the_records_they_are_in(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..10),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..6),
    ) {
        let (mut bytes, positions) = written(&bodies);
        let length = bytes.len();
        let mut hit = BTreeSet::new();
        for (at, bit) in flips {
            let at = at.index(length);
            bytes[at] ^= 1 << bit;
            hit.insert(at);
        }
        let ends = positions.iter().skip(1).map(|next| next.offset() as usize).chain([length]);
        let expected: BTreeMap<_, _> = positions.iter().zip(ends).zip(&bodies)
            .filter(|((from, to), _)| !hit.iter().any(|at| (from.offset() as usize..*to).contains(at)))
            .map(|((from, _), body)| (*from, body.clone()))
            .collect();
        let recovered = recovered(&bytes);
        // Two flips of one bit undo each other: more than expected is fine, as long as it is what was written.
        for (position, body) in &expected {
            prop_assert_eq!(recovered.get(position), Some(body));
        }
        for (position, body) in &recovered {
            let number = positions.iter().position(|other| other == position);
            prop_assert_eq!(number.map(|number| &bodies[number]), Some(body));
        }
    }

    #[test]
    fn bytes_of_any_kind_are_no_reason_to_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(recovered(&bytes).is_empty());
    }
}

/// A segment that is being written: behind what is there already are zeros, and each read finds some more.
struct Growing<'a> {
    bytes: &'a [u8],
    written: Cell<usize>,
    more_each_time: usize,
}

impl ReadAt for Growing<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let written = self.written.replace(self.bytes.len().min(self.written.get() + self.more_each_time));
        let read = self.bytes.read_at(buffer, offset)?;
        buffer[..read][written.saturating_sub(offset as usize).min(read)..].fill(0);
        Ok(read)
    }
}

/// The positions found in a segment that grows while it is read, and how many bytes of it looked damaged.
fn read_while_it_grows(bytes: &[u8], more_each_time: usize) -> (Vec<Position>, u64) {
    let (source, mut found) = (Growing { bytes, written: Cell::new(0), more_each_time }, Vec::new());
    let name = SegmentName { segment: 1, confirmed: None };
    let damaged_bytes = reader::scan(source, name, true, &Selection::default(), &mut found).unwrap();
    (found.iter().map(|found| found.position).collect(), damaged_bytes)
}

#[test]
fn a_segment_that_is_written_while_it_is_read_looks_damaged_at_no_moment() {
    let (bytes, positions) = written(&vec![vec![7; 20_000]; 40]);
    for more_each_time in (10_000..400_000).step_by(15_001) {
        let (found, damaged_bytes) = read_while_it_grows(&bytes, more_each_time);
        assert_eq!(damaged_bytes, 0);
        assert_eq!(found, positions[..found.len()]);
    }
}

#[test]
fn damage_in_a_segment_that_is_written_while_it_is_read_costs_the_record_that_it_is_in() {
    let (mut bytes, mut positions) = written(&vec![vec![7; 20_000]; 40]);
    let damaged = positions.remove(20).offset();
    bytes[damaged as usize + 100] ^= 1;
    let (found, damaged_bytes) = read_while_it_grows(&bytes, 400_000);
    assert_eq!(found, positions);
    assert_eq!(damaged_bytes, positions[20].offset() - damaged);
}
