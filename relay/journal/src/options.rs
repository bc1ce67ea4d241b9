//! Where a journal is, and how much of it is kept.

use std::path::{Path, PathBuf};

/// Where the journal is and how much of it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder, `RELAY_DATA_DIR`. It is made if it is not there.
    pub dir: PathBuf,
    /// Days that a confirmed entry is kept, to within a day: `RELAY_JOURNAL_DAYS_MAX`.
    pub days_max: u32,
    /// Bytes above which the oldest confirmed entries go: `RELAY_JOURNAL_BYTES_MAX`.
    pub bytes_max: u64,
}

impl Options {
    /// Nothing is ever pruned: for commands, which have no business doing that.
    pub fn keeping_all(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), days_max: u32::MAX, bytes_max: u64::MAX }
    }

    /// How long a segment gets: a sixteenth of the whole, so that pruning is not all or nothing, but no more than what
    /// is quickly read again at a start, nor so little that there are too many files.
    pub(crate) fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 16).clamp(256 * 1024, 64 * 1024 * 1024)
    }
}
