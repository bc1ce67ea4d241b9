//! What is kept: entries, and where they stand.

use std::fmt;

use bytes::Bytes;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{RequestId, Timestamp};

/// The longest body an entry may have. Far above any limit that a relay is set to; it keeps every offset in a segment
/// within 32 bits.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where an entry stands in the log: its segment's number and its offset in there. Positions grow in order of arrival,
/// and none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    pub(crate) fn new(segment: u32, offset: u64) -> Self {
        let offset = u32::try_from(offset).expect("a segment is sealed long before 4 GiB");
        Self(u64::from(segment) << 32 | u64::from(offset))
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn offset(self) -> u64 {
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
    pub event_type: String,
    /// When it came.
    pub received_at: Timestamp,
    /// That of the request which brought it.
    pub request_id: RequestId,
    /// The exact bytes.
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
    pub event_type: String,
    /// When it came.
    pub received_at: Timestamp,
    /// That of the request which brought it.
    pub request_id: String,
    /// The exact bytes.
    pub body: Bytes,
    /// Whether the backend has confirmed it, or an operator has discarded it.
    pub confirmed: bool,
    /// How many deliveries failed while it was unconfirmed; 0 for a confirmed one.
    pub attempts: u32,
}

/// What is in the log as microseconds. An instant that chrono does not know was never written by us.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_timestamp_micros(micros).or_else(|| from_unix(0)).expect("chrono knows the Unix epoch")
}
