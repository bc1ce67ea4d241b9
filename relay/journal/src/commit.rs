//! What one commit puts into the log.

use tokio::sync::oneshot;

use crate::active_segment::ActiveSegment;
use crate::entry::Position;
use crate::error::AppendError;
use crate::record;
use crate::state::{Append, StatusRecords};

/// Positions in one record: some limit, so that one is never too big to be read in one piece.
const POSITIONS_MAX: usize = 64 * 1024;

/// What one commit is to do besides its entries.
#[derive(Default)]
pub(crate) struct PendingWork {
    pub(crate) statuses: StatusRecords,
    pub(crate) flushes: Vec<oneshot::Sender<Result<(), AppendError>>>,
    pub(crate) seal: bool,
    pub(crate) probe: bool,
    pub(crate) closing: bool,
}

/// The commit's bytes, and where each entry of it stands and when it was received.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    active: &ActiveSegment,
    batch: &[Append],
    pending: &PendingWork,
    written_at: &mut Vec<(Position, i64)>,
) {
    buffer.clear();
    let here = |buffer: &Vec<u8>| Position::new(active.number, active.end + buffer.len() as u64);
    for Append { entry, .. } in batch {
        let position = here(buffer);
        record::push_entry(buffer, position, entry);
        written_at.push((position, entry.received_at.timestamp_micros()));
    }
    for entries in pending.statuses.confirmed.chunks(POSITIONS_MAX) {
        record::push_confirmed(buffer, here(buffer), entries);
    }
    for entries in pending.statuses.discarded.chunks(POSITIONS_MAX) {
        record::push_discarded(buffer, here(buffer), entries);
    }
    for entries in pending.statuses.attempted.chunks(POSITIONS_MAX) {
        record::push_attempted(buffer, here(buffer), entries);
    }
    if pending.probe {
        record::push_probe(buffer, here(buffer));
    }
}
