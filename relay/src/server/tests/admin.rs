//! The private listener.

use http::Method;
use serde_json::{Value, json};

use super::backend::{Backend, Reply};
use super::harness::{Setup, TestRelay, TestResponse};

#[tokio::test]
async fn it_says_that_the_relay_lives_and_whether_it_takes_events() {
    let mut backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    assert_eq!(relay.admin("/live").await.status, 200);
    assert_eq!(relay.admin("/ready").await.status, 200);
    backend.go_away().await;
    assert_eq!(relay.admin("/ready").await.status, 200, "the backend makes no difference");
    relay.inner.journal.close().await;
    assert_eq!(relay.admin("/ready").await.error(), (503, "not_ready".into()));
    assert_eq!(relay.admin("/live").await.status, 200);
}

#[tokio::test]
async fn it_has_nothing_else() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    for path in ["/", "/api/webhooks/stripe", "/metrics/", "/ready/x"] {
        assert_eq!(relay.admin(path).await.error(), (404, "not_found".into()), "{path}");
    }
    let url = format!("http://{}/ready", relay.inner.admin_addr);
    let response = TestResponse::of(relay.client.post(url)).await;
    assert_eq!(response.error(), (405, "method_not_allowed".into()));
    assert_eq!(response.headers["allow"], "GET, HEAD");
}

impl TestRelay {
    async fn with_key(&self, method: Method, path: &str, body: &Value) -> TestResponse {
        let request = self.client.request(method, format!("http://{}{path}", self.inner.admin_addr));
        TestResponse::of(request.header("x-internal-api-key", "older").body(body.to_string())).await
    }

    async fn journal(&self, query: &str) -> Vec<Value> {
        let listed = self.with_key(Method::GET, &format!("/journal{query}"), &Value::Null).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        listed.json()["data"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn its_journal_is_for_whoever_has_the_internal_key() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    for path in ["/journal", "/status"] {
        assert_eq!(relay.admin(path).await.error(), (403, "forbidden".into()), "{path}");
        assert_eq!(relay.get(path).await.error(), (404, "not_found".into()), "the public listener has no {path}");
        let url = format!("http://{}{path}", relay.inner.admin_addr);
        for key in ["", "wrong", "internal,older"] {
            let response = TestResponse::of(relay.client.get(&url).header("x-internal-api-key", key)).await;
            assert_eq!(response.error(), (403, "forbidden".into()), "{path} by {key:?}");
        }
    }
    let response = relay.with_key(Method::GET, "/journal/redeliver", &Value::Null).await;
    assert_eq!(
        (response.error(), &response.headers["allow"]),
        ((405, "method_not_allowed".into()), &"POST".parse().unwrap())
    );
}

#[tokio::test]
async fn an_event_is_found_in_the_journal_by_what_is_known_of_it() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    let request = relay.event("evt_1", "invoice.paid").header("x-request-id", "req_of_stripe");
    assert_eq!(TestResponse::of(request).await.status, 200);
    relay.wait_until_all_is_confirmed().await;
    backend.reply(|_| Reply::Respond(500, String::new()));
    relay.take("evt_2").await;
    relay.inner.journal.flush().await.unwrap();

    let all = relay.journal("").await;
    assert_eq!((&all[0]["eventId"], &all[1]["eventId"]), (&json!("evt_2"), &json!("evt_1")), "the newest first");
    let found = relay.journal("?eventId=evt_1").await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["type"], &found[0]["confirmed"], &found[0]["attempts"], &found[0]["requestId"]),
        (&json!("invoice.paid"), &json!(true), &json!(1), &json!("req_of_stripe"))
    );
    let waiting = relay.journal("?unconfirmed=true").await;
    assert_eq!((waiting.len(), &waiting[0]["eventId"]), (1, &json!("evt_2")));
    assert_eq!(relay.journal("?eventId=evt_9").await, [Value::Null; 0]);
    assert_eq!(relay.journal("?to=2020-01-01T00:00:00Z").await, [Value::Null; 0]);
    let first = relay.with_key(Method::GET, "/journal?limit=1", &Value::Null).await.json();
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(relay.journal(&format!("?limit=1&cursor={cursor}")).await[0]["eventId"], "evt_1");
    for bad in ["?limit=0", "?limit=101", "?from=now", "?cursor=x", "?unconfirmed=1"] {
        let refused = relay.with_key(Method::GET, &format!("/journal{bad}"), &Value::Null).await;
        assert_eq!(refused.error(), (422, "invalid_parameter".into()), "{bad}");
    }
}

#[tokio::test]
async fn an_event_is_delivered_again_at_an_operators_word() {
    let backend = Backend::start(|_| Reply::Respond(400, String::new())).await;
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_1").await;
    let again = async || {
        let ids = json!({ "eventIds": ["evt_1", "evt_9"] });
        relay.with_key(Method::POST, "/journal/redeliver", &ids).await.json()
    };
    let refused = again().await;
    assert_eq!(refused["redelivered"], 0, "{refused}");
    let expected = json!([
        { "eventId": "evt_9", "outcome": "unknown", "status": null },
        { "eventId": "evt_1", "outcome": "refused", "status": 400 },
    ]);
    assert_eq!(refused["results"], expected);
    backend.reply(|_| Reply::Confirm);
    assert_eq!(again().await["redelivered"], 1);
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(again().await["redelivered"], 1, "what is confirmed too");
    for bad in [json!({ "eventIds": [] }), json!({ "eventIds": vec!["evt_1"; 101] })] {
        let refused = relay.with_key(Method::POST, "/journal/redeliver", &bad).await;
        assert_eq!(refused.error(), (422, "invalid_parameter".into()));
    }
    let refused = relay.with_key(Method::POST, "/journal/redeliver", &json!("x")).await;
    assert_eq!(refused.error(), (400, "invalid_json".into()));
}

#[tokio::test]
async fn its_status_has_the_numbers_of_its_metrics() {
    let backend = Backend::start(|_| Reply::Respond(403, String::new())).await;
    let relay = Setup::with(&backend, &[("RELAY_ID", "relay-a")]).start().await;
    relay.take("evt_1").await;
    let status = relay.with_key(Method::GET, "/status", &Value::Null).await.json();
    assert_eq!(
        (&status["relay"], &status["canAppend"], &status["unconfirmed"]),
        (&json!("relay-a"), &json!(true), &json!(1))
    );
    assert_eq!(status["metrics"][r#"tollgate_relay_webhooks_total{answer="received"}"#], 1.0);
    assert!(status["journalBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{status}");
    relay.inner.journal.close().await;
    assert_eq!(relay.with_key(Method::GET, "/status", &Value::Null).await.json()["canAppend"], false);
}

#[tokio::test]
async fn metrics_say_how_far_behind_the_backend_is() {
    let backend = Backend::start(|_| Reply::Respond(403, String::new())).await;
    let relay = TestRelay::with(&backend).await;
    for id in ["evt_1", "evt_2"] {
        relay.take(id).await;
    }
    let response = relay.admin("/metrics").await;
    assert_eq!(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let has = |metrics: &str, line: &str| assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    has(&response.body, "tollgate_relay_unconfirmed_events 2");
    has(&response.body, r#"tollgate_relay_webhooks_total{answer="received"} 2"#);
    has(&response.body, "tollgate_relay_journal_can_append 1");
    let age = response.body.lines().find_map(|line| line.strip_prefix("tollgate_relay_oldest_unconfirmed_seconds "));
    assert!(age.unwrap().parse::<f64>().unwrap() > 0.0);
    backend.reply(|_| Reply::Confirm);
    relay.wait_until_all_is_confirmed().await;
    let caught_up = relay.admin("/metrics").await.body;
    has(&caught_up, "tollgate_relay_unconfirmed_events 0");
    has(&caught_up, "tollgate_relay_oldest_unconfirmed_seconds 0");
}
