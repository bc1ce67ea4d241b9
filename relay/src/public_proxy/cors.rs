//! Which web pages may read which responses: the CORS protocol of the Fetch standard
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! Decided at the relay alone: what the backend says about it is dropped, so there is never a second opinion.

use std::collections::BTreeSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::target::Readers;

/// The methods in use. The others are refused, so no page needs to ask for them.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// What a page may send beside what is always allowed.
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id");
/// What a page may read beside what is always readable.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static("X-Request-Id, Retry-After, Idempotent-Replayed");
/// How long a browser may remember a preflight, in seconds: as long as Chrome does at most.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// The origins of our own web pages, as browsers write them. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeSet<String>);

impl Origins {
    /// Reads a comma-separated list of origins (`https://app.example, tauri://localhost`); `None` when an entry is more
    /// than an origin, or stands for several. `null` is no origin: every page can have that one.
    pub fn parse(list: &str) -> Option<Self> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(origin).collect::<Option<BTreeSet<_>>>().map(Self)
    }

    /// The one origin of the page at `url`.
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: Uri = url.trim().parse().ok()?;
        let origin = origin(&format!("{}://{}", uri.scheme_str()?, uri.authority()?))?;
        Some(Self(BTreeSet::from([origin])))
    }

    /// What a page with this `Origin` may do with the response, given who may read it.
    pub(super) fn grant(&self, readers: Readers, headers: &HeaderMap) -> Grant {
        if readers == Readers::Anyone {
            return Grant::Anyone;
        }
        let mut origins = headers.get_all(ORIGIN).into_iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return Grant::Nothing };
        match origin.to_str() {
            Ok("null") if readers == Readers::ListedAndNull => Grant::Null,
            Ok(text) if self.0.contains(text) => Grant::Listed(origin.clone()),
            _ => Grant::Nothing,
        }
    }
}

/// What a page may do with a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// Nothing: the browser keeps it from the page.
    Nothing,
    /// Any page may read it.
    Anyone,
    /// A page without an origin may read it, but the browser's cookies are not for it.
    Null,
    /// A page of this origin may read it, and may ask with the user's cookies.
    Listed(HeaderValue),
}

impl Grant {
    /// Writes what is granted, in place of anything that is there about it.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        self.write_origin(headers);
        if *self != Self::Nothing {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        }
    }

    /// Writes the response to a preflight.
    pub(super) fn write_preflight(&self, headers: &mut HeaderMap) {
        self.write_origin(headers);
        if *self != Self::Nothing {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        }
    }

    fn write_origin(&self, headers: &mut HeaderMap) {
        forget(headers);
        vary_by_origin(headers);
        let origin = match self {
            Self::Nothing => return,
            Self::Anyone => HeaderValue::from_static("*"),
            Self::Null => HeaderValue::from_static("null"),
            Self::Listed(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                origin.clone()
            }
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// Whether a browser asks beforehand if a page may send something.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Says that the response is another one for another origin, so that no cache gives one page what another was granted.
pub(super) fn vary_by_origin(headers: &mut HeaderMap) {
    let said = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let is_said = said.map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("origin"));
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

fn forget(headers: &mut HeaderMap) {
    let backends: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in backends {
        headers.remove(name);
    }
}

/// An origin as browsers serialise it: small letters, no port that the scheme implies. `None` for anything more.
fn origin(entry: &str) -> Option<String> {
    let entry = entry.to_ascii_lowercase();
    let (scheme, rest) = entry.split_once("://")?;
    let scheme_is_one = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let authority: Authority = rest.parse().ok()?;
    let host = authority.host();
    let with_port = authority.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    if !scheme_is_one || host.is_empty() || host.contains('*') || !host.is_ascii() || rest != with_port {
        return None;
    }
    let port_is_implied = matches!((scheme, authority.port_u16()), ("http", Some(80)) | ("https", Some(443)));
    Some(format!("{scheme}://{}", if port_is_implied { host } else { rest }))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    const APP: &str = "https://app.example";

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn grant(readers: Readers, origin: Option<&str>) -> Grant {
        let fields: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        Origins::parse("https://app.example, tauri://localhost, http://localhost:5173")
            .unwrap()
            .grant(readers, &headers(&fields))
    }

    fn written(grant: &Grant, backends: &[(&str, &str)]) -> Vec<String> {
        let mut headers = headers(backends);
        grant.write(&mut headers);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn who_may_read_what() {
        use Readers::{Anyone, Listed, ListedAndNull};
        let listed = |origin: &'static str| Grant::Listed(HeaderValue::from_static(origin));
        for (origin, to_listed, to_listed_and_null) in [
            (Some(APP), listed(APP), listed(APP)),
            (Some("tauri://localhost"), listed("tauri://localhost"), listed("tauri://localhost")),
            (Some("http://localhost:5173"), listed("http://localhost:5173"), listed("http://localhost:5173")),
            (Some("null"), Grant::Nothing, Grant::Null),
            (Some("https://evil.example"), Grant::Nothing, Grant::Nothing),
            (Some("https://app.example.evil.example"), Grant::Nothing, Grant::Nothing),
            (Some("https://sub.app.example"), Grant::Nothing, Grant::Nothing),
            (Some("http://app.example"), Grant::Nothing, Grant::Nothing),
            (Some("https://app.example:8443"), Grant::Nothing, Grant::Nothing),
            (Some("https://app.example/"), Grant::Nothing, Grant::Nothing),
            (Some("https://app.example, null"), Grant::Nothing, Grant::Nothing),
            (Some("http://localhost"), Grant::Nothing, Grant::Nothing),
            (Some("NULL"), Grant::Nothing, Grant::Nothing),
            (Some("é"), Grant::Nothing, Grant::Nothing),
            (Some("*"), Grant::Nothing, Grant::Nothing),
            (Some(""), Grant::Nothing, Grant::Nothing),
            (None, Grant::Nothing, Grant::Nothing),
        ] {
            assert_eq!(grant(Listed, origin), to_listed, "{origin:?}");
            assert_eq!(grant(ListedAndNull, origin), to_listed_and_null, "{origin:?}");
            assert_eq!(grant(Anyone, origin), Grant::Anyone, "{origin:?}");
        }
    }

    #[test]
    fn two_origins_are_granted_nothing() {
        let both = headers(&[("origin", APP), ("origin", "null")]);
        assert_eq!(Origins::parse(APP).unwrap().grant(Readers::ListedAndNull, &both), Grant::Nothing);
    }

    #[test]
    fn a_response_says_to_whom_it_is_granted_and_only_listed_origins_get_credentials() {
        let expose = "access-control-expose-headers: X-Request-Id, Retry-After, Idempotent-Replayed";
        let origin = |origin| format!("access-control-allow-origin: {origin}");
        let credentials = "access-control-allow-credentials: true";
        let listed = Grant::Listed(HeaderValue::from_static(APP));
        assert_eq!(written(&listed, &[]), ["vary: Origin", credentials, &origin(APP), expose]);
        assert_eq!(written(&Grant::Null, &[]), ["vary: Origin", &origin("null"), expose]);
        assert_eq!(written(&Grant::Anyone, &[]), ["vary: Origin", &origin("*"), expose]);
        assert_eq!(written(&Grant::Nothing, &[]), ["vary: Origin"]);
    }

    #[test]
    fn what_the_backend_says_about_it_is_dropped() {
        let backends = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-origin", "https://evil.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-secret"),
            ("access-control-anything-new", "1"),
            ("etag", "1"),
        ];
        assert_eq!(written(&Grant::Nothing, &backends), ["etag: 1", "vary: Origin"]);
    }

    #[test]
    fn vary_is_added_to_what_the_backend_says_and_not_twice() {
        for (said, vary) in [
            (&["Accept-Encoding"][..], &["Accept-Encoding", "Origin"][..]),
            (&["Accept, origin"], &["Accept, origin"]),
            (&["Accept", "Origin"], &["Accept", "Origin"]),
            (&["*"], &["*"]),
            (&["X-Origin"], &["X-Origin", "Origin"]),
        ] {
            let mut headers = headers(&said.iter().map(|value| ("vary", *value)).collect::<Vec<_>>());
            vary_by_origin(&mut headers);
            assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), vary);
        }
    }

    #[test]
    fn a_preflight_is_told_methods_and_headers_and_a_stranger_nothing() {
        let mut granted = HeaderMap::new();
        Grant::Listed(HeaderValue::from_static(APP)).write_preflight(&mut granted);
        assert_eq!(granted[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD, POST, PUT, PATCH, DELETE");
        assert_eq!(
            granted[ACCESS_CONTROL_ALLOW_HEADERS],
            "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id"
        );
        let mut refused = HeaderMap::new();
        Grant::Nothing.write_preflight(&mut refused);
        assert_eq!(refused.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["vary"]);
    }

    #[test]
    fn a_preflight_is_an_options_with_an_origin_and_a_method_to_come() {
        let both = headers(&[("origin", "https://x"), ("access-control-request-method", "POST")]);
        assert!(is_preflight(&Method::OPTIONS, &both));
        assert!(!is_preflight(&Method::GET, &both));
        assert!(!is_preflight(&Method::OPTIONS, &headers(&[("origin", "https://x")])));
        assert!(!is_preflight(&Method::OPTIONS, &headers(&[("access-control-request-method", "POST")])));
    }

    #[test]
    fn origins_are_taken_as_browsers_write_them() {
        for (entry, origin) in [
            ("https://App.Example", "https://app.example"),
            ("HTTPS://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(Origins::parse(entry), Some(Origins(BTreeSet::from([origin.to_owned()]))), "{entry}");
        }
        assert_eq!(Origins::parse(" , "), Some(Origins::default()));
    }

    #[test]
    fn what_is_more_than_an_origin_or_stands_for_several_is_unusable() {
        for entry in [
            "*",
            "null",
            "https://*",
            "https://*.app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?a",
            "https://app.example#a",
            "https://me@app.example",
            "https://app.example:",
            "https://app.example:0443",
            "https://app.example:99999",
            "https://",
            "://app.example",
            "1a://app.example",
            "app.example",
            "//app.example",
            "https://äpp.example",
            "https://a b",
        ] {
            assert_eq!(Origins::parse(entry), None, "{entry}");
            assert_eq!(Origins::parse(&format!("{APP},{entry}")), None, "{entry}");
        }
    }

    #[test]
    fn the_origin_of_a_url_is_all_before_its_path() {
        for url in ["https://app.example", "https://app.example/", "https://App.example:443/a/b?c=d"] {
            assert_eq!(Origins::of_url(url), Origins::parse(APP), "{url}");
        }
        for url in ["app.example", "/a", "", "https://me@app.example/"] {
            assert_eq!(Origins::of_url(url), None, "{url}");
        }
    }
}
