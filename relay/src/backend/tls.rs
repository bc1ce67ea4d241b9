//! TLS towards the backend.

use std::io;
use std::sync::Arc;

use http::uri::Scheme;
use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::address::{BackendHttp, BackendUrl};

/// TLS for connections to `url` that speak `http`. An error: the machine's certificate authorities cannot be read.
pub(super) fn client_config(url: &BackendUrl, http: BackendHttp) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    // The machine's authorities take a megabyte of memory: only for a backend that needs them.
    let builder = if url.scheme == Scheme::HTTPS {
        builder.with_native_roots()?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    let mut tls = builder.with_no_client_auth();
    tls.alpn_protocols = match http {
        BackendHttp::One => vec![b"http/1.1".to_vec()],
        BackendHttp::Two => vec![b"h2".to_vec()],
    };
    Ok(tls)
}
