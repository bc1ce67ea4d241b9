//! From the files to the index: what a start does.
//!
//! Segments whose name says that they are confirmed are not read. The others are, oldest first, since a confirmation
//! always stands behind its entry. A torn tail, which a power cut or `kill -9` leaves behind, is kept aside and cut off
//! the newest one.

use std::io;

use tollgate_shared::Clock;
use tracing::{error, info, warn};

use crate::active_segment::ActiveSegment;
use crate::disk::{Disk, File};
use crate::entry::Position;
use crate::index::{Index, Segment};
use crate::record::{self, FORMAT_VERSION, Record};
use crate::scan::{Item, Scan, Tail};
use crate::segment_name::{SegmentName, TimeRange};
use crate::torn;

/// What a start found.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// The newest segment, if it can be written on.
    pub(crate) active: Option<ActiveSegment>,
    /// The number of the next new segment.
    pub(crate) segment_next: u32,
    /// How many bytes were damaged, and are passed over.
    pub(crate) damaged_bytes: u64,
}

/// A start cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error("segment {name} was written by another version of Tollgate (format {version})")]
    OtherVersion { name: String, version: u32 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(crate) fn recover(disk: &dyn Disk, clock: &Clock) -> Result<Recovered, RecoverError> {
    let mut names: Vec<_> = disk.list()?.iter().filter_map(|name| SegmentName::parse(name)).collect();
    names.sort_by_key(|name| (name.segment, name.confirmed.is_some()));
    // A rename is atomic, so that a number is there twice takes a hand that copied files. The confirmed name is later.
    names.dedup_by(|later, earlier| {
        let twice = later.segment == earlier.segment;
        if twice {
            *earlier = *later;
        }
        twice
    });
    let segment_next = names.last().map_or(Some(1), |newest| newest.segment.checked_add(1));
    let segment_next = segment_next.ok_or_else(|| io::Error::other("the segments' numbers are used up"))?;
    let mut recovered = Recovered { index: Index::default(), active: None, segment_next, damaged_bytes: 0 };
    for (index, name) in names.iter().enumerate() {
        let newest = index + 1 == names.len();
        match name.confirmed {
            Some(received) => add_confirmed(disk, *name, received, &mut recovered.index)?,
            None => read(disk, *name, newest, clock, &mut recovered)?,
        }
    }
    Ok(recovered)
}

fn add_confirmed(disk: &dyn Disk, name: SegmentName, received: TimeRange, index: &mut Index) -> io::Result<()> {
    let segment = Segment {
        bytes: disk.open(&name.to_string(), false)?.bytes()?,
        unconfirmed: 0,
        received: Some(received),
        opened_at_micros: received.oldest,
        sealed: true,
        archived: true,
        damaged: false,
        cut_at: None,
    };
    index.segments.insert(name.segment, segment);
    Ok(())
}

fn read(
    disk: &dyn Disk,
    name: SegmentName,
    newest: bool,
    clock: &Clock,
    recovered: &mut Recovered,
) -> Result<(), RecoverError> {
    let file = disk.open(&name.to_string(), newest)?;
    let bytes = file.bytes()?;
    let opened_at_micros = clock.now().timestamp_micros();
    let segment = Segment {
        bytes,
        unconfirmed: 0,
        received: None,
        opened_at_micros,
        sealed: true,
        archived: false,
        damaged: false,
        cut_at: None,
    };
    recovered.index.segments.insert(name.segment, segment);

    let mut scan = Scan::new(file, name.segment);
    let (mut opened, mut damaged_bytes) = (false, 0);
    while let Some(item) = scan.next_item()? {
        match item {
            Item::Damage(range) => {
                damaged_bytes += range.end - range.start;
                error!(
                    segment = name.segment,
                    from = range.start,
                    to = range.end,
                    "journal segment {name} is damaged: bytes {} to {} are passed over",
                    range.start,
                    range.end
                );
            }
            Item::Record { position, record } => {
                if let Record::Opened { version, at_micros } = record {
                    if version != FORMAT_VERSION {
                        return Err(RecoverError::OtherVersion { name: name.to_string(), version });
                    }
                    opened = true;
                    if let Some(segment) = recovered.index.segments.get_mut(&name.segment) {
                        segment.opened_at_micros = at_micros;
                    }
                } else {
                    apply(&mut recovered.index, position, &record);
                }
            }
        }
    }
    let tail = scan.tail()?;
    let is_whole = opened && damaged_bytes == 0;
    if newest && is_whole {
        match keep_torn(disk, &**scan.source(), name, tail, clock) {
            Ok(()) => {
                let file = scan.into_source();
                recovered.active = Some(continue_on(file, name, tail, bytes, &mut recovered.index)?);
                return Ok(());
            }
            // It stays where it is, and a new segment is written to.
            Err(error) => error!("could not keep the end of journal segment {name} aside: {error}"),
        }
    }
    if tail.torn_bytes > 0 {
        // Not cut off: it is no tail that this start may take for torn.
        damaged_bytes += tail.torn_bytes;
        error!(
            segment = name.segment,
            from = tail.offset,
            "journal segment {name} is damaged: {} bytes at its end are passed over",
            tail.torn_bytes
        );
    } else if tail.offset == 0 && bytes > record::OPENED_BYTES {
        // Every segment begins with a record that is synced before anything else is written.
        damaged_bytes += bytes;
        error!(segment = name.segment, bytes, "journal segment {name} is damaged: all of its {bytes} bytes are zeros");
    }
    if damaged_bytes > 0 {
        recovered.damaged_bytes += damaged_bytes;
        segment_of(&mut recovered.index, name).damaged = true;
    }
    Ok(())
}

/// Keeps aside what is about to be cut off.
fn keep_torn(disk: &dyn Disk, file: &dyn File, name: SegmentName, tail: Tail, clock: &Clock) -> io::Result<()> {
    if tail.torn_bytes == 0 {
        return Ok(());
    }
    let aside = torn::keep_aside(disk, file, name.segment, tail.offset, tail.torn_bytes, clock.now())?;
    warn!(
        segment = name.segment,
        bytes = tail.torn_bytes,
        "cut {} bytes of a write that did not finish off journal segment {name}; they are kept in {aside}",
        tail.torn_bytes
    );
    Ok(())
}

/// Makes the newest segment fit to be written on.
fn continue_on(
    file: Box<dyn File>,
    name: SegmentName,
    tail: Tail,
    bytes: u64,
    index: &mut Index,
) -> io::Result<ActiveSegment> {
    if tail.torn_bytes > 0 {
        file.set_len(tail.offset)?;
    }
    // What a killed process wrote and did not sync is read from memory so far: from now on it counts.
    file.sync_data()?;
    let allocated = if tail.torn_bytes > 0 { tail.offset } else { bytes };
    let segment = segment_of(index, name);
    segment.bytes = allocated;
    segment.sealed = false;
    info!(segment = name.segment, "resuming journal segment {name} at offset {}", tail.offset);
    Ok(ActiveSegment { number: name.segment, file, end: tail.offset, allocated, forgotten: 0, torn: false })
}

fn segment_of(index: &mut Index, name: SegmentName) -> &mut Segment {
    index.segments.get_mut(&name.segment).expect("the segment was added before it was read")
}

/// Takes up what one record says.
fn apply(index: &mut Index, position: Position, record: &Record<'_>) {
    match record {
        Record::Entry(entry) => index.add(position, entry.received_at_micros),
        Record::Confirmed(entries) | Record::Discarded(entries) => {
            for entry in entries {
                index.end(*entry);
            }
        }
        Record::Attempted(entries) => {
            for (entry, attempts) in entries {
                if let Some(waiting) = index.unconfirmed.get_mut(entry) {
                    waiting.attempts = waiting.attempts.max(*attempts);
                }
            }
        }
        Record::Opened { .. } | Record::Probe | Record::Unknown(_) => {}
    }
}
