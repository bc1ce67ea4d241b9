//! The public listener with a certificate of its own. `cert.pem` and `key.pem` are for `localhost`, and for nothing but
//! these tests.

use http::Version;

use super::backend::{Backend, Reply, within};
use super::stand::{PATH, Plan, event, signature};

const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/tests/cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/tests/key.pem");

#[tokio::test]
async fn an_event_is_taken_over_tls_with_either_version_of_http_and_counts_as_https() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let variables = [("RELAY_TLS_CERT", CERT), ("RELAY_TLS_KEY", KEY), ("RELAY_REQUIRE_HTTPS", "true")];
    let stand = Plan::with(&backend, &variables).start().await;
    for (id, alpn, version) in [("evt_1", &b"h2"[..], Version::HTTP_2), ("evt_2", &b"http/1.1"[..], Version::HTTP_11)] {
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trusting_us(alpn));
        let client = client.build().unwrap();
        let body = event(id, "invoice.paid");
        let url = format!("https://localhost:{}{PATH}", stand.relay.addr.port());
        let request = client.post(url).header("stripe-signature", signature(&body)).body(body);
        let answer = within(request.send()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    }
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_holds_up_no_other() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut plan = Plan::with(&backend, &[("RELAY_TLS_CERT", CERT), ("RELAY_TLS_KEY", KEY)]);
    plan.config.limits.head_wait = std::time::Duration::from_millis(100);
    let stand = plan.start().await;
    let mut silent = stand.connect().await;
    let mut plain = stand.connect().await;
    plain.send("GET / HTTP/1.1\r\nhost: relay\r\n\r\n").await;
    assert!(!plain.read_to_end().await.contains("HTTP/1.1"));
    assert_eq!(silent.read_to_end().await, "");
}

fn trusting_us(alpn: &[u8]) -> rustls::ClientConfig {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERT).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}
