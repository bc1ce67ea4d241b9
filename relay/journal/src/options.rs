//! Where a journal is, and how much of it is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::Histogram;

/// A clock that jumps ahead (a machine that starts before it has asked for the time) is mostly set right within
/// minutes.
const CLOCK_JUMP_DELAY: Duration = Duration::from_secs(60 * 60);

/// Where the journal is and how much of it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder, `RELAY_DATA_DIR`. It is made if it is not there.
    pub dir: PathBuf,
    /// Days that a confirmed entry is kept, to within a day: `RELAY_JOURNAL_DAYS_MAX`.
    pub days_max: u32,
    /// Bytes above which the oldest confirmed entries go: `RELAY_JOURNAL_BYTES_MAX`.
    pub bytes_max: u64,
    /// How long a clock that has jumped ahead has to stay there before anything is too old by it.
    pub clock_jump_delay: Duration,
    /// Takes the seconds that each commit took: a write and a sync.
    pub commit_seconds: Histogram,
}

impl Options {
    /// With a histogram that nobody reads.
    pub fn new(dir: PathBuf, days_max: u32, bytes_max: u64) -> Self {
        Self { dir, days_max, bytes_max, clock_jump_delay: CLOCK_JUMP_DELAY, commit_seconds: Histogram::noop() }
    }

    /// Nothing is ever pruned: for commands, which have no business doing that.
    pub fn keeping_all(dir: &Path) -> Self {
        Self::new(dir.to_owned(), u32::MAX, u64::MAX)
    }

    /// How long a segment gets: a sixteenth of the whole, so that pruning is not all or nothing, but no more than what
    /// is quickly read again at a start, nor so little that there are too many files.
    pub(crate) fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 16).clamp(256 * 1024, 64 * 1024 * 1024)
    }
}
