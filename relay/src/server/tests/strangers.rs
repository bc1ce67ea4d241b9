//! Strangers who hold what they can get: memory for bodies, connections, streams. Good events pass all the same.

#![expect(clippy::float_cmp, reason = "counters and gauges are whole numbers here")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::backend::{Backend, Reply, within};
use super::harness::{PATH, Raw, Setup, TestRelay, TestResponse, event, head};

const SOON: Duration = Duration::from_millis(100);

/// The head of a webhook that might be anybody's.
fn unknown_head() -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: relay\r\nstripe-signature: t=1,v1={}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0".repeat(64)
    )
}

/// One number of the metrics.
async fn metric(relay: &TestRelay, name: &str) -> f64 {
    let metrics = relay.admin("/metrics").await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

async fn until_metric(relay: &TestRelay, name: &str, enough: impl Fn(f64) -> bool) {
    within(async {
        while !enough(metric(relay, name).await) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A connection from another address of this machine.
async fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    within(socket.connect(to)).await.unwrap()
}

#[tokio::test]
async fn bodies_in_pieces_of_one_byte_hold_up_no_event() {
    const BYTES: usize = 70_000;
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    let mut strangers = Vec::new();
    for _ in 0..4 {
        let mut raw = relay.connect().await;
        raw.send(unknown_head()).await;
        raw.send("1\r\nx\r\n".repeat(BYTES)).await;
        strangers.push(raw);
    }
    // All of it is there, and takes no more memory than it has bytes, but for a page or two each.
    let bytes = 4 * BYTES;
    until_metric(&relay, "tollgate_relay_body_bytes", |held| held >= bytes as f64).await;
    assert!(metric(&relay, "tollgate_relay_body_bytes").await < (bytes + 4 * 8192) as f64);
    for n in 0..20 {
        relay.take(&format!("evt_{n}")).await;
    }
    // They are let go as soon as they are.
    drop(strangers);
    until_metric(&relay, "tollgate_relay_body_bytes", |held| held == 0.0).await;
}

#[tokio::test]
async fn a_webhook_that_nobody_can_have_signed_is_refused_unread() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    for (header, code) in [
        ("", "missing_signature"),
        ("stripe-signature: nonsense\r\n", "malformed_signature"),
        ("stripe-signature: t=1\r\n", "malformed_signature"),
    ] {
        let mut raw = relay.connect().await;
        raw.send(format!("POST {PATH} HTTP/1.1\r\nhost: relay\r\n{header}content-length: 1000\r\n\r\n")).await;
        let response = raw.read_until("}}").await;
        assert!(response.starts_with("HTTP/1.1 400") && response.contains(code), "{response}");
    }
}

#[tokio::test]
async fn when_memory_is_full_long_bodies_are_refused_and_usual_ones_not() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.limits.body_memory.large_bytes_max = 100 * 1024;
    let relay = setup.start().await;
    let mut stranger = relay.connect().await;
    stranger.send(unknown_head()).await;
    stranger.send(format!("25800\r\n{}\r\n", "x".repeat(0x25800))).await;
    until_metric(&relay, "tollgate_relay_body_bytes", |held| held >= 150.0 * 1024.0).await;
    let long = event("evt_long", &"x".repeat(100_000));
    let response = TestResponse::of(relay.signed(PATH, long.clone())).await;
    assert_eq!(response.error(), (503, "overloaded".into()));
    assert!(response.headers.contains_key("retry-after"));
    assert_eq!(metric(&relay, r#"tollgate_relay_webhooks_total{answer="overloaded"}"#).await, 1.0);
    relay.take("evt_usual").await;
    drop(stranger);
    until_metric(&relay, "tollgate_relay_body_bytes", |held| held == 0.0).await;
    assert_eq!(TestResponse::of(relay.signed(PATH, long)).await.status, 200);
}

#[tokio::test]
async fn silent_connections_make_room_when_a_place_is_needed() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.limits.connections_max = Some(8);
    let relay = setup.start().await;
    let mut oldest = relay.connect().await;
    until_metric(&relay, "tollgate_relay_connections", |open| open == 1.0).await;
    let _second = relay.connect().await;
    until_metric(&relay, "tollgate_relay_connections", |open| open == 2.0).await;
    // One in four is what a network may have.
    relay.take("evt_1").await;
    assert_eq!(oldest.read_to_end().await, "");
    assert_eq!(metric(&relay, "tollgate_relay_connections_max").await, 8.0);
    assert!(metric(&relay, "tollgate_relay_connections_evicted_total").await >= 1.0);
}

#[tokio::test]
async fn slow_uploads_of_a_stranger_leave_the_others_their_places() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.limits.connections_max = Some(8);
    let relay = setup.start().await;
    let mut strangers = Vec::new();
    for _ in 0..10 {
        let mut stream = connect_from("127.0.0.2", relay.inner.addr).await;
        // Those that have no place are closed under this.
        let _ = stream.write_all(unknown_head().as_bytes()).await;
        strangers.push(stream);
    }
    until_metric(&relay, r#"tollgate_relay_connections_refused_total{reason="network"}"#, |refused| refused >= 8.0)
        .await;
    for n in 0..5 {
        relay.take(&format!("evt_{n}")).await;
    }
    drop(strangers);
}

#[tokio::test]
async fn connections_of_a_proxy_of_ours_are_not_counted_against_a_share() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut setup = Setup::with(&backend, &[("RELAY_TRUSTED_PROXIES", "127.0.0.1")]);
    setup.config.limits.connections_max = Some(8);
    let relay = setup.start().await;
    let mut uploads = Vec::new();
    for n in 0..6 {
        let body = event(&format!("evt_{n}"), "invoice.paid");
        let mut raw = relay.connect().await;
        raw.send(head(&body, &format!("content-length: {}", body.len())) + &body[..10]).await;
        uploads.push((raw, body));
    }
    until_metric(&relay, "tollgate_relay_connections", |open| open == 6.0).await;
    for (raw, body) in &mut uploads {
        raw.send(&body[10..]).await;
        assert!(raw.read_until("}").await.starts_with("HTTP/1.1 200"));
    }
}

/// A frame of HTTP/2: its type, flags, stream and payload.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// The type, the flags and the stream of the next frame.
async fn next_frame(raw: &mut Raw) -> (u8, u8, u8) {
    let mut header = [0; 9];
    within(raw.0.read_exact(&mut header)).await.unwrap();
    let length = usize::from(header[1]) * 256 + usize::from(header[2]);
    within(raw.0.read_exact(&mut vec![0; length])).await.unwrap();
    (header[3], header[4], header[8])
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset_and_the_others_live() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    let backend = Backend::start(|_| Reply::Confirm).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.limits.write_timeout = SOON;
    let relay = setup.start().await;
    let mut raw = relay.connect().await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // Every stream begins with a window of 0.
    raw.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    // GET http://relay/: the response is an error with a body.
    raw.send(frame(HEADERS, 5, 1, b"\x82\x86\x84\x41\x05relay")).await;
    while next_frame(&mut raw).await.0 != HEADERS {}
    loop {
        let (kind, _, stream) = next_frame(&mut raw).await;
        if kind == RST_STREAM {
            assert_eq!(stream, 1);
            break;
        }
    }
    raw.send(frame(PING, 0, 0, &[0; 8])).await;
    while next_frame(&mut raw).await != (PING, 1, 0) {}
}
