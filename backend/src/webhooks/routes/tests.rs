//! The intake and the events' list, through Rocket's local client, on both engines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use insta::{allow_duplicates, assert_snapshot};
use proptest::prelude::*;
use rocket::http::{ContentType, Method};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_shared::json_seq;

use super::{INTAKE_BYTES_MAX, INTAKE_PATH};
use crate::on_each_engine;
use crate::schema::MIGRATIONS;
use crate::testing::{TestApp, TestResponse, db_that_is_away, event, subscription};
use tollgate_db::{Db, DbError, Faults, Moment};

fn ignored(id: &str) -> Value {
    event(id, "test_helpers.test_clock.ready", &json!({ "id": "clock_1", "customer": "cus_1" }))
}

fn sequence(events: &[&str]) -> Vec<u8> {
    let mut sequence = Vec::new();
    for event in events {
        json_seq::push(&mut sequence, event.as_bytes());
    }
    sequence
}

impl TestApp {
    async fn deliver(&self, body: impl AsRef<[u8]>) -> TestResponse {
        TestResponse::of(self.request(Method::Post, INTAKE_PATH).header(ContentType::JSON).body(body)).await
    }

    async fn ids(&self, path: &str) -> Vec<String> {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.json()["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn an_event_is_answered_with_what_became_of_it() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("STRIPE_LIVEMODE", "false")]).await;
        let subscribed = event("evt_1", "customer.subscription.created", &subscription("active")).to_string();
        let unreadable =
            event("evt_3", "customer.subscription.created", &json!({ "object": "subscription" })).to_string();
        for (body, outcome) in [
            (&subscribed, "processed"),
            (&subscribed, "duplicate"),
            (&ignored("evt_2").to_string(), "ignored"),
            (&unreadable, "dead_lettered"),
            (&unreadable, "duplicate"),
        ] {
            let response = app.deliver(body).await;
            let id = serde_json::from_str::<Value>(body).unwrap()["id"].clone();
            assert_eq!(response.status, 200);
            assert_eq!(response.json(), json!({ "received": true, "eventId": id, "outcome": outcome }));
        }
    });
}

#[test]
fn what_is_taken_is_counted_by_outcome_and_class() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        app.deliver(ignored("evt_1").to_string()).await;
        app.deliver(event("evt_2", "hunter2.hunter2", &json!({})).to_string()).await;
        let counted = app.get("/metrics").await.body;
        for labels in [r#"outcome="processed",class="customer""#, r#"outcome="ignored",class="other""#] {
            assert!(counted.contains(&format!("tollgate_backend_events_total{{{labels}}}")), "{labels}: {counted}");
        }
        assert!(counted.contains("tollgate_backend_batch_events_bucket"), "{counted}");
        assert!(!counted.contains("hunter2"));
    });
}

#[test]
fn what_is_no_event_is_400_and_stored_nowhere() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for body in
            ["", "hunter2", "[]", "{}", r#"{"id":"evt_1"}"#, r#"{"id":"","type":"x"}"#, r#"{"id":7,"type":"x"}"#]
        {
            let response = app.deliver(body).await;
            assert_eq!(response.refusal(), (400, "malformed_event".to_owned()), "{body}");
            assert!(!response.body.contains("hunter2"));
        }
        assert_eq!(app.ids("/v1/webhook-events").await, [""; 0]);
    });
}

#[test]
fn a_sequence_is_answered_in_its_order_each_as_it_would_have_been_alone() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let subscribed = event("evt_1", "customer.subscription.created", &subscription("active")).to_string();
        let body = sequence(&["nonsense", &subscribed, &ignored("evt_2").to_string(), &subscribed, "", "{}"]);
        let response = app.deliver_several(&body).await;
        assert_eq!(response.status, 200);
        let malformed = json!({
            "eventId": null,
            "status": 400,
            "received": false,
            "error": {
                "code": "malformed_event",
                "message": "an event is a JSON object with a string `id` of 1 to 255 characters and a string `type`",
                "param": null,
                "requestId": response.request_id,
            },
        });
        let taken =
            |id: &str, outcome: &str| json!({ "eventId": id, "status": 200, "received": true, "outcome": outcome });
        assert_eq!(
            response.json(),
            json!({ "results": [
                malformed, taken("evt_1", "processed"), taken("evt_2", "ignored"), taken("evt_1", "duplicate"), malformed, malformed,
            ]})
        );
        assert_eq!(app.deliver_several("").await.json(), json!({ "results": [] }));
    });
}

#[test]
fn a_sequence_of_256_is_taken_and_of_one_more_nothing_is_stored() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let events: Vec<_> =
            (0..=json_seq::EVENTS_MAX).map(|number| ignored(&format!("evt_{number}")).to_string()).collect();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let response = app.deliver_several(sequence(&events)).await;
        assert_eq!(response.refusal(), (413, "batch_too_large".to_owned()));
        assert_eq!(app.ids("/v1/webhook-events").await, [""; 0]);

        let response = app.deliver_several(sequence(&events[1..])).await;
        let results = response.json()["results"].as_array().unwrap().clone();
        assert_eq!(results.len(), json_seq::EVENTS_MAX);
        assert!(results.iter().all(|result| result["outcome"] == "ignored"));
        assert_eq!(results[255]["eventId"], "evt_256");
    });
}

#[rocket::async_test]
async fn what_cannot_be_stored_is_503_alone_and_in_a_sequence() {
    let app = TestApp::on(db_that_is_away()).await;
    let body = ignored("evt_1").to_string();
    assert_eq!(app.deliver(&body).await.refusal(), (503, "database_unavailable".to_owned()));
    let response = app.deliver_several(sequence(&[&body])).await;
    assert_eq!(response.status, 200);
    let result = &response.json()["results"][0];
    assert_eq!(
        (&result["eventId"], &result["status"], &result["received"]),
        (&json!("evt_1"), &json!(503), &json!(false))
    );
    assert_eq!(result["error"]["code"], "database_unavailable");
}

#[test]
fn an_older_program_takes_no_event_of_a_newer_database() {
    on_each_engine!(async |db| {
        let newer_program = Db::open(db.url(), &MIGRATIONS).unwrap();
        let change = async |sql| {
            let mut tx = newer_program.write().await.unwrap();
            tx.sql(sql).run().await.unwrap();
            tx.commit().await.unwrap();
        };
        // One that was there before goes on: it is replaced in its turn.
        let replica = TestApp::on(Db::open(db.url(), &MIGRATIONS).unwrap()).await;
        assert_eq!(replica.get("/ready").await.status, 200);
        change("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'of tomorrow', 'x')").await;
        replica.take_a_subscriber().await;

        let app = TestApp::on(db).await;
        let body = ignored("evt_1").to_string();
        let unavailable = (503, "database_unavailable".to_owned());
        assert_eq!(app.deliver(&body).await.refusal(), unavailable);
        for path in ["/v1/customers/cus_1", "/v1/webhook-events", "/v1/webhook-events/evt_subscribed", "/ready"] {
            assert_eq!(app.get(path).await.refusal(), unavailable, "{path}");
        }
        assert_eq!(replica.ids("/v1/webhook-events").await, ["evt_subscribed"]);

        change("DELETE FROM schema_migrations WHERE version = 999").await;
        assert_eq!(app.deliver(&body).await.json()["outcome"], "ignored");
        newer_program.close().await;
        replica.inner.db.close().await;
    });
}

#[test]
fn an_event_with_endless_names_is_stored_like_any_other() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        // Nothing in it can be compressed.
        let endless: String = (0..2_000).map(|n| hex::encode(Sha256::digest(n.to_string()))).collect();
        let object = json!({ "id": &endless, "customer": &endless });
        let response = app.deliver(event("evt_1", &endless, &object).to_string()).await;
        assert_eq!(response.json()["outcome"], "ignored", "{response:?}");
        let listed = app.get("/v1/webhook-events/evt_1").await.json();
        assert!(endless.starts_with(listed["type"].as_str().unwrap()));
        assert_eq!(app.ids("/v1/webhook-events").await, ["evt_1"]);
    });
}

#[test]
fn what_fails_in_a_way_that_may_pass_is_500_stored_until_its_next_attempt_works() {
    on_each_engine!(async |db| {
        let faults = Arc::new(Faults::default());
        let app = TestApp::on(db.with_faults(faults.clone())).await;
        let id = app.fail_one(&faults).await;
        let body = event(&id, "customer.subscription.created", &subscription("active")).to_string();

        // It is not due: a repeat is answered the same and uses up no attempt.
        let again = app.deliver(&body).await;
        assert_eq!(again.status, 500);
        assert_eq!(again.json()["stored"], true);
        assert_eq!(again.json()["error"]["code"], "processing_failed");
        assert_eq!(again.json()["error"]["requestId"].as_str(), again.request_id.as_deref());
        let in_sequence = app.deliver_several(sequence(&[&body])).await.json()["results"][0].clone();
        assert_eq!((&in_sequence["status"], &in_sequence["received"]), (&json!(500), &json!(false)));
        let shown = app.get(&format!("/v1/webhook-events/{id}")).await.json();
        assert_eq!(
            (&shown["status"], &shown["attempts"], &shown["lastError"], &shown["processedAt"], &shown["nextAttemptAt"]),
            (&json!("failed"), &json!(1), &json!("database_error"), &Value::Null, &json!("2025-06-15T15:06:45Z"))
        );
        assert_eq!(app.ids("/v1/webhook-events?status=failed").await, std::slice::from_ref(&id));

        app.inner.clock.advance(Duration::from_secs(5));
        let due = app.deliver(&body).await;
        assert!(due.json()["outcome"] == "processed" || due.json()["outcome"] == "duplicate", "{due:?}");
        assert_eq!(app.get(&format!("/v1/webhook-events/{id}")).await.json()["status"], "processed");
    });
}

impl TestApp {
    /// Makes one event fail; says its id. The retry job uses the database too and may be the one that a fault hits: then
    /// the next event is tried.
    async fn fail_one(&self, faults: &Faults) -> String {
        for number in 0..50 {
            let id = format!("evt_{number}");
            faults.arm(2, Moment::Before, DbError::Other { code: "13".to_owned(), message: String::new() });
            let body = event(&id, "customer.subscription.created", &subscription("active")).to_string();
            let response = self.deliver(&body).await;
            if response.status == 500 {
                assert_eq!(response.json()["stored"], true);
                return id;
            }
            assert_eq!(response.status, 200, "{response:?}");
        }
        panic!("no event failed");
    }
}

#[rocket::async_test]
async fn every_answer_of_the_intake_says_that_it_takes_several() {
    let app = TestApp::on(db_that_is_away()).await;
    let post = |path| app.request(Method::Post, path);
    let responses = [
        TestResponse::of(app.client.post(INTAKE_PATH)).await,
        app.deliver("nonsense").await,
        app.deliver(ignored("evt_1").to_string()).await,
        app.deliver_several("").await,
        TestResponse::of(app.request(Method::Get, INTAKE_PATH)).await,
        TestResponse::of(post(INTAKE_PATH).header(rocket::http::Header::new("content-length", "99999999999"))).await,
    ];
    let statuses: Vec<_> = responses.iter().map(|response| response.status).collect();
    assert_eq!(statuses, [403, 400, 503, 200, 404, 413]);
    for response in responses {
        assert_eq!(response.header("accept-post"), Some("application/json, application/json-seq"), "{response:?}");
    }
    assert_eq!(TestResponse::of(post("/v1/api-keys/verify")).await.header("accept-post"), None);
}

#[test]
fn an_event_of_32_mib_is_taken_and_one_byte_more_is_413() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let mut body = ignored("evt_1").to_string();
        body.push_str(&" ".repeat(INTAKE_BYTES_MAX - body.len()));
        assert_eq!(app.deliver(&body).await.json()["outcome"], "ignored");
        body.push(' ');
        assert_eq!(app.deliver(&body).await.refusal(), (413, "body_too_large".to_owned()));
    });
}

#[test]
fn an_event_is_shown_with_its_very_bytes_when_asked_for() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let body = " {\"type\":\"x.y\", \"id\":\"evt_1\",\t\"n\": 1.0, \"s\": \"\\u0000é\"}\n";
        app.deliver(body).await;
        let response = app.get("/v1/webhook-events/evt_1").await;
        let shown = response.shown();
        allow_duplicates! { assert_snapshot!(shown, @r#"
        200
        {
          "apiVersion": null,
          "attempts": 1,
          "createdAt": null,
          "id": "evt_1",
          "lastError": null,
          "nextAttemptAt": null,
          "processedAt": "2025-06-15T15:06:40Z",
          "reason": null,
          "receivedAt": "2025-06-15T15:06:40Z",
          "status": "ignored",
          "type": "x.y"
        }
        "#); }
        let with_payload = app.get("/v1/webhook-events/evt_1?payload=true").await;
        assert_eq!(with_payload.json()["payload"], body);
        assert_eq!(app.get("/v1/webhook-events/evt_1?payload=false").await.json(), response.json());
    });
}

#[test]
fn an_event_that_was_never_taken_is_404() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for path in ["/v1/webhook-events/evt_hunter2", "/v1/webhook-events/%ff%00hunter2"] {
            let response = app.get(path).await;
            assert_eq!(response.refusal(), (404, "not_found".to_owned()));
            assert!(!response.body.contains("hunter2"));
        }
    });
}

#[rocket::async_test]
async fn a_list_refuses_what_it_cannot_read_by_name() {
    let app = TestApp::on(db_that_is_away()).await;
    for (query, param) in [
        ("status=hunter2", "status"),
        ("status=", "status"),
        ("status=Processed", "status"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=hunter2", "limit"),
        ("cursor=hunter2", "cursor"),
        ("cursor=", "cursor"),
    ] {
        let response = app.get(&format!("/v1/webhook-events?{query}")).await;
        let refused = (422, "invalid_parameter".to_owned(), Some(param.to_owned()));
        assert_eq!(response.refused_parameter(), refused, "{query}");
        assert!(!response.body.contains("hunter2"));
    }
    let response = app.get("/v1/webhook-events/evt_1?payload=hunter2").await;
    assert_eq!(response.refused_parameter().2.as_deref(), Some("payload"));
}

#[test]
fn the_list_is_newest_first_and_each_filter_narrows_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        app.inner.clock.advance(Duration::from_secs(1));
        app.deliver(ignored("evt_ignored").to_string()).await;
        app.inner.clock.advance(Duration::from_secs(1));
        let unreadable = event("evt_dead", "customer.subscription.updated", &json!({ "customer": "cus_2" }));
        app.deliver(unreadable.to_string()).await;

        let list = async |query: &str| app.ids(&format!("/v1/webhook-events?{query}")).await;
        assert_eq!(list("").await, ["evt_dead", "evt_ignored", "evt_subscribed"]);
        assert_eq!(list("status=processed").await, ["evt_subscribed"]);
        assert_eq!(list("status=ignored").await, ["evt_ignored"]);
        assert_eq!(list("status=dead_lettered").await, ["evt_dead"]);
        assert_eq!(list("status=failed").await, [""; 0]);
        assert_eq!(list("type=customer.subscription.created").await, ["evt_subscribed"]);
        assert_eq!(list("customer=cus_1").await, ["evt_ignored", "evt_subscribed"]);
        assert_eq!(list("customer=cus_1&status=ignored").await, ["evt_ignored"]);
        assert_eq!(list("customer=cus_1&type=x").await, [""; 0]);
        assert_eq!(list("customer=").await, [""; 0]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Events share seconds, and new ones come while somebody is paging.
    #[test]
    fn paging_shows_each_event_once(gaps in prop::collection::vec(0..2_u64, 1..12), limit in 1..5_usize, filter in 0..3_usize) {
        let query = ["", "&status=ignored", "&customer=cus_1"][filter];
        on_each_engine!(async |db| {
            let app = TestApp::on(db).await;
            for (number, gap) in gaps.iter().enumerate() {
                app.inner.clock.advance(Duration::from_secs(*gap));
                app.deliver(ignored(&format!("evt_{number}")).to_string()).await;
            }
            let mut seen = Vec::new();
            let mut cursor = String::new();
            for page_number in 0.. {
                let page = app.get(&format!("/v1/webhook-events?limit={limit}{cursor}{query}")).await.json();
                let rows = page["data"].as_array().unwrap();
                assert!(rows.len() <= limit);
                seen.extend(rows.iter().map(|row| (row["receivedAt"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().to_owned())));
                app.inner.clock.advance(Duration::from_secs(1));
                app.deliver(ignored(&format!("evt_late_{page_number}")).to_string()).await;
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
                assert_eq!(page["hasMore"], true);
            }
            assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
            let ids: BTreeSet<_> = seen.into_iter().map(|(_, id)| id).collect();
            assert_eq!(ids, (0..gaps.len()).map(|number| format!("evt_{number}")).collect());
        });
    }
}
