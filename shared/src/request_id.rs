//! The two ids that join one request's log lines across both tiers: `X-Request-Id` and W3C `traceparent`.

use std::fmt;

use crate::clock::Timestamp;
use crate::ids;
use crate::rng::Rng;

/// The header that carries a [`RequestId`].
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// The header that carries a [`TraceParent`].
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// A caller's `X-Request-Id`, or one of our own: 6 to 128 of `A-Za-z0-9_.:-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// The caller's id, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
        ((6..=128).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// A new one.
    pub fn new(now: Timestamp, rng: &Rng) -> Self {
        Self(ids::new_id("req", now, rng))
    }

    /// The caller's id if there is a good one, else a new one.
    pub fn adopt(given: Option<&str>, now: Timestamp, rng: &Rng) -> Self {
        given.and_then(Self::parse).unwrap_or_else(|| Self::new(now, rng))
    }

    /// The id as text: visible ASCII, fit for a header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A W3C trace context (<https://www.w3.org/TR/trace-context/>, version 00).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

impl TraceParent {
    /// A caller's `traceparent`. A later version than 00 is read by its first four fields, as the standard asks.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(5, '-');
        let version: [u8; 1] = lower_hex(fields.next()?)?;
        let trace_id = lower_hex(fields.next()?)?;
        let parent_id = lower_hex(fields.next()?)?;
        let [flags] = lower_hex(fields.next()?)?;
        let version_allows_more = version != [0];
        let known = version != [0xff] && (fields.next().is_none() || version_allows_more);
        (known && trace_id != [0; 16] && parent_id != [0; 8]).then_some(Self { trace_id, parent_id, flags })
    }

    /// A new trace.
    pub fn new(rng: &Rng) -> Self {
        Self { trace_id: rng.bytes(), parent_id: rng.bytes(), flags: 0 }
    }

    /// The next hop of the same trace.
    pub fn child(&self, rng: &Rng) -> Self {
        Self { parent_id: rng.bytes(), ..*self }
    }

    /// The caller's trace continued, or a new one.
    pub fn adopt(given: Option<&str>, rng: &Rng) -> Self {
        given.and_then(Self::parse).map_or_else(|| Self::new(rng), |parent| parent.child(rng))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace_id), hex::encode(self.parent_id), self.flags)
    }
}

fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix;

    #[test]
    fn a_callers_id_is_kept_only_if_it_is_short_and_plain() {
        for good in ["abcdef", "req_1.2:3-4", &"a".repeat(128)] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "abcde", &"a".repeat(129), "abc def", "abcdef\n", "ünicode", "abc/def"] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_id_of_our_own_is_one_that_we_would_take() {
        let id = RequestId::adopt(Some("bad id"), from_unix(1_700_000_000).unwrap(), &Rng::seeded(1));
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn a_trace_is_continued_under_a_new_parent() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let next = TraceParent::adopt(Some(given), &Rng::seeded(1)).to_string();
        assert_eq!(&next[..36], &given[..36]);
        assert_ne!(&next[36..52], &given[36..52]);
        assert!(next.ends_with("-01"));
    }

    #[test]
    fn an_invalid_trace_is_replaced() {
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad:?}");
        }
    }
}
