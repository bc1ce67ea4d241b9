//! The records that a segment is made of, as bytes. Pure: nothing in here knows files.
//!
//! A record is a header of [`HEADER_BYTES`] and a payload, all numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | a mark that stands in no UTF-8 text, so in no event's body |
//! | 4 | CRC-32 of the record's position and of the rest of the header |
//! | 4 | CRC-32 of the payload |
//! | 4 | payload's length |
//! | 1 + 3 | kind, and zeros |
//!
//! The position is part of what is summed up, so bytes that were left by another segment, or copied to another place,
//! are no record. The header has a sum of its own so that the length can be trusted when only the payload is damaged.

use std::str;

use tollgate_shared::Timestamp;

use crate::entry::{NewEntry, Position};

/// Bytes of a record before its payload.
pub const HEADER_BYTES: usize = 20;

/// 0xF7 and 0xFB occur in no UTF-8 text.
pub(crate) const MARK: [u8; 4] = [0xF7, b'T', b'J', 0xFB];

/// Written into every segment's first record; a segment of another version is not touched.
pub const FORMAT_VERSION: u32 = 1;

/// The fixed part of an entry: when it was received, and the lengths of id, type and request id.
const ENTRY_FIXED_BYTES: usize = 8 + 4 + 4 + 4;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The first of each segment.
    Opened {
        /// See [`FORMAT_VERSION`].
        version: u32,
        /// Microseconds since the Unix epoch.
        at_micros: i64,
    },
    /// An event that was received.
    Entry(EntryRecord<'a>),
    /// Entries that the backend has confirmed.
    Confirmed(Vec<Position>),
    /// Entries that an operator has ended.
    Discarded(Vec<Position>),
    /// Entries, each with how many times its delivery failed so far.
    Attempted(Vec<(Position, u32)>),
    /// Says nothing: written to find out whether the disk takes anything again.
    Probe,
    /// Of a kind that a later version writes. It is intact, and not for us.
    Unknown(u8),
}

/// An entry as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRecord<'a> {
    /// Microseconds since the Unix epoch.
    pub received_at_micros: i64,
    /// The event's id.
    pub event_id: &'a str,
    /// The event's type.
    pub event_type: &'a str,
    /// The `X-Request-Id` under which it came.
    pub request_id: &'a str,
    /// The event's exact bytes.
    pub body: &'a [u8],
}

/// Bytes of a segment's first record.
pub(crate) const OPENED_BYTES: u64 = HEADER_BYTES as u64 + 4 + 8;

const OPENED: u8 = 1;
const ENTRY: u8 = 2;
const CONFIRMED: u8 = 3;
const DISCARDED: u8 = 4;
const ATTEMPTED: u8 = 5;
const PROBE: u8 = 6;

/// Bytes that `entry` takes in a segment.
pub(crate) fn entry_bytes(entry: &NewEntry) -> usize {
    let texts = entry.event_id.len() + entry.event_type.len() + entry.request_id.as_str().len();
    HEADER_BYTES + ENTRY_FIXED_BYTES + texts + entry.body.len()
}

/// Appends the first record of segment `segment` to `buffer`.
pub fn push_opened(buffer: &mut Vec<u8>, segment: u32, at: Timestamp) {
    push(buffer, Position::new(segment, 0), OPENED, |payload| {
        payload.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        payload.extend_from_slice(&at.timestamp_micros().to_le_bytes());
    });
}

/// Appends an entry that will stand at `position`.
pub fn push_entry(buffer: &mut Vec<u8>, position: Position, entry: &NewEntry) {
    push(buffer, position, ENTRY, |payload| {
        let request_id = entry.request_id.as_str();
        payload.extend_from_slice(&entry.received_at.timestamp_micros().to_le_bytes());
        for text in [&entry.event_id, &entry.event_type, request_id] {
            payload.extend_from_slice(&(text.len() as u32).to_le_bytes());
        }
        for text in [&entry.event_id, &entry.event_type, request_id] {
            payload.extend_from_slice(text.as_bytes());
        }
        payload.extend_from_slice(&entry.body);
    });
}

/// Appends the confirmations of `entries`.
pub fn push_confirmed(buffer: &mut Vec<u8>, position: Position, entries: &[Position]) {
    push(buffer, position, CONFIRMED, |payload| push_positions(payload, entries));
}

/// Appends that `entries` were discarded.
pub fn push_discarded(buffer: &mut Vec<u8>, position: Position, entries: &[Position]) {
    push(buffer, position, DISCARDED, |payload| push_positions(payload, entries));
}

/// Appends how many times the delivery of each of `entries` failed so far.
pub fn push_attempted(buffer: &mut Vec<u8>, position: Position, entries: &[(Position, u32)]) {
    push(buffer, position, ATTEMPTED, |payload| {
        for (entry, attempts) in entries {
            payload.extend_from_slice(&entry.0.to_le_bytes());
            payload.extend_from_slice(&attempts.to_le_bytes());
        }
    });
}

/// Appends a record that says nothing.
pub fn push_probe(buffer: &mut Vec<u8>, position: Position) {
    push(buffer, position, PROBE, |_| ());
}

fn push_positions(payload: &mut Vec<u8>, entries: &[Position]) {
    for entry in entries {
        payload.extend_from_slice(&entry.0.to_le_bytes());
    }
}

fn push(buffer: &mut Vec<u8>, position: Position, kind: u8, write_payload: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.resize(start + HEADER_BYTES, 0);
    write_payload(buffer);
    let (header, payload) = buffer[start..].split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(&MARK);
    header[8..12].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    header[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[16] = kind;
    let sum = header_sum(position, header);
    header[4..8].copy_from_slice(&sum.to_le_bytes());
}

fn header_sum(position: Position, header: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&position.0.to_le_bytes());
    sum.update(&header[8..HEADER_BYTES]);
    sum.finalize()
}

/// A header that is intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    kind: u8,
    payload_crc: u32,
    pub(crate) payload_bytes: u32,
}

impl Header {
    /// The header at `position`, if `bytes` begins with one.
    pub(crate) fn parse(position: Position, bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let intact = header[..4] == MARK && u32_at(header, 4)? == header_sum(position, header);
        let (payload_crc, payload_bytes) = (u32_at(header, 8)?, u32_at(header, 12)?);
        intact.then_some(Self { kind: header[16], payload_crc, payload_bytes })
    }

    /// Whether `payload` is as it was written.
    pub(crate) fn is_of(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && crc32fast::hash(payload) == self.payload_crc
    }

    /// What the record says; its payload has to be as it was written.
    pub(crate) fn read<'a>(&self, payload: &'a [u8]) -> Option<Record<'a>> {
        match self.kind {
            OPENED => Some(Record::Opened { version: u32_at(payload, 0)?, at_micros: i64_at(payload, 4)? }),
            ENTRY => read_entry(payload).map(Record::Entry),
            CONFIRMED => read_positions(payload).map(Record::Confirmed),
            DISCARDED => read_positions(payload).map(Record::Discarded),
            ATTEMPTED => read_attempts(payload).map(Record::Attempted),
            PROBE => Some(Record::Probe),
            other => Some(Record::Unknown(other)),
        }
    }
}

fn read_entry(payload: &[u8]) -> Option<EntryRecord<'_>> {
    let received_at_micros = i64_at(payload, 0)?;
    let mut rest = payload.get(ENTRY_FIXED_BYTES..)?;
    let mut text = |length_at| {
        let (text, after) = rest.split_at_checked(u32_at(payload, length_at)? as usize)?;
        rest = after;
        str::from_utf8(text).ok()
    };
    let (event_id, event_type, request_id) = (text(8)?, text(12)?, text(16)?);
    Some(EntryRecord { received_at_micros, event_id, event_type, request_id, body: rest })
}

fn read_positions(payload: &[u8]) -> Option<Vec<Position>> {
    let (positions, rest) = payload.as_chunks::<8>();
    rest.is_empty().then(|| positions.iter().map(|bytes| Position(u64::from_le_bytes(*bytes))).collect())
}

fn read_attempts(payload: &[u8]) -> Option<Vec<(Position, u32)>> {
    let (attempts, rest) = payload.as_chunks::<12>();
    let read = |bytes: &[u8; 12]| Some((Position(i64_at(bytes, 0)?.cast_unsigned()), u32_at(bytes, 8)?));
    if rest.is_empty() { attempts.iter().map(read).collect() } else { None }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
