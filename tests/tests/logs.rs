//! What the logs tell, and what they never do.

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tollgate_tests::event_source::EventSource;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe};
use tollgate_tests::wait::SOON;
use tollgate_tests::{Stack, StackConfig, on_each_engine, wait_until};

on_each_engine!(one_event_is_followed_by_its_id_and_its_request_through_both_tiers, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine).relay("RUST_LOG", "info").backend("RUST_LOG", "info")).await;
    let mut stripe = Stripe::fresh();
    stripe.sign_up("ada@example.com", "Ada", None);
    let event = stripe.events(ApiVersion::Endive).remove(0);
    let signature = stack.signature(&event.body);
    let headers = [("stripe-signature", &*signature), ("x-request-id", "followed-request-1"), JSON];
    let answer = stack.http.post(&stack.public(WEBHOOK_PATH), &headers, event.body.clone()).await;
    assert_eq!(answer.status, 200);
    stack.settled().await;
    let about_it = |log: &str, words: &str| {
        log.lines().any(|line| line.contains(words) && line.contains(&event.id) && line.contains("followed-request-1"))
    };
    let both = async || {
        let (relay, backend) = (stack.relay.log(), stack.backends[0].log());
        about_it(&relay, "Forwarding event") && about_it(&backend, "Successfully processed")
    };
    wait_until("both tiers tell of the event under its request", SOON, both).await;
});

/// What stands in nobody's log. Each is sent somewhere where a careless log line would show it.
const MARKS: [&str; 12] = [
    "private-name",
    "private-address",
    "private-metadata",
    "rejected-body",
    "wrong-internal-key",
    "wrong-signature",
    "unmatched-path-licence-key",
    "bearer-token",
    "session-cookie",
    "query-licence-key",
    "malformed-json-value",
    "rejected-header",
];

async fn assert_nothing_private_is_logged(stack: &Stack) {
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("private-address@example.com", "private-name", Some("private-metadata"));
    let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("private-metadata"));
    stripe.pass(60).begin_unpaid_period(&subscription);
    let events = stripe.events(ApiVersion::Pinned2024);
    stack.deliver_all(&events, 4).await;
    stack.settled().await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    let license_key = body["licenses"][0]["key"].as_str().expect("a subscriber has a licence").to_owned();

    // Refused at the relay: bodies, signatures, keys, paths.
    let signed = stack.signature(br#"{"rejected-body": 1}"#);
    let relay = stack.public(WEBHOOK_PATH);
    stack.http.post(&relay, &[("stripe-signature", &signed)], r#"{"rejected-body": 1}"#).await;
    stack.http.post(&relay, &[("stripe-signature", "t=1,v1=wrong-signature")], "rejected-body").await;
    let private = [("authorization", "Bearer bearer-token"), ("cookie", "authjs.session-token=session-cookie")];
    for base in [stack.public(""), stack.private("")] {
        // A stream does not end: it is enough that it has begun.
        let stream = format!("{base}/api/events/{license_key}?machineId=query-licence-key");
        EventSource::open(&stream, None).next_named("connected").await;
        for path in [
            "/api/events/unmatched-path-licence-key",
            "/api/license/unmatched-path-licence-key",
            "/unmatched-path-licence-key",
            "/api/health?key=query-licence-key",
            "/api/events/x?licenseKey=query-licence-key&machineId=query-licence-key",
            "/v1/customers/unmatched-path-licence-key",
            &format!("/api/events/{license_key}/missed?since=0"),
            &format!("/api/unheard/{license_key}"),
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let json = r#"{"licenseKey": "malformed-json-value", "#;
                let headers = [&private[..], &[JSON, ("x-rejected", "rejected-header")]].concat();
                stack.http.send(method, &format!("{base}{path}"), &headers, json).await;
            }
        }
    }
    // Refused at the backend.
    let intake = stack.private("/subscriptions/internal/stripe-webhook");
    stack.http.post(&intake, &[("x-internal-api-key", "wrong-internal-key"), JSON], "rejected-body").await;
    stack.internal(Method::POST, "/subscriptions/internal/stripe-webhook", r#"{"rejected-body": 1}"#).await;
    for body in ["rejected-body", r#"{"key": "malformed-json-value""#, r#"{"key": ["malformed-json-value"]}"#] {
        stack.internal(Method::POST, "/v1/api-keys/verify", body).await;
    }
    let verify = json!({ "key": license_key }).to_string();
    stack.internal(Method::POST, "/v1/api-keys/verify", verify).await;
    let poison = json!({
        "id": "evt_poison", "object": "event", "type": "customer.subscription.updated", "created": stripe.now,
        "data": { "object": { "object": "subscription", "id": "sub_1", "customer": "cus_1", "status": ["rejected-body"] } },
    });
    stack.internal(Method::POST, "/subscriptions/internal/stripe-webhook", poison.to_string()).await;
    stack.internal(Method::GET, "/v1/webhook-events?payload=true", Bytes::new()).await;
    let output = stack.journal(&["show", &events[0].id]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("private-name"), "a payload is shown to who asks for it");

    let logs = stack.logs();
    let fragments =
        ["mToisGZ01V71BCos", "_secret_", "\"previous_attributes\"", "v1=", "whsec_", "default_payment_method"];
    let marks = MARKS.iter().chain(&fragments).copied().chain(stack.secrets.all()).chain([&*license_key]);
    for mark in marks {
        let line = logs.lines().find(|line| line.contains(mark));
        assert_eq!(line, None, "{mark} stands in a log");
    }
    assert!(logs.contains("TRACE") || logs.contains("DEBUG"), "the logs are at their most talkative");
}

on_each_engine!(nothing_private_is_logged_at_any_level, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine).relay("RUST_LOG", "trace").backend("RUST_LOG", "trace")).await;
    assert_nothing_private_is_logged(&stack).await;
});

on_each_engine!(nothing_private_is_logged_as_json, async |engine| {
    let config = StackConfig::on(engine).relay("LOG_FORMAT", "json").backend("LOG_FORMAT", "json");
    let stack = Stack::spawn(config).await;
    assert_nothing_private_is_logged(&stack).await;
    for line in stack.logs().lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "no JSON: {line}");
    }
});

on_each_engine!(an_event_is_one_line_of_each_tiers_log_by_default, async |engine| {
    let mut stack = Stack::prepare(StackConfig::on(engine)).await;
    stack.relay.unset("RUST_LOG");
    stack.backend().unset("RUST_LOG");
    stack.start().await;
    let mut stripe = Stripe::fresh();
    for number in 0..5 {
        let customer = stripe.sign_up(&format!("{number}@example.com"), "Ada", None);
        stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
    }
    let mut events = stripe.events(ApiVersion::Endive);
    let bare = |id: &str| Event::of(&json!({ "id": id, "object": "event", "type": "x.y" }));
    let (first, last) = (bare("evt_first_of_all"), bare("evt_last_of_all"));
    stack.tell(std::slice::from_ref(&first)).await;
    stack.deliver_all(&events, 8).await;
    stack.settled().await;
    stack.tell(std::slice::from_ref(&last)).await;
    events.extend([first, last]);
    for (tier, words) in [(&stack.relay, "Forwarding event"), (&stack.backends[0], "Successfully processed event")] {
        // What was logged of the others stands before it.
        wait_until("the last one is logged", SOON, async || tier.log().contains("evt_last_of_all")).await;
        let log = tier.log();
        let from = log.lines().position(|line| line.contains("evt_first_of_all")).expect("the first one is logged");
        let lines: Vec<_> = log.lines().skip(from).collect();
        assert_eq!(lines.len(), events.len(), "{lines:#?}");
        for event in &events {
            let about_it = lines.iter().filter(|line| line.contains(&format!("event {} (", event.id)));
            assert_eq!(about_it.count(), 1, "{}: {lines:#?}", event.id);
        }
        assert!(lines.iter().any(|line| line.contains(words)), "{lines:#?}");
    }
});

/// What ends a line, and begins one that looks like ours; what colours a terminal or turns its text round.
const FORGED: &str =
    "\r\n2026-01-01T00:00:00.000000Z  INFO tollgate_relay: forged line\u{1b}[31m\u{7}\u{85}\u{2028}\u{202e}\u{0}\"";

/// Sends events whose every text begins a line of its own.
async fn send_forged_lines(stack: &Stack) {
    let text = |prefix: &str| format!("{prefix}{FORGED}");
    let price = json!({ "id": text("price_forged"), "lookup_key": text("key"), "product": text("prod_") });
    let item = json!({ "id": text("si_"), "quantity": 1, "price": price });
    let subscription = |status: &str| {
        json!({
            "id": text("sub_forged"), "object": "subscription", "customer": text("cus_forged"), "status": status,
            "items": { "object": "list", "data": [item] }, "metadata": { "user_id": text("user_") },
        })
    };
    let updated = "customer.subscription.updated";
    for (id, kind, object) in [
        ("evt_forged_ignored", "forged.type", json!({})),
        ("evt_forged_processed", "", subscription("active")),
        ("evt_forged_dead_letter", "", json!({ "id": text("sub_"), "customer": text("cus_") })),
    ] {
        let kind = if kind.is_empty() { updated.to_owned() } else { text(kind) };
        let event = json!({
            "id": text(id), "object": "event", "type": kind, "api_version": text("2026"), "account": null,
            "created": 1_780_000_000, "data": { "object": object },
        });
        stack.tell(&[Event::of(&event)]).await;
        for tier in [&stack.relay, &stack.backends[0]] {
            wait_until("the event is logged", SOON, async || tier.log().contains(id)).await;
        }
    }
}

on_each_engine!(what_an_event_says_is_one_line_of_a_log, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    send_forged_lines(&stack).await;
    for tier in [&stack.relay, &stack.backends[0]] {
        let log = tier.log();
        let forged =
            log.lines().find(|line| !line.starts_with("20") || line.starts_with("2026-01-01T00:00:00.000000Z"));
        assert_eq!(forged, None);
        let odd = log.chars().find(|it| it.is_control() && *it != '\n' || ['\u{2028}', '\u{202e}'].contains(it));
        assert_eq!(odd, None);
        assert!(log.contains("forged line"), "it is shown for what it is");
    }
});

on_each_engine!(what_an_event_says_is_one_record_of_a_json_log, async |engine| {
    let config = StackConfig::on(engine).relay("LOG_FORMAT", "json").backend("LOG_FORMAT", "json");
    let stack = Stack::spawn(config).await;
    send_forged_lines(&stack).await;
    for tier in [&stack.relay, &stack.backends[0]] {
        let log = tier.log();
        let records = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
        let ids: Vec<String> =
            records.filter_map(|record: serde_json::Value| Some(record["event.id"].as_str()?.to_owned())).collect();
        assert!(ids.iter().any(|id| id.starts_with("evt_forged_ignored") && id.contains("forged line")), "{ids:?}");
        assert!(ids.iter().all(|id| !id.contains(char::is_control)), "{ids:?}");
    }
});
