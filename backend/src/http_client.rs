//! How we ask others over HTTP: by TLS under the authorities that this machine trusts, and by nobody on the way.

use std::io;
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
