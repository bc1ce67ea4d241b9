//! Targets, headers, methods and preflights, from end to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tollgate_shared::{Secret, relay_proof};

use super::super::{ProxyConfig, TrustedProxies};
use super::harness::{BOTH, Backend, TestRelay, code, config, respond, soon, text, whole};
use super::{APP, echo};
use crate::body::{Body, empty};

#[tokio::test]
async fn a_good_target_reaches_the_backend_byte_for_byte() {
    for http in BOTH {
        let backend = Backend::start(http, echo).await;
        let relay = TestRelay::before(backend.addr, http).await;
        for target in [
            "/api/health",
            "/api/widgets/%41%7e?a=%2F..&b=//;%5c",
            "/api/health?",
            "/api/health??",
            "/api/widgets/caf%C3%A9/~x?a=b?c",
            "/api/subscriptions/a:b@c!$&'()*+,=",
            "/.well-known/jwks.json?x=%zz",
        ] {
            let said = relay
                .raw(format!("GET {target} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n").as_bytes())
                .await;
            assert!(
                said.starts_with("HTTP/1.1 200 ") && said.contains(&format!("\nGET {target}\n")),
                "{target}: {said}"
            );
        }
        let said =
            relay.raw(b"GET http://relay:1/api/health?a HTTP/1.1\r\nhost: relay:1\r\nconnection: close\r\n\r\n").await;
        assert!(said.contains("\nGET /api/health?a\n"), "{said}");
    }
}

#[tokio::test]
async fn a_target_that_is_not_public_or_not_normal_never_reaches_the_backend() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let backend = Backend::start(BOTH[0], move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        echo(request)
    })
    .await;
    let relay = TestRelay::before(backend.addr, BOTH[0]).await;
    for target in [
        "GET /",
        "GET /api/admin/stats",
        "GET /api/health/../admin/stats",
        "GET /api/health/%2e%2e/admin",
        "GET /api/health/%252e%252e/admin",
        "GET /api/health//x",
        "GET /api/health/",
        "GET /api/health;a",
        "GET /api/health\\..\\admin",
        "POST /api/stripe/webhooks/replay",
        "POST /api/stripe/%77ebhooks/replay",
        "GET /subscriptions/internal/stripe-webhook",
        "GET /v1/customers/cus_1",
        "GET http://other/api/health",
        "OPTIONS *",
        "CONNECT relay:80",
        "OPTIONS /api/admin",
    ] {
        let said = relay.raw(format!("{target} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 404 ") && said.contains("\"not_found\""), "{target}: {said}");
        assert!(said.contains("vary: Origin") && !said.contains("access-control-"), "{target}: {said}");
    }
    let two_hosts = relay.raw(b"GET /api/health HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    assert!(two_hosts.starts_with("HTTP/1.1 400 ") && two_hosts.contains("\"invalid_host\""), "{two_hosts}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_backend_learns_who_asked_from_the_relay_alone() {
    for http in BOTH {
        let backend = Backend::start(http, echo).await;
        let relay = TestRelay::before(backend.addr, http).await;
        let forged = [
            ("x-internal-api-key", "forged"),
            ("x-relay-proof", "forged"),
            ("x-forwarded-for", "forged"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "forged"),
            ("forwarded", "for=forged"),
            ("connection", "x-mine"),
            ("x-mine", "forged"),
            ("te", "trailers"),
            ("authorization", "Bearer t"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ];
        let said = whole(relay.get("/api/license", &forged).await).await;
        let host = relay.addr;
        for line in [
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
            &format!("x-forwarded-host: {host}"),
            "x-request-id: req_of_test",
            "authorization: Bearer t",
            &format!("x-relay-proof: {}", relay_proof::of(&Secret::new("internal")).expose()),
        ] {
            assert_eq!(said.lines().filter(|said| *said == line).count(), 1, "{line} in {said}");
        }
        assert!(said.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{said}");
        assert!(!said.contains("forged") && !said.contains("\nte:") && !said.contains("-00f067aa0ba902b7-"), "{said}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_s_word_is_passed_on() {
    let backend = Backend::start(BOTH[0], echo).await;
    let trusted = TrustedProxies::parse("127.0.0.0/8").unwrap();
    let relay = TestRelay::of(&ProxyConfig { trusted, ..config(backend.addr, BOTH[0]) }).await;
    let said =
        [("x-forwarded-for", "6.6.6.6, 1.1.1.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "app.example")];
    let said = whole(relay.get("/api/license", &said).await).await;
    for line in ["x-forwarded-for: 1.1.1.1", "x-forwarded-proto: https", "x-forwarded-host: app.example"] {
        assert!(said.lines().any(|said| said == line), "{line} in {said}");
    }
}

#[tokio::test]
async fn a_client_over_http_2_is_passed_on_with_its_host_and_its_cookies_together() {
    for http in BOTH {
        let backend = Backend::start(http, echo).await;
        let relay = TestRelay::before(backend.addr, http).await;
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let cookies = [("cookie", "a=b"), ("cookie", "c=d")];
        let mut request = relay.request("GET", "/api/license?a=%41", &cookies, empty());
        *request.version_mut() = Version::HTTP_2;
        let response = soon(client.request(request)).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        let said = whole(response).await;
        assert!(said.starts_with("GET /api/license?a=%41\n"), "{said}");
        for line in [&format!("x-forwarded-host: {}", relay.addr), "cookie: a=b; c=d"] {
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
    }
}

#[tokio::test]
async fn a_response_comes_with_its_status_and_headers_but_those_of_its_connection() {
    let backend = Backend::start(BOTH[1], |_| async {
        let headers = [
            ("connection", "x-private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("x-request-id", "theirs"),
            ("retry-after", "7"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
        ];
        respond(429, &headers, text("slow down"))
    })
    .await;
    let relay = TestRelay::before(backend.addr, BOTH[1]).await;
    let response = relay.get("/api/license", &[]).await;
    assert_eq!(response.status(), 429);
    let headers = response.headers().clone();
    for gone in ["connection", "x-private", "keep-alive"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    assert_eq!(headers["retry-after"], "7");
    assert!(!headers.contains_key("x-request-id"));
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=b", "c=d"]);
    assert_eq!(whole(response).await, "slow down");
}

#[tokio::test]
async fn responses_without_bodies_leave_the_connection_usable() {
    for http in BOTH {
        let backend = Backend::start(http, |request: Request<Incoming>| async move {
            match request.uri().path() {
                "/api/health/204" => respond(204, &[], empty()),
                "/api/health/304" => respond(304, &[("etag", "\"1\"")], empty()),
                _ => respond(
                    200,
                    &[("content-length", "5")],
                    if request.method() == "HEAD" { empty() } else { text("hello") },
                ),
            }
        })
        .await;
        let relay = TestRelay::before(backend.addr, http).await;
        let get = |path: &str| format!("GET /api/health/{path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let requests = format!(
            "HEAD /api/health HTTP/1.1\r\nhost: a\r\n\r\n{}{}GET /api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            get("204"),
            get("304"),
        );
        let said = relay.raw(requests.as_bytes()).await;
        let responses: Vec<_> = said.split("HTTP/1.1 ").skip(1).collect();
        let statuses: Vec<_> = responses.iter().map(|response| &response[..3]).collect();
        assert_eq!(statuses, ["200", "204", "304", "200"], "{said}");
        assert!(responses[0].contains("content-length: 5\r\n"), "{said}");
        for response in &responses[..3] {
            assert!(response.ends_with("\r\n\r\n"), "{response}");
        }
        assert!(responses[3].ends_with("\r\n\r\nhello"), "{said}");
    }
}

#[tokio::test]
async fn preflights_are_answered_here_and_responses_say_who_may_read_them() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let backend = Backend::start(BOTH[0], move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let theirs = [
            ("access-control-allow-origin", "https://theirs.example"),
            ("access-control-allow-credentials", "true"),
            ("vary", "Accept-Encoding"),
        ];
        async move { respond(200, &theirs, text("{}")) }
    })
    .await;
    let relay = TestRelay::before(backend.addr, BOTH[0]).await;
    let (null, evil) = (("origin", "null"), ("origin", "https://evil.example"));
    for (target, origin, granted, credentials) in [
        ("/api/license", APP, Some("https://app.example"), true),
        ("/api/subscriptions/current", APP, Some("https://app.example"), true),
        ("/.well-known/jwks.json", APP, Some("*"), false),
        ("/api/license", null, Some("null"), false),
        ("/api/events/KEY", null, Some("null"), false),
        ("/api/terminals", null, Some("null"), false),
        ("/api/releases/latest", null, Some("null"), false),
        ("/api/subscriptions/current", null, None, false),
        ("/.well-known/jwks.json", null, Some("*"), false),
        ("/api/license", evil, None, false),
        ("/.well-known/jwks.json", evil, Some("*"), false),
    ] {
        let before = asked.load(Ordering::SeqCst);
        let preflight =
            [origin, ("access-control-request-method", "PATCH"), ("access-control-request-headers", "authorization")];
        let preflight = relay.send("OPTIONS", target, &preflight, empty()).await;
        assert_eq!(asked.load(Ordering::SeqCst), before, "{target} {origin:?}");
        assert_eq!(preflight.status(), 204);
        let allowed = preflight.headers().get("access-control-allow-methods").map(|methods| methods.to_str().unwrap());
        assert_eq!(allowed.is_some_and(|methods| methods.contains("PATCH")), granted.is_some(), "{target} {origin:?}");
        let real = relay.get(target, &[origin]).await;
        assert_eq!(asked.load(Ordering::SeqCst), before + 1);
        for headers in [preflight.headers(), real.headers()] {
            let all = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
            assert_eq!(all("access-control-allow-origin"), Vec::from_iter(granted), "{target} {origin:?}");
            assert_eq!(headers.contains_key("access-control-allow-credentials"), credentials, "{target} {origin:?}");
            assert!(all("vary").contains(&"Origin"), "{target} {origin:?}");
        }
    }
}

#[tokio::test]
async fn a_method_that_is_not_in_use_is_refused_and_an_upgrade_is_not_passed_on() {
    for http in BOTH {
        let backend = Backend::start(http, echo).await;
        let relay = TestRelay::before(backend.addr, http).await;
        for method in ["TRACE", "PROPFIND", "get"] {
            let response = relay.send(method, "/api/license", &[], empty()).await;
            assert_eq!(response.status(), 405, "{method}");
            assert!(response.headers().contains_key("allow"));
            assert_eq!(code(response).await, "method_not_allowed");
        }
        let upgrade = b"GET /api/health HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-key: a\r\n\r\n";
        let said = relay.raw(upgrade).await;
        assert!(
            said.starts_with("HTTP/1.1 200 ") && !said.contains("\nupgrade:") && !said.contains("\nconnection: u"),
            "{said}"
        );
    }
}
