//! Reads a segment from its first byte to its last, and past damage: what follows a bad record is looked for byte by
//! byte, never given up.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::disk::File;
use crate::entry::{Entry, Position, timestamp};
use crate::record::{HEADER_BYTES, Header, MARK, Record};

/// How much is read at a time when a whole segment is.
const WINDOW_BYTES: usize = 256 * 1024;
/// How much is read at a time for one record: most events fit.
const RECORD_WINDOW_BYTES: usize = 8 * 1024;

/// Something that can be read at an offset.
pub trait ReadAt {
    /// Reads up to a buffer full; 0 is the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}

impl ReadAt for &dyn File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
}

impl ReadAt for Box<dyn File> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
}

/// What a scan comes across.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An intact record.
    Record {
        /// Where it begins.
        position: Position,
        /// What it says.
        record: Record<'a>,
    },
    /// Bytes that are no record, with an intact record after them.
    Damage(Range<u64>),
}

/// What comes after the last intact record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Where the last intact record ends.
    pub offset: u64,
    /// How many bytes from there on are not just space set aside: up to and with the last one that is not zero.
    pub torn_bytes: u64,
}

/// A scan of one segment.
#[derive(Debug)]
pub struct Scan<R> {
    window: Window<R>,
    segment: u32,
    offset: u64,
    /// Where the next record was already found to be, behind damage.
    found: Option<Range<u64>>,
}

impl<R: ReadAt> Scan<R> {
    /// A scan of `source`, which is segment `segment`.
    pub fn new(source: R, segment: u32) -> Self {
        let window = Window { source, bytes: Vec::new(), start: 0, read_bytes: WINDOW_BYTES, ended: false };
        Self { window, segment, offset: 0, found: None }
    }

    /// A scan that begins in the middle of a segment.
    pub fn starting_at(source: R, position: Position) -> Self {
        let window = Window { source, bytes: Vec::new(), start: 0, read_bytes: RECORD_WINDOW_BYTES, ended: false };
        Self { window, segment: position.segment(), offset: position.offset(), found: None }
    }

    /// Goes back to `offset` and reads anew what stands there by now.
    pub fn go_back(&mut self, offset: u64) {
        self.window.forget();
        self.offset = offset;
        self.found = None;
    }

    /// The next record, only if it begins right here and is intact.
    pub fn next_if_intact(&mut self) -> io::Result<Option<Record<'_>>> {
        let Some(end) = self.record_at(self.offset)? else { return Ok(None) };
        self.take(end).map(|(_, record)| Some(record))
    }

    /// The next item, or `None` when only the tail is left. Fails only where reading does.
    pub fn next_item(&mut self) -> io::Result<Option<Item<'_>>> {
        let end = match self.found.take() {
            Some(found) => found.end,
            None => match self.record_at(self.offset)? {
                Some(end) => end,
                None => match self.next_record_after(self.offset)? {
                    Some(found) => {
                        let damage = self.offset..found.start;
                        self.offset = found.start;
                        self.found = Some(found);
                        return Ok(Some(Item::Damage(damage)));
                    }
                    None => return Ok(None),
                },
            },
        };
        self.take(end).map(|(position, record)| Some(Item::Record { position, record }))
    }

    /// The record from here to `end`, which was found to be intact; goes on behind it.
    fn take(&mut self, end: u64) -> io::Result<(Position, Record<'_>)> {
        let position = Position::new(self.segment, self.offset);
        let bytes = self.window.get(self.offset, (end - self.offset) as usize)?;
        self.offset = end;
        let record = Header::parse(position, bytes).and_then(|header| header.read(&bytes[HEADER_BYTES..]));
        // It was intact a moment ago: a file that changes under us is a failure to read.
        record.map(|record| (position, record)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// What is left when [`Scan::next_item`] has given `None`.
    pub fn tail(&mut self) -> io::Result<Tail> {
        let mut torn_end = self.offset;
        let mut at = self.offset;
        loop {
            let bytes = self.window.get_some(at, 1)?;
            if bytes.is_empty() {
                return Ok(Tail { offset: self.offset, torn_bytes: torn_end - self.offset });
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                torn_end = at + last as u64 + 1;
            }
            at += bytes.len() as u64;
        }
    }

    /// How many bytes there are behind the last intact record, to the end of the source; all of them, if there is none.
    pub(crate) fn bytes_left(&mut self) -> io::Result<u64> {
        let mut at = self.offset;
        loop {
            let bytes = self.window.get_some(at, 1)?.len() as u64;
            if bytes == 0 {
                return Ok(at - self.offset);
            }
            at += bytes;
        }
    }

    /// What is scanned.
    pub fn source(&self) -> &R {
        &self.window.source
    }

    /// What was scanned.
    pub fn into_source(self) -> R {
        self.window.source
    }

    /// Where the record at `offset` ends, if there is an intact one.
    fn record_at(&mut self, offset: u64) -> io::Result<Option<u64>> {
        if offset > u64::from(u32::MAX) {
            return Ok(None);
        }
        let position = Position::new(self.segment, offset);
        let Some(header) = Header::parse(position, self.window.get(offset, HEADER_BYTES)?) else {
            return Ok(None);
        };
        let record_bytes = HEADER_BYTES + header.payload_bytes as usize;
        let bytes = self.window.get(offset, record_bytes)?;
        let intact = bytes.len() == record_bytes && header.is_of(&bytes[HEADER_BYTES..]);
        let intact = intact && header.read(&bytes[HEADER_BYTES..]).is_some();
        Ok(intact.then_some(offset + record_bytes as u64))
    }

    fn next_record_after(&mut self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = offset + 1;
        loop {
            let bytes = self.window.get_some(at, HEADER_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                return Ok(None);
            }
            let length = bytes.len();
            match bytes.windows(MARK.len()).position(|bytes| bytes == MARK) {
                Some(mark) => {
                    let start = at + mark as u64;
                    if let Some(end) = self.record_at(start)? {
                        return Ok(Some(start..end));
                    }
                    at = start + 1;
                }
                // A mark may lie across the end of what was looked at.
                None => at += (length - (MARK.len() - 1)) as u64,
            }
        }
    }
}

/// The entry at `position` of its segment's `file`, if there is an intact one. Whether it is confirmed, and how often it
/// was tried, the caller has to know.
pub(crate) fn read_entry(file: &dyn File, position: Position) -> io::Result<Option<Entry>> {
    let mut scan = Scan::starting_at(file, position);
    let entry = match scan.next_if_intact()? {
        Some(Record::Entry(entry)) => Some(Entry {
            position,
            event_id: entry.event_id.to_owned(),
            event_type: entry.event_type.to_owned(),
            received_at: timestamp(entry.received_at_micros),
            request_id: entry.request_id.to_owned(),
            body: Bytes::copy_from_slice(entry.body),
            confirmed: false,
            attempts: 0,
        }),
        _ => None,
    };
    Ok(entry)
}

/// The part of the source that is in memory.
#[derive(Debug)]
struct Window<R> {
    source: R,
    bytes: Vec<u8>,
    start: u64,
    read_bytes: usize,
    /// Nothing comes behind what is held.
    ended: bool,
}

impl<R: ReadAt> Window<R> {
    fn forget(&mut self) {
        self.bytes.clear();
        self.ended = false;
    }

    /// `length` bytes from `offset` on; fewer only where the source ends.
    fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let held_end = self.start + self.bytes.len() as u64;
        if !(self.start..=held_end).contains(&offset) {
            self.bytes.clear();
            self.start = offset;
            self.ended = false;
        }
        let mut skipped = (offset - self.start) as usize;
        if self.bytes.len() - skipped < length && !self.ended {
            // What is still wanted moves to the front; the rest is read behind it.
            self.bytes.drain(..skipped);
            self.start = offset;
            skipped = 0;
            self.fill(length)?;
        }
        let end = self.bytes.len().min(skipped + length);
        Ok(&self.bytes[skipped..end])
    }

    /// What there is in memory from `offset` on, once that is at least `length` bytes or the source ends.
    fn get_some(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        self.get(offset, length)?;
        Ok(&self.bytes[(offset - self.start) as usize..])
    }

    /// Reads until `length` bytes are held or the source ends, a whole window at a time: a length in a damaged header
    /// must not ask for more memory than there are bytes.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.bytes.len() < length {
            let held = self.bytes.len();
            self.bytes.resize(held + self.read_bytes, 0);
            let read = match self.source.read_at(&mut self.bytes[held..], self.start + held as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.bytes.truncate(held);
                    continue;
                }
                read => read,
            };
            self.bytes.truncate(held + *read.as_ref().unwrap_or(&0));
            self.ended = read? == 0;
            if self.ended {
                break;
            }
        }
        Ok(())
    }
}
