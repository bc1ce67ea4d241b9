//! Clients that take too much, or too long.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::backend::{Backend, Reply, within};
use super::harness::{Setup, TestRelay, event, head};

const SOON: Duration = Duration::from_millis(100);

/// A relay that takes only short bodies, and one that waits for nobody.
async fn strict(impatient: bool) -> (Backend, TestRelay) {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut setup = Setup::with(&backend, &[("RELAY_BODY_BYTES_MAX", "1000")]);
    if impatient {
        setup.config.limits.head_timeout = SOON;
        setup.config.limits.idle_timeout = SOON;
        setup.config.limits.body.piece = SOON;
        setup.config.limits.body.whole = 4 * SOON;
    }
    (backend, setup.start().await)
}

fn code(response: &str) -> String {
    let body = response.split("\r\n\r\n").nth(1).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no error body: {response:?}"));
    assert!(response.contains("x-request-id: req_"), "{response}");
    json["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let (_backend, relay) = strict(true).await;
    for beginning in ["", "P", "PRI * HT", "POST /api/webhooks/stripe HTTP/1.1\r\nhost: re", "GET / HTTP/1.1\r\n"] {
        let mut raw = relay.connect().await;
        raw.send(beginning).await;
        // It ends, with or without a word.
        let said = raw.read_to_end().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{beginning:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_first_request_that_comes_byte_by_byte_is_answered_over_either_version() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    let mut raw = relay.connect().await;
    for byte in b"POST /nowhere HTTP/1.1\r\nhost: relay\r\n\r\n" {
        raw.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(raw.read_until("\r\n").await.starts_with("HTTP/1.1 404"));
    let mut raw = relay.connect().await;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        raw.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    // An empty frame of settings, which is answered with the relay's own.
    raw.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let mut header = [0; 9];
    within(raw.0.read_exact(&mut header)).await.unwrap();
    assert_eq!(header[3..5], [4, 0], "a frame of settings");
}

#[tokio::test]
async fn a_connection_on_which_nothing_more_comes_is_ended() {
    let (_backend, relay) = strict(true).await;
    let mut raw = relay.connect().await;
    raw.send("GET /nowhere HTTP/1.1\r\nhost: relay\r\n\r\n").await;
    assert!(raw.read_to_end().await.starts_with("HTTP/1.1 404"));
    // The same over HTTP/2: a preface and settings, and nothing after the first request.
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().tls_backend_preconfigured(tls());
    let client = client.build().unwrap();
    let response = within(client.get(relay.url("/nowhere")).send()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (404, http::Version::HTTP_2));
    within(async {
        while !relay.admin("/metrics").await.body.contains("tollgate_relay_connections 0\n") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_and_given_up() {
    let (backend, relay) = strict(true).await;
    let body = event("evt_1", "invoice.paid");
    let mut raw = relay.connect().await;
    raw.send(head(&body, &format!("content-length: {}", body.len())) + &body[..10]).await;
    let response = raw.read_to_end().await;
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    assert_eq!(code(&response), "request_timeout");
    assert!(backend.events().is_empty());
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_however_steady_it_is() {
    let (_backend, relay) = strict(true).await;
    let body = event("evt_1", "invoice.paid");
    let mut raw = relay.connect().await;
    raw.send(head(&body, "transfer-encoding: chunked")).await;
    let (mut reading, mut writing) = raw.0.into_split();
    let trickle = tokio::spawn(async move {
        let mut every = tokio::time::interval(SOON / 4);
        loop {
            every.tick().await;
            if tokio::io::AsyncWriteExt::write_all(&mut writing, b"1\r\n \r\n").await.is_err() {
                return;
            }
        }
    });
    let mut response = vec![0; 12];
    within(reading.read_exact(&mut response)).await.unwrap();
    trickle.abort();
    assert_eq!(response, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_body_that_is_announced_too_long_is_refused_before_it_comes() {
    let (_backend, relay) = strict(false).await;
    let mut raw = relay.connect().await;
    raw.send(head("", "content-length: 1001")).await;
    let response = raw.read_until("}}").await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    assert_eq!(code(&response), "body_too_large");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long() {
    let (_backend, relay) = strict(false).await;
    let mut raw = relay.connect().await;
    raw.send(head("", "transfer-encoding: chunked")).await;
    // 1001 bytes, and no end.
    raw.send(format!("3e9\r\n{}\r\n", "x".repeat(1001))).await;
    let response = raw.read_until("}}").await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    assert_eq!(code(&response), "body_too_large");
}

#[tokio::test]
async fn a_long_body_that_is_sent_whole_first_gets_its_response() {
    let (_backend, relay) = strict(false).await;
    let mut raw = relay.connect().await;
    let long = "x".repeat(3_000_000);
    raw.send(head("", &format!("content-length: {}", long.len()))).await;
    raw.send(&long).await;
    let response = raw.read_until("}}").await;
    assert_eq!(code(&response), "body_too_large");
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_taken_also_in_pieces() {
    let (backend, relay) = strict(false).await;
    let filler = "x".repeat(1000 - event("evt_1", "").len());
    let body = event("evt_1", &filler);
    assert_eq!(body.len(), 1000);
    let mut raw = relay.connect().await;
    raw.send(head(&body, "transfer-encoding: chunked")).await;
    for piece in body.as_bytes().chunks(250) {
        raw.send(format!("fa\r\n{}\r\n", std::str::from_utf8(piece).unwrap())).await;
    }
    raw.send("0\r\n\r\n").await;
    assert!(raw.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    backend.wait_for("evt_1", 1).await;
    assert_eq!(backend.asked()[0].body, body);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_event() {
    let (backend, relay) = strict(false).await;
    let body = event("evt_1", "invoice.paid");
    let mut raw = relay.connect().await;
    raw.send(head(&body, &format!("content-length: {}", body.len())) + &body[..10]).await;
    drop(raw);
    relay.take("evt_2").await;
    backend.wait_for("evt_2", 1).await;
    assert_eq!(backend.events(), ["evt_2"]);
}
