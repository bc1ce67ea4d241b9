//! The second thread: renames segments that have ended, and removes those that are too old or too many. It reads and
//! unlinks whole files, which no append should wait for.

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;
use tollgate_shared::Timestamp;
use tracing::{error, info, warn};

use crate::entry::timestamp;
use crate::error::AppendError;
use crate::index::Segment;
use crate::record::Record;
use crate::scan::{Item, Scan};
use crate::segment_name::TimeRange;
use crate::state::{Shared, State, StatusRecords};
use crate::steady_clock::SteadyClock;
use crate::torn;

/// Age is looked at this often; all else rings.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);
/// A segment is sealed after this long though it is not full: what is pruned is whole segments, so at ten events a day
/// nothing would ever be too old.
const SEAL_AFTER: TimeDelta = TimeDelta::days(1);

/// A task could not be done. It is tried again a minute later.
#[derive(Debug, thiserror::Error)]
enum MaintenanceError {
    #[error("could not repeat what it says of older segments: {0}")]
    Carry(#[from] AppendError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(crate) fn start(shared: Arc<Shared>) -> io::Result<thread::JoinHandle<()>> {
    // The newest entry may be stamped by a clock that is far ahead, and so may the present be. By the time of the oldest
    // nothing is too old.
    let oldest = shared.state().index.oldest_micros();
    let start = oldest.map_or_else(|| shared.clock.now(), timestamp);
    let clock = SteadyClock::new(start, shared.options.clock_jump_delay);
    let mut memory = Memory { over_limit: false, failure_logged_at: None, clock };
    thread::Builder::new().name("journal-compact".into()).spawn(move || {
        while wait(&shared) {
            run_maintenance(&shared, &mut memory);
        }
    })
}

/// What is remembered from one time to the next.
struct Memory {
    /// The log takes more than it should, and that was logged.
    over_limit: bool,
    /// When it was last logged that the journal cannot be written.
    failure_logged_at: Option<Instant>,
    clock: SteadyClock,
}

/// Waits until there may be something to do; false when the journal closes.
fn wait(shared: &Shared) -> bool {
    let idle = |state: &mut State| !state.maintenance_due && !state.queue.closing;
    let state = shared.state();
    let (mut state, _) = shared
        .maintenance
        .wait_timeout_while(state, MAINTENANCE_INTERVAL, idle)
        .unwrap_or_else(PoisonError::into_inner);
    state.maintenance_due = false;
    !state.queue.closing
}

/// All that there is to do at this moment.
fn run_maintenance(shared: &Shared, memory: &mut Memory) {
    seal_when_old(shared);
    let ended = shared.state().index.ended();
    for segment in ended {
        if let Err(error) = archive(shared, segment) {
            warn!(segment, "could not archive journal segment {segment}: {error}");
            break;
        }
    }
    if let Err(error) = prune(shared, memory.clock.look(shared.clock.now(), Instant::now())) {
        warn!("could not remove an old journal segment: {error}");
    }
    let bytes_max = shared.options.bytes_max;
    let state = shared.state();
    if let Some(failure) = state.health.last_failure.as_ref().filter(|_| state.health.failing) {
        let (failures, now) = (state.health.failures, Instant::now());
        if memory.failure_logged_at.is_none_or(|at| now - at >= MAINTENANCE_INTERVAL) {
            memory.failure_logged_at = Some(now);
            error!(failures, "the journal cannot be written: {failure}");
        }
    }
    let (bytes, unconfirmed) = (state.index.bytes(), state.index.unconfirmed.len());
    drop(state);
    if bytes <= bytes_max {
        memory.over_limit = false;
    } else if !mem::replace(&mut memory.over_limit, true) {
        warn!(
            bytes,
            bytes_max,
            unconfirmed,
            "journal takes {bytes} bytes, over its limit of {bytes_max}: {unconfirmed} unconfirmed events are kept"
        );
    }
}

fn seal_when_old(shared: &Shared) {
    let now = shared.clock.now();
    let mut state = shared.state();
    let old = |opened_at_micros| now - timestamp(opened_at_micros) > SEAL_AFTER;
    if state.index.segments.values().any(|segment| !segment.sealed && old(segment.opened_at_micros)) {
        state.queue.seal = true;
        shared.work.notify_one();
    }
}

/// Renames a segment that has ended, once nothing in it matters to a start any more.
fn archive(shared: &Shared, segment: u32) -> Result<(), MaintenanceError> {
    cut(shared, segment)?;
    carry_over(shared, segment)?;
    let name = |archived: bool| {
        let mut state = shared.state();
        let it = segment_of(&mut state, segment);
        it.archived = archived;
        it.name(segment).to_string()
    };
    let (from, to) = (name(false), name(true));
    if let Err(error) = shared.disk.rename(&from, &to) {
        name(false);
        return Err(error.into());
    }
    shared.disk.sync_names()?;
    Ok(())
}

fn segment_of(state: &mut State, segment: u32) -> &mut Segment {
    state.index.segments.get_mut(&segment).expect("only this thread removes segments")
}

/// Takes off, for good, what a write that failed may have left at the end.
fn cut(shared: &Shared, segment: u32) -> io::Result<()> {
    let (name, cut_at) = {
        let mut state = shared.state();
        let it = segment_of(&mut state, segment);
        (it.name(segment).to_string(), it.cut_at)
    };
    let Some(end) = cut_at else { return Ok(()) };
    let file = shared.disk.open(&name, true)?;
    file.set_len(end)?;
    file.sync_data()?;
    let mut state = shared.state();
    let it = segment_of(&mut state, segment);
    it.bytes = end;
    it.cut_at = None;
    Ok(())
}

/// Repeats, in the segment that is written to, what `segment` says of entries in older ones that a start would read.
fn carry_over(shared: &Shared, segment: u32) -> Result<(), MaintenanceError> {
    let (older, name) = {
        let mut state = shared.state();
        let older: BTreeSet<_> = state.index.read_at_start_before(segment).into_iter().collect();
        (older, segment_of(&mut state, segment).name(segment).to_string())
    };
    if older.is_empty() {
        return Ok(());
    }
    let mut carried = StatusRecords::default();
    let mut attempted = BTreeSet::new();
    let mut scan = Scan::new(shared.disk.open(&name, false)?, segment);
    while let Some(item) = scan.next_item()? {
        let Item::Record { record, .. } = item else { continue };
        match record {
            Record::Confirmed(entries) => {
                carried.confirmed.extend(entries.iter().filter(|entry| older.contains(&entry.segment())));
            }
            Record::Discarded(entries) => {
                carried.discarded.extend(entries.iter().filter(|entry| older.contains(&entry.segment())));
            }
            Record::Attempted(entries) => {
                attempted
                    .extend(entries.iter().map(|(entry, _)| *entry).filter(|entry| older.contains(&entry.segment())));
            }
            _ => {}
        }
    }
    {
        let mut state = shared.state();
        // The counts as they are by now, of those that are not confirmed by now.
        let unconfirmed = &state.index.unconfirmed;
        let counts = attempted.into_iter().filter_map(|entry| Some((entry, unconfirmed.get(&entry)?.attempts)));
        carried.attempted.extend(counts);
        if carried.is_empty() {
            return Ok(());
        }
        state.queue.statuses.append(&mut carried);
    }
    // The writer is there, or the sender is dropped: this ends.
    shared.flush().blocking_recv().unwrap_or(Err(AppendError::Closed))?;
    Ok(())
}

fn prune(shared: &Shared, now: Timestamp) -> io::Result<()> {
    let days = TimeDelta::days(i64::from(shared.options.days_max));
    let keep_from = now.checked_sub_signed(days).unwrap_or(Timestamp::MIN_UTC);
    torn::prune(&*shared.disk, keep_from)?;
    loop {
        let next = {
            let state = shared.state();
            let segment = state.index.to_prune(keep_from, shared.options.bytes_max);
            segment.and_then(|number| Some((number, *state.index.segments.get(&number)?)))
        };
        let Some((number, segment)) = next else { return Ok(()) };
        let name = segment.name(number).to_string();
        match shared.disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // One at a time: were a later removal to survive a power cut and this one not, its entries would come back
        // without what was said of them.
        shared.disk.sync_names()?;
        shared.state().index.segments.remove(&number);
        let TimeRange { oldest, newest } = segment.received();
        info!(
            segment = number,
            bytes = segment.bytes,
            "removed journal segment {number}: events of {} to {}",
            timestamp(oldest),
            timestamp(newest)
        );
    }
}
