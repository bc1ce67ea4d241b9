//! An event on its way to the backend.

use std::fmt;

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
    /// The very bytes that Stripe signed.
    pub body: Bytes,
}

/// An event's id or type as it may stand in a log: whatever is in it, it is one line.
pub struct LogSafe<'a>(pub &'a str);

impl fmt::Display for LogSafe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            f.write_str(self.0)
        } else {
            write!(f, "{}", self.0.escape_debug())
        }
    }
}

impl AsRef<Event> for Event {
    fn as_ref(&self) -> &Event {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_line_of_a_log_whatever_is_in_it() {
        assert_eq!(LogSafe("evt_1").to_string(), "evt_1");
        assert_eq!(LogSafe("evt\n1\u{1b}[31m").to_string(), r"evt\n1\u{1b}[31m");
    }
}
