//! The public listener with a certificate of its own. `cert.pem` and `key.pem` are for `localhost`, and for nothing but
//! these tests; `renewed_cert.pem` and `renewed_key.pem` take their place in one of them.

use std::fs;
use std::path::Path;

use http::Version;

use super::backend::{Backend, Reply, within};
use super::harness::{PATH, Setup, event, signature};

const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/tests/cert.pem");
const RENEWED_CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/tests/renewed_cert.pem");
const RENEWED_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/tests/renewed_key.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/tests/key.pem");

#[tokio::test]
async fn an_event_is_taken_over_tls_with_either_version_of_http_and_counts_as_https() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let variables = [("RELAY_TLS_CERT", CERT), ("RELAY_TLS_KEY", KEY), ("RELAY_REQUIRE_HTTPS", "true")];
    let relay = Setup::with(&backend, &variables).start().await;
    for (id, alpn, version) in [("evt_1", &b"h2"[..], Version::HTTP_2), ("evt_2", &b"http/1.1"[..], Version::HTTP_11)] {
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trusting(CERT, alpn));
        let client = client.build().unwrap();
        let body = event(id, "invoice.paid");
        let url = format!("https://localhost:{}{PATH}", relay.inner.addr.port());
        let request = client.post(url).header("stripe-signature", signature(&body)).body(body);
        let response = within(request.send()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_holds_up_no_other() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut setup = Setup::with(&backend, &[("RELAY_TLS_CERT", CERT), ("RELAY_TLS_KEY", KEY)]);
    setup.config.limits.head_timeout = std::time::Duration::from_millis(100);
    let relay = setup.start().await;
    let mut silent = relay.connect().await;
    let mut plain = relay.connect().await;
    plain.send("GET / HTTP/1.1\r\nhost: relay\r\n\r\n").await;
    assert!(!plain.read_to_end().await.contains("HTTP/1.1"));
    assert_eq!(silent.read_to_end().await, "");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let files = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| files.path().join(name));
    let put = |from: &str, to: &Path| fs::copy(from, to).unwrap();
    put(CERT, &cert);
    put(KEY, &key);
    let variables = [("RELAY_TLS_CERT", cert.to_str().unwrap()), ("RELAY_TLS_KEY", key.to_str().unwrap())];
    let relay = Setup::with(&backend, &variables).start().await;
    let url = format!("https://localhost:{}/nowhere", relay.inner.addr.port());
    let client = |cert| {
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trusting(cert, b"http/1.1"));
        client.build().unwrap()
    };
    let (old, renewed) = (client(CERT), client(RENEWED_CERT));
    assert!(within(old.get(&url).send()).await.is_ok());
    assert!(within(renewed.get(&url).send()).await.is_err());
    // Half of a renewal is none: what was there before goes on.
    put(RENEWED_CERT, &cert);
    relay.inner.reload_tls();
    assert!(within(client(CERT).get(&url).send()).await.is_ok());
    put(RENEWED_KEY, &key);
    relay.inner.reload_tls();
    assert!(within(renewed.get(&url).send()).await.is_ok());
    assert!(within(client(CERT).get(&url).send()).await.is_err());
    // A connection that stands is not ended.
    assert!(within(old.get(&url).send()).await.is_ok());
}

fn trusting(cert: &str, alpn: &[u8]) -> rustls::ClientConfig {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}
