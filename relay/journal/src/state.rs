//! What the callers, the writer and the keeper share: the index, what waits to be written, and how the disk does.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot, watch};
use tollgate_shared::Clock;

use super::disk::Disk;
use super::entry::read_entry;
use super::index::Index;
use super::{AppendError, Entry, NewEntry, Options, Position, ReadError};

/// What the callers, the writer and the keeper share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) segment_bytes: u64,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Clock,
    pub(super) state: Mutex<State>,
    /// Rung when there is something for the writer.
    pub(super) work: Condvar,
    /// Rung when there may be something for the keeper.
    pub(super) chores: Condvar,
    /// One permit a byte that may wait.
    pub(super) room: Semaphore,
    pub(super) phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Closing,
    /// All that was queued is written, and the lock is free.
    Closed,
}

pub(super) struct State {
    pub(super) index: Index,
    pub(super) queue: Queue,
    pub(super) health: Health,
    /// The keeper has something to look at.
    pub(super) chores_due: bool,
}

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) appends: VecDeque<Append>,
    /// How many appends make it worth waking the writer. Each wake-up costs the appender a system call, and while the
    /// writer is at work, or has reason to expect more, none is wanted.
    pub(super) wake_at: usize,
    pub(super) marks: Marks,
    pub(super) flushes: Vec<oneshot::Sender<Result<(), AppendError>>>,
    /// The segment that is written to should be sealed, though it is not full.
    pub(super) seal: bool,
    pub(super) closing: bool,
    /// The writer is gone: nothing that is queued would ever be answered.
    pub(super) closed: bool,
}

pub(super) struct Append {
    pub(super) entry: NewEntry,
    pub(super) answer: oneshot::Sender<Result<Position, AppendError>>,
    pub(super) permits: usize,
}

/// What became of entries; not waited for, unless flushed.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) confirmed: Vec<Position>,
    pub(super) discarded: Vec<Position>,
    pub(super) attempted: Vec<(Position, u32)>,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.confirmed.is_empty() && self.discarded.is_empty() && self.attempted.is_empty()
    }

    /// About how long their records get.
    pub(super) fn bytes(&self) -> usize {
        8 * (self.confirmed.len() + self.discarded.len()) + 12 * self.attempted.len()
    }

    /// Takes `later` in behind what is there.
    pub(super) fn append(&mut self, later: &mut Self) {
        self.confirmed.append(&mut later.confirmed);
        self.discarded.append(&mut later.discarded);
        self.attempted.append(&mut later.attempted);
    }
}

#[derive(Default)]
pub(super) struct Health {
    pub(super) failing: bool,
    pub(super) failures: u64,
    pub(super) last_failure: Option<String>,
    pub(super) damaged_bytes: u64,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that may panic runs while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_closing(&self) {
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

    pub(super) fn confirm(&self, position: Position) -> bool {
        self.end(position, |marks| &mut marks.confirmed)
    }

    pub(super) fn discard(&self, position: Position) -> bool {
        self.end(position, |marks| &mut marks.discarded)
    }

    pub(super) fn end(&self, position: Position, list: impl FnOnce(&mut Marks) -> &mut Vec<Position>) -> bool {
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
    pub(super) fn mark(&self, state: &mut State, push: impl FnOnce(&mut Marks)) {
        let first = state.queue.marks.is_empty();
        push(&mut state.queue.marks);
        if first {
            self.work.notify_one();
        }
    }

    pub(super) fn flush(&self) -> oneshot::Receiver<Result<(), AppendError>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if !state.queue.closed {
            state.queue.flushes.push(answer);
            self.work.notify_one();
        }
        answered
    }

    pub(super) fn ring_for_chores(&self, state: &mut State) {
        state.chores_due = true;
        self.chores.notify_one();
    }

    pub(super) fn read(&self, position: Position) -> Result<Entry, ReadError> {
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
