//! What a start cuts off the end of a segment, kept aside.
//!
//! It is most likely a write that did not finish, which nobody was told of. But it may also be damage at the last record
//! of all, and then there is something in it that someone may want back. It is kept as long as a confirmed entry.

use std::fmt;
use std::io;

use tollgate_shared::Timestamp;

use crate::disk::{Disk, File, write_all_at};

/// How many such files are kept: a relay that is killed again and again leaves one each time.
const FILES_MAX: usize = 16;
/// How much is copied at a time.
const COPY_BYTES: usize = 256 * 1024;

/// The name of such a file: `torn-0000000007-<offset>-<when it was cut off, in microseconds since the Unix epoch>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TornName {
    cut_at_micros: i64,
    segment: u32,
    offset: u64,
}

impl TornName {
    /// What a file name says, if it is one of these.
    fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix("torn-")?.split('-');
        let (segment, offset) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let torn = Self { cut_at_micros: numbers.next()?.parse().ok()?, segment, offset };
        (torn.to_string() == name).then_some(torn)
    }
}

impl fmt::Display for TornName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "torn-{:010}-{}-{}", self.segment, self.offset, self.cut_at_micros)
    }
}

/// Copies what `file`, which is segment `segment`, holds from `offset` on, so many bytes, to a file of its own, and syncs
/// that; its name.
pub(crate) fn keep_aside(
    disk: &dyn Disk,
    file: &dyn File,
    segment: u32,
    offset: u64,
    bytes: u64,
    now: Timestamp,
) -> io::Result<TornName> {
    let name = TornName { cut_at_micros: now.timestamp_micros(), segment, offset };
    let text = name.to_string();
    let copied = disk.create(&text).and_then(|copy| {
        let mut done = 0;
        let mut buffer = vec![0; COPY_BYTES];
        while done < bytes {
            let wanted = buffer.len().min((bytes - done) as usize);
            let read = match file.read_at(&mut buffer[..wanted], offset + done) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                break;
            }
            write_all_at(&*copy, &buffer[..read], done)?;
            done += read as u64;
        }
        copy.sync_data()?;
        disk.sync_names()
    });
    match copied {
        Ok(()) => Ok(name),
        Err(error) => {
            // Half of a copy is of no use to anybody. If it cannot be removed, it goes when it is old.
            let _ = disk.remove(&text);
            Err(error)
        }
    }
}

/// Removes those that were cut off before `keep_from`, and the oldest beyond the number that is kept.
pub(crate) fn prune(disk: &dyn Disk, keep_from: Timestamp) -> io::Result<()> {
    let mut names: Vec<_> = disk.list()?.iter().filter_map(|name| TornName::parse(name)).collect();
    names.sort_by_key(|name| name.cut_at_micros);
    let too_many = names.len().saturating_sub(FILES_MAX);
    for (index, name) in names.iter().enumerate() {
        if index < too_many || name.cut_at_micros < keep_from.timestamp_micros() {
            disk.remove(&name.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_one() {
        let name = TornName { cut_at_micros: 1_700_000_000_000_000, segment: 7, offset: 4096 };
        assert_eq!(TornName::parse(&name.to_string()), Some(name));
        for other in ["torn-7-4096-1", "torn-0000000007-4096", "journal-0000000007.log", "torn-0000000007-4096-1-2"] {
            assert_eq!(TornName::parse(other), None, "{other}");
        }
    }
}
