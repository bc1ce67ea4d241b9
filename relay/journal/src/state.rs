//! What the callers, the writer and the compaction share: the index, what waits to be written, and how the disk does.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot, watch};
use tollgate_shared::{Clock, Timestamp};

use crate::disk::Disk;
use crate::entry::{Entry, NewEntry, Position};
use crate::error::{AppendError, ReadError};
use crate::index::Index;
use crate::options::Options;
use crate::scan::read_entry;

/// What the callers, the writer and the compaction share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) segment_bytes: u64,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Clock,
    pub(crate) state: Mutex<State>,
    /// Rung when there is something for the writer.
    pub(crate) work: Condvar,
    /// Rung when there may be something for the compaction.
    pub(crate) maintenance: Condvar,
    /// One permit a byte that may wait.
    pub(crate) room: Semaphore,
    pub(crate) phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Closing,
    /// All that was queued is written, and the lock is free.
    Closed,
}

pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) queue: Queue,
    pub(crate) health: Health,
    /// The compaction has something to look at.
    pub(crate) maintenance_due: bool,
}

/// What waits for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) appends: VecDeque<Append>,
    /// How many appends make it worth waking the writer. Each wake-up costs the appender a system call, and while the
    /// writer is at work, or has reason to expect more, none is wanted.
    pub(crate) wake_at: usize,
    pub(crate) statuses: StatusRecords,
    pub(crate) flushes: Vec<oneshot::Sender<Result<(), AppendError>>>,
    /// The segment that is written to should be sealed, though it is not full.
    pub(crate) seal: bool,
    pub(crate) closing: bool,
    /// The writer is gone: nothing that is queued would ever be answered.
    pub(crate) closed: bool,
}

pub(crate) struct Append {
    pub(crate) entry: NewEntry,
    pub(crate) answer: oneshot::Sender<Result<Position, AppendError>>,
    pub(crate) permits: usize,
}

/// What became of entries; not waited for, unless flushed.
#[derive(Default)]
pub(crate) struct StatusRecords {
    pub(crate) confirmed: Vec<Position>,
    pub(crate) discarded: Vec<Position>,
    pub(crate) attempted: Vec<(Position, u32)>,
}

impl StatusRecords {
    pub(crate) fn is_empty(&self) -> bool {
        self.confirmed.is_empty() && self.discarded.is_empty() && self.attempted.is_empty()
    }

    /// About how long their records get.
    pub(crate) fn bytes(&self) -> usize {
        8 * (self.confirmed.len() + self.discarded.len()) + 12 * self.attempted.len()
    }

    /// Takes `later` in behind what is there.
    pub(crate) fn append(&mut self, later: &mut Self) {
        self.confirmed.append(&mut later.confirmed);
        self.discarded.append(&mut later.discarded);
        self.attempted.append(&mut later.attempted);
    }
}

#[derive(Default)]
pub(crate) struct Health {
    pub(crate) failing: bool,
    /// It fails for want of room.
    pub(crate) full: bool,
    pub(crate) failures: u64,
    pub(crate) last_failure: Option<String>,
    pub(crate) last_failure_at: Option<Timestamp>,
    pub(crate) damaged_bytes: u64,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that may panic runs while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin_closing(&self) {
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

    pub(crate) fn confirm(&self, position: Position) -> bool {
        self.end(position, |statuses| &mut statuses.confirmed)
    }

    pub(crate) fn discard(&self, position: Position) -> bool {
        self.end(position, |statuses| &mut statuses.discarded)
    }

    pub(crate) fn end(&self, position: Position, list: impl FnOnce(&mut StatusRecords) -> &mut Vec<Position>) -> bool {
        let mut state = self.state();
        if state.index.end(position).is_none() {
            return false;
        }
        let last_in_segment = state.index.segments.get(&position.segment()).is_some_and(|it| it.unconfirmed == 0);
        if last_in_segment {
            self.wake_maintenance(&mut state);
        }
        self.record_status(&mut state, |statuses| list(statuses).push(position));
        true
    }

    /// Queues a status record. The writer is woken for the first one only, to start the time that it may wait.
    pub(crate) fn record_status(&self, state: &mut State, push: impl FnOnce(&mut StatusRecords)) {
        let first = state.queue.statuses.is_empty();
        push(&mut state.queue.statuses);
        if first {
            self.work.notify_one();
        }
    }

    pub(crate) fn flush(&self) -> oneshot::Receiver<Result<(), AppendError>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if !state.queue.closed {
            state.queue.flushes.push(answer);
            self.work.notify_one();
        }
        answered
    }

    pub(crate) fn wake_maintenance(&self, state: &mut State) {
        state.maintenance_due = true;
        self.maintenance.notify_one();
    }

    pub(crate) fn read(&self, position: Position) -> Result<Entry, ReadError> {
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
