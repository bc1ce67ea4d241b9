//! How we ask others over HTTP: by TLS under the authorities that this machine trusts, and by nobody on the way.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use reqwest::Url;

/// A client for what is at `url`, to be given its time-outs. An error where this machine's certificate authorities are
/// wanted and cannot be read.
pub(crate) fn for_address(url: &Url) -> io::Result<reqwest::ClientBuilder> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    let tls = match url.scheme() {
        "https" => tls.with_native_roots()?,
        _ => tls.with_root_certificates(rustls::RootCertStore::empty()),
    };
    let client = reqwest::Client::builder()
        // It is this address that is asked and no other: a redirect would hand whoever it names what is sent.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Configuration is the documented variables alone, not HTTP_PROXY and its like.
        .no_proxy()
        .tls_backend_preconfigured(tls.with_no_client_auth());
    Ok(client)
}

/// An address that is asked by TLS, or that is on this machine: what is asked and answered stays between the two.
pub(crate) fn https_or_local_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_guarded = match url.scheme() {
        "https" => true,
        scheme => scheme == "http" && url.host_str().is_some_and(is_on_this_machine),
    };
    is_guarded.then_some(url)
}

/// Whether a host of an address is this machine.
pub(crate) fn is_on_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_over_https_or_on_this_machine() {
        for good in
            ["https://id.example.com/jwks.json", "http://localhost:3000/jwks", "http://127.0.0.2/", "http://[::1]/"]
        {
            assert!(https_or_local_url(good).is_some(), "{good}");
        }
        for bad in
            ["http://id.example.com/", "http://127.0.0.1.example.com/", "http://10.0.0.1/", "file:///keys", "keys"]
        {
            assert!(https_or_local_url(bad).is_none(), "{bad}");
        }
    }
}
