//! A licence as desktop apps meet it: through the relay, from the first payment to the end.

use http::Method;
use serde_json::{Value, json};
use tollgate_shared::{Clock, Timestamp};
use tollgate_tests::engines::block_on;
use tollgate_tests::http::Response;
use tollgate_tests::stack::JSON;
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::{ApiVersion, Checkout, DAY, Stripe};
use tollgate_tests::{Engine, EventSource, Stack, StackConfig, on_each_engine};

/// What the app on `machine` is answered by the relay; `from` is where a proxy says that it is.
async fn call_from(stack: &Stack, from: &str, call: &str, key: &str, machine: &str) -> Response {
    let body = json!({ "licenseKey": key, "machineId": machine, "machineName": "hunter2's laptop" });
    let url = stack.public(&format!("/api/license/{call}"));
    stack.http.send(Method::POST, &url, &[JSON, ("x-forwarded-for", from)], body.to_string()).await
}

async fn call(stack: &Stack, call: &str, key: &str, machine: &str) -> Response {
    call_from(stack, "203.0.113.1", call, key, machine).await
}

async fn validated(stack: &Stack, key: &str, machine: &str) -> Value {
    let answer = call(stack, "validate", key, machine).await;
    assert_eq!(answer.status, 200, "{}", answer.error_code());
    answer.json()
}

/// Someone who has just paid, with the subscription and the licence's key.
async fn subscriber(stack: &Stack) -> (Stripe, String, String) {
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    let state = stack.customer(&customer).await.expect("the customer is known");
    let key = state["licenses"][0]["key"].as_str().expect("a payment gives a licence").to_owned();
    (stripe, subscription, key)
}

on_each_engine!(a_licence_is_good_from_the_payment_until_the_end, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    let (mut stripe, subscription, key) = subscriber(&stack).await;
    assert_eq!(validated(&stack, &key, "a").await["code"], "NOT_ACTIVATED");
    let activated = call(&stack, "activate", &key, "a").await;
    assert_eq!(activated.status, 201, "{}", activated.error_code());
    let body = validated(&stack, &key, "a").await;
    assert_eq!((&body["valid"], &body["code"]), (&json!(true), &json!("VALID")));
    assert_eq!(body["machine"]["id"], activated.json()["machine"]["id"]);

    let told = stripe.occurrences.len();
    stripe.pass(DAY).cancel(&subscription);
    stack.tell(&stripe.events_since(told, ApiVersion::Endive)).await;
    let body = validated(&stack, &key, "a").await;
    assert_eq!((&body["valid"], &body["code"]), (&json!(false), &json!("EXPIRED")));
    assert_eq!(call(&stack, "heartbeat", &key, "a").await.error_code(), "license_expired");
    let left = call(&stack, "deactivate", &key, "a").await;
    assert_eq!(left.json(), json!({ "deactivated": true, "machinesLeft": 0 }));
    let logs = stack.logs();
    assert!(!logs.contains(&key) && !logs.contains("hunter2"), "logs hold no key and no machine's name");
});

on_each_engine!(a_stop_loses_no_sign_of_life, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let (_, _, key) = subscriber(&stack).await;
    for machine in ["a", "b"] {
        assert_eq!(call(&stack, "activate", &key, machine).await.status, 201);
    }
    let before = Clock::system().now();
    assert_eq!(call(&stack, "heartbeat", &key, "a").await.status, 200);
    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    stack.start().await;
    let body = validated(&stack, &key, "b").await;
    let seen = body["license"]["machines"][0]["lastSeenAt"].as_str().expect("a machine was seen");
    let seen: Timestamp = seen.parse().expect("a time is RFC 3339");
    assert!(seen >= before, "{seen} is not from {before} on");
});

/// Asks until it is too often; gives how often it was not.
async fn until_limited(stack: &Stack, from: &str, key: &str) -> usize {
    for asked in 0..1000 {
        let answer = call_from(stack, from, "validate", key, "a").await;
        if answer.status == 429 {
            assert_eq!(answer.error_code(), "rate_limited");
            assert!(answer.header("retry-after").is_some());
            return asked;
        }
    }
    panic!("nobody is refused");
}

#[test]
fn who_asks_too_often_is_known_by_the_address_that_the_relay_sees() {
    block_on(async {
        let config = StackConfig::on(Engine::Sqlite).relay("RELAY_TRUSTED_PROXIES", "127.0.0.1");
        let stack = Stack::spawn(config.relay("RUST_LOG", "info").backend("RUST_LOG", "info")).await;
        let (_, _, key) = subscriber(&stack).await;
        assert!(until_limited(&stack, "203.0.113.1", &key).await >= 60);
        assert_eq!(call_from(&stack, "203.0.113.2", "validate", &key, "a").await.status, 200);
    });
}

#[test]
fn a_forged_address_helps_nobody_who_asks_too_often() {
    block_on(async {
        let config = StackConfig::on(Engine::Sqlite).relay("RUST_LOG", "info").backend("RUST_LOG", "info");
        let stack = Stack::spawn(config).await;
        let (_, _, key) = subscriber(&stack).await;
        until_limited(&stack, "203.0.113.1", &key).await;
        let mut refused = 0;
        for host in 0..20 {
            let answer = call_from(&stack, &format!("203.0.113.{host}"), "validate", &key, "a").await;
            refused += usize::from(answer.status == 429);
        }
        assert!(refused > 0, "each of them is the same client to the relay");
    });
}

/// What an operator is answered by the backend.
async fn operator(stack: &Stack, method: Method, path: &str) -> Value {
    let answer = stack.operate(method, path, &json!({})).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.error_code());
    answer.json()
}

on_each_engine!(what_an_app_failed_at_is_sent_again_until_it_works, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let (mut stripe, subscription, key) = subscriber(&stack).await;
    let app = json!({ "licenseKey": key, "machineId": "hunter2-laptop" });
    let activated = stack.http.post(&stack.public("/api/license/activate"), &[JSON], app.to_string()).await;
    assert_eq!(activated.status, 201, "{}", activated.error_code());
    let mut source = EventSource::open(&stack.public(&format!("/api/events/{key}?machineId=hunter2-laptop")), None);
    assert_eq!(source.next().await.event, "connected");
    let told = stripe.occurrences.len();
    stripe.pass(60).change_quantity(&subscription, 2);
    stack.tell(&stripe.events_since(told, ApiVersion::Endive)).await;
    let told = source.next_event().await;
    let say = async |stack: &Stack, status: &str| {
        let mut body = app.clone();
        body["eventId"] = told.data["id"].clone();
        body["status"] = status.into();
        body["error"] = "hunter2: disk full".into();
        let url = stack.public("/api/events/acknowledge");
        let answer = stack.http.post(&url, &[JSON], body.to_string()).await;
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!(status)));
        answer.json()
    };
    let failed = say(&stack, "failed").await;
    assert_eq!(failed["machineId"], activated.json()["machine"]["id"]);

    // The backend is another process when the operator looks, and once more when the machine is told.
    stack.backend().kill();
    stack.start_backends().await;
    let letters = operator(&stack, Method::GET, "/api/dlq?source=desktop").await;
    let letter = &letters["data"][0];
    assert_eq!((&letter["eventId"], &letter["status"]), (&told.data["id"], &json!("open")));
    operator(&stack, Method::POST, &format!("/api/dlq/retry/{}", letter["id"].as_str().expect("an id"))).await;
    stack.backend().kill();
    stack.start_backends().await;
    let mut again = source.next_event().await;
    while again.id.is_some() {
        again = source.next_event().await;
    }
    assert_eq!((&again.event, &again.data), (&told.event, &told.data));
    assert_eq!(say(&stack, "failed").await, failed, "the same again");
    say(&stack, "processed").await;
    let letters = operator(&stack, Method::GET, "/api/dlq?source=desktop").await;
    let letter = &letters["data"][0];
    assert_eq!((&letter["status"], &letter["attempts"]), (&json!("resolved"), &json!(2)));
    let logs = stack.logs();
    assert!(!logs.contains(&key) && !logs.contains("hunter2"), "logs hold no key and nothing that an app says");
});
