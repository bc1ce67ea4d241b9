//! Events as they come out of the journal.

use std::iter;

use tollgate_journal::{Entry, Journal, Position, ReadError};

use super::bounds::BATCH_BYTES_MAX;
use super::sender::Outgoing;
use crate::backend::event::Event;

/// What is at a position.
pub(super) type ReadEntry = (Position, Result<Entry, ReadError>);

/// What is at the first of `positions`, as many as go in one request, and the positions that are left. Blocks.
pub(super) fn read_batch(journal: &Journal, positions: Vec<Position>) -> (Vec<ReadEntry>, Vec<Position>) {
    let body_bytes = |entry: &Result<Entry, ReadError>| entry.as_ref().map_or(0, |entry| entry.body.len());
    let mut bytes = 0;
    let mut entries = Vec::with_capacity(positions.len());
    let mut rest = positions.into_iter();
    while let Some(position) = rest.next() {
        let entry = journal.read(position);
        bytes += body_bytes(&entry);
        // The one that goes over the limit goes with the next, unless it is the only one.
        if bytes > BATCH_BYTES_MAX && !entries.is_empty() {
            return (entries, iter::once(position).chain(rest).collect());
        }
        entries.push((position, entry));
    }
    (entries, Vec::new())
}

/// An event from the journal on its way.
pub(super) struct Redelivery {
    pub(super) position: Position,
    pub(super) event: Event,
    /// Deliveries that failed before.
    pub(super) attempts: u32,
}

impl AsRef<Event> for Redelivery {
    fn as_ref(&self) -> &Event {
        &self.event
    }
}

impl Outgoing for Redelivery {
    fn is_repeat(&self) -> bool {
        self.attempts > 0
    }
}
