//! How a journal is doing.

use tollgate_shared::Timestamp;

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Entries that are not confirmed.
    pub unconfirmed: u64,
    /// When the first of them in order of arrival was received.
    pub oldest_unconfirmed_at: Option<Timestamp>,
    /// What the segments take on disk, space set aside included.
    pub bytes: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Whether an append would be tried with hope: false from a failed one until one, or a probe each second, succeeds;
    /// after a disk that was full, also until there is room for more than the next few.
    pub can_append: bool,
    /// Writes and syncs that failed since the start.
    pub failures: u64,
    /// The last of them, for a person.
    pub last_failure: Option<String>,
    /// When that was.
    pub last_failure_at: Option<Timestamp>,
    /// Bytes of the log that the start found damaged. Their segments are kept until someone has looked at them.
    pub damaged_bytes: u64,
}
