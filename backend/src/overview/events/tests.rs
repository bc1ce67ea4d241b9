//! Events, for operators, through Rocket's local client, on both engines.

use std::time::Duration;

use rocket::http::Method;
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{TestApp, db_that_is_away, event, signed_in};
use crate::webhooks::routes::INTAKE_PATH;

impl TestApp {
    async fn event(&self, id: &str) -> Value {
        let shown = self.look_up(&format!("/api/admin/events/{id}")).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        shown.json()
    }
}

fn effects(event: &Value) -> Vec<String> {
    let effects = event["effects"].as_array().unwrap().iter();
    let text = |effect: &Value, name: &str| effect[name].as_str().unwrap().to_owned();
    effects.map(|it| format!("{} {}", text(it, "table"), text(it, "change"))).collect()
}

#[test]
fn an_event_is_shown_with_all_that_came_of_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let shown = app.event("evt_cus_1").await;
        assert_eq!((&shown["event"]["id"], &shown["event"]["status"]), (&json!("evt_cus_1"), &json!("processed")));
        assert!(shown["event"]["requestId"].is_string() && shown["event"].get("payload").is_none(), "{shown}");
        let attempts = shown["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{shown}");
        assert_eq!(
            (&attempts[0]["by"], &attempts[0]["outcome"], &attempts[0]["requestId"]),
            (&json!("relay"), &json!("processed"), &shown["event"]["requestId"])
        );
        let effects = effects(&shown);
        for made in ["customers created", "subscriptions created", "licenses created", "api_keys created"] {
            assert!(effects.iter().any(|effect| effect == made), "{made} in {effects:?}");
        }
        assert!(!shown.to_string().contains("price_pro_month"), "names, no values");
        let told = shown["licenseEvents"].as_array().unwrap();
        assert_eq!((&told[0]["type"], &told[0]["stripeEventId"]), (&json!("license_created"), &json!("evt_cus_1")));
        assert_eq!(shown["changes"][0]["eventId"], "evt_cus_1");
        assert_eq!((&shown["relays"], &shown["deadLetter"]), (&json!([]), &json!(null)));
    });
}

#[test]
fn each_attempt_at_an_event_is_shown_the_oldest_first() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let unreadable = event("evt_1", "customer.subscription.updated", &json!({ "object": "subscription" }));
        assert_eq!(app.post(INTAKE_PATH, &unreadable).await.json()["outcome"], "dead_lettered");
        app.inner.clock.advance(Duration::from_secs(60));
        assert_eq!(app.act("/api/dlq/retry/evt_1", &json!({})).await.status, 200);
        let shown = app.event("evt_1").await;
        let attempts = shown["attempts"].as_array().unwrap();
        let by = attempts.iter().map(|attempt| attempt["by"].as_str().unwrap());
        assert_eq!(by.collect::<Vec<_>>(), ["relay", "operator"], "{shown}");
        assert!(attempts[0]["at"].as_str() < attempts[1]["at"].as_str());
        assert!(attempts[0]["error"].is_string() && attempts[0]["outcome"] == "dead_lettered", "{shown}");
        assert_eq!((&shown["effects"], &shown["deadLetter"]["eventId"]), (&json!([]), &json!("evt_1")));
    });
}

#[test]
fn a_replayed_event_still_shows_what_it_first_did() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let before = app.event("evt_cus_1").await;
        let replayed = app.act("/api/stripe/webhooks/replay", &json!({ "eventId": "evt_cus_1" })).await.json();
        assert_eq!(replayed["results"][0]["outcome"], "duplicate", "{replayed}");
        let after = app.event("evt_cus_1").await;
        assert_eq!(after["attempts"].as_array().unwrap().len(), 2, "{after}");
        assert_eq!(effects(&after)[..effects(&before).len()], effects(&before)[..]);
    });
}

#[test]
fn what_is_in_an_event_is_shown_on_demand_and_that_it_was() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let shown = app.look_up("/api/admin/events/evt_cus_1?payload=true").await.json();
        let payload: Value = serde_json::from_str(shown["event"]["payload"].as_str().unwrap()).unwrap();
        assert_eq!(payload["id"], "evt_cus_1");
        let acts = app.look_up("/api/admin/audit?target=evt_cus_1").await.json();
        assert_eq!(acts["data"][0]["action"], "webhook_event.look", "{acts}");
        assert_eq!(app.look_up("/api/admin/events/evt_9").await.refusal(), (404, "not_found".to_owned()));
    });
}

#[test]
fn events_are_listed_by_when_they_were_received() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for customer in ["cus_1", "cus_2", "cus_3"] {
            app.subscriber(customer, "user_1").await;
            app.inner.clock.advance(Duration::from_secs(60));
        }
        let ids = async |query: &str| {
            let listed = app.look_up(&format!("/api/admin/events?{query}")).await.json();
            let ids = listed["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
            (ids.collect::<Vec<_>>(), listed["nextCursor"].as_str().map(str::to_owned))
        };
        assert_eq!(ids("").await.0, ["evt_cus_3", "evt_cus_2", "evt_cus_1"]);
        assert_eq!(ids("from=2025-06-15T15:07:40Z").await.0, ["evt_cus_3", "evt_cus_2"]);
        assert_eq!(ids("to=2025-06-15T15:07:40Z").await.0, ["evt_cus_1"]);
        assert_eq!(ids("from=2025-06-15T15:07:40Z&to=2025-06-15T15:08:40Z").await.0, ["evt_cus_2"]);
        assert_eq!(ids("customer=cus_2").await.0, ["evt_cus_2"]);
        let (first, next) = ids("limit=1&from=2025-06-15T15:07:40Z").await;
        assert_eq!(first, ["evt_cus_3"]);
        let (second, next) = ids(&format!("limit=1&from=2025-06-15T15:07:40Z&cursor={}", next.unwrap())).await;
        assert_eq!(second, ["evt_cus_2"]);
        assert_eq!(ids(&format!("limit=1&from=2025-06-15T15:07:40Z&cursor={}", next.unwrap())).await, (vec![], None));
    });
}

#[test]
fn a_relay_that_does_not_answer_is_named() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("RELAY_ADMIN_URLS", "http://127.0.0.1:1")]).await;
        app.subscriber("cus_1", "user_1").await;
        let shown = app.event("evt_cus_1").await;
        let relay = &shown["relays"][0];
        assert_eq!((&relay["relay"], &relay["reachable"]), (&json!("http://127.0.0.1:1/"), &json!(false)));
        // Whether a silent relay has an event that is not here is not known.
        assert_eq!(app.event("evt_9").await["event"], json!(null));
        let again = app.act("/api/admin/events/evt_cus_1/redeliver", &json!({ "reason": "it is missing" })).await;
        assert_eq!(
            again.json()["relays"],
            json!([{ "relay": "http://127.0.0.1:1/", "reachable": false, "outcome": null }])
        );
        let acts = app.look_up("/api/admin/audit?action=webhook_event.redeliver").await.json();
        assert_eq!(acts["data"][0]["reason"], "it is missing");
    });
}

#[rocket::async_test]
async fn only_operators_look_events_up() {
    let app = TestApp::on(db_that_is_away()).await;
    for path in ["/api/admin/events", "/api/admin/events/evt_1"] {
        assert_eq!(app.get(path).await.refusal(), (401, "unauthorized".to_owned()), "the internal key opens {path}");
        let as_user = app.as_user(Method::Get, path, &signed_in("user_1", "user")).await;
        assert_eq!(as_user.refusal(), (403, "forbidden".to_owned()), "{path}");
        assert_eq!(app.look_up(path).await.refusal(), (503, "database_unavailable".to_owned()), "{path}");
    }
    let path = "/api/admin/events/evt_1/redeliver";
    assert_eq!(app.post(path, &json!({ "reason": "x" })).await.refusal(), (401, "unauthorized".to_owned()));
    assert_eq!(app.act(path, &json!({ "reason": "" })).await.refused_parameter().2.as_deref(), Some("reason"));
}
