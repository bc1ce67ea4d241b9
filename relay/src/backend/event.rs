//! An event on its way to the backend.

use bytes::Bytes;
use tollgate_shared::{RequestId, Timestamp, TraceParent};

/// An event on its way to the backend.
#[derive(Clone, Debug)]
pub struct Event {
    /// `evt_…`.
    pub id: String,
    /// For example `invoice.paid`.
    pub event_type: String,
    /// That of the request which brought it.
    pub request_id: RequestId,
    /// When it came.
    pub received_at: Timestamp,
    /// The trace of that request, when it named one.
    pub trace: Option<TraceParent>,
    /// The exact bytes that Stripe signed.
    pub body: Bytes,
}

impl Event {
    /// By which request it came, and when.
    pub fn receipt(&self) -> (&RequestId, Timestamp) {
        (&self.request_id, self.received_at)
    }
}

impl AsRef<Event> for Event {
    fn as_ref(&self) -> &Event {
        self
    }
}
