//! What all routes have in common, through Rocket's local client; in `connections`, what lies before them.

mod connections;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rocket::http::{ContentType, Header, Method};
use rocket::local::asynchronous::Client;
use rocket::{get, routes};
use serde_json::json;
use tollgate_db::testing::wait_until;
use tollgate_db::{DbError, Faults, Moment};

use crate::http::auth::INTERNAL_KEY_HEADER;
use crate::http::body::JSON_BYTES_MAX;
use crate::http::in_flight::InFlight;
use crate::on_each_engine;
use crate::server;
use crate::testing::{INTERNAL_KEY, TestApp, TestResponse, db_that_is_away, event};
use crate::webhooks::routes::INTAKE_PATH;

#[get("/panics")]
fn panics() -> &'static str {
    panic!("hunter2")
}

/// Statuses by which Rocket itself ends a request.
#[get("/ends-with/<status>")]
fn ends_with(status: u16) -> rocket::http::Status {
    rocket::http::Status::new(status)
}

#[rocket::async_test]
async fn a_path_or_method_that_is_not_built_is_404_in_the_form_of_an_error() {
    let app = TestApp::on(db_that_is_away()).await;
    for (method, path) in [
        (Method::Get, "/"),
        (Method::Get, "/hunter2"),
        (Method::Get, "/v1/payments"),
        (Method::Get, "/api/license/activate"),
        (Method::Delete, "/live"),
        (Method::Put, "/v1/customers/cus_1"),
        (Method::Options, "/live"),
    ] {
        let response = TestResponse::of(app.request(method, path)).await;
        assert_eq!(response.refusal(), (404, "not_found".to_owned()), "{method} {path}");
        assert!(!response.body.contains("hunter2"));
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
}

#[rocket::async_test]
async fn every_status_that_rocket_decides_on_has_the_form_of_an_error() {
    let app = TestApp::on(db_that_is_away()).await;
    let client = Client::untracked(server::rocket(app.inner.clone(), app.inbox.clone()).mount("/", routes![ends_with]))
        .await
        .unwrap();
    for (status, code) in [
        (400, "bad_request"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (408, "bad_request"),
        (413, "body_too_large"),
        (415, "unsupported_media_type"),
        (418, "bad_request"),
        (422, "invalid_parameter"),
        (500, "internal_error"),
        (502, "internal_error"),
        (503, "unavailable"),
    ] {
        let response = TestResponse::of(client.get(format!("/ends-with/{status}"))).await;
        assert_eq!(response.refusal(), (status, code.to_owned()));
    }
}

#[rocket::async_test]
async fn a_panic_is_500_and_says_nothing_of_itself() {
    let app = TestApp::on(db_that_is_away()).await;
    let client = Client::untracked(server::rocket(app.inner.clone(), app.inbox.clone()).mount("/", routes![panics]))
        .await
        .unwrap();
    let response = TestResponse::of(client.get("/panics").header(Header::new("x-request-id", "req-of-a-caller"))).await;
    assert_eq!(response.refusal(), (500, "internal_error".to_owned()));
    assert_eq!(response.request_id.as_deref(), Some("req-of-a-caller"));
    assert!(!response.body.contains("hunter2"));
}

#[rocket::async_test]
async fn a_good_request_id_is_kept_and_another_is_replaced() {
    let app = TestApp::on(db_that_is_away()).await;
    let asked = async |id: &'static str| {
        TestResponse::of(app.client.get("/live").header(Header::new("x-request-id", id))).await.request_id.unwrap()
    };
    assert_eq!(asked("a.caller:s-id_1").await, "a.caller:s-id_1");
    for bad in ["", "short", "with a blank", "with/a/slash"] {
        assert!(asked(bad).await.starts_with("req_"), "{bad}");
    }
    let unasked = TestResponse::of(app.client.get("/live")).await.request_id.unwrap();
    assert!(unasked.starts_with("req_") && unasked.len() == 36);
}

#[rocket::async_test]
async fn requests_are_counted_while_they_are_in_flight() {
    let app = TestApp::on(db_that_is_away()).await;
    let metrics = app.get("/metrics").await;
    assert!(metrics.body.contains("tollgate_backend_requests_in_flight 1\n"), "{}", metrics.body);
    app.client.rocket().state::<InFlight>().unwrap().none_left().await;
}

#[rocket::async_test]
async fn only_the_internal_key_opens_internal_routes_and_any_of_several_does() {
    let app = TestApp::with(db_that_is_away(), &[("INTERNAL_API_KEY", "new-key, old-key")]).await;
    let asked = async |keys: &'static [&'static str]| {
        let mut request = app.client.get("/v1/customers/cus_1");
        for key in keys {
            request.add_header(Header::new(INTERNAL_KEY_HEADER, *key));
        }
        TestResponse::of(request).await.refusal()
    };
    // Past the guard it is the database that is missing.
    for good in [&["new-key"], &["old-key"]] {
        assert_eq!(asked(good).await, (503, "database_unavailable".to_owned()), "{good:?}");
    }
    let bad: [&[&str]; 6] = [&[], &[""], &["new-ke"], &["new-key,old-key"], &["NEW-KEY"], &["new-key", "old-key"]];
    for bad in bad {
        assert_eq!(asked(bad).await, (403, "forbidden".to_owned()), "{bad:?}");
    }
}

#[rocket::async_test]
async fn the_relays_own_secret_opens_the_intake_alone_and_nothing_else_does() {
    let app = TestApp::with(db_that_is_away(), &[("RELAY_INTERNAL_SECRET", "a-relay-secret")]).await;
    let asked = async |method: Method, path: &'static str, key: &'static str| {
        let request = app.client.req(method, path).header(Header::new(INTERNAL_KEY_HEADER, key));
        TestResponse::of(request.body("not an event")).await.refusal().1
    };
    let intake = INTAKE_PATH;
    assert_eq!(asked(Method::Post, intake, "a-relay-secret").await, "malformed_event");
    assert_eq!(asked(Method::Post, intake, INTERNAL_KEY).await, "forbidden");
    assert_eq!(asked(Method::Get, "/v1/customers/cus_1", INTERNAL_KEY).await, "database_unavailable");
    assert_eq!(asked(Method::Get, "/v1/customers/cus_1", "a-relay-secret").await, "forbidden");
}

#[rocket::async_test]
async fn a_body_is_taken_as_json_only_and_up_to_its_limit() {
    let app = TestApp::on(db_that_is_away()).await;
    let path = "/v1/api-keys/verify";
    let asked = async |content_type: Option<ContentType>, body: String| {
        let mut request = app.request(Method::Post, path).body(body);
        if let Some(content_type) = content_type {
            request.add_header(content_type);
        }
        TestResponse::of(request).await.refusal()
    };
    for other in [None, Some(ContentType::Form), Some(ContentType::Plain), Some(ContentType::new("text", "json"))] {
        assert_eq!(asked(other, "{}".to_owned()).await, (415, "unsupported_media_type".to_owned()));
    }
    let with_charset = ContentType::JSON.with_params(("charset", "utf-8"));
    assert_eq!(asked(Some(with_charset), "{".to_owned()).await, (400, "invalid_json".to_owned()));
    let largest = JSON_BYTES_MAX;
    assert_eq!(asked(Some(ContentType::JSON), " ".repeat(largest)).await, (400, "invalid_json".to_owned()));
    assert_eq!(asked(Some(ContentType::JSON), " ".repeat(largest + 1)).await, (413, "body_too_large".to_owned()));
}

#[rocket::async_test]
async fn without_the_database_the_process_lives_and_is_not_ready() {
    let app = TestApp::on(db_that_is_away()).await;
    assert_eq!(app.get("/live").await.status, 200);
    assert_eq!(app.get("/ready").await.refusal(), (503, "database_unavailable".to_owned()));
    for path in ["/v1/customers/cus_1", "/v1/webhook-events", "/v1/webhook-events/evt_1"] {
        let response = app.get(path).await;
        assert_eq!(response.refusal(), (503, "database_unavailable".to_owned()), "{path}");
        assert!(response.header("retry-after").is_some());
    }
    assert!(app.get("/metrics").await.body.contains("tollgate_backend_database_up 0\n"));
}

#[test]
fn with_the_database_it_is_ready_and_counts_what_is_in_trouble() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        assert_eq!(app.get("/ready").await.body, r#"{"status":"ready"}"#);
        let metrics = app.get("/metrics").await;
        assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
        for line in [
            "tollgate_backend_database_up 1\n",
            "tollgate_backend_events_failed 0\n",
            "tollgate_backend_events_dead_lettered 0\n",
            "tollgate_backend_dead_letters{source=\"webhook\"} 0\n",
            "tollgate_backend_dead_letters{source=\"notification\"} 0\n",
            "tollgate_backend_dead_letter_oldest_seconds 0\n",
        ] {
            assert!(metrics.body.contains(line), "{line}: {}", metrics.body);
        }
    });
}

/// The names of all metrics in Prometheus's text, comments included.
fn metric_names(metrics: &str) -> BTreeSet<&str> {
    let named = metrics.lines().filter_map(|line| match line.strip_prefix("# ") {
        Some(comment) => comment.split(' ').nth(1),
        None => line.split(['{', ' ']).next(),
    });
    named.filter(|name| !name.is_empty()).collect()
}

#[test]
fn a_gauge_that_is_not_known_is_left_out() {
    on_each_engine!(async |db| {
        let faults = Arc::new(Faults::default());
        let app = TestApp::on(db.with_faults(faults.clone())).await;
        let poison = event("evt_poison", "customer.subscription.updated", &json!({ "id": "sub_1" }));
        assert_eq!(app.post(INTAKE_PATH, &poison).await.json()["outcome"], "dead_lettered");
        let with = app.get("/metrics").await.body;
        assert!(with.contains("tollgate_backend_events_dead_lettered 1\n"), "{with}");
        assert!(with.contains("tollgate_backend_dead_letters{source=\"webhook\"} 1\n"), "{with}");
        app.inner.clock.advance(Duration::from_secs(90));
        let later = app.get("/metrics").await.body;
        assert!(later.contains("tollgate_backend_dead_letter_oldest_seconds 90\n"), "{later}");

        faults.arm(1, Moment::Before, DbError::Unavailable { reason: "cut off".into() });
        let without = app.get("/metrics").await.body;
        assert!(!faults.is_armed() && without.contains("tollgate_backend_database_up 0\n"), "{without}");
        let (with_names, without_names) = (metric_names(&with), metric_names(&without));
        let left_out: Vec<_> = with_names.difference(&without_names).copied().collect();
        assert_eq!(
            left_out,
            [
                "tollgate_backend_alerts_firing",
                "tollgate_backend_dead_letter_oldest_seconds",
                "tollgate_backend_dead_letters",
                "tollgate_backend_events_dead_lettered",
                "tollgate_backend_events_dead_lettered_oldest_seconds",
                "tollgate_backend_events_failed",
                "tollgate_backend_events_failed_oldest_seconds",
                "tollgate_backend_messages_queued",
            ]
        );

        let again = app.get("/metrics").await.body;
        assert!(again.contains("tollgate_backend_events_dead_lettered 1\n"), "{again}");
    });
}

#[test]
fn while_nobody_writes_events_it_is_not_ready() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        assert_eq!(app.get("/ready").await.status, 200);
        app.inner.tasks.stop();
        wait_until("it is not ready", async || app.get("/ready").await.status == 503).await;
        assert_eq!(app.get("/ready").await.refusal(), (503, "unavailable".to_owned()));
        assert_eq!(app.get("/live").await.status, 200);
    });
}
