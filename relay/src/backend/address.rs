//! Where the backend is, and which HTTP it speaks.

use http::Uri;
use http::uri::{Authority, Scheme};

/// The address of the backend: a scheme and a host, so that a target can be put behind it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendUrl {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The host, and its port if it is not the scheme's.
    pub authority: Authority,
}

impl BackendUrl {
    /// Reads an address such as `https://backend.internal:8000`; `None` when it is another scheme's, has a path or a user.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)?;
        let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'))?;
        let is_bare = parts.path_and_query.is_none_or(|path| path == "/");
        is_bare.then_some(Self { scheme, authority })
    }

    /// Whether it is reached by TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }
}

impl Default for BackendUrl {
    fn default() -> Self {
        Self { scheme: Scheme::HTTP, authority: Authority::from_static("127.0.0.1:8000") }
    }
}

/// The version of HTTP that the backend speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendHttp {
    /// HTTP/2, known beforehand where there is no TLS: one connection carries thousands of streams, each at half of the
    /// memory that a connection of its own takes.
    #[default]
    Two,
    /// HTTP/1.1, for a backend behind something that speaks only that. A connection for each request in flight.
    One,
}

impl BackendHttp {
    /// Reads `2` or `1.1`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "2" => Some(Self::Two),
            "1.1" => Some(Self::One),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_s_address_is_a_scheme_and_a_host() {
        for good in ["http://a", "https://a.example:8443", "http://[::1]:8000", "http://a/"] {
            assert!(BackendUrl::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a:8000", "/a", "http://", "ftp://a", "http://a/b", "http://a?b", "http://me@a", "http://a b"] {
            assert_eq!(BackendUrl::parse(bad), None, "{bad}");
        }
    }
}
