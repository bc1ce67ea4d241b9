//! What operators see of a whole Tollgate, when all of it is there and when some of it is not.

#[path = "operators/console.rs"]
mod console;
#[path = "operators/missing.rs"]
mod missing;

use std::fs;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tollgate_shared::Clock;
use tollgate_tests::python;
use tollgate_tests::script::Script;
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

/// A scheduler asks each backend for a job, until one of them has run it.
async fn ask_for(stack: &Stack, job: &str) {
    let bearer = format!("Bearer {}", stack.secrets.of("CRON_SECRET"));
    let headers = [("authorization", bearer.as_str())];
    wait_until(&format!("{job} is run"), SOON, async || {
        let asked = stack.backends.iter().map(|backend| {
            let url = format!("http://{}/api/cron/{job}", backend.address);
            async { stack.http.send(Method::POST, &{ url }, &headers, "").await.json()["ran"] == true }
        });
        join_all(asked).await.contains(&true)
    })
    .await;
}

/// What is amiss is judged.
async fn judge(stack: &Stack) {
    ask_for(stack, "health-monitoring").await;
}

/// A receiver of operators' alerts: the package of Standard Webhooks checks each signature.
struct Receiver(Script);

impl Receiver {
    /// One that runs, and three backends that tell it of alerts; on SQLite there is one.
    async fn of(engine: Engine) -> (Self, StackConfig) {
        let mut receiver = python::start("gateway.py", &[ALERT_SECRET]);
        let said = receiver.next().await.expect("it says where it is");
        let url = format!("{}/200", said["url"].as_str().expect("an address is a text"));
        let backends = if engine == Engine::Postgres { 3 } else { 1 };
        let config = StackConfig { backends, ..StackConfig::on(engine) };
        let config = config.backend("ALERT_WEBHOOK_URL", &url).backend("ALERT_WEBHOOK_SECRET", ALERT_SECRET);
        (Self(receiver), config)
    }

    /// What it is told next: `NotDurable firing`.
    async fn told(&mut self) -> String {
        let got = self.0.next().await.expect("it goes on");
        let alert = &got["push"]["alerts"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", text(&alert["labels"]["alertname"]), text(&alert["status"]))
    }

    /// Nothing was told that is not read.
    async fn was_told_no_more(&mut self, stack: &Stack) {
        let tested = stack.operate(Method::POST, "/api/monitoring/alerts/test", &json!({})).await.json();
        assert_eq!(tested["data"][0]["outcome"], "sent", "{tested}");
        assert_eq!(self.told().await, "Test firing");
    }
}

/// The names of the alerts that fire.
async fn firing(stack: &Stack) -> Vec<String> {
    let firing = looked_up(stack, "/api/monitoring/alerts?state=firing").await;
    let each = firing["data"].as_array().expect("a list").iter();
    let mut names: Vec<_> = each.map(|alert| alert["alert"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

/// So many events that mean nothing here, of so many bytes each.
fn meaningless(count: usize, bytes: usize) -> Vec<Event> {
    let event = |number| {
        let object = json!({ "padding": "x".repeat(bytes) });
        Event::of(&json!({ "id": format!("evt_{bytes}_{number}"), "type": "x.y", "data": { "object": object } }))
    };
    (0..count).map(event).collect()
}

/// Room for small events, and for none of this many bytes.
const ROOM_BYTES: u64 = 256 * 1024;
const TOO_LARGE_BYTES: usize = 512 * 1024;

on_each_engine!(what_only_a_relay_knows_is_told_once_and_once_it_is_over, async |engine| {
    let (mut receiver, config) = Receiver::of(engine).await;
    // However busy this machine is, the backend is waited for: what was refused stays amiss for five minutes.
    let config = config.relay("RUST_LOG", "info").relay("RELAY_FORWARD_DEADLINE_MS", "30000");
    let mut stack = Stack::prepare(config).await;
    stack.relay.outlives_a_full_disk();
    stack.start().await;
    for _ in 0..10 {
        let signature = format!("t={},v1={}", Clock::system().now().timestamp(), "00".repeat(32));
        let headers = [("stripe-signature", signature.as_str()), JSON];
        let refused = stack.http.post(&stack.public(WEBHOOK_PATH), &headers, r#"{"id": "evt_1", "type": "x.y"}"#).await;
        assert_eq!(refused.error_code(), "signature_mismatch");
    }
    judge(&stack).await;
    assert_eq!(receiver.told().await, "SignatureFailures firing");
    judge(&stack).await;

    stack.relay.kill();
    judge(&stack).await;
    judge(&stack).await;
    assert_eq!(receiver.told().await, "RelayUnreachable firing");
    judge(&stack).await;
    assert_eq!(firing(&stack).await, ["RelayUnreachable", "SignatureFailures"], "nothing is known of signatures");
    stack.start_relay().await;
    judge(&stack).await;
    judge(&stack).await;
    assert_eq!(receiver.told().await, "RelayUnreachable resolved");

    // Stripe signs with the secret again.
    stack.tell(&meaningless(100, 1)).await;
    judge(&stack).await;
    judge(&stack).await;
    assert_eq!(receiver.told().await, "SignatureFailures resolved");

    // The disk is full; the backend has the event all the same.
    stack.relay.limit_files(Some(ROOM_BYTES));
    let taken = stack.deliver(meaningless(1, TOO_LARGE_BYTES).remove(0).body).await;
    assert_eq!(taken.status, 200, "{}", taken.error_code());
    judge(&stack).await;
    assert_eq!(receiver.told().await, "NotDurable firing");
    judge(&stack).await;
    stack.relay.limit_files(None);
    stack.relay.ready(&stack.http).await;
    judge(&stack).await;
    judge(&stack).await;
    assert_eq!(receiver.told().await, "NotDurable resolved");
    receiver.was_told_no_more(&stack).await;
});

mod long {
    use tollgate_tests::engines::temporary_folder;
    use tollgate_tests::wait::LONG;

    use super::*;

    /// As little time as operators may set.
    const SOONER: &str = "[NotDurable]\nminutes = 1\n\n[WebhookDeliveryFailing]\nunconfirmed_minutes = 1\n";

    on_each_engine!(what_waits_or_was_refused_at_a_relay_is_told_once, async |engine| {
        let folder = temporary_folder();
        let thresholds = folder.path().join("alerts.toml");
        fs::write(&thresholds, SOONER).expect("a file can be written");
        let (mut receiver, config) = Receiver::of(engine).await;
        let config = config
            .relay("RUST_LOG", "info")
            .backend("ALERTS_FILE", thresholds.to_str().expect("a temporary path is UTF-8"))
            .backend("RELAY_INTERNAL_SECRET", "another-secret");
        let mut stack = Stack::prepare(config).await;
        stack.relay.outlives_a_full_disk();
        stack.start().await;

        // No backend takes the relay's key, and then the disk is full, too.
        stack.deliver_all(&meaningless(1, 1), 1).await;
        stack.relay.limit_files(Some(ROOM_BYTES));
        let refused = stack.deliver(meaningless(1, TOO_LARGE_BYTES).remove(0).body).await;
        assert_eq!((refused.status, refused.error_code()), (503, "not_durable".to_owned()));
        judge(&stack).await;
        assert_eq!(receiver.told().await, "NotDurable firing");
        stack.relay.limit_files(None);
        stack.relay.ready(&stack.http).await;
        wait_until("what was refused is past, and what waits has waited for too long", LONG, async || {
            judge(&stack).await;
            firing(&stack).await == ["WebhookDeliveryFailing"]
        })
        .await;
        let mut told = [receiver.told().await, receiver.told().await];
        told.sort();
        assert_eq!(told, ["NotDurable resolved", "WebhookDeliveryFailing firing"]);

        for backend in &mut stack.backends {
            backend.kill();
            backend.unset("RELAY_INTERNAL_SECRET");
        }
        stack.start_backends().await;
        stack.settled_within(LONG).await;
        judge(&stack).await;
        judge(&stack).await;
        assert_eq!(receiver.told().await, "WebhookDeliveryFailing resolved");
        receiver.was_told_no_more(&stack).await;
    });
}
