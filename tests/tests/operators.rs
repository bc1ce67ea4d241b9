//! What operators see of a whole Tollgate, when all of it is there and when some of it is not.

#[path = "operators/console.rs"]
mod console;

use std::fs;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tollgate_shared::Clock;
use tollgate_tests::python;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe};
use tollgate_tests::wait::SOON;
use tollgate_tests::{Engine, Stack, StackConfig, engines, on_each_engine, wait_until};

async fn looked_up(stack: &Stack, path: &str) -> Value {
    let response = stack.operate(Method::GET, path, &Value::Null).await;
    assert_eq!(response.status, 200, "{path}: {}", response.error_code());
    response.json()
}

/// Somebody who has just subscribed, and the event that says so.
fn subscriber() -> (Stripe, Event) {
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
    let events = stripe.events(ApiVersion::Endive);
    let created = events.iter().find(|event| event.event_type == "customer.subscription.created");
    let created = created.expect("whoever subscribes has a subscription").clone();
    (stripe, created)
}

on_each_engine!(an_event_is_seen_from_the_relays_journal_to_the_licences_log, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine).relay("RELAY_ID", "relay-a")).await;
    let (stripe, created) = subscriber();
    let events = stripe.events(ApiVersion::Endive);
    stack.tell(&events).await;
    let path = format!("/api/admin/events/{}", created.id);
    // The relay notes it after it has answered.
    let is_noted = async || looked_up(&stack, &path).await["relays"][0]["confirmed"] == true;
    wait_until("the relay has noted that the backend has it", SOON, is_noted).await;

    let shown = looked_up(&stack, &path).await;
    let relay = &shown["relays"][0];
    assert_eq!(
        (&relay["relay"], &relay["reachable"], &relay["confirmed"], &relay["bytes"]),
        (&json!("relay-a"), &json!(true), &json!(true), &json!(created.body.len()))
    );
    assert!(relay["receivedAt"].is_string() && relay["requestId"].is_string(), "{relay}");
    assert_eq!((&shown["attempts"][0]["by"], &shown["event"]["status"]), (&json!("relay"), &json!("processed")));
    let mut told = Vec::new();
    for event in &events {
        let shown = looked_up(&stack, &format!("/api/admin/events/{}", event.id)).await;
        let of_licences = shown["licenseEvents"].as_array().unwrap().iter();
        told.extend(of_licences.map(|one| (one["stripeEventId"].clone(), json!(event.id))));
    }
    assert!(!told.is_empty() && told.iter().all(|(named, event)| named == event), "{told:?}");
    let found = looked_up(&stack, &format!("/api/admin/search?q={}", created.id)).await;
    assert_eq!((&found["data"][0]["type"], &found["data"][0]["id"]), (&json!("event"), &json!(created.id)));
});

on_each_engine!(an_event_that_only_a_relay_has_is_found_and_delivered, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine).backend("RELAY_INTERNAL_SECRET", "another-secret")).await;
    let (_, created) = subscriber();
    // The backend does not take the relay's key.
    assert_eq!(stack.deliver(created.body.clone()).await.status, 200);
    let path = format!("/api/admin/events/{}", created.id);
    let shown = looked_up(&stack, &path).await;
    assert_eq!((&shown["event"], &shown["relays"][0]["confirmed"]), (&Value::Null, &json!(false)), "{shown}");
    let reason = json!({ "reason": "it has not come" });
    let again = stack.operate(Method::POST, &format!("{path}/redeliver"), &reason).await.json();
    assert_eq!(again["relays"][0]["outcome"], "refused", "{again}");
});

on_each_engine!(a_relay_that_is_stopped_is_named_as_silent, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let (stripe, created) = subscriber();
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    stack.relay.kill();
    let shown = looked_up(&stack, &format!("/api/admin/events/{}", created.id)).await;
    assert_eq!((&shown["relays"][0]["reachable"], &shown["event"]["status"]), (&json!(false), &json!("processed")));
});

#[test]
fn the_relay_passes_no_route_of_operators_on() {
    engines::block_on(async {
        let stack = Stack::spawn(StackConfig::on(Engine::Sqlite)).await;
        let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json")).unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
        let bearer = format!("Bearer {}", stack.secrets.of("ADMIN_API_KEY"));
        let mut asked = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if !operation["security"].to_string().contains("adminKey") {
                    continue;
                }
                let method: Method = method.to_uppercase().parse().unwrap();
                let url = stack.public(&path.replace(['{', '}'], ""));
                let headers = [("authorization", bearer.as_str()), JSON];
                let response = stack.http.send(method.clone(), &url, &headers, "{}").await;
                let message = response.json()["error"]["message"].clone();
                assert_eq!((response.status, message), (404, json!("there is no such route")), "{method} {path}");
                asked += 1;
            }
        }
        assert!(asked > 20, "{asked} routes are operators'");
    });
}

/// What alerts are signed with.
const ALERT_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A scheduler asks each backend for a judgement, until one of them has made one.
async fn judge(stack: &Stack) {
    let bearer = format!("Bearer {}", stack.secrets.of("CRON_SECRET"));
    let headers = [("authorization", bearer.as_str())];
    wait_until("what is amiss is judged", SOON, async || {
        let asked = stack.backends.iter().map(|backend| {
            let url = format!("http://{}/api/cron/health-monitoring", backend.address);
            async { stack.http.send(Method::POST, &{ url }, &headers, "").await.json()["ran"] == true }
        });
        join_all(asked).await.contains(&true)
    })
    .await;
}

on_each_engine!(a_relay_that_refuses_signatures_or_is_silent_is_told_once, async |engine| {
    // The package of Standard Webhooks checks each signature.
    let mut receiver = python::start("gateway.py", &[ALERT_SECRET]);
    let said = receiver.next().await.expect("it says where it is");
    let url = format!("{}/200", said["url"].as_str().expect("an address is a text"));
    let backends = if engine == Engine::Postgres { 3 } else { 1 };
    let config = StackConfig { backends, ..StackConfig::on(engine) };
    let config = config.backend("ALERT_WEBHOOK_URL", &url).backend("ALERT_WEBHOOK_SECRET", ALERT_SECRET);
    let mut stack = Stack::spawn(config).await;
    let mut told = async |expected: &str| {
        let got = receiver.next().await.expect("it goes on");
        let alert = &got["push"]["alerts"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(format!("{} {}", text(&alert["labels"]["alertname"]), text(&alert["status"])), expected);
    };

    for _ in 0..10 {
        let signature = format!("t={},v1={}", Clock::system().now().timestamp(), "00".repeat(32));
        let headers = [("stripe-signature", signature.as_str()), JSON];
        let refused = stack.http.post(&stack.public(WEBHOOK_PATH), &headers, r#"{"id": "evt_1", "type": "x.y"}"#).await;
        assert_eq!(refused.error_code(), "signature_mismatch");
    }
    judge(&stack).await;
    told("SignatureFailures firing").await;
    judge(&stack).await;

    stack.relay.kill();
    judge(&stack).await;
    judge(&stack).await;
    told("RelayUnreachable firing").await;
    judge(&stack).await;
    let firing = looked_up(&stack, "/api/monitoring/alerts?state=firing").await;
    assert_eq!(firing["data"].as_array().map(Vec::len), Some(2), "nothing is known of signatures: {firing}");
    stack.start_relay().await;
    judge(&stack).await;
    judge(&stack).await;
    told("RelayUnreachable resolved").await;
    // Nothing was told that is not here.
    let tested = stack.operate(Method::POST, "/api/monitoring/alerts/test", &json!({})).await.json();
    assert_eq!(tested["data"][0]["outcome"], "sent", "{tested}");
    told("Test firing").await;
});
