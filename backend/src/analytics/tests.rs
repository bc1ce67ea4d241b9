//! What operators are told of how things went, on both engines.

mod sums;

use std::time::Duration;

use rocket::http::{Header, Method};
use serde_json::{Value, json};
use tollgate_db::Engine;
use tollgate_db::testing::block_on;
use tollgate_domain::analytics::{health, patterns, points, samples, sources};

use super::job;
use crate::alerts::counted;
use crate::licenses::last_seen;
use crate::on_each_engine;
use crate::schema::testing::migrated;
use crate::testing::{
    AUTH_SECRET, START, TestApp, TestResponse, bearer, db_that_is_away, event, sign_token, subscription_of,
};
use crate::webhooks::routes::INTAKE_PATH;

const HOUR: u64 = 3600;

/// `Authorization` of an operator, for longer than any story.
fn operator() -> Header<'static> {
    let claims = json!({ "sub": "ada", "role": "admin", "exp": START + 3650 * 86_400 });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

impl TestApp {
    /// What an operator is told at a path below `/api/analytics/`.
    async fn analytics(&self, path: &str) -> TestResponse {
        self.as_user(Method::Get, &format!("/api/analytics/{path}"), &operator()).await
    }

    /// The values of a trend.
    async fn values(&self, query: &str) -> Vec<f64> {
        let trend = self.analytics(&format!("trends?{query}")).await.json();
        let points = trend["points"].as_array().unwrap_or_else(|| panic!("{trend}"));
        points.iter().map(|point| point["value"].as_f64().unwrap()).collect()
    }

    /// Lets time go by, and the job run after it.
    async fn pass(&self, seconds: u64) {
        self.inner.clock.advance(Duration::from_secs(seconds));
        job::make(&self.inner, |_| ()).await.unwrap();
    }

    async fn key_of(&self, customer: &str) -> String {
        let state = self.get(&format!("/v1/customers/{customer}")).await.json();
        state["licenses"][0]["key"].as_str().unwrap().to_owned()
    }

    /// An app's word, by its machine's name.
    async fn app_says(&self, path: &str, key: &str, more: Value) -> Value {
        let mut body = json!({ "licenseKey": key, "machineId": "a-fingerprint" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.post(path, &body).await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
        last_seen::write(&self.inner).await.unwrap();
        answer.json()
    }

    async fn app_activates(&self, key: &str) {
        self.app_says("/api/license/activate", key, json!({ "platform": "linux", "appVersion": "1.0" })).await;
    }

    /// The ids of the events in a licence's log.
    async fn whole_log_of(&self, key: &str) -> Vec<String> {
        let page = TestResponse::of(self.client.get(format!("/api/events/{key}/missed?limit=1000"))).await.json();
        page["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn every_statement_of_analytics_goes_by_an_index() {
    block_on(async {
        let statements = [
            &sources::STATEMENTS[..],
            &points::STATEMENTS,
            &samples::STATEMENTS,
            &health::STATEMENTS,
            &patterns::STATEMENTS,
        ];
        let statements: Vec<_> = statements.concat().into_iter().map(str::to_owned).collect();
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            assert_eq!(database.refused(&statements).await, []);
            assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
        }
    });
}

#[test]
fn an_hour_of_nothing_is_zero_and_one_of_something_is_not() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let trend = app.analytics("trends?metric=events").await.json();
        assert_eq!(
            (&trend["metric"], &trend["unit"], &trend["step"]),
            (&json!("events"), &json!("count"), &json!("hour"))
        );
        let points = trend["points"].as_array().unwrap();
        assert_eq!(points.len(), 24);
        assert_eq!(points[0], json!({ "at": "2025-06-14T16:00:00Z", "value": 0, "by": {} }));
        assert_eq!(points[23], json!({ "at": "2025-06-15T15:00:00Z", "value": 1, "by": {} }));
        let days = app.analytics("trends?metric=events&step=day").await.json();
        assert_eq!(days["points"].as_array().unwrap().len(), 30);
        assert_eq!(days["points"][29], json!({ "at": "2025-06-15T00:00:00Z", "value": 1, "by": {} }));
        // Only what is within the span counts, also of its first hour and its last.
        let within = "trends?metric=events&from=2025-06-15T15:06:41Z&to=2025-06-15T15:30:00Z";
        assert_eq!(
            app.analytics(within).await.json()["points"],
            json!([{ "at": "2025-06-15T15:00:00Z", "value": 0, "by": {} }])
        );
    });
}

#[rocket::async_test]
async fn what_cannot_be_told_is_refused() {
    let app = TestApp::on(db_that_is_away()).await;
    for (query, param) in [
        ("trends", "metric"),
        ("trends?metric=machines_seen", "metric"),
        ("trends?metric=events&step=week", "step"),
        ("trends?metric=events&from=yesterday", "from"),
        ("trends?metric=events&from=2025-06-15T15:00:00Z&to=2025-06-15T14:00:00Z", "from"),
        ("trends?metric=events&from=2025-01-01T00:00:00Z&to=2025-06-15T14:00:00Z", "from"),
        ("trends?metric=events&step=day&from=2020-01-01T00:00:00Z", "from"),
        ("health?status=well", "status"),
        ("health?cursor=x", "cursor"),
        ("patterns?hours=0", "hours"),
        ("patterns?hours=169", "hours"),
    ] {
        let refused = app.analytics(query).await.refused_parameter();
        assert_eq!((refused.0, refused.2.as_deref()), (422, Some(param)), "{query}");
    }
    let most = "trends?metric=events&from=2025-05-05T00:00:00Z&to=2025-06-15T16:00:00Z";
    assert_eq!(app.analytics(most).await.refusal(), (503, "database_unavailable".to_owned()), "a thousand are told");
}

#[test]
fn what_is_so_at_a_moment_stays_what_it_was_then() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let last = async |metric: &str| app.values(&format!("metric={metric}")).await.split_off(21);
        assert_eq!(last("mrr").await, [0.0, 0.0, 2900.0], "before anything was noted: now");
        app.pass(HOUR).await;
        app.take("evt_over", "customer.subscription.deleted", subscription_of("cus_1", "canceled")).await;
        assert_eq!(last("mrr").await, [0.0, 2900.0, 0.0]);
        // Again in the same hour: what was noted stays.
        app.pass(60).await;
        assert_eq!(last("mrr").await, [0.0, 2900.0, 0.0]);
        assert_eq!(last("subscriptions_active").await, [0.0, 1.0, 0.0]);
        let by = app.analytics("trends?metric=subscriptions_active").await.json();
        assert_eq!(by["points"][22]["by"], json!({ "pro": 1 }));
        assert_eq!(app.values("metric=mrr&step=day").await.last(), Some(&0.0));
        // Hours in which the job did not run have what the next one finds.
        app.subscriber("cus_2", "user_2").await;
        app.pass(2 * HOUR).await;
        assert_eq!(last("mrr").await, [2900.0, 2900.0, 2900.0]);
    });
}

#[test]
fn what_processes_measured_is_told_of_all_of_them() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let other = app.replica(db).await;
        let now = app.inner.clock.now();
        for process in [&app, &other] {
            for millis in [10, 10, 10, 40] {
                process.inner.measured.lag(now, chrono::Duration::milliseconds(millis));
            }
            job::write_measured(&process.inner).await.unwrap();
            job::write_measured(&process.inner).await.unwrap();
        }
        let last = async |metric: &str| *app.values(&format!("metric={metric}")).await.last().unwrap();
        let is_of_lags = |found: f64| (40.0..42.5).contains(&found);
        assert!(is_of_lags(last("event_lag_p95_ms").await), "{}", last("event_lag_p95_ms").await);
        assert_eq!((last("response_avg_ms").await, last("streams").await), (0.0, 0.0), "the clock stands still");
        for _ in 0..6 {
            app.pass(HOUR).await;
        }
        let lags = app.values("metric=event_lag_p95_ms").await;
        assert!(is_of_lags(lags[17]) && lags[18..].iter().all(|lag| *lag == 0.0), "{lags:?}");
        assert!(is_of_lags(*app.values("metric=event_lag_p95_ms&step=day").await.last().unwrap()));
        app.pass(30 * HOUR).await;
        let days = app.values("metric=event_lag_p95_ms&step=day").await;
        assert!(is_of_lags(days[27]), "its day is over: {days:?}");
    });
}

#[test]
fn rows_that_are_made_again_are_the_same() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let rows = async || {
            let mut tx = app.inner.read().await.unwrap();
            let sql = "SELECT id, value, total FROM analytics_points ORDER BY id";
            tx.sql(sql).all::<(String, i64, i64)>().await.unwrap()
        };
        app.pass(30 * HOUR).await;
        let made = rows().await;
        assert!(made.contains(&("events/hour/1749999600/".to_owned(), 1, 0)), "{made:?}");
        assert!(made.contains(&("events/day/1749945600/".to_owned(), 1, 0)), "{made:?}");
        app.pass(0).await;
        assert_eq!(rows().await, made);
    });
}

#[test]
fn rows_of_hours_are_kept_for_90_days_and_of_days_for_400() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let mut tx = app.inner.begin_write().await.unwrap();
        for (step, days) in [("hour", 89), ("hour", 91), ("day", 399), ("day", 401)] {
            let sql = "INSERT INTO analytics_points (id, metric, step, at, by_key, value, total)
                       VALUES ($1, 'other', $2, $3, '', 1, 0)";
            let at = app.inner.clock.now() - chrono::Duration::days(days);
            tx.sql(sql).bind(format!("{step}/{days}")).bind(step).bind(at).run().await.unwrap();
        }
        tx.commit().await.unwrap();
        app.pass(0).await;
        let mut tx = app.inner.read().await.unwrap();
        let sql = "SELECT id FROM analytics_points WHERE metric = 'other' ORDER BY id";
        let kept: Vec<(String,)> = tx.sql(sql).all().await.unwrap();
        assert_eq!(kept, [("day/399".to_owned(),), ("hour/89".to_owned(),)]);
    });
}

#[test]
fn licences_are_told_the_worst_first() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let mut keys = Vec::new();
        for customer in ["cus_1", "cus_2", "cus_3", "cus_4"] {
            app.subscriber(customer, "user_1").await;
            keys.push(app.key_of(customer).await);
        }
        // The first fails at one of two events, the second says nothing of one; nobody uses the fourth.
        for key in &keys[..3] {
            app.app_activates(key).await;
            app.app_says("/api/license/heartbeat", key, json!({})).await;
        }
        app.inner.clock.advance(Duration::from_secs(60));
        for (number, customer) in ["cus_1", "cus_2"].into_iter().enumerate() {
            let mut changed = subscription_of(customer, "active");
            changed["cancel_at_period_end"] = json!(true);
            changed["metadata"] = json!({ "user_id": "user_1" });
            app.take(&format!("evt_change_{number}"), "customer.subscription.updated", changed).await;
        }
        app.inner.clock.advance(Duration::from_secs(60));
        for key in &keys[..3] {
            app.app_says("/api/license/heartbeat", key, json!({})).await;
        }
        let log = app.whole_log_of(&keys[0]).await;
        let (last, others) = log.split_last().unwrap();
        app.app_says(
            "/api/events/acknowledge",
            &keys[0],
            json!({ "eventId": last, "status": "failed", "error": "disk full" }),
        )
        .await;
        app.app_says("/api/events/acknowledge", &keys[0], json!({ "eventId": others.last().unwrap() })).await;
        app.inner.clock.advance(Duration::from_secs(3 * HOUR));

        let told = app.analytics("health").await.json();
        assert_eq!(told["counts"], json!({ "healthy": 2, "degraded": 1, "critical": 0, "inactive": 1 }), "{told}");
        let rows = told["data"].as_array().unwrap();
        let mut ids = Vec::new();
        for customer in ["cus_1", "cus_2", "cus_3", "cus_4"] {
            ids.push(app.license_of(customer).await);
        }
        let worst = &rows[0];
        assert_eq!(
            (&worst["licenseId"], &worst["score"], &worst["status"]),
            (&json!(ids[0]), &json!(70), &json!("degraded")),
            "{told}"
        );
        assert_eq!(
            (&worst["acknowledged"], &worst["failed"], &worst["openDeadLetters"]),
            (&json!(2), &json!(1), &json!(1))
        );
        assert_eq!(
            (&worst["machines"], &worst["connected"], &worst["oldestUnacknowledgedSeconds"]),
            (&json!(1), &json!(0), &json!(null))
        );
        assert_eq!(worst["sent"], json!(log.len()));
        let silent = &rows[1];
        assert_eq!(
            (&silent["licenseId"], &silent["score"], &silent["status"]),
            (&json!(ids[1]), &json!(80), &json!("healthy")),
            "{told}"
        );
        assert_eq!(silent["oldestUnacknowledgedSeconds"], json!(3 * HOUR + 60));
        let status_of = |id: &str| rows.iter().find(|row| row["licenseId"] == id).unwrap()["status"].clone();
        assert_eq!((status_of(&ids[2]), status_of(&ids[3])), (json!("healthy"), json!("inactive")));

        // Page by page it is the same, and each status alone is a part of it.
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.analytics(&format!("health?limit=1{cursor}")).await.json();
            paged.extend(page["data"].as_array().unwrap().clone());
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, *rows);
        for status in ["healthy", "degraded", "critical", "inactive"] {
            let of_status = app.analytics(&format!("health?status={status}")).await.json();
            let expected: Vec<_> = rows.iter().filter(|row| row["status"] == status).cloned().collect();
            assert_eq!(of_status["data"], json!(expected), "{status}");
        }
        // It is counted once a minute, however often somebody looks.
        let letters = app.as_user(Method::Get, "/api/dlq?source=desktop", &operator()).await.json();
        let resolve = format!("/api/dlq/resolve/{}", letters["data"][0]["id"].as_str().unwrap());
        assert_eq!(app.as_user(Method::Post, &resolve, &operator()).await.status, 200);
        let score = async || app.analytics("health?limit=1").await.json()["data"][0]["score"].take();
        assert_eq!(score().await, 70);
        app.inner.clock.advance(Duration::from_secs(60));
        assert_eq!(score().await, 80);

        app.inner.clock.advance(Duration::from_secs(8 * 24 * HOUR));
        let counts = app.analytics("health").await.json()["counts"].clone();
        assert_eq!(counts, json!({ "healthy": 0, "degraded": 0, "critical": 0, "inactive": 4 }));
    });
}

#[test]
fn what_is_out_of_the_ordinary_is_told_of() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let nothing = app.analytics("patterns").await.json();
        assert_eq!(nothing["failures"], json!([]), "{nothing}");
        assert_eq!(nothing["usage"]["byPlatform"], json!({}));

        let key = app.key_of("cus_1").await;
        app.app_activates(&key).await;
        for number in 0..4 {
            let mut changed = subscription_of("cus_1", "active");
            changed["cancel_at_period_end"] = json!(number % 2 == 0);
            app.inner.clock.advance(Duration::from_secs(1));
            let mut event = event(&format!("evt_change_{number}"), "customer.subscription.updated", &changed);
            event["created"] = json!(START + 1 + number);
            assert_eq!(app.post(INTAKE_PATH, &event).await.json()["outcome"], "processed");
        }
        let log = app.whole_log_of(&key).await;
        for event in &log[log.len() - 5..] {
            let failed = json!({ "eventId": event, "status": "failed", "error": "disk full" });
            app.app_says("/api/events/acknowledge", &key, failed).await;
        }
        for number in 0..3 {
            let unreadable = event(
                &format!("evt_bad_{number}"),
                "customer.subscription.updated",
                &json!({ "object": "subscription" }),
            );
            assert_eq!(app.post(INTAKE_PATH, &unreadable).await.status, 200);
        }
        let mut unknown = event("evt_new", "something.new", &json!({ "object": "thing" }));
        unknown["api_version"] = json!("2199-01-01.sequoia");
        assert_eq!(app.post(INTAKE_PATH, &unknown).await.status, 200);
        counted::write(&app.inbox).await.unwrap();
        let mut unpriced = subscription_of("cus_2", "active");
        unpriced["items"]["data"][0]["price"] =
            json!({ "id": "price_of_nothing", "object": "price", "product": "prod_of_nothing" });
        app.take("evt_unpriced", "customer.subscription.created", unpriced).await;
        for number in 0..5 {
            let intent = json!({
                "id": format!("pi_{number}"), "object": "payment_intent", "customer": "cus_1", "amount": 2900, "currency": "usd",
                "status": "requires_payment_method", "created": START,
                "last_payment_error": { "code": "card_declined", "decline_code": "insufficient_funds" },
            });
            app.take(&format!("evt_declined_{number}"), "payment_intent.payment_failed", intent).await;
        }

        let told = app.analytics("patterns").await.json();
        let found: Vec<_> = told["failures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| {
                (found["kind"].as_str().unwrap(), found["subject"].as_str().unwrap(), found["count"].as_i64().unwrap())
            })
            .collect();
        let license = app.license_of("cus_1").await;
        let has = |kind: &str, subject: &str, count| found.contains(&(kind, subject, count));
        assert!(has("burst", &license, 5), "{told}");
        assert!(has("declines", "insufficient_funds", 5), "{told}");
        assert!(has("unknown_price", "price_of_nothing", 1), "{told}");
        assert!(has("unknown_version", "2199-01-01.sequoia", 1), "{told}");
        assert!(
            found.iter().any(|(kind, subject, count)| *kind == "repeated_error"
                && subject.starts_with("webhook: ")
                && *count == 3),
            "{told}"
        );
        let usage = &told["usage"];
        assert_eq!((&usage["byHour"][15], &usage["byWeekday"][6]), (&json!(1), &json!(1)), "{usage}");
        assert_eq!((&usage["byPlatform"], &usage["byAppVersion"]), (&json!({ "linux": 1 }), &json!({ "1.0": 1 })));
        // What was noted stays, also once the machine is heard of again.
        app.pass(HOUR).await;
        app.app_says("/api/license/heartbeat", &key, json!({})).await;
        let usage = app.analytics("patterns").await.json()["usage"].clone();
        assert_eq!(
            (&usage["byHour"][15], &usage["byHour"][16], &usage["byWeekday"][6]),
            (&json!(1), &json!(1), &json!(2)),
            "{usage}"
        );
    });
}
