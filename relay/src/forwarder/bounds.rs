//! How long the forwarder waits for things, and how much it holds.

use std::time::Duration;

use tollgate_shared::backoff::Backoff;

/// How long the body of one request gets. The backend works on it as a whole, so this bounds its memory and time too.
pub(super) const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How long the forwarder waits for things, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Intervals between the deliveries of one event, from start to start. The first has to be within 20 s and no other
    /// above 60 s; a delivery may take 15 s, and there may be a queue.
    pub repeats: Backoff,
    /// How often the backend's `/ready` is asked while something is unconfirmed.
    pub ready_interval: Duration,
    /// A request that takes longer than this holds up no other any more. A response takes a few milliseconds.
    pub slow_after: Duration,
    /// Bytes of events that may wait in memory or be in flight from there. What is beyond that goes to the journal alone.
    pub memory_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            repeats: Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(50) },
            ready_interval: Duration::from_secs(1),
            slow_after: Duration::from_millis(50),
            memory_bytes_max: 32 * 1024 * 1024,
        }
    }
}
