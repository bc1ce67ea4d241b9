//! Judges a request's target as it stands: whether anyone at all may ask for it. It never mends one, so what was judged
//! is what the backend gets, byte for byte.
//!
//! The list of prefixes is one of permissions; whatever is not on it is for the private network. A backend decodes
//! escapes, and something between may have decoded them before or resolve dot segments, so a target is judged in
//! each of its decoded forms: none of them may say anything else than the one that was sent.

use std::borrow::Cow;

use http::{HeaderMap, Method, Uri, Version, header};

/// Longest target taken, path and query. Browsers and proxies agree on about this much.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// How often a path may be decoded until it stays the same. One is what a backend does, two is a mistake somewhere,
/// and what has more has no honest sender; the bound keeps the work in proportion to the length.
const DECODINGS_MAX: usize = 3;

/// A family of routes that is open to everyone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The path, whole segments of it: `/api/license` is above `/api/license/activate`, and not above `/api/licenses`.
    /// The only part of a target that is fit for a log.
    pub(super) path: &'static str,
    /// Which web pages may read its responses.
    pub(super) readers: Readers,
}

/// Which origins may read a response, beside pages of the same origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Those of the configuration.
    Listed,
    /// Those, and pages that have no origin of their own: desktop apps load theirs from files.
    ListedAndNull,
    /// Everyone: there is nothing personal in it.
    Anyone,
}

const fn listed(path: &'static str) -> Prefix {
    Prefix { path, readers: Readers::Listed }
}

/// What desktop apps ask for themselves.
const fn listed_and_null(path: &'static str) -> Prefix {
    Prefix { path, readers: Readers::ListedAndNull }
}

const EVENTS: &str = "/api/events";

/// All that is public, apart from the intake of webhooks.
static PREFIXES: [Prefix; 19] = [
    listed("/api/subscriptions"),
    listed("/api/stripe"),
    listed_and_null("/api/license"),
    listed_and_null(EVENTS),
    listed("/api/payments"),
    listed("/api/invoices"),
    listed_and_null("/api/terminals"),
    listed("/api/terminal-sessions"),
    listed("/api/pods"),
    listed("/api/notifications"),
    listed("/api/widgets"),
    listed("/api/api-keys"),
    listed("/api/profile"),
    listed("/api/user"),
    listed("/api/support"),
    listed_and_null("/api/releases"),
    listed("/api/health"),
    listed("/account"),
    Prefix { path: "/.well-known/jwks.json", readers: Readers::Anyone },
];

/// Private although a prefix above it is public: the intake is the relay's own, its replay is for operators.
const PRIVATE: &str = "/api/stripe/webhooks";

/// A target that anyone may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The family it belongs to.
    pub(super) prefix: &'static Prefix,
    /// Path and query, as they were sent.
    pub(super) path_and_query: &'a str,
}

/// Why a target is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It is not public, or not in normal form: from outside the two look alike.
    #[error("no public route")]
    NotPublic,
    /// It is longer than any that we make.
    #[error("target too long")]
    TooLong,
    /// More than one host is named, so that the next to read it may take another one than we did.
    #[error("more than one host")]
    Hosts,
}

impl<'a> Target<'a> {
    /// Judges the target of a request.
    pub(super) fn of(uri: &'a Uri, version: Version, headers: &HeaderMap) -> Result<Self, Refusal> {
        if headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Refusal::Hosts);
        }
        if !names_our_host(uri, version, headers) {
            return Err(Refusal::NotPublic);
        }
        Self::judge(uri.path_and_query().ok_or(Refusal::NotPublic)?.as_str())
    }

    /// Judges path and query.
    pub(super) fn judge(path_and_query: &'a str) -> Result<Self, Refusal> {
        if path_and_query.len() > TARGET_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        if query.bytes().any(|byte| byte.is_ascii_control()) || !path.bytes().all(is_plain) {
            return Err(Refusal::NotPublic);
        }
        let prefix = PREFIXES.iter().find(|prefix| is_under(path, prefix.path)).ok_or(Refusal::NotPublic)?;
        if is_normalized(path, prefix.path) { Ok(Self { prefix, path_and_query }) } else { Err(Refusal::NotPublic) }
    }

    /// Whether this asks for a stream of events: `GET /api/events/{key}`, unless `Accept` rules streams out.
    pub(super) fn is_stream(&self, method: &Method, headers: &HeaderMap) -> bool {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let key = path.strip_prefix(EVENTS).and_then(|rest| rest.strip_prefix('/'));
        method == Method::GET
            && key.is_some_and(|key| !key.contains('/') && key != "acknowledge")
            && accepts_stream(headers)
    }
}

/// A target in absolute form names a host beside the header, and has to name the same one. Over HTTP/2 every target
/// has an authority, and the header may be left out.
fn names_our_host(uri: &Uri, version: Version, headers: &HeaderMap) -> bool {
    let Some(authority) = uri.authority() else { return true };
    let scheme_is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    scheme_is_known
        && match headers.get(header::HOST) {
            Some(host) => host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()),
            None => version == Version::HTTP_2,
        }
}

/// What RFC 3986 allows in a path, without `;`: some servers take what follows it for no part of the segment.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/%-._~!$&'()*+,=:@".contains(&byte)
}

fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path is in normal form and under its prefix, and stays so however often it is decoded.
fn is_normalized(path: &str, prefix: &str) -> bool {
    let mut form = Cow::Borrowed(path);
    for decodings in 0..=DECODINGS_MAX {
        if !is_under(&form, prefix) || is_private(&form) || !form.split('/').skip(1).all(is_normal) {
            return false;
        }
        match decode(&form, decodings > 0) {
            Ok(None) => return true,
            Ok(Some(decoded)) => form = Cow::Owned(decoded),
            Err(InvalidEscape) => return false,
        }
    }
    false
}

fn is_private(path: &str) -> bool {
    let mut segments = path.split('/').map(bare);
    PRIVATE.split('/').all(|private| segments.next().is_some_and(|segment| segment.eq_ignore_ascii_case(private)))
}

fn is_normal(segment: &str) -> bool {
    !matches!(bare(segment), "" | "." | "..")
}

/// A segment without what a server may cut off, once it has decoded an escape of it.
fn bare(segment: &str) -> &str {
    segment.split([';', '?', '#']).next().unwrap_or_default()
}

/// A path that has an escape that is none, or one of a character that must not hide.
struct InvalidEscape;

/// Decodes every escape once; `None` when there is none. A percent sign that begins no escape is `InvalidEscape` in a path as
/// it was sent, and in one that was decoded before (`leftovers`) it is only a percent sign.
fn decode(path: &str, leftovers: bool) -> Result<Option<String>, InvalidEscape> {
    if !path.contains('%') {
        return Ok(None);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            decoded.push(first);
            continue;
        }
        match (escaped(after), leftovers) {
            (Some(b'.' | b'/' | b'\\' | 0..0x20 | 0x7f), _) | (None, false) => return Err(InvalidEscape),
            (Some(byte), _) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            (None, true) => decoded.push(first),
        }
    }
    // Overlong forms of `.` and `/` are not UTF-8.
    let decoded = String::from_utf8(decoded).map_err(|_| InvalidEscape)?;
    Ok((decoded != path).then_some(decoded))
}

fn escaped(after_percent: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match after_percent {
        [high, low, ..] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    }
}

/// Whether `Accept` takes `text/event-stream`, by the most specific range that speaks of it. No header takes anything.
fn accepts_stream(headers: &HeaderMap) -> bool {
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .collect();
    let quality_of = |wanted: &str| ranges.iter().find_map(|range| quality(range, wanted));
    ranges.is_empty()
        || ["text/event-stream", "text/*", "*/*"].iter().find_map(|range| quality_of(range)).unwrap_or(false)
}

/// Whether `range` is `wanted` and, if so, is wanted at all.
fn quality(range: &str, wanted: &str) -> Option<bool> {
    let mut parts = range.split(';').map(str::trim);
    let refused = |parameter: &str| {
        let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        value.and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
    };
    parts.next()?.eq_ignore_ascii_case(wanted).then(|| !parts.any(refused))
}

#[cfg(test)]
mod tests;
