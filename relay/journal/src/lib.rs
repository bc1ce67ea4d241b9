//! The journal: every event that the relay has answered for, on disk before the answer, until the backend has
//! confirmed it and then for as long as it may have to be delivered again.
//!
//! It is a log in segments ([`record`] says how the bytes lie). One thread writes: it takes all that wait at the
//! moment, in one write and one `fdatasync`. An event is appended as an *entry* and gets the [`Position`] where it
//! stands; that it was confirmed, discarded or tried in vain is a record further on in the same log. A segment that is
//! full or a day old is sealed. When nothing in it is unconfirmed any more, a second thread renames it, so that a start
//! need not read it; before that, it has repeated what the segment says of entries in older ones that are not so far.
//! Renamed segments go when they are too old, or when the log is too big; one with an unconfirmed entry never does.
//!
//! After a write that failed, the segment is cut back to what is synced. After an `fdatasync` that failed, nobody knows
//! what the page cache still holds, so the segment is cut back and given up, and a new one begins. Either way those who
//! waited are told, and the next append tries again. What a start makes of a torn or damaged file: `recovery`.
//!
//! The journal never reads an event's body but to hand it out, and never writes one to the logs.

pub mod control;
pub mod disk;
mod entry;
mod index;
mod compaction;
mod segment_name;
pub mod reader;
pub mod record;
mod recovery;
pub mod scan;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use tokio::sync::{Semaphore, oneshot, watch};
use tollgate_shared::{Clock, Timestamp};

pub use entry::{Entry, NewEntry, Position};

use disk::{Disk, Folder, Lock};
use entry::timestamp;
use state::{Append, Health, Phase, Queue, Shared, State};

/// The longest body an entry may have. Far above any limit that a relay is set to; it keeps every offset in a segment
/// within 32 bits.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How much may wait for the disk at a time; who comes on top of that waits at the door. It bounds the memory that a
/// stalled disk can cost.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

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
    fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 16).clamp(256 * 1024, 64 * 1024 * 1024)
    }
}

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Entries that are not confirmed.
    pub unconfirmed: u64,
    /// When the first of them in order of arrival was received.
    pub oldest_unconfirmed_at: Option<Timestamp>,
    /// What the segments take on disk, space set aside included.
    pub bytes: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Whether an append would be tried with hope: false from a failed one until one, or a probe each second, succeeds.
    pub can_append: bool,
    /// Writes and syncs that failed since the start.
    pub failures: u64,
    /// The last of them, for a person.
    pub last_failure: Option<String>,
    /// Bytes of the log that the start found damaged, and passed over.
    pub damaged_bytes: u64,
}

/// The journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another relay", .0.display())]
    Locked(PathBuf),
    /// It was written by a Tollgate whose format this one does not know.
    #[error("segment {name} in {} has format {version}, which this version does not read", dir.display())]
    OtherVersion {
        /// The folder.
        dir: PathBuf,
        /// The segment's file.
        name: String,
        /// Its format.
        version: u32,
    },
    /// The folder or a file in it cannot be used.
    #[error("could not open the journal in {}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// An event could not be kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room on the disk. The next append tries again.
    #[error("no room left on the disk")]
    Full,
    /// The disk failed. The next append tries again.
    #[error("the disk failed: {0}")]
    Io(Arc<io::Error>),
    /// The body is longer than [`BODY_BYTES_MAX`].
    #[error("the body is too long")]
    TooLong,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// An entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no intact entry at that position; a pruned one is not there either.
    #[error("no entry at {0}")]
    NotThere(Position),
    /// The file cannot be read.
    #[error("could not read the journal")]
    Io(#[from] io::Error),
}

/// The journal. Cheap to clone; when the last clone goes, it closes by itself, though nobody can then tell when it is done.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.begin_closing();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("options", &self.0.0.options).finish_non_exhaustive()
    }
}

/// Up to here every attempt is written; after it only each sixteenth, so that a backend that refuses everything for
/// days does not fill the disk with counts.
const ATTEMPTS_WRITTEN_EACH: u32 = 16;

impl Journal {
    /// Takes the folder's lock, recovers what is there, and starts to write.
    pub fn open(options: Options, clock: Clock) -> Result<Self, OpenError> {
        let folder = Folder::new(&options.dir);
        let failed = |source| OpenError::Io { dir: options.dir.clone(), source };
        folder.make().map_err(failed)?;
        let lock = folder.lock().map_err(failed)?.ok_or_else(|| OpenError::Locked(options.dir.clone()))?;
        let segment_bytes = options.segment_bytes();
        Self::open_on(Arc::new(folder), Some(lock), options, segment_bytes, clock)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        lock: Option<Lock>,
        options: Options,
        segment_bytes: u64,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let recovered = recovery::recover(&*disk, &clock).map_err(|error| match error {
            recovery::RecoverError::OtherVersion { name, version } => {
                OpenError::OtherVersion { dir: dir.clone(), name, version }
            }
            recovery::RecoverError::Io(source) => OpenError::Io { dir: dir.clone(), source },
        })?;
        let health = Health { damaged_bytes: recovered.damaged_bytes, ..Health::default() };
        let state = State { index: recovered.index, queue: Queue::default(), health, chores_due: true };
        let shared = Arc::new(Shared {
            options,
            segment_bytes,
            disk,
            clock,
            state: Mutex::new(state),
            work: Condvar::new(),
            chores: Condvar::new(),
            room: Semaphore::new(WAITING_BYTES_MAX),
            phase: watch::Sender::new(Phase::Open),
        });
        writer::Writer::new(Arc::clone(&shared), recovered.active, recovered.segment_next)
            .and_then(|writer| writer.start(lock))
            .map_err(|source| OpenError::Io { dir, source })?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Keeps `entry`: returns when it is synced to disk. Dropping the future is safe: the entry is then kept or not,
    /// as a whole.
    pub async fn append(&self, entry: NewEntry) -> Result<Position, AppendError> {
        if entry.body.len() > BODY_BYTES_MAX {
            return Err(AppendError::TooLong);
        }
        let shared = &self.0.0;
        let permits = record::entry_bytes(&entry).min(WAITING_BYTES_MAX);
        shared.room.acquire_many(permits as u32).await.map_err(|_| AppendError::Closed)?.forget();
        let (answer, answered) = oneshot::channel();
        {
            let mut state = shared.state();
            if state.queue.closing {
                return Err(AppendError::Closed);
            }
            state.queue.appends.push_back(Append { entry, answer, permits });
            if state.queue.appends.len() >= state.queue.wake_at {
                shared.work.notify_one();
            }
        }
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// The backend has confirmed the entry at `position`. Written with the next append, at the latest within a tenth of a
    /// second. Of an entry that was confirmed before, or is none, nothing is written.
    pub fn confirm(&self, position: Position) {
        self.0.0.confirm(position);
    }

    /// An operator has given up the entry at `position`; whether there was an unconfirmed one. Written as
    /// [`Journal::confirm`] is.
    pub fn discard(&self, position: Position) -> bool {
        self.0.0.discard(position)
    }

    /// A delivery of the entry at `position` failed. Written as [`Journal::confirm`] is, beyond the sixteenth attempt
    /// only now and then.
    pub fn attempted(&self, position: Position) {
        let shared = &self.0.0;
        let mut state = shared.state();
        let Some(waiting) = state.index.unconfirmed.get_mut(&position) else { return };
        waiting.attempts = waiting.attempts.saturating_add(1);
        let attempts = waiting.attempts;
        if attempts <= ATTEMPTS_WRITTEN_EACH || attempts.is_multiple_of(ATTEMPTS_WRITTEN_EACH) {
            shared.mark(&mut state, |marks| marks.attempted.push((position, attempts)));
        }
    }

    /// Returns when all that was confirmed, discarded and attempted so far is synced to disk.
    pub async fn flush(&self) -> Result<(), AppendError> {
        let flushed = self.0.0.flush();
        flushed.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Unconfirmed entries behind `after` in order of arrival.
    pub fn unconfirmed_after(&self, after: Option<Position>, limit: usize) -> Vec<Position> {
        self.0.0.state().index.unconfirmed_after(after, limit)
    }

    /// The entry at `position`. Reads a file and blocks while it does.
    pub fn read(&self, position: Position) -> Result<Entry, ReadError> {
        self.0.0.read(position)
    }

    /// How the journal is, from memory.
    pub fn stats(&self) -> Stats {
        let state = self.0.0.state();
        let oldest = state.index.unconfirmed.values().next();
        Stats {
            unconfirmed: state.index.unconfirmed.len() as u64,
            oldest_unconfirmed_at: oldest.map(|waiting| timestamp(waiting.received_at_micros)),
            bytes: state.index.bytes(),
            segments: state.index.segments.len() as u64,
            can_append: !state.health.failing && !state.queue.closing,
            failures: state.health.failures,
            last_failure: state.health.last_failure.clone(),
            damaged_bytes: state.health.damaged_bytes,
        }
    }

    /// Writes what waits, syncs, and gives the lock back. Appends are refused from here on.
    pub async fn close(&self) {
        let mut phase = self.0.0.phase.subscribe();
        self.0.0.begin_closing();
        // An error would mean that the sender is gone, and it lives in what we hold.
        let _ = phase.wait_for(|phase| *phase == Phase::Closed).await;
    }
}
