//! What a relay says of the events in a request beside their bytes: by which request each came to it, and when.
//!
//! `X-Event-Receipts: req_a=1764302400123456,req_b=…`, in the order of the events, with microseconds since the Unix epoch. A
//! backend that does not know the header, or finds it unreadable, does without.

use crate::clock::Timestamp;
use crate::request_id::RequestId;

/// The header.
pub const RECEIPTS_HEADER: &str = "x-event-receipts";

/// How long the header may get: less than half of what an HTTP/2 server takes of all headers by default.
const TEXT_BYTES_MAX: usize = 6 * 1024;

/// By which request an event came to a relay, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The request.
    pub request_id: RequestId,
    /// When it came, by the relay's clock.
    pub received_at: Timestamp,
}

/// The header for these, in their order; none where it would be too long.
pub fn to_text<'r>(receipts: impl IntoIterator<Item = (&'r RequestId, Timestamp)>) -> Option<String> {
    let mut text = String::new();
    for (request_id, received_at) in receipts {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(request_id.as_str());
        text.push('=');
        text.push_str(&received_at.timestamp_micros().to_string());
    }
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}

/// What a header says; nothing unless all of it is readable.
pub fn parse(text: &str) -> Option<Vec<Receipt>> {
    let receipt = |part: &str| {
        let (request_id, micros) = part.split_once('=')?;
        let received_at = Timestamp::from_timestamp_micros(micros.parse().ok()?)?;
        Some(Receipt { request_id: RequestId::parse(request_id)?, received_at })
    };
    text.split(',').map(receipt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix;

    fn receipts(count: usize) -> Vec<Receipt> {
        let receipt = |number: usize| Receipt {
            request_id: RequestId::parse(&format!("req_{number}.of:many-")).unwrap(),
            received_at: from_unix(1_750_000_000 + number as i64).unwrap(),
        };
        (0..count).map(receipt).collect()
    }

    fn text(receipts: &[Receipt]) -> Option<String> {
        to_text(receipts.iter().map(|receipt| (&receipt.request_id, receipt.received_at)))
    }

    #[test]
    fn receipts_are_read_as_they_were_written() {
        for count in [1, 2, 64] {
            let receipts = receipts(count);
            assert_eq!(parse(&text(&receipts).unwrap()), Some(receipts));
        }
    }

    #[test]
    fn too_many_are_not_written_and_what_is_unreadable_says_nothing() {
        assert_eq!(text(&receipts(1000)), None);
        for bad in
            ["", "req_12345", "req_12345=", "req_12345=x", "r=1", "req_12345=1,", "req_12345=9223372036854775807"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
