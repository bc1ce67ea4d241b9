//! What schedulers and operators see.

use serde_json::json;

use super::*;
use crate::testing::{ADMIN_KEY, INTERNAL_KEY, db_that_is_away, signed_in};

#[test]
fn whoever_asks_gets_the_due_run_and_then_one_of_his_own() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let ask = async |method| {
            let response = app.ask_for(method, "retry-events").await;
            assert_eq!(response.status, 200, "{response:?}");
            response.json()
        };
        let answer = |ran: bool, tick: &str| json!({ "job": "retry-events", "ran": ran, "tick": tick, "summary": { "tried": 0, "judged": 0, "ended": 0, "payments": 0, "messages": 0 } });
        assert_eq!(ask(Method::Get).await, answer(true, "2025-06-15T15:06:00Z"));
        assert_eq!(ask(Method::Post).await, answer(true, "2025-06-15T15:06:40Z"));
        assert_eq!(ask(Method::Post).await, answer(false, "2025-06-15T15:06:40Z"), "in the same second");
        app.advance(1);
        assert_eq!(ask(Method::Get).await, answer(true, "2025-06-15T15:06:41Z"));
        // The clock's own tick comes all the same, and is nobody else's.
        app.advance(19);
        app.runner().look(retry_events()).await.unwrap();
        assert_eq!(ask(Method::Get).await, answer(false, "2025-06-15T15:07:00Z"));
    });
}

#[test]
fn whoever_asks_for_what_is_in_progress_is_told_what_the_last_run_did() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        begun_and_left(&app, retry_events(), "2025-06-15T15:06:00Z".parse().unwrap()).await;
        let response = app.ask_for(Method::Post, "retry-events").await.json();
        let expected = json!({ "job": "retry-events", "ran": false, "tick": "2025-06-15T15:06:00Z", "summary": {} });
        assert_eq!(response, expected);
    });
}

#[rocket::async_test]
async fn jobs_are_run_for_the_cron_secret_and_shown_to_operators() {
    let app = TestApp::with(db_that_is_away(), &[("ADMIN_API_KEY", ADMIN_KEY)]).await;
    for shown in [bearer(ADMIN_KEY), bearer(INTERNAL_KEY), signed_in("ada", "admin"), bearer("")] {
        for (method, job) in [(Method::Get, "retry-events"), (Method::Post, "retry-events"), (Method::Post, "unknown")]
        {
            let request = app.client.req(method, format!("/api/cron/{job}")).header(shown.clone());
            assert_eq!(TestResponse::of(request).await.refusal(), (401, "unauthorized".to_owned()));
        }
    }
    for method in [Method::Get, Method::Post] {
        for unknown in ["unknown", "Retry-Events", "detect%2dstale", "health"] {
            assert_eq!(app.ask_for(method, unknown).await.refusal(), (404, "not_found".to_owned()), "{unknown}");
        }
    }
    let shown = TestResponse::of(app.client.get("/api/admin/cron").header(bearer(CRON_SECRET))).await;
    assert_eq!(shown.refusal(), (401, "unauthorized".to_owned()));
    let shown = TestResponse::of(app.client.get("/api/admin/cron").header(signed_in("user_1", "user"))).await;
    assert_eq!(shown.refusal(), (403, "forbidden".to_owned()));
}

#[test]
fn operators_see_when_each_job_ran_what_it_did_and_whether_it_is_late() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let list = async || app.look_up("/api/admin/cron").await.json();
        let names = [
            "retry-events",
            "detect-stale-sessions",
            "health-monitoring",
            "expiration-check",
            "analytics",
            "sync-subscriptions",
            "reconcile",
            "cleanup-events",
        ];
        let listed = list().await;
        assert_eq!(
            listed["data"].as_array().unwrap().iter().map(|job| job["job"].as_str().unwrap()).collect::<Vec<_>>(),
            names
        );
        let never = json!({
            "job": "cleanup-events", "schedule": "daily 03:00", "lastTick": null, "lastRunAt": null, "lastOutcome": null,
            "durationMs": null, "nextAt": "2025-06-16T03:00:00Z", "late": false, "summary": null,
        });
        assert_eq!(listed["data"][7], never);

        app.runner().look(retry_events()).await.unwrap();
        let mut once = json!({
            "job": "retry-events", "schedule": "each minute", "lastTick": "2025-06-15T15:06:00Z",
            "lastRunAt": "2025-06-15T15:06:40Z", "lastOutcome": "succeeded", "durationMs": 0,
            "nextAt": "2025-06-15T15:07:00Z", "late": false, "summary": { "tried": 0, "judged": 0, "ended": 0, "payments": 0, "messages": 0 },
        });
        assert_eq!(list().await["data"][0], once);
        app.advance(620); // 15:17
        once["nextAt"] = json!("2025-06-15T15:18:00Z");
        once["late"] = json!(true);
        assert_eq!(list().await["data"][0], once);

        begun_and_left(&app, retry_events(), app.inner.clock.now()).await;
        let running = list().await["data"][0].clone();
        assert_eq!((&running["lastOutcome"], &running["durationMs"]), (&json!("running"), &json!(null)));
        app.advance(30);
        let mut tx = app.inner.begin_write().await.unwrap();
        let known = runs::known(&mut tx, "retry-events", app.inner.clock.now()).await.unwrap().in_progress.unwrap();
        let claim = Claim { job: "retry-events", tick: known.tick, holder: known.holder };
        let failed = Outcome::Failed("timed_out");
        assert!(runs::end(&mut tx, &claim, app.inner.clock.now(), failed, &json!({ "tried": 3 })).await.unwrap());
        tx.commit().await.unwrap();
        let failed = list().await["data"][0].clone();
        assert_eq!((&failed["lastOutcome"], &failed["durationMs"]), (&json!("failed"), &json!(30_000)));
        assert_eq!(
            (&failed["late"], &failed["summary"]),
            (&json!(false), &json!({ "tried": 3, "error": "timed_out" }))
        );
    });
}

#[test]
fn runs_are_counted_and_the_last_success_is_in_the_metrics() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.runner().look(retry_events()).await.unwrap();
        let text = app.get("/metrics").await.body;
        let runs = "tollgate_backend_cron_runs_total{job=\"retry-events\",result=\"succeeded\"}";
        assert!(text.lines().any(|line| line.starts_with(runs)), "{text}");
        let last = "tollgate_backend_cron_last_success_timestamp_seconds{job=\"retry-events\"} 1750000000";
        assert!(text.lines().any(|line| line == last), "{text}");
    });
}
