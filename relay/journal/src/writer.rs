//! The one thread that writes: it takes all that wait, makes one write and one `fdatasync` of it, and answers.

use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{error, info};

use super::disk::{Lock, write_all_at};
use super::index::Segment;
use super::compaction;
use super::segment_name::Name;
use super::record;
use super::recovery::Active;
use super::state::{Append, Marks, Phase, Shared, State};
use super::{AppendError, Position};

/// One commit takes no more than this, so that those in it do not wait for those behind them, and the buffer stays small.
const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What the buffer keeps between commits: 64 events of 4 KB, several times over.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;
/// Space is set aside this far ahead, so that `fdatasync` need not write the file's length as well: measured on ext4,
/// 160 against 190 to 265 µs. (Written zeros instead: 100 µs, for twice the bytes to the disk.)
const ALLOCATE_BYTES: u64 = 1024 * 1024;
/// What is synced is taken out of memory so many bytes at a time. It is hardly ever read again, and pages that are used
/// again are cheaper than new ones: measured at 64 appends in flight, 5 against 5 to 10 µs of system time an event.
const FORGET_BYTES: u64 = 1024 * 1024;
/// The page size that all machines we run on can do with.
const PAGE_BYTES: u64 = 4096;
/// How long a confirmation waits for an append to go with. Under load one comes long before; else it costs a sync of its
/// own, and a command that looks should soon see it.
const MARKS_WAIT: Duration = Duration::from_millis(100);
/// How long a commit waits for as many as came with the last one. Without it, the first of 64 that were just answered
/// would go alone and the others wait for its sync: three times the syncs for the same events.
const COMPANY_WAIT: Duration = Duration::from_millis(1);
/// While the disk fails, it is tried again this often, appends or not: whether `/ready` is good depends on it.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Positions in one record: some limit, so that one is never too big to be read in one piece.
const POSITIONS_MAX: usize = 64 * 1024;

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// `None` after a failure, until a new segment can be made.
    active: Option<Active>,
    segment_next: u32,
    buffer: Vec<u8>,
    batch: Vec<Append>,
    placed: Vec<(Position, i64)>,
    /// The file system can set space aside.
    allocates: bool,
    failing: bool,
}

/// What a commit that did not fail has put into the log.
enum Written {
    Nothing,
    Records,
}

/// What one commit is to do besides its entries.
#[derive(Default)]
struct Errands {
    marks: Marks,
    flushes: Vec<tokio::sync::oneshot::Sender<Result<(), AppendError>>>,
    seal: bool,
    probe: bool,
    closing: bool,
}

impl Writer {
    /// Goes on in `active`, or makes a segment: a folder that cannot be written to is found out at once.
    pub(super) fn new(shared: Arc<Shared>, active: Option<Active>, segment_next: u32) -> io::Result<Self> {
        let mut writer = Self {
            shared,
            active,
            segment_next,
            buffer: Vec::new(),
            batch: Vec::new(),
            placed: Vec::new(),
            allocates: true,
            failing: false,
        };
        if writer.active.is_none() {
            writer.open_segment()?;
        }
        Ok(writer)
    }

    /// Starts the thread, which keeps `lock` until it ends, and the keeper's.
    pub(super) fn start(mut self, lock: Option<Lock>) -> io::Result<()> {
        let keeper = compaction::start(Arc::clone(&self.shared))?;
        let shared = Arc::clone(&self.shared);
        let running = thread::Builder::new().name("journal-writer".into()).spawn(move || {
            // Also when the loop panics: nobody may wait for a writer that is gone.
            let ending = Ending { shared: Arc::clone(&self.shared), keeper: Some(keeper), lock };
            self.run();
            drop(self);
            drop(ending);
        });
        if running.is_err() {
            shared.state().queue.closed = true;
            shared.chores.notify_all();
        }
        running.map(drop)
    }

    fn run(&mut self) {
        loop {
            let mut errands = self.next_work();
            self.commit(&mut errands);
            let done = errands.closing && self.shared.state().queue.appends.is_empty();
            if done {
                break;
            }
        }
        self.trim();
    }

    /// Waits until there is something to write and takes it: entries into the batch, the rest is returned.
    fn next_work(&mut self) -> Errands {
        let shared = Arc::clone(&self.shared);
        let company = self.batch_size_last();
        self.batch.clear();
        let mut state = shared.state();
        let mut probe = false;
        state.queue.wake_at = 1;
        loop {
            let queue = &state.queue;
            if !queue.appends.is_empty() || !queue.flushes.is_empty() || queue.seal || queue.closing {
                break;
            }
            if self.failing || !queue.marks.is_empty() {
                let wait = if self.failing { PROBE_EVERY } else { MARKS_WAIT };
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
        if waiting > 0 && waiting < company && state.queue.flushes.is_empty() && !state.queue.closing {
            state.queue.wake_at = company;
            let lonely = |state: &mut State| state.queue.appends.len() < company && !state.queue.closing;
            (state, _) =
                shared.work.wait_timeout_while(state, COMPANY_WAIT, lonely).unwrap_or_else(PoisonError::into_inner);
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
        Errands {
            marks: mem::take(&mut state.queue.marks),
            flushes: mem::take(&mut state.queue.flushes),
            seal: mem::take(&mut state.queue.seal),
            probe,
            closing: state.queue.closing,
        }
    }

    /// How many entries the last commit had.
    fn batch_size_last(&self) -> usize {
        self.placed.len()
    }

    /// Writes and syncs the batch and the marks, and says so to those who wait.
    fn commit(&mut self, errands: &mut Errands) {
        let written = self.write(errands).map_err(AppendError::from);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        match &written {
            Ok(Written::Nothing) => {}
            Ok(Written::Records) => {
                for (position, received_at_micros) in &self.placed {
                    state.index.add(*position, *received_at_micros);
                }
                if mem::take(&mut state.health.failing) {
                    info!("Journal can be written again");
                }
            }
            Err(error) => {
                // What became of entries is still to be written; the entries' senders are told.
                let later = mem::replace(&mut state.queue.marks, mem::take(&mut errands.marks));
                state.queue.marks.append(&mut { later });
                state.health.failures += 1;
                state.health.last_failure = Some(error.to_string());
                if !mem::replace(&mut state.health.failing, true) {
                    error!("Could not write the journal: {error}");
                }
            }
        }
        self.failing = state.health.failing;
        drop(state);
        let result = written.map(drop);
        let mut permits = 0;
        for (place, append) in self.batch.drain(..).enumerate() {
            permits += append.permits;
            let placed = self.placed.get(place).map(|(position, _)| *position);
            // Who no longer waits has lost nothing: the entry is in the log, unconfirmed.
            let _ = append.answer.send(result.clone().map(|()| placed.expect("what was written has its place")));
        }
        self.shared.room.add_permits(permits);
        for flush in errands.flushes.drain(..) {
            let _ = flush.send(result.clone());
        }
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
    }

    fn write(&mut self, errands: &Errands) -> io::Result<Written> {
        self.placed.clear();
        let nothing = self.batch.is_empty() && errands.marks.is_empty() && !errands.probe;
        if nothing && !errands.seal {
            return Ok(Written::Nothing);
        }
        let entries: usize = self.batch.iter().map(|append| record::entry_bytes(&append.entry)).sum();
        let bytes = (entries + errands.marks.bytes()) as u64;
        self.make_room(bytes, errands.seal)?;
        if nothing {
            return Ok(Written::Nothing);
        }
        let active = self.active.as_mut().expect("room was made in it");
        if errands.probe || self.allocates && active.end + bytes > active.allocated {
            self.allocates = allocate(active, bytes, self.shared.segment_bytes, errands.probe)?;
        }
        encode(&mut self.buffer, active, &self.batch, errands, &mut self.placed);
        if let Err(error) = write_all_at(&*active.file, &self.buffer, active.end) {
            self.take_back();
            return Err(error);
        }
        if let Err(error) = active.file.sync_data() {
            self.take_back();
            self.give_up();
            return Err(error);
        }
        active.torn = false;
        active.end += self.buffer.len() as u64;
        active.allocated = active.allocated.max(active.end);
        let whole_pages = active.end / PAGE_BYTES * PAGE_BYTES;
        if whole_pages >= active.forgotten + FORGET_BYTES {
            active.file.forget(active.forgotten, whole_pages - active.forgotten);
            active.forgotten = whole_pages;
        }
        let (segment, allocated) = (active.segment, active.allocated);
        self.note_bytes(segment, allocated);
        Ok(Written::Records)
    }

    /// Sees to it that `bytes` more go into the segment that is written to: seals it and opens the next when it is full.
    fn make_room(&mut self, bytes: u64, seal: bool) -> io::Result<()> {
        if let Some(active) = &self.active {
            let has_records = active.end > record::OPENED_BYTES;
            let full = active.end + bytes > self.shared.segment_bytes;
            if !(has_records && (full || seal)) {
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
        let segment = self.segment_next;
        // Whether or not it works out, the number is used: a file of that name may be there now.
        self.segment_next = segment.checked_add(1).ok_or_else(|| io::Error::other("segment numbers are used up"))?;
        let name = Name { segment, confirmed: None }.to_string();
        let now = self.shared.clock.now();
        let mut first = Vec::new();
        record::push_opened(&mut first, segment, now);
        let made = self.shared.disk.create(&name).and_then(|file| {
            write_all_at(&*file, &first, 0)?;
            file.sync_data()?;
            self.shared.disk.sync_names()?;
            Ok(file)
        });
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // It holds nothing. If it cannot be removed either, the next start reads an empty segment.
                let _ = self.shared.disk.remove(&name);
                return Err(error);
            }
        };
        let end = first.len() as u64;
        let opened_at_micros = now.timestamp_micros();
        self.active = Some(Active { segment, file, end, allocated: end, forgotten: 0, torn: false });
        let opened = Segment {
            bytes: end,
            unconfirmed: 0,
            span: None,
            opened_at_micros,
            sealed: false,
            archived: false,
            cut_at: None,
        };
        self.shared.state().index.segments.insert(segment, opened);
        Ok(())
    }

    /// After a write that failed: nothing of it may stand behind what is synced.
    fn take_back(&mut self) {
        self.placed.clear();
        let Some(active) = &mut self.active else { return };
        active.torn = true;
        match active.file.set_len(active.end) {
            Ok(()) => {
                active.allocated = active.end;
                let (segment, bytes) = (active.segment, active.end);
                self.note_bytes(segment, bytes);
            }
            // What half stands there must have nothing written behind or over it.
            Err(_) => self.give_up(),
        }
    }

    /// Writes no more to the segment there is; the next commit makes a new one.
    fn give_up(&mut self) {
        if let Some(active) = self.active.take() {
            self.seal(&active);
        }
    }

    fn seal(&self, active: &Active) {
        let mut state = self.shared.state();
        if let Some(segment) = state.index.segments.get_mut(&active.segment) {
            segment.sealed = true;
            segment.cut_at = active.torn.then_some(active.end);
        }
        self.shared.ring_for_chores(&mut state);
    }

    /// Gives back the space that was set aside.
    fn trim(&mut self) {
        let Some(active) = &mut self.active else { return };
        if active.allocated > active.end && active.file.set_len(active.end).is_ok() {
            active.allocated = active.end;
            let (segment, bytes) = (active.segment, active.end);
            self.note_bytes(segment, bytes);
        }
    }

    fn note_bytes(&self, segment: u32, bytes: u64) {
        if let Some(segment) = self.shared.state().index.segments.get_mut(&segment) {
            segment.bytes = bytes;
        }
    }
}

/// Sets space aside behind what there is; whether the file system can do that at all. That there is no room matters only
/// to a probe: a small write may still fit.
fn allocate(active: &mut Active, bytes: u64, segment_bytes: u64, probe: bool) -> io::Result<bool> {
    let from = active.allocated.max(active.end);
    let wanted = ALLOCATE_BYTES.min(segment_bytes).max((active.end + bytes).saturating_sub(from));
    match active.file.allocate(from, wanted) {
        Ok(allocated) => {
            if allocated {
                active.allocated = from + wanted;
            }
            Ok(allocated)
        }
        Err(error) if probe => Err(error),
        Err(_) => Ok(true),
    }
}

/// The commit's bytes, and where each entry of it stands and when it was received.
fn encode(
    buffer: &mut Vec<u8>,
    active: &Active,
    batch: &[Append],
    errands: &Errands,
    placed: &mut Vec<(Position, i64)>,
) {
    buffer.clear();
    let here = |buffer: &Vec<u8>| Position::new(active.segment, active.end + buffer.len() as u64);
    for Append { entry, .. } in batch {
        let position = here(buffer);
        record::push_entry(buffer, position, entry);
        placed.push((position, entry.received_at.timestamp_micros()));
    }
    for entries in errands.marks.confirmed.chunks(POSITIONS_MAX) {
        record::push_confirmed(buffer, here(buffer), entries);
    }
    for entries in errands.marks.discarded.chunks(POSITIONS_MAX) {
        record::push_discarded(buffer, here(buffer), entries);
    }
    for entries in errands.marks.attempted.chunks(POSITIONS_MAX) {
        record::push_attempted(buffer, here(buffer), entries);
    }
    if errands.probe {
        record::push_probe(buffer, here(buffer));
    }
}

/// What is done when the writer ends, however it ends.
struct Ending {
    shared: Arc<Shared>,
    keeper: Option<thread::JoinHandle<()>>,
    lock: Option<Lock>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.room.close();
        let unanswered = {
            let mut state = self.shared.state();
            state.queue.closing = true;
            state.queue.closed = true;
            self.shared.chores.notify_all();
            (mem::take(&mut state.queue.appends), mem::take(&mut state.queue.flushes))
        };
        // Their senders learn by it that there is no answer.
        drop(unanswered);
        if let Some(keeper) = self.keeper.take() {
            // A keeper that panicked has said so; there is nothing to add.
            let _ = keeper.join();
        }
        self.lock = None;
        self.shared.phase.send_replace(Phase::Closed);
    }
}
