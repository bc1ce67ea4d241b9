//! An event on its way to the backend.

use bytes::Bytes;
use tollgate_shared::{RequestId, TraceParent};

/// An event on its way to the backend.
#[derive(Clone, Debug)]
pub struct Event {
    /// `evt_…`.
    pub id: String,
    /// For example `invoice.paid`.
    pub event_type: String,
    /// That of the request which brought it.
    pub request_id: RequestId,
    /// The trace of that request, when it named one.
    pub trace: Option<TraceParent>,
    /// The exact bytes that Stripe signed.
    pub body: Bytes,
}

impl AsRef<Event> for Event {
    fn as_ref(&self) -> &Event {
        self
    }
}
