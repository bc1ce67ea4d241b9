//! The relay from outside: what it responds, what it lets through, what it keeps and delivers later.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tollgate_shared::clock::rfc3339;
use tollgate_shared::{Clock, Secret, signing};
use tollgate_tests::http::raw;
use tollgate_tests::process::free_address;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::delivery::signature;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe, delivery, story};
use tollgate_tests::wait::SOON;
use tollgate_tests::{Engine, Stack, StackConfig, engines, load, on_each_engine, wait_until};

const EVENT: &str = r#"{"id": "evt_1", "type": "x.y"}"#;

/// A relay without a backend: what it takes it keeps.
async fn alone(config: StackConfig) -> Stack {
    let mut stack = Stack::prepare(config).await;
    stack.start_relay().await;
    stack
}

fn signed_at(stack: &Stack, seconds_ago: i64, body: &str) -> String {
    let at = Clock::system().now().timestamp() - seconds_ago;
    signing::sign(&Secret::new(&*stack.secrets.webhook), at, body.as_bytes())
}

async fn answer(stack: &Stack, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let answer = stack.http.post(&stack.public(WEBHOOK_PATH), headers, body.to_owned()).await;
    (answer.status, if answer.status == 200 { "taken".to_owned() } else { answer.error_code() })
}

/// The journal's entries, from `journal list --json` with these arguments.
fn listed(stack: &Stack, arguments: &[&str]) -> Vec<Value> {
    let output = stack.journal(&[&["list", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("a list is text");
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn ids(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["eventId"].as_str().unwrap_or_default()).collect()
}

/// What the relay itself answers needs no database; any engine's stack will do.
fn block_on(body: impl Future<Output = ()>) {
    engines::block_on(body);
}

#[test]
fn a_signed_event_is_taken_at_each_of_the_three_paths_with_or_without_a_backend() {
    block_on(async {
        let stack = alone(StackConfig::on(Engine::Sqlite)).await;
        for (number, path) in
            [WEBHOOK_PATH, "/api/stripe/webhooks", "/api/stripe/webhooks/handler"].into_iter().enumerate()
        {
            let body = format!(r#"{{"id": "evt_{number}", "type": "x.y"}}"#);
            let signature = stack.signature(body.as_bytes());
            let headers = [("stripe-signature", &*signature), JSON];
            let answer = stack.http.post(&stack.public(path), &headers, body).await;
            let expected = json!({ "received": true, "eventId": format!("evt_{number}") });
            assert_eq!((answer.status, answer.json()), (200, expected), "{path}");
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                let answer = stack.http.send(method.clone(), &stack.public(path), &headers, Bytes::new()).await;
                assert_eq!(answer.status, 405, "{method} {path}");
            }
        }
        assert_eq!(ids(&listed(&stack, &["--unconfirmed"])), ["evt_0", "evt_1", "evt_2"]);
    });
}

#[test]
fn what_is_not_signed_as_stripe_signs_is_refused_and_not_kept() {
    block_on(async {
        let stack = alone(StackConfig::on(Engine::Sqlite)).await;
        let good = signed_at(&stack, 0, EVENT);
        let under_v0 = good.replace("v1=", "v0=");
        let other_secret = signature("whsec_of_someone_else", EVENT.as_bytes());
        let too_old = signed_at(&stack, 301, EVENT);
        for (header, code) in [
            ("", "missing_signature"),
            ("nonsense", "malformed_signature"),
            ("t=1,v2=00", "malformed_signature"),
            ("t=x,v1=00", "malformed_signature"),
            (&under_v0, "malformed_signature"),
            (&other_secret, "signature_mismatch"),
            ("t=1,v1=00", "signature_mismatch"),
            (&too_old, "timestamp_out_of_tolerance"),
        ] {
            let got = answer(&stack, &[("stripe-signature", header)], EVENT).await;
            assert_eq!(got, (400, code.to_owned()), "{header}");
        }
        assert_eq!(answer(&stack, &[], EVENT).await, (400, "missing_signature".to_owned()));
        assert_eq!(answer(&stack, &[("stripe-signature", &good)], "{}").await, (400, "signature_mismatch".to_owned()));
        for body in ["", "[]", "{}", "null", r#"{"id":"evt_1"}"#, r#"{"id":1,"type":"x"}"#, r#"{"id":"","type":"x"}"#] {
            let got = answer(&stack, &[("stripe-signature", &signed_at(&stack, 0, body))], body).await;
            assert_eq!(got, (400, "malformed_event".to_owned()), "{body}");
        }
        assert_eq!(listed(&stack, &[]), Vec::<Value>::new());
    });
}

#[test]
fn a_timestamp_of_the_future_or_within_tolerance_is_good() {
    block_on(async {
        let stack = alone(StackConfig::on(Engine::Sqlite)).await;
        for seconds_ago in [290, 0, -400, -1_000_000_000] {
            let header = signed_at(&stack, seconds_ago, EVENT);
            assert_eq!(answer(&stack, &[("stripe-signature", &header)], EVENT).await.0, 200, "{seconds_ago}");
        }
    });
}

#[test]
fn either_secret_is_good_while_a_roll_lasts() {
    block_on(async {
        let stack = alone(StackConfig::on(Engine::Sqlite).relay("STRIPE_WEBHOOK_SECRET", "whsec_new, whsec_old")).await;
        let body = EVENT.as_bytes();
        for header in [
            signature("whsec_new", body),
            signature("whsec_old", body),
            delivery::rolled_signature("whsec_new", "whsec_old", body),
            delivery::rolled_signature("whsec_newer", "whsec_new", body),
        ] {
            assert_eq!(answer(&stack, &[("stripe-signature", &header)], EVENT).await.0, 200, "{header}");
        }
        let neither = delivery::rolled_signature("whsec_newer", "whsec_newest", body);
        assert_eq!(answer(&stack, &[("stripe-signature", &neither)], EVENT).await.0, 400);
    });
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    block_on(async {
        let stack = alone(StackConfig::on(Engine::Sqlite).relay("RELAY_BODY_BYTES_MAX", "4096")).await;
        let fits = format!("{EVENT:<4096}");
        let header = stack.signature(fits.as_bytes());
        assert_eq!(answer(&stack, &[("stripe-signature", &header)], &fits).await.0, 200);
        let over = fits.clone() + " ";
        let header = stack.signature(over.as_bytes());
        let got = answer(&stack, &[("stripe-signature", &header)], &over).await;
        assert_eq!(got, (413, "body_too_large".to_owned()));

        // By its announced length alone, with not a byte of it sent; and without an announced length.
        let head =
            format!("POST {WEBHOOK_PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nstripe-signature: t=1,v1=00\r\n");
        let announced = raw(stack.relay.address, format!("{head}content-length: 5000\r\n\r\n").as_bytes()).await;
        assert_eq!((announced.status, &*announced.error_code()), (413, "body_too_large"));
        let chunk = format!("1388\r\n{}\r\n", "x".repeat(5000));
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}");
        let chunked = raw(stack.relay.address, chunked.as_bytes()).await;
        assert_eq!(chunked.status, 413);
    });
}

#[test]
fn every_answer_carries_a_request_id_the_callers_where_it_is_one() {
    block_on(async {
        let stack = alone(StackConfig::on(Engine::Sqlite)).await;
        let header = stack.signature(EVENT.as_bytes());
        for (path, body) in [(WEBHOOK_PATH, EVENT), (WEBHOOK_PATH, "{}"), ("/nowhere", ""), ("/api/health", "")] {
            let headers = [("stripe-signature", &*header), ("x-request-id", "caller-1.2:3_4")];
            let answer = stack.http.post(&stack.public(path), &headers, body).await;
            assert_eq!(answer.header("x-request-id"), Some("caller-1.2:3_4"), "{path}");
            if answer.status != 200 {
                assert_eq!(answer.json()["error"]["requestId"], "caller-1.2:3_4", "{path}");
            }
            for bad in ["short", "with space", &"x".repeat(129)] {
                let headers = [("stripe-signature", &*header), ("x-request-id", bad)];
                let answer = stack.http.post(&stack.public(path), &headers, body).await;
                let made = answer.header("x-request-id").expect("every answer has one");
                assert!(made.len() >= 6 && made != bad, "{path}: {made}");
            }
        }
    });
}

/// Paths that go through, as docs/API.md lists them.
const PUBLIC: [&str; 19] = [
    "/api/subscriptions",
    "/api/stripe",
    "/api/license",
    "/api/events",
    "/api/payments",
    "/api/invoices",
    "/api/terminals",
    "/api/terminal-sessions",
    "/api/pods",
    "/api/notifications",
    "/api/widgets",
    "/api/api-keys",
    "/api/profile",
    "/api/user",
    "/api/support",
    "/api/releases",
    "/api/health",
    "/account",
    "/.well-known/jwks.json",
];

/// Paths that must not.
const PRIVATE: [&str; 22] = [
    "/",
    "/api",
    "/api/",
    "/api/admin",
    "/api/admin/customers",
    "/api/dlq",
    "/api/monitoring/health",
    "/api/analytics/health",
    "/api/cron/retry-events",
    "/api/stripe/webhooks/replay",
    "/v1/customers/cus_1",
    "/v1/webhook-events",
    "/subscriptions/internal/stripe-webhook",
    "/metrics",
    "/live",
    "/ready",
    "/console",
    "/docs",
    "/openapi.json",
    "/api/subscriptionsx",
    "/api/Subscriptions",
    "/accounts",
];

on_each_engine!(only_public_paths_reach_the_backend, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    for (number, path) in PUBLIC.into_iter().enumerate() {
        let id = format!("public-request-{number}.");
        let url = stack.public(&format!("{path}{}", if number % 2 == 0 { "?a=b" } else { "/x" }));
        let answer = stack.http.get(&url, &[("x-request-id", &id)]).await;
        assert_eq!(answer.header("x-request-id"), Some(&*id));
        let seen = async || stack.backends[0].log().contains(&id);
        // The last one is a single document and no prefix.
        if path != "/.well-known/jwks.json" || number % 2 == 0 {
            wait_until(&format!("{path} reaches the backend"), SOON, seen).await;
        }
    }
    for (number, path) in PRIVATE.into_iter().enumerate() {
        let id = format!("private-request-{number}.");
        for method in [Method::GET, Method::POST] {
            let key = [("x-request-id", &*id), ("x-internal-api-key", &stack.secrets.internal)];
            let answer = stack.http.send(method, &stack.public(path), &key, Bytes::new()).await;
            assert_eq!((answer.status, &*answer.error_code()), (404, "not_found"), "{path}");
            assert_eq!(answer.header("x-request-id"), Some(&*id));
        }
    }
    let log = stack.backends[0].log();
    assert!(!log.contains("private-request-"), "a private path came through");
});

on_each_engine!(a_target_that_is_not_in_normal_form_is_not_mended, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    for (number, target) in [
        "/api/health/../admin",
        "/api/health/.",
        "/api/health/..",
        "/api//health",
        "//api/health",
        "/api/health//x",
        "/api/health/%2e%2e/admin",
        "/api/health/%2E",
        "/api/health%2fx",
        "/api/health%2Fx",
        "/api/health%5cx",
        "/api/health\\x",
        "/api/health;x",
        "/api/health/x;y=z",
        "http://elsewhere.example/api/health",
    ]
    .into_iter()
    .enumerate()
    {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: {}\r\nx-request-id: mended-request-{number}.\r\nconnection: close\r\n\r\n",
            stack.relay.address
        );
        let answer = raw(stack.relay.address, request.as_bytes()).await;
        // What is no HTTP at all may be refused as such.
        assert!(answer.status == 404 || (target.contains('\\') && answer.status == 400), "{target}: {}", answer.status);
    }
    assert!(!stack.backends[0].log().contains("mended-request-"), "a target was mended and came through");
});

#[test]
fn without_a_backend_a_public_path_is_unavailable_and_a_stream_ends_with_advice_to_come_back() {
    block_on(async {
        let stack = alone(StackConfig::on(Engine::Sqlite)).await;
        let answer = stack.http.get(&stack.public("/api/health"), &[]).await;
        assert_eq!((answer.status, &*answer.error_code()), (502, "backend_unavailable"));
        assert!(answer.header("retry-after").is_some());
        let path = "/api/events/a-licence-key";
        let answer = stack.http.get(&stack.public(path), &[("accept", "text/event-stream")]).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
        assert!(text.starts_with("retry:"), "{text}");
        let answer = stack.http.get(&stack.public(path), &[("accept", "application/json")]).await;
        assert_eq!(answer.status, 502);
    });
}

#[test]
fn preflights_are_answered_for_listed_origins_and_for_apps_without_one() {
    block_on(async {
        let config =
            StackConfig::on(Engine::Sqlite).relay("CORS_ORIGINS", "https://app.example.com,http://localhost:5173");
        let stack = alone(config).await;
        let preflight = async |path: &str, origin: &str| {
            let asked =
                [("access-control-request-method", "POST"), ("access-control-request-headers", "authorization")];
            let headers = [&[("origin", origin)], &asked[..]].concat();
            stack.http.send(Method::OPTIONS, &stack.public(path), &headers, Bytes::new()).await
        };
        let listed = preflight("/api/subscriptions/cancel", "https://app.example.com").await;
        assert!((200..300).contains(&listed.status), "{}", listed.status);
        assert_eq!(listed.header("access-control-allow-origin"), Some("https://app.example.com"));
        assert_eq!(listed.header("access-control-allow-credentials"), Some("true"));
        assert!(listed.header("vary").is_some_and(|vary| vary.to_lowercase().contains("origin")));
        let allowed = listed.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
        for name in ["authorization", "content-type", "idempotency-key", "last-event-id"] {
            assert!(allowed.contains(name), "{name}: {allowed}");
        }
        let stranger = preflight("/api/subscriptions/cancel", "https://evil.example.com").await;
        assert_eq!(stranger.header("access-control-allow-origin"), None);
        let app = preflight("/api/license/validate", "null").await;
        assert!(app.header("access-control-allow-origin").is_some());
        assert_eq!(app.header("access-control-allow-credentials"), None);
        let app = preflight("/api/subscriptions/cancel", "null").await;
        assert_eq!(app.header("access-control-allow-origin"), None);
    });
}

#[test]
fn plain_requests_are_refused_where_https_is_required_unless_a_trusted_proxy_vouches() {
    block_on(async {
        let config = StackConfig::on(Engine::Sqlite).relay("RELAY_REQUIRE_HTTPS", "true");
        let stack = alone(config.clone()).await;
        let header = stack.signature(EVENT.as_bytes());
        let signed = ("stripe-signature", &*header);
        let forwarded = ("x-forwarded-proto", "https");
        let refused = (403, "https_required".to_owned());
        assert_eq!(answer(&stack, &[signed], EVENT).await, refused);
        assert_eq!(answer(&stack, &[signed, forwarded], EVENT).await, refused, "nobody is trusted");
        let plain = stack.http.get(&stack.public("/api/health"), &[]).await;
        assert_eq!((plain.status, plain.error_code()), refused);

        let stack = alone(config.relay("RELAY_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")).await;
        let header = stack.signature(EVENT.as_bytes());
        let signed = ("stripe-signature", &*header);
        assert_eq!(answer(&stack, &[signed], EVENT).await, refused);
        assert_eq!(answer(&stack, &[signed, ("x-forwarded-proto", "http")], EVENT).await, refused);
        assert_eq!(answer(&stack, &[signed, forwarded], EVENT).await.0, 200);
    });
}

/// Someone's story, to be delivered.
fn some_story() -> (Stripe, String, Vec<Event>) {
    let mut stripe = Stripe::fresh();
    let customer = story::twenty_five_events(&mut stripe);
    let events = stripe.events(ApiVersion::Pinned2024);
    (stripe, customer, events)
}

on_each_engine!(a_backend_that_is_down_costs_no_event, async |engine| {
    let mut stack = alone(StackConfig::on(engine)).await;
    let (stripe, customer, events) = some_story();
    stack.deliver_all(&events, 4).await;
    assert_eq!(stack.backlog().await, Some(events.len() as u64), "the relay says how far behind it is");
    stack.start_backends().await;
    stack.settled().await;
    stack.assert_true_to(&stripe, &customer).await;

    stack.backend().kill();
    let (stripe, customer, events) = some_story();
    stack.deliver_all(&events, 4).await;
    stack.start_backends().await;
    stack.settled().await;
    stack.assert_true_to(&stripe, &customer).await;
    // What is confirmed is written down a moment later.
    wait_until("the journal says so", SOON, async || listed(&stack, &["--unconfirmed"]).is_empty()).await;
});

on_each_engine!(what_was_confirmed_is_not_delivered_again_after_a_clean_restart, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let (_, _, events) = some_story();
    stack.deliver_all(&events, 4).await;
    stack.settled().await;
    assert_eq!(stack.relay.terminate().await.code(), Some(0));
    let before = stack.backends[0].log();
    stack.start().await;
    // One more, behind which any repeat of the others would have come.
    let (_, _, more) = some_story();
    stack.tell(&more).await;
    let after = stack.backends[0].log();
    let since = &after[before.len()..];
    assert!(since.contains(&more[0].id), "the log names the events that come");
    for event in &events {
        assert!(!since.contains(&event.id), "{} came again", event.id);
    }
});

on_each_engine!(a_backend_that_refuses_the_relays_key_costs_no_event, async |engine| {
    // Not even where the backend's failure is Stripe's to repeat: a refusal is not the backend's failure.
    let config = StackConfig::on(engine).relay("INTERNAL_API_KEY", "an-old-key").relay("RELAY_ACK", "backend");
    let mut stack = Stack::spawn(config).await;
    let (stripe, customer, events) = some_story();
    stack.deliver_all(&events, 4).await;
    let attempted = async || listed(&stack, &[]).iter().all(|entry| entry["attempts"].as_u64() > Some(0));
    wait_until("each was tried", SOON, attempted).await;
    assert_eq!(stack.backlog().await, Some(events.len() as u64));
    assert_eq!(stack.customer(&customer).await, None);
    assert_eq!(stack.relay.terminate().await.code(), Some(0));
    let right = stack.secrets.internal.clone();
    stack.relay.set("INTERNAL_API_KEY", &right);
    stack.start().await;
    stack.settled().await;
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(one_event_in_trouble_holds_up_no_other, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    stripe.pass(1).rename(&customer, "ada@example.org", "Ada");

    let held = stack.database.hold("SELECT id FROM customers FOR UPDATE").await;
    stack.deliver_all(&stripe.events_since(1, ApiVersion::Endive), 1).await;
    let (others, other, events) = some_story();
    stack.deliver_all(&events, 4).await;
    if engine == Engine::Postgres {
        wait_until("only one is left", SOON, async || stack.backlog().await == Some(1)).await;
        stack.assert_true_to(&others, &other).await;
    }
    drop(held);
    // What failed on our side is repeated by the relay, or here, within the minute that repeats are never longer apart.
    stack.settled_within(2 * SOON).await;
    stack.assert_true_to(&others, &other).await;
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(a_crowd_that_meets_a_slow_backend_is_delivered_without_a_nudge, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    let held = stack.database.hold("LOCK TABLE webhook_events IN EXCLUSIVE MODE").await;
    let crowd = load::paid_invoices(400, 1).events;
    stack.deliver_all(&crowd, 64).await;
    // More are in flight, one by one, than may be once the backend has said that it takes several at once.
    let forwarded = async || stack.relay.log().matches("Forwarding event").count() >= 200;
    wait_until("many are in flight", SOON, forwarded).await;
    drop(held);
    stack.settled_within(2 * SOON).await;
    for event in &crowd {
        assert_eq!(stack.event(&event.id).await.expect("it was delivered")["status"], "processed");
    }
});

on_each_engine!(with_the_backends_acknowledgement_its_failure_is_stripes_to_repeat, async |engine| {
    let config = StackConfig { durable: true, ..StackConfig::on(engine).relay("RELAY_ACK", "backend") };
    let mut stack = Stack::spawn(config).await;
    let (stripe, customer, events) = some_story();
    stack.deliver_all(&events, 1).await;
    // No waiting: the answer came after the commit.
    stack.assert_true_to(&stripe, &customer).await;
    if let Some(server) = stack.database.server() {
        server.stop_immediately();
        let answer = stack.deliver(EVENT.into()).await;
        assert_eq!((answer.status, &*answer.error_code()), (503, "backend_failed"));
        server.start_again().await;
        stack.settled().await;
    }
    // One that is not there at all is the journal's case.
    stack.backend().kill();
    let answer = stack.deliver(r#"{"id": "evt_2", "type": "x.y"}"#.into()).await;
    assert_eq!(answer.status, 200);
    stack.start().await;
    stack.settled().await;
    assert_eq!(stack.event("evt_2").await.expect("it came later")["status"], "ignored");
});

#[test]
fn a_second_relay_on_the_same_folder_refuses_to_start() {
    block_on(async {
        let mut stack = alone(StackConfig::on(Engine::Sqlite)).await;
        let mut second = stack.relay.program();
        second.log = stack.path("second.log");
        for (name, value) in &mut second.environment {
            if name == "RELAY_ADDR" || name == "RELAY_ADMIN_ADDR" {
                *value = free_address().to_string();
            }
        }
        let mut refused = second.start();
        let status = refused.exited(SOON).await;
        assert!(!status.success());
        let said = refused.log();
        assert!(said.contains("RELAY_DATA_DIR") || said.to_lowercase().contains("journal"), "{said}");
        assert_eq!(stack.deliver(EVENT.into()).await.status, 200, "the first goes on");
        // The lock ends with its process, however that ends.
        stack.relay.kill();
        stack.start_relay().await;
        assert_eq!(ids(&listed(&stack, &[])), ["evt_1"]);
    });
}

#[test]
fn the_journal_can_be_read_with_the_relay_running_and_stopped() {
    block_on(async {
        let mut stack = alone(StackConfig::on(Engine::Sqlite)).await;
        let (_, _, events) = some_story();
        // Both have their seconds alike, and fractions of different lengths.
        let second = "2026-01-05T09:00:00".len();
        let before = rfc3339(Clock::system().now());
        stack.deliver_all(&events, 1).await;
        for running in [true, false] {
            if !running {
                assert_eq!(stack.relay.terminate().await.code(), Some(0));
            }
            let all = listed(&stack, &[]);
            assert_eq!(ids(&all), events.iter().map(|event| &*event.id).collect::<Vec<_>>());
            for (entry, event) in all.iter().zip(&events) {
                assert_eq!(entry["type"], event.event_type);
                assert_eq!((&entry["confirmed"], &entry["bytes"]), (&json!(false), &json!(event.body.len())));
                assert!(
                    entry["receivedAt"].as_str().is_some_and(|at| at >= &before[..second] && at.ends_with('Z')),
                    "{entry}"
                );
            }
            let middle = all[12]["receivedAt"].as_str().expect("an entry has its time").to_owned();
            let (early, late) = (listed(&stack, &["--to", &middle]), listed(&stack, &["--from", &middle]));
            let both: BTreeSet<_> = ids(&early).into_iter().chain(ids(&late)).collect();
            assert!(early.len() < all.len() && late.len() < all.len() && both.len() == all.len());
            assert_eq!(listed(&stack, &["--from", "2100-01-01T00:00:00Z"]), Vec::<Value>::new());

            let plain = stack.journal(&["list"]);
            assert_eq!(
                String::from_utf8_lossy(&plain.stdout).lines().filter(|line| line.contains("evt_")).count(),
                events.len()
            );
            let shown = stack.journal(&["show", &events[5].id]);
            assert!(shown.status.success() && shown.stdout == events[5].body, "the exact bytes");
            assert_eq!(stack.journal(&["show", "evt_nobody_has"]).status.code(), Some(1));

            let exported = stack.journal(&["export"]);
            let lines = String::from_utf8(exported.stdout).expect("events are text");
            assert_eq!(lines.lines().count(), events.len());
            for (line, event) in lines.lines().zip(&events) {
                assert_eq!(serde_json::from_str::<Value>(line).expect("a line is an event"), event.json());
            }
        }
    });
}

on_each_engine!(entries_are_redelivered_and_discarded_with_the_relay_running_and_stopped, async |engine| {
    let mut stack = alone(StackConfig::on(engine)).await;
    let (stripe, customer, events) = some_story();
    stack.deliver_all(&events, 1).await;
    assert_eq!(stack.journal(&["redeliver", "evt_nobody_has"]).status.code(), Some(1));
    assert_eq!(stack.journal(&["discard", "evt_nobody_has"]).status.code(), Some(1));
    let failed = stack.journal(&["redeliver", &events[0].id]);
    assert_eq!(failed.status.code(), Some(1), "there is no backend: {}", String::from_utf8_lossy(&failed.stdout));

    // Discarded with the relay running, and with it stopped.
    let extra = |id: &str| Bytes::from(format!(r#"{{"id": "{id}", "type": "x.y"}}"#));
    stack.deliver(extra("evt_unwanted_1")).await;
    stack.deliver(extra("evt_unwanted_2")).await;
    assert!(stack.journal(&["discard", "evt_unwanted_1"]).status.success());
    let backlog = events.len() as u64 + 1;
    wait_until("the relay knows of it", SOON, async || stack.backlog().await == Some(backlog)).await;
    assert_eq!(stack.relay.terminate().await.code(), Some(0));
    assert!(stack.journal(&["discard", "evt_unwanted_2"]).status.success());
    let unconfirmed = listed(&stack, &["--unconfirmed"]);
    assert_eq!(ids(&unconfirmed), events.iter().map(|event| &*event.id).collect::<Vec<_>>());

    // Redelivered with the relay stopped.
    stack.start_backends().await;
    let done = stack.journal(&[
        "redeliver",
        "--to",
        unconfirmed.last().expect("it is not empty")["receivedAt"].as_str().expect("a time"),
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let some = stack.journal(&["redeliver", &events[1].id, &events[2].id]);
    assert!(some.status.success());
    assert!(String::from_utf8_lossy(&some.stdout).contains('2'), "it says how many");
    stack.start().await;
    stack.settled().await;
    stack.assert_true_to(&stripe, &customer).await;
    let all_confirmed = async || listed(&stack, &[]).iter().all(|entry| entry["confirmed"] == true);
    wait_until("all is confirmed", SOON, all_confirmed).await;
    assert_eq!(stack.event("evt_unwanted_1").await, None);
    assert_eq!(stack.event("evt_unwanted_2").await, None);
    assert!(stack.relay.log().contains("evt_unwanted_1"), "a discard is said in the log");

    // Redelivered with the relay running: confirmed ones come again and stay confirmed.
    let again = stack.journal(&["redeliver", "--from", "2020-01-01T00:00:00Z"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    stack.assert_true_to(&stripe, &customer).await;
    assert_eq!(listed(&stack, &["--unconfirmed"]), Vec::<Value>::new());
});

#[test]
fn a_session_waits_for_the_backend_no_longer_than_the_deadline() {
    block_on(async {
        // With `durable` only a session waits; a backend that is not there is not waited for at all.
        let stack = alone(StackConfig::on(Engine::Sqlite).relay("RELAY_FORWARD_DEADLINE_MS", "200")).await;
        let mut stripe = Stripe::fresh();
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        let events = stripe.events(ApiVersion::Endive);
        stack.deliver_all(&events, 1).await;
        assert_eq!(stack.backlog().await, Some(events.len() as u64));
    });
}

on_each_engine!(a_session_is_processed_when_it_is_answered, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
    let session =
        delivery::only(&stripe.events(ApiVersion::Endive), |event_type| event_type == "checkout.session.completed");
    stack.deliver_all(&session, 1).await;
    let body = stack.customer(&customer).await.expect("the buyer returns to a backend that knows");
    assert_eq!(body["userId"], "user_1");
});
