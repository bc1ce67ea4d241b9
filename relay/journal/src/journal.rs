//! The journal as its users hold it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};

use tokio::sync::{Semaphore, oneshot, watch};
use tollgate_shared::Clock;

use crate::disk::{Disk, Folder, Lock};
use crate::entry::{BODY_BYTES_MAX, Entry, NewEntry, Position, timestamp};
use crate::error::{AppendError, OpenError, ReadError};
use crate::options::Options;
use crate::record;
use crate::recovery::{RecoverError, recover};
use crate::state::{Append, Health, Phase, Queue, Shared, State};
use crate::stats::Stats;
use crate::writer::Writer;

/// How much may wait for the disk at a time; callers beyond that wait for a permit. It bounds the memory that a stalled
/// disk can cost.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The journal. Cheap to clone; when the last clone goes, it closes by itself, though nobody can then tell when it is done.
#[derive(Clone)]
pub struct Journal(pub(crate) Arc<Handle>);

pub(crate) struct Handle(pub(crate) Arc<Shared>);

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

    /// As [`Journal::open`], on any disk and without a lock: for a test of what a disk may do.
    pub fn open_over(disk: Arc<dyn Disk>, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let segment_bytes = options.segment_bytes();
        Self::open_on(disk, None, options, segment_bytes, clock)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        lock: Option<Lock>,
        options: Options,
        segment_bytes: u64,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let recovered = recover(&*disk, &clock).map_err(|error| match error {
            RecoverError::OtherVersion { name, version } => OpenError::OtherVersion { dir: dir.clone(), name, version },
            RecoverError::Io(source) => OpenError::Io { dir: dir.clone(), source },
        })?;
        let health = Health { damaged_bytes: recovered.damaged_bytes, ..Health::default() };
        let state = State { index: recovered.index, queue: Queue::default(), health, maintenance_due: true };
        let shared = Arc::new(Shared {
            options,
            segment_bytes,
            disk,
            clock,
            state: Mutex::new(state),
            work: Condvar::new(),
            maintenance: Condvar::new(),
            room: Semaphore::new(WAITING_BYTES_MAX),
            phase: watch::Sender::new(Phase::Open),
        });
        Writer::new(Arc::clone(&shared), recovered.active, recovered.segment_next)
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
            shared.record_status(&mut state, |statuses| statuses.attempted.push((position, attempts)));
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
            last_failure_at: state.health.last_failure_at,
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
