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

mod active_segment;
mod commit;
mod compaction;
pub mod control;
pub mod disk;
mod entry;
mod error;
mod index;
mod journal;
mod options;
pub mod reader;
pub mod record;
mod recovery;
pub mod scan;
mod segment_name;
mod state;
mod stats;
mod steady_clock;
#[cfg(test)]
mod tests;
mod torn;
mod writer;

pub use entry::{BODY_BYTES_MAX, Entry, NewEntry, Position};
pub use error::{AppendError, OpenError, ReadError};
pub use journal::Journal;
pub use options::Options;
pub use stats::Stats;
