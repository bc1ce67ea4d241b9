//! The one thread that writes: it takes all that wait, makes one write and one `fdatasync` of it, and answers.

use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use crate::active_segment::ActiveSegment;
use crate::commit::{PendingWork, encode};
use crate::compaction;
use crate::disk::{Lock, write_all_at};
use crate::entry::Position;
use crate::error::AppendError;
use crate::index::Segment;
use crate::record;
use crate::state::{Append, Phase, Shared, State};

/// One commit takes no more than this, so that those in it do not wait for those behind them, and the buffer stays small.
const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What the buffer keeps between commits: 64 events of 4 KB, several times over.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;
/// How long a confirmation waits for an append to go with. Under load one comes long before; else it costs a sync of its
/// own, and a command that looks should soon see it.
const STATUS_LINGER: Duration = Duration::from_millis(100);
/// How long a commit lingers for as many as came with the last one. Without it, the first of 64 that were just answered
/// would go alone and the others wait for its sync: three times the syncs for the same events.
const BATCH_LINGER: Duration = Duration::from_millis(1);
/// While the disk fails, it is tried again this often, appends or not: whether `/ready` is good depends on it.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A disk that was full has room again when so much can be set aside in one piece. What a write that failed gave back is
/// less: were that enough, the journal would be ready and not ready by turns, and lose an event at each.
const ROOM_AGAIN_BYTES: u64 = 16 * 1024 * 1024;
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// `None`: after a failure, until a new segment can be made.
    active: Option<ActiveSegment>,
    segment_next: u32,
    buffer: Vec<u8>,
    batch: Vec<Append>,
    written_at: Vec<(Position, i64)>,
    /// The file system can set space aside.
    allocates: bool,
    failing: bool,
}

/// What a commit that did not fail has put into the log.
enum Written {
    Nothing,
    Records,
}

impl Writer {
    /// Goes on in `active`, or makes a segment: a folder that cannot be written to is found out at once. But a disk that
    /// is full is no reason not to start: events still go to the backend, and there may soon be room.
    pub(crate) fn new(shared: Arc<Shared>, active: Option<ActiveSegment>, segment_next: u32) -> io::Result<Self> {
        let mut writer = Self {
            shared,
            active,
            segment_next,
            buffer: Vec::new(),
            batch: Vec::new(),
            written_at: Vec::new(),
            allocates: true,
            failing: false,
        };
        if writer.active.is_none()
            && let Err(error) = writer.open_segment()
        {
            let error = match AppendError::from(error) {
                AppendError::Io(error) => return Err(io::Error::new(error.kind(), error)),
                error => error,
            };
            error!("could not write the journal: {error}");
            let mut state = writer.shared.state();
            (state.health.failing, state.health.full, state.health.failures) = (true, true, 1);
            state.health.last_failure = Some(error.to_string());
            state.health.last_failure_at = Some(writer.shared.clock.now());
            drop(state);
            writer.failing = true;
        }
        Ok(writer)
    }

    /// Starts the thread, which keeps `lock` until it ends, and that of the compaction.
    pub(crate) fn start(mut self, lock: Option<Lock>) -> io::Result<()> {
        let compaction = compaction::start(Arc::clone(&self.shared))?;
        let shared = Arc::clone(&self.shared);
        let running = thread::Builder::new().name("journal-writer".into()).spawn(move || {
            // Also when the loop panics: nobody may wait for a writer that is gone.
            let guard = ShutdownGuard { shared: Arc::clone(&self.shared), compaction: Some(compaction), lock };
            self.run();
            drop(self);
            drop(guard);
        });
        if running.is_err() {
            shared.state().queue.closed = true;
            shared.maintenance.notify_all();
        }
        running.map(drop)
    }

    fn run(&mut self) {
        loop {
            let mut pending = self.next_work();
            self.commit(&mut pending);
            let done = pending.closing && self.shared.state().queue.appends.is_empty();
            if done {
                break;
            }
        }
        self.trim();
    }

    /// Waits until there is something to write and takes it: entries into the batch, the rest is returned.
    fn next_work(&mut self) -> PendingWork {
        let shared = Arc::clone(&self.shared);
        let batch_len = self.last_batch_len();
        self.batch.clear();
        let mut state = shared.state();
        let mut probe = false;
        state.queue.wake_at = 1;
        loop {
            let queue = &state.queue;
            if !queue.appends.is_empty() || !queue.flushes.is_empty() || queue.seal || queue.closing {
                break;
            }
            if self.failing || !queue.statuses.is_empty() {
                let wait = if self.failing { PROBE_INTERVAL } else { STATUS_LINGER };
                let (after, timeout) = shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
                state = after;
                if timeout.timed_out() {
                    probe = self.failing;
                    break;
                }
            } else {
                state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let waiting = state.queue.appends.len();
        if waiting > 0 && waiting < batch_len && state.queue.flushes.is_empty() && !state.queue.closing {
            state.queue.wake_at = batch_len;
            let batch_incomplete = |state: &mut State| state.queue.appends.len() < batch_len && !state.queue.closing;
            let waited = shared.work.wait_timeout_while(state, BATCH_LINGER, batch_incomplete);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.queue.wake_at = usize::MAX;
        let mut bytes = 0;
        while let Some(append) = state.queue.appends.pop_front() {
            bytes += record::entry_bytes(&append.entry);
            if bytes > COMMIT_BYTES_MAX && !self.batch.is_empty() {
                state.queue.appends.push_front(append);
                break;
            }
            self.batch.push(append);
        }
        PendingWork {
            statuses: mem::take(&mut state.queue.statuses),
            flushes: mem::take(&mut state.queue.flushes),
            seal: mem::take(&mut state.queue.seal),
            probe,
            closing: state.queue.closing,
        }
    }

    /// How many entries the last commit had.
    fn last_batch_len(&self) -> usize {
        self.written_at.len()
    }

    /// Writes and syncs the batch and the status records, and tells those who wait.
    fn commit(&mut self, pending: &mut PendingWork) {
        let began = Instant::now();
        let written = self.write(pending).map_err(AppendError::from);
        let works_again = self.failing && matches!(written, Ok(Written::Records)) && self.has_room_again();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        match &written {
            Ok(Written::Nothing) => {}
            Ok(Written::Records) => {
                self.shared.options.commit_seconds.record(began.elapsed());
                for (position, received_at_micros) in &self.written_at {
                    state.index.add(*position, *received_at_micros);
                }
                if works_again {
                    (state.health.failing, state.health.full) = (false, false);
                    info!("journal can be written again");
                }
            }
            Err(error) => {
                // What became of entries is still to be written; the entries' senders are told.
                let later = mem::replace(&mut state.queue.statuses, mem::take(&mut pending.statuses));
                state.queue.statuses.append(&mut { later });
                let health = &mut state.health;
                health.failures += 1;
                health.full |= matches!(error, AppendError::Full);
                health.last_failure = Some(error.to_string());
                health.last_failure_at = Some(shared.clock.now());
                if !mem::replace(&mut health.failing, true) {
                    error!("could not write the journal: {error}");
                }
            }
        }
        self.failing = state.health.failing;
        drop(state);
        let result = written.map(drop);
        let mut permits = 0;
        for (index, append) in self.batch.drain(..).enumerate() {
            permits += append.permits;
            let position = self.written_at.get(index).map(|(position, _)| *position);
            // Who no longer waits has lost nothing: the entry is in the log, unconfirmed.
            let _ = append.answer.send(result.clone().map(|()| position.expect("what was written stands somewhere")));
        }
        self.shared.room.add_permits(permits);
        for flush in pending.flushes.drain(..) {
            let _ = flush.send(result.clone());
        }
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
    }

    /// Whether a disk that was full has room for more than what was just written.
    fn has_room_again(&mut self) -> bool {
        let (full, room) = (self.shared.state().health.full, ROOM_AGAIN_BYTES.min(self.shared.segment_bytes));
        let Some(active) = self.active.as_mut().filter(|_| full) else { return true };
        let reserved = active.reserve(room).is_ok();
        let (number, allocated) = (active.number, active.allocated);
        self.note_bytes(number, allocated);
        reserved
    }

    fn write(&mut self, pending: &PendingWork) -> io::Result<Written> {
        self.written_at.clear();
        let nothing = self.batch.is_empty() && pending.statuses.is_empty() && !pending.probe;
        if nothing && !pending.seal {
            return Ok(Written::Nothing);
        }
        let entries: usize = self.batch.iter().map(|append| record::entry_bytes(&append.entry)).sum();
        let bytes = (entries + pending.statuses.bytes()) as u64;
        self.make_room(bytes, pending.seal)?;
        if nothing {
            return Ok(Written::Nothing);
        }
        let active = self.active.as_mut().expect("room was made in it");
        if self.allocates && active.needs_space_for(bytes) {
            self.allocates = active.allocate(bytes, self.shared.segment_bytes);
        }
        encode(&mut self.buffer, active, &self.batch, pending, &mut self.written_at);
        if let Err(error) = write_all_at(&*active.file, &self.buffer, active.end) {
            self.truncate_to_synced();
            return Err(error);
        }
        if let Err(error) = active.file.sync_data() {
            self.truncate_to_synced();
            self.give_up_segment();
            return Err(error);
        }
        active.advance(self.buffer.len() as u64);
        let (number, allocated) = (active.number, active.allocated);
        self.note_bytes(number, allocated);
        Ok(Written::Records)
    }

    /// Sees to it that `bytes` more go into the segment that is written to: seals it and opens the next when it is full.
    fn make_room(&mut self, bytes: u64, seal: bool) -> io::Result<()> {
        if let Some(active) = &self.active {
            let full = active.end + bytes > self.shared.segment_bytes;
            if !(active.has_records() && (full || seal)) {
                return Ok(());
            }
            self.trim();
            // The next one first: a sealed segment may be renamed, and a start must always find a newer number.
            let sealed = self.active.take();
            if let Err(error) = self.open_segment() {
                self.active = sealed;
                return Err(error);
            }
            if let Some(sealed) = sealed {
                self.seal(&sealed);
            }
            return Ok(());
        }
        self.open_segment()
    }

    /// Makes a new segment and the name of it durable, and writes to it from here on.
    fn open_segment(&mut self) -> io::Result<()> {
        let number = self.segment_next;
        // Whether or not it works out, the number is used: a file of that name may be there now.
        self.segment_next = number.checked_add(1).ok_or_else(|| io::Error::other("segment numbers are used up"))?;
        let now = self.shared.clock.now();
        let active = ActiveSegment::create(&*self.shared.disk, number, now)?;
        let opened = Segment {
            bytes: active.end,
            unconfirmed: 0,
            received: None,
            opened_at_micros: now.timestamp_micros(),
            sealed: false,
            archived: false,
            damaged: false,
            cut_at: None,
        };
        self.active = Some(active);
        self.shared.state().index.segments.insert(number, opened);
        Ok(())
    }

    /// After a write that failed: nothing of it may stand behind what is synced.
    fn truncate_to_synced(&mut self) {
        self.written_at.clear();
        let Some(active) = &mut self.active else { return };
        match active.truncate_to_synced() {
            Ok(()) => {
                let (number, bytes) = (active.number, active.end);
                self.note_bytes(number, bytes);
            }
            // What half stands there must have nothing written behind or over it.
            Err(_) => self.give_up_segment(),
        }
    }

    /// Writes no more to the segment there is; the next commit makes a new one.
    fn give_up_segment(&mut self) {
        if let Some(active) = self.active.take() {
            self.seal(&active);
        }
    }

    fn seal(&self, active: &ActiveSegment) {
        let mut state = self.shared.state();
        if let Some(segment) = state.index.segments.get_mut(&active.number) {
            segment.sealed = true;
            segment.cut_at = active.torn.then_some(active.end);
        }
        self.shared.wake_maintenance(&mut state);
    }

    /// Gives back the space that was set aside.
    fn trim(&mut self) {
        let Some(active) = &mut self.active else { return };
        if active.trim() {
            let (number, bytes) = (active.number, active.end);
            self.note_bytes(number, bytes);
        }
    }

    fn note_bytes(&self, segment: u32, bytes: u64) {
        if let Some(segment) = self.shared.state().index.segments.get_mut(&segment) {
            segment.bytes = bytes;
        }
    }
}

/// What is done when the writer ends, however it ends.
struct ShutdownGuard {
    shared: Arc<Shared>,
    compaction: Option<thread::JoinHandle<()>>,
    lock: Option<Lock>,
}

impl Drop for ShutdownGuard {
    fn drop(&mut self) {
        self.shared.room.close();
        let unanswered = {
            let mut state = self.shared.state();
            state.queue.closing = true;
            state.queue.closed = true;
            self.shared.maintenance.notify_all();
            (mem::take(&mut state.queue.appends), mem::take(&mut state.queue.flushes))
        };
        // Their senders learn by it that there is no answer.
        drop(unanswered);
        if let Some(thread) = self.compaction.take() {
            // One that panicked has said so; there is nothing to add.
            let _ = thread.join();
        }
        self.lock = None;
        self.shared.phase.send_replace(Phase::Closed);
    }
}
