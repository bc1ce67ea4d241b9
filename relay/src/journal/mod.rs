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
//! waited are told, and the next append tries again. What a start makes of a torn or damaged file: [`recovery`].
//!
//! The journal never reads an event's body but to hand it out, and never writes one to the logs.

pub mod control;
pub mod disk;
mod index;
mod keeper;
mod names;
pub mod reader;
pub mod record;
mod recovery;
pub mod scan;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot, watch};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, RequestId, Timestamp};

use disk::{Disk, Folder, Lock};
use index::Index;
use record::Record;
use scan::Scan;

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

/// Where an entry stands in the log: its segment's number and its offset in there. Positions grow in order of arrival,
/// and none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    fn new(segment: u32, offset: u64) -> Self {
        let offset = u32::try_from(offset).expect("a segment is sealed long before 4 GiB");
        Self(u64::from(segment) << 32 | u64::from(offset))
    }

    fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn offset(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.segment(), self.offset())
    }
}

/// An event to be kept.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// `evt_…`.
    pub event_id: String,
    /// Its type, for example `invoice.paid`.
    pub kind: String,
    /// When it came.
    pub received_at: Timestamp,
    /// That of the request which brought it.
    pub request_id: RequestId,
    /// The very bytes.
    pub body: Bytes,
}

/// An event that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// `evt_…`. Several entries may have the same one: Stripe repeats.
    pub event_id: String,
    /// Its type, for example `invoice.paid`.
    pub kind: String,
    /// When it came.
    pub received_at: Timestamp,
    /// That of the request which brought it.
    pub request_id: String,
    /// The very bytes.
    pub body: Bytes,
    /// Whether the backend has confirmed it, or an operator has discarded it.
    pub confirmed: bool,
    /// How many deliveries failed while it was unconfirmed; 0 for a confirmed one.
    pub attempts: u32,
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

/// What the callers, the writer and the keeper share.
struct Shared {
    options: Options,
    segment_bytes: u64,
    disk: Arc<dyn Disk>,
    clock: Clock,
    state: Mutex<State>,
    /// Rung when there is something for the writer.
    work: Condvar,
    /// Rung when there may be something for the keeper.
    chores: Condvar,
    /// One permit a byte that may wait.
    room: Semaphore,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    /// All that was queued is written, and the lock is free.
    Closed,
}

struct State {
    index: Index,
    queue: Queue,
    health: Health,
    /// The keeper has something to look at.
    chores_due: bool,
}

/// What waits for the writer.
#[derive(Default)]
struct Queue {
    appends: VecDeque<Append>,
    /// How many appends make it worth waking the writer. Each wake-up costs the appender a system call, and while the
    /// writer is at work, or has reason to expect more, none is wanted.
    wake_at: usize,
    marks: Marks,
    flushes: Vec<oneshot::Sender<Result<(), AppendError>>>,
    /// The segment that is written to should be sealed, though it is not full.
    seal: bool,
    closing: bool,
    /// The writer is gone: nothing that is queued would ever be answered.
    closed: bool,
}

struct Append {
    entry: NewEntry,
    answer: oneshot::Sender<Result<Position, AppendError>>,
    permits: usize,
}

/// What became of entries; not waited for, unless flushed.
#[derive(Default)]
struct Marks {
    confirmed: Vec<Position>,
    discarded: Vec<Position>,
    attempted: Vec<(Position, u32)>,
}

impl Marks {
    fn is_empty(&self) -> bool {
        self.confirmed.is_empty() && self.discarded.is_empty() && self.attempted.is_empty()
    }

    /// About how long their records get.
    fn bytes(&self) -> usize {
        8 * (self.confirmed.len() + self.discarded.len()) + 12 * self.attempted.len()
    }

    /// Takes `later` in behind what is there.
    fn append(&mut self, later: &mut Self) {
        self.confirmed.append(&mut later.confirmed);
        self.discarded.append(&mut later.discarded);
        self.attempted.append(&mut later.attempted);
    }
}

#[derive(Default)]
struct Health {
    failing: bool,
    failures: u64,
    last_failure: Option<String>,
    damaged_bytes: u64,
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that may panic runs while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_closing(&self) {
        self.room.close();
        self.state().queue.closing = true;
        self.work.notify_one();
        self.phase.send_if_modified(|phase| {
            let open = *phase == Phase::Open;
            if open {
                *phase = Phase::Closing;
            }
            open
        });
    }

    fn confirm(&self, position: Position) -> bool {
        self.end(position, |marks| &mut marks.confirmed)
    }

    fn discard(&self, position: Position) -> bool {
        self.end(position, |marks| &mut marks.discarded)
    }

    fn end(&self, position: Position, list: impl FnOnce(&mut Marks) -> &mut Vec<Position>) -> bool {
        let mut state = self.state();
        if state.index.end(position).is_none() {
            return false;
        }
        let last_in_segment = state.index.segments.get(&position.segment()).is_some_and(|it| it.unconfirmed == 0);
        if last_in_segment {
            self.ring_for_chores(&mut state);
        }
        self.mark(&mut state, |marks| list(marks).push(position));
        true
    }

    /// Queues a mark. The writer is woken for the first one only, to start the time that it may wait.
    fn mark(&self, state: &mut State, push: impl FnOnce(&mut Marks)) {
        let first = state.queue.marks.is_empty();
        push(&mut state.queue.marks);
        if first {
            self.work.notify_one();
        }
    }

    fn flush(&self) -> oneshot::Receiver<Result<(), AppendError>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if !state.queue.closed {
            state.queue.flushes.push(answer);
            self.work.notify_one();
        }
        answered
    }

    fn ring_for_chores(&self, state: &mut State) {
        state.chores_due = true;
        self.chores.notify_one();
    }

    fn read(&self, position: Position) -> Result<Entry, ReadError> {
        let not_there = || ReadError::NotThere(position);
        let (file, waiting) = loop {
            let (name, waiting) = {
                let state = self.state();
                let segment = state.index.segments.get(&position.segment()).ok_or_else(not_there)?;
                let waiting = state.index.unconfirmed.get(&position).copied();
                (segment.name(position.segment()), waiting)
            };
            match self.disk.open(&name.to_string(), false) {
                Ok(file) => break (file, waiting),
                // Renamed or removed since: what is known of it by now says which.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let state = self.state();
                    let now = state.index.segments.get(&position.segment()).map(|it| it.name(position.segment()));
                    if now == Some(name) {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        let mut entry = read_entry(&*file, position)?.ok_or_else(not_there)?;
        entry.confirmed = waiting.is_none();
        entry.attempts = waiting.map_or(0, |waiting| waiting.attempts);
        Ok(entry)
    }
}

/// The entry at `position` of its segment's `file`, if there is an intact one. Whether it is confirmed, and how often it
/// was tried, the caller has to know.
fn read_entry(file: &dyn disk::File, position: Position) -> io::Result<Option<Entry>> {
    let mut scan = Scan::starting_at(file, position);
    let entry = match scan.next_if_intact()? {
        Some(Record::Entry(entry)) => Some(Entry {
            position,
            event_id: entry.event_id.to_owned(),
            kind: entry.kind.to_owned(),
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

/// How long a confirmation waits for an append to go with. Under load one comes long before; else it costs a sync of its
/// own, and a command that looks should soon see it.
const MARKS_WAIT: Duration = Duration::from_millis(100);

/// What is in the log as microseconds. An instant that chrono does not know was never written by us.
fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_timestamp_micros(micros).or_else(|| from_unix(0)).expect("chrono knows the Unix epoch")
}
