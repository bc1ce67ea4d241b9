//! Each row of the table of responses.

use http::StatusCode;
use serde_json::Value;
use tollgate_shared::{Clock, Secret, signing};

use super::backend::{Backend, Reply};
use super::harness::{OTHER_SECRET, PATH, Raw, SECRET, Setup, TestRelay, TestResponse, event, signature};

/// A backend of which nothing depends in the test.
async fn any() -> Backend {
    Backend::start(|_| Reply::Confirm).await
}

#[tokio::test]
async fn a_signed_event_is_received_at_each_address_with_or_without_slash() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    for (id, path) in [
        ("evt_1", PATH),
        ("evt_2", "/api/stripe/webhooks"),
        ("evt_3", "/api/stripe/webhooks/handler?live=1"),
        ("evt_4", "/api/webhooks/stripe/"),
        ("evt_5", "/api/stripe/webhooks/"),
        ("evt_6", "/api/stripe/webhooks/handler/"),
    ] {
        let response = TestResponse::of(relay.signed(path, event(id, "whatever.comes"))).await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.json(), serde_json::json!({"received": true, "eventId": id}));
        assert_eq!(response.headers["content-type"], "application/json");
    }
    relay.wait_until_all_is_confirmed().await;
    let mut events = backend.events();
    events.sort();
    assert_eq!(events, ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5", "evt_6"]);
}

#[tokio::test]
async fn another_method_is_refused_and_told_which_one_is_taken() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    for path in [PATH, "/api/stripe/webhooks", "/api/stripe/webhooks/handler", "/api/stripe/webhooks/"] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let response = TestResponse::of(relay.client.request(method.parse().unwrap(), relay.url(path))).await;
            assert_eq!(response.error(), (405, "method_not_allowed".into()), "{method} {path}");
            assert_eq!(response.headers["allow"], "POST");
        }
    }
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_refused_and_says_why() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let body = event("evt_1", "invoice.paid");
    let now = Clock::system().now().timestamp();
    let by = |secret: &str, t| signing::sign(&Secret::new(secret), t, body.as_bytes());
    for (header, code) in [
        (None, "missing_signature"),
        (Some(String::new()), "missing_signature"),
        (Some("nonsense".into()), "malformed_signature"),
        (Some(format!("t={now}")), "malformed_signature"),
        (Some(by(SECRET, now).replace("v1=", "v0=")), "malformed_signature"),
        (Some(by("whsec_other", now)), "signature_mismatch"),
        (Some(by(SECRET, now).replace("t=1", "t=2")), "signature_mismatch"),
        (Some(by(SECRET, now - 320)), "timestamp_out_of_tolerance"),
    ] {
        let mut request = relay.client.post(relay.url(PATH)).body(body.clone());
        if let Some(header) = &header {
            request = request.header("stripe-signature", header);
        }
        assert_eq!(TestResponse::of(request).await.error(), (400, code.into()), "{header:?}");
    }
    assert_eq!(relay.inner.journal.stats().unconfirmed, 0);
    assert!(backend.events().is_empty());
}

#[tokio::test]
async fn a_signature_of_bytes_that_are_no_text_is_malformed() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let header = http::HeaderValue::from_bytes(b"t=1,v1=\xff").unwrap();
    let request = relay.client.post(relay.url(PATH)).header("stripe-signature", header).body("{}");
    assert_eq!(TestResponse::of(request).await.error(), (400, "malformed_signature".into()));
}

#[tokio::test]
async fn a_signature_from_the_future_is_good() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let body = event("evt_1", "invoice.paid");
    let later = Clock::system().now().timestamp() + 1_000_000;
    let signature = signing::sign(&Secret::new(SECRET), later, body.as_bytes());
    let request = relay.client.post(relay.url(PATH)).header("stripe-signature", signature).body(body);
    assert_eq!(TestResponse::of(request).await.status, 200);
}

#[tokio::test]
async fn while_a_secret_is_rolled_both_are_good_and_it_is_counted_which_was_used() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let body = event("evt_1", "invoice.paid");
    let now = Clock::system().now().timestamp();
    let signature = signing::sign(&Secret::new(OTHER_SECRET), now, body.as_bytes());
    let request = relay.client.post(relay.url(PATH)).header("stripe-signature", signature).body(body);
    assert_eq!(TestResponse::of(request).await.status, 200);
    let metrics = relay.admin("/metrics").await.body;
    assert!(metrics.contains("tollgate_relay_webhook_secret_matches_total{secret=\"0\"} 0\n"), "{metrics}");
    assert!(metrics.contains("tollgate_relay_webhook_secret_matches_total{secret=\"1\"} 1\n"), "{metrics}");
    let last = "tollgate_relay_webhook_secret_last_match_timestamp_seconds";
    assert!(metrics.contains(&format!("{last}{{secret=\"0\"}} 0\n")), "{metrics}");
    let second = metrics.lines().find_map(|line| line.strip_prefix(&format!("{last}{{secret=\"1\"}} "))).unwrap();
    assert!(second.parse::<f64>().unwrap() >= now as f64, "{second}");
}

#[tokio::test]
async fn a_body_that_is_no_event_is_malformed() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let long = event(&"e".repeat(256), "x");
    for body in ["", "[]", "not json", r#"{"id":"evt_1"}"#, r#"{"id":1,"type":"x"}"#, r#"{"id":"","type":"x"}"#, &long]
    {
        let response = TestResponse::of(relay.signed(PATH, body.to_owned())).await;
        assert_eq!(response.error(), (400, "malformed_event".into()), "{body}");
        assert!(body.is_empty() || !response.body.contains(body));
    }
    let longest = event(&"e".repeat(255), "x");
    assert_eq!(TestResponse::of(relay.signed(PATH, longest)).await.status, 200);
}

#[tokio::test]
async fn the_callers_request_id_comes_back_and_a_bad_one_is_replaced() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let with_id = |id: &str| TestResponse::of(relay.event("evt_1", "x.y").header("x-request-id", id));
    assert_eq!(with_id("my-request.1").await.request_id(), "my-request.1");
    assert!(with_id("bad id").await.request_id().starts_with("req_"));
    for path in ["/nowhere", "/api/admin/stats", "/metrics", "/live"] {
        let response = relay.get(path).await;
        assert_eq!(response.error(), (404, "not_found".into()), "{path}");
    }
}

#[tokio::test]
async fn a_durable_event_is_received_whatever_the_backend_says() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    for (n, status) in [200, 302, 400, 403, 500, 503].into_iter().enumerate() {
        backend.reply(move |_| Reply::Respond(status, "{}".into()));
        let id = format!("evt_{n}");
        relay.take(&id).await;
        backend.wait_for(&id, 1).await;
    }
}

#[tokio::test]
async fn a_durable_event_does_not_wait_for_the_backend() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_1").await;
    assert_eq!(relay.inner.journal.stats().unconfirmed, 1);
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn a_checkout_session_waits_for_the_backend() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let relay = TestRelay::with(&backend).await;
    let response = tokio::spawn(TestResponse::of(relay.event("evt_1", "checkout.session.completed")));
    backend.wait_for("evt_1", 1).await;
    // Another event comes and goes meanwhile.
    relay.take("evt_2").await;
    assert!(!response.is_finished());
    backend.open_the_gate();
    assert_eq!(response.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_checkout_session_is_received_when_the_deadline_passes_or_the_backend_fails() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let relay = Setup::with(&backend, &[("RELAY_FORWARD_DEADLINE_MS", "1500")]).start().await;
    assert_eq!(TestResponse::of(relay.event("evt_1", "checkout.session.completed")).await.status, 200);
    backend.reply(|_| Reply::Respond(500, r#"{"error":{},"stored":true}"#.into()));
    assert_eq!(TestResponse::of(relay.event("evt_2", "checkout.session.expired")).await.status, 200);
}

#[tokio::test]
async fn when_the_backend_acknowledges_its_failure_goes_back_to_stripe() {
    let backend = any().await;
    let relay = Setup::with(&backend, &[("RELAY_ACK", "backend")]).start().await;
    for status in [500_u16, 502, 503] {
        backend.reply(move |_| Reply::Respond(status, r#"{"error":{},"stored":true}"#.into()));
        let response = TestResponse::of(relay.event(&format!("evt_{status}"), "invoice.paid")).await;
        assert_eq!(response.error(), (status, "backend_failed".into()));
    }
    // It is kept as well, and delivered again.
    backend.reply(|_| Reply::Confirm);
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn when_the_backend_acknowledges_what_is_no_5xx_is_the_journals_case() {
    let mut backend = any().await;
    let relay = Setup::with(&backend, &[("RELAY_ACK", "backend"), ("RELAY_FORWARD_DEADLINE_MS", "1500")]).start().await;
    for status in [200_u16, 301, 307, 400, 403, 404, 429] {
        backend.reply(move |_| Reply::Respond(status, "no".into()));
        relay.take(&format!("evt_{status}")).await;
    }
    backend.reply(|_| Reply::Wait);
    relay.take("evt_wait").await;
    backend.reply(|_| Reply::HangUp);
    relay.take("evt_hang_up").await;
    backend.go_away().await;
    relay.take("evt_away").await;
}

#[tokio::test]
async fn when_the_backend_acknowledges_it_is_waited_for() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let relay = Setup::with(&backend, &[("RELAY_ACK", "backend")]).start().await;
    let response = tokio::spawn(TestResponse::of(relay.event("evt_1", "invoice.paid")));
    backend.wait_for("evt_1", 1).await;
    assert!(!response.is_finished());
    backend.open_the_gate();
    assert_eq!(response.await.unwrap().status, 200);
}

#[tokio::test]
async fn what_the_journal_cannot_take_is_received_if_the_backend_has_it() {
    for ack in ["durable", "backend"] {
        let backend = any().await;
        let relay = Setup::with(&backend, &[("RELAY_ACK", ack)]).start().await;
        relay.inner.journal.close().await;
        relay.take("evt_1").await;
        assert_eq!(backend.times("evt_1"), 1);
    }
}

#[tokio::test]
async fn what_neither_journal_nor_backend_can_take_is_not_durable() {
    let mut backend = Backend::start(|_| Reply::Respond(403, "{}".into())).await;
    let relay = Setup::with(&backend, &[("RELAY_FORWARD_DEADLINE_MS", "1500")]).start().await;
    relay.inner.journal.close().await;
    let refused = |response: TestResponse| assert_eq!(response.error(), (503, "not_durable".into()));
    refused(TestResponse::of(relay.event("evt_1", "invoice.paid")).await);
    backend.reply(|_| Reply::Respond(500, "{}".into()));
    refused(TestResponse::of(relay.event("evt_2", "invoice.paid")).await);
    backend.reply(|_| Reply::Wait);
    refused(TestResponse::of(relay.event("evt_3", "invoice.paid")).await);
    backend.go_away().await;
    for id in ["evt_4", "evt_5"] {
        refused(TestResponse::of(relay.event(id, "checkout.session.completed")).await);
    }
    // That it was away until now is no reason not to try.
    backend.come_back().await;
    backend.reply(|_| Reply::Confirm);
    relay.take("evt_6").await;
}

#[tokio::test]
async fn where_https_is_required_a_plain_request_is_refused_a_webhook_too() {
    let backend = any().await;
    let relay = Setup::with(&backend, &[("RELAY_REQUIRE_HTTPS", "true")]).start().await;
    let said_so = |request: reqwest::RequestBuilder| TestResponse::of(request.header("x-forwarded-proto", "https"));
    for response in [
        TestResponse::of(relay.event("evt_1", "invoice.paid")).await,
        relay.get("/api/health").await,
        relay.get("/nowhere").await,
        // Not a proxy that is trusted.
        said_so(relay.event("evt_2", "invoice.paid")).await,
    ] {
        assert_eq!(response.error(), (403, "https_required".into()));
    }
    let trusting = [("RELAY_REQUIRE_HTTPS", "true"), ("RELAY_TRUSTED_PROXIES", "127.0.0.0/8")];
    let relay = Setup::with(&backend, &trusting).start().await;
    assert_eq!(said_so(relay.event("evt_3", "invoice.paid")).await.status, 200);
    let plain = TestResponse::of(relay.event("evt_4", "invoice.paid")).await;
    assert_eq!(plain.error(), (403, "https_required".into()));
}

#[tokio::test]
async fn too_many_headers_are_refused_in_the_form_of_all_errors() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let mut many = relay.event("evt_1", "invoice.paid");
    for n in 0..90 {
        many = many.header(format!("x-{n}"), "1");
    }
    let long = relay.event("evt_1", "invoice.paid").header("cookie", "c".repeat(40_000));
    for request in [many, long] {
        assert_eq!(TestResponse::of(request).await.error(), (431, "headers_too_large".into()));
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_of_another_host_is_not_ours() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let body = event("evt_1", "invoice.paid");
    for (target, status) in [("http://relay/api/webhooks/stripe", 200), ("http://other/api/webhooks/stripe", 404)] {
        let mut raw = relay.connect().await;
        raw.send(format!(
            "POST {target} HTTP/1.1\r\nhost: relay\r\nstripe-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
            signature(&body),
            body.len()
        ))
        .await;
        let status = StatusCode::from_u16(status).unwrap();
        assert!(raw.read_until("\r\n").await.contains(status.as_str()), "{target}");
    }
}

#[tokio::test]
async fn an_address_with_two_slashes_more_is_none() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    for path in ["/api/webhooks/stripe//", "/api/stripe/webhooks//", "//api/webhooks/stripe", "/api/webhooks/stripe/x"]
    {
        let response = TestResponse::of(relay.signed(path, event("evt_1", "x.y"))).await;
        assert_eq!(response.error(), (404, "not_found".into()), "{path}");
    }
}

#[tokio::test]
async fn a_signature_header_that_was_changed_on_its_way_is_told_how() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let body = event("evt_1", "invoice.paid");
    let good = signature(&body);
    let (t, v1) = good.split_once(',').unwrap();
    let blanks = relay.client.post(relay.url(PATH)).header("stripe-signature", format!("{t}, {v1}"));
    let lines = relay.client.post(relay.url(PATH)).header("stripe-signature", t).header("stripe-signature", v1);
    for (request, why) in [(blanks, "blanks"), (lines, "several header lines")] {
        let response = TestResponse::of(request.body(body.clone())).await;
        assert_eq!(response.error(), (400, "malformed_signature".into()));
        assert!(response.body.contains(why), "{}", response.body);
    }
    let wrong = format!("v1={},", "0".repeat(64)).repeat(100);
    let many = relay.client.post(relay.url(PATH)).header("stripe-signature", format!("{t},{wrong}{v1}"));
    assert_eq!(TestResponse::of(many.body(body)).await.status, 200);
}

/// What comes back to these bytes, up to the end of the first error.
async fn raw_error(relay: &TestRelay, request: &str) -> (String, Value) {
    let mut raw = relay.connect().await;
    raw.send(request).await;
    let response = raw.read_until("}}").await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_request_without_one_good_host_is_refused() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    for hosts in ["", "host: a\r\nhost: a\r\n", "host:\r\n", "host: a b\r\n", "host: a/b\r\n", "host: me@a\r\n"] {
        for target in ["/api/health", PATH] {
            let (head, body) =
                raw_error(&relay, &format!("POST {target} HTTP/1.1\r\n{hosts}content-length: 0\r\n\r\n")).await;
            assert!(head.starts_with("HTTP/1.1 400"), "{hosts:?}: {head}");
            assert_eq!(body["error"]["code"], "invalid_host", "{hosts:?}");
        }
    }
    let mut raw = Raw::connect(relay.inner.admin_addr).await;
    raw.send("GET /live HTTP/1.1\r\n\r\n").await;
    assert!(raw.read_until("\r\n").await.starts_with("HTTP/1.1 400"));
    // Who knows no hosts names none.
    let (head, _) = raw_error(&relay, "GET /nowhere HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 404"), "{head}");
}

#[tokio::test]
async fn a_target_with_a_fragment_is_no_public_route() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    for target in ["/api/health#x", "/api/health?a=b#x", "/api/webhooks/stripe#x"] {
        let (head, body) = raw_error(&relay, &format!("GET {target} HTTP/1.1\r\nhost: relay\r\n\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{target}: {head}");
        assert_eq!(body["error"]["code"], "not_found", "{target}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_the_form_of_all_errors() {
    let backend = any().await;
    let relay = TestRelay::with(&backend).await;
    let long = "x".repeat(66_000);
    for (request, status, code) in [
        ("d0_not_echo\r\n\r\n".to_owned(), 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nd0_not_echo\r\n\r\n".to_owned(), 400, "malformed_request"),
        (format!("GET / HTTP/1.1\r\nhost: relay\r\nx: {long}\r\n\r\n"), 431, "headers_too_large"),
    ] {
        let (head, body) = raw_error(&relay, &request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert_eq!(body["error"]["code"], code);
        let id = body["error"]["requestId"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
        assert!(!body.to_string().contains("d0_not_echo"));
    }
}
