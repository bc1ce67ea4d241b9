//! Reads the journal beside the relay or without it: no lock is taken and nothing is changed, whatever is in the files.
//!
//! The files may grow, be renamed and go while they are read. What is half written is not there yet; what has gone
//! is not there any more.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tollgate_shared::Timestamp;
use tracing::error;

use crate::disk::{Disk, File, Folder};
use crate::entry::{Entry, Position};
use crate::record::{self, EntryRecord, Record};
use crate::scan::{Item, ReadAt, Scan, read_entry};
use crate::segment_name::SegmentName;

/// A stretch that looks damaged while its segment is written to is read again this often before it is believed.
const READ_AGAIN_MAX: u32 = 3;

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received at or before.
    pub to: Option<Timestamp>,
    /// Of one of these events; `None`: of any.
    pub event_ids: Option<HashSet<String>>,
}

impl Selection {
    fn has(&self, entry: &EntryRecord<'_>) -> bool {
        self.from.is_none_or(|from| entry.received_at_micros >= from.timestamp_micros())
            && self.to.is_none_or(|to| entry.received_at_micros <= to.timestamp_micros())
            && self.event_ids.as_ref().is_none_or(|ids| ids.contains(entry.event_id))
    }
}

/// An entry that was found, without what it takes memory to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub position: Position,
    /// Whether the backend has confirmed it, or an operator has discarded it.
    pub confirmed: bool,
    failed: u32,
    delivered: bool,
}

impl Found {
    /// How many deliveries were tried, the one that was confirmed included.
    pub fn attempts(&self) -> u32 {
        self.failed + u32::from(self.delivered)
    }
}

/// The journal's files.
pub struct Reader {
    disk: Box<dyn Disk>,
    dir: PathBuf,
    open: Option<Open>,
    /// The segments' names as they were last seen.
    names: BTreeMap<u32, SegmentName>,
}

/// The file that was read from last: those who read entries one after the other need not open it for each.
struct Open {
    segment: u32,
    file: Box<dyn File>,
}

/// The journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// There is no such folder.
    #[error("there is no journal in {}", .0.display())]
    NotThere(PathBuf),
    /// A file cannot be read.
    #[error("could not read the journal in {}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Reader {
    /// The journal in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self::over(Box::new(Folder::new(dir)), dir)
    }

    pub(crate) fn over(disk: Box<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned(), open: None, names: BTreeMap::new() }
    }

    /// The entries of `selection`, in order of arrival.
    pub fn select(&self, selection: &Selection) -> Result<Vec<Found>, ReaderError> {
        let mut found = Vec::new();
        let names = self.names().map_err(|error| self.failed(error))?;
        for (index, name) in names.iter().enumerate() {
            // What is said of an entry stands behind it, so only what is older than all that is wanted can be left out.
            let too_old =
                |from: Timestamp| name.confirmed.is_some_and(|received| received.newest < from.timestamp_micros());
            if selection.from.is_some_and(too_old) {
                continue;
            }
            // What is too young holds no entry that is wanted, and of one that is confirmed it says nothing that matters.
            let too_young =
                |to: Timestamp| name.confirmed.is_some_and(|received| received.oldest > to.timestamp_micros());
            if selection.to.is_some_and(too_young) && found.iter().all(|found: &Found| found.confirmed) {
                continue;
            }
            let newest = index + 1 == names.len();
            self.read(*name, newest, selection, &mut found).map_err(|error| self.failed(error))?;
        }
        Ok(found)
    }

    /// The entry that was found, or `None` when it is not kept any more.
    pub fn entry(&mut self, found: &Found) -> Result<Option<Entry>, ReaderError> {
        let entry = self.entry_at(found.position).map_err(|error| self.failed(error))?;
        Ok(entry.map(|entry| Entry { confirmed: found.confirmed, attempts: found.attempts(), ..entry }))
    }

    fn entry_at(&mut self, position: Position) -> io::Result<Option<Entry>> {
        let segment = position.segment();
        if self.open.as_ref().is_none_or(|open| open.segment != segment) {
            if !self.names.contains_key(&segment) {
                self.names = self.names()?.into_iter().map(|name| (name.segment, name)).collect();
            }
            let file = self.names.get(&segment).map(|name| self.file_of(*name)).transpose()?.flatten();
            self.open = file.map(|(_, file)| Open { segment, file });
        }
        match &self.open {
            Some(open) => read_entry(&*open.file, position),
            None => Ok(None),
        }
    }

    fn failed(&self, source: io::Error) -> ReaderError {
        if source.kind() == io::ErrorKind::NotFound {
            ReaderError::NotThere(self.dir.clone())
        } else {
            ReaderError::Io { dir: self.dir.clone(), source }
        }
    }

    fn names(&self) -> io::Result<Vec<SegmentName>> {
        let mut names: Vec<_> = self.disk.list()?.iter().filter_map(|name| SegmentName::parse(name)).collect();
        names.sort_by_key(|name| name.segment);
        Ok(names)
    }

    /// The file of the segment that was last seen under `name`, and the name it has by now; `None` when it has gone.
    fn file_of(&self, mut name: SegmentName) -> io::Result<Option<(SegmentName, Box<dyn File>)>> {
        loop {
            match self.disk.open(&name.to_string(), false) {
                Ok(file) => return Ok(Some((name, file))),
                // Renamed or removed since; either happens to a segment once. Only now the folder is read again: it may
                // hold thousands of names.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            match self.names()?.into_iter().find(|other| other.segment == name.segment) {
                Some(renamed) => name = renamed,
                None => return Ok(None),
            }
        }
    }

    /// Adds a segment's entries to `found`, and what it says of those that are there.
    fn read(&self, name: SegmentName, newest: bool, selection: &Selection, found: &mut Vec<Found>) -> io::Result<()> {
        let Some((name, file)) = self.file_of(name)? else { return Ok(()) };
        let damaged_bytes = scan(&*file, name, newest, selection, found)?;
        if damaged_bytes > 0 {
            error!(
                segment = name.segment,
                bytes = damaged_bytes,
                "journal segment {name} is damaged: {damaged_bytes} bytes are passed over"
            );
        }
        Ok(())
    }
}

/// How many bytes were damaged. In a segment that grows, what was read before it was written looks like damage as soon
/// as what stands behind it is read; it was written first, so it is there when it is read again.
pub(crate) fn scan(
    source: impl ReadAt,
    name: SegmentName,
    grows: bool,
    selection: &Selection,
    found: &mut Vec<Found>,
) -> io::Result<u64> {
    let mut damaged_bytes = 0;
    let mut doubted = None;
    let mut scan = Scan::new(source, name.segment);
    let mut is_empty = true;
    while let Some(item) = scan.next_item()? {
        is_empty = false;
        let (position, record) = match item {
            Item::Record { position, record } => (position, record),
            Item::Damage(range) => {
                let again = doubted.filter(|(start, _)| *start == range.start).map_or(0, |(_, again)| again);
                if grows && again < READ_AGAIN_MAX {
                    doubted = Some((range.start, again + 1));
                    scan.go_back(range.start);
                    continue;
                }
                damaged_bytes += range.end - range.start;
                continue;
            }
        };
        match record {
            Record::Entry(entry) if selection.has(&entry) => {
                let confirmed = name.confirmed.is_some();
                found.push(Found { position, confirmed, failed: 0, delivered: confirmed });
            }
            Record::Confirmed(entries) => note(found, &entries, |found| {
                found.confirmed = true;
                found.delivered = true;
            }),
            Record::Discarded(entries) => note(found, &entries, |found| {
                found.confirmed = true;
                found.delivered = false;
            }),
            Record::Attempted(entries) => {
                for (entry, attempts) in entries {
                    note(found, &[entry], |found| found.failed = found.failed.max(attempts));
                }
            }
            _ => {}
        }
    }
    if is_empty && !grows {
        // Every segment begins with a record that is synced before anything else is written.
        let bytes = scan.bytes_left()?;
        damaged_bytes = if bytes > record::OPENED_BYTES { bytes } else { 0 };
    }
    Ok(damaged_bytes)
}

fn note(found: &mut [Found], entries: &[Position], note: impl Fn(&mut Found)) {
    for entry in entries {
        // In order of arrival, so in order of position.
        if let Ok(index) = found.binary_search_by_key(entry, |found| found.position) {
            note(&mut found[index]);
        }
    }
}
