//! What operators see of alerts, and what they do.

use super::*;
use crate::testing::{db_that_is_away, signed_in};

const ALERTS: &str = "/api/monitoring/alerts";

/// A job is late, which is found.
async fn firing(db: Db) -> (Scene, Value) {
    let mut scene = Scene::on(db, &[]).await;
    scene.run("retry-events").await;
    scene.advance(15);
    assert_eq!(scene.judge().await, ["CronFailing firing"]);
    let list = scene.last().inspect(&format!("{ALERTS}?state=firing")).await.json();
    let alert = list["data"][0].clone();
    (scene, alert)
}

#[test]
fn operators_see_what_fires_and_what_did() {
    on_each_engine!(async |db: Db| {
        let (mut scene, alert) = firing(db).await;
        let now = "2025-06-15T15:25:00Z";
        assert_eq!(
            alert,
            json!({
                "fingerprint": alert["fingerprint"], "alert": "CronFailing", "severity": "critical",
                "labels": { "job": "retry-events" }, "summary": "the job retry-events is late by 18 minutes",
                "startsAt": now, "endsAt": null, "silencedUntil": null,
            })
        );
        let app = scene.last();
        let health = app.inspect("/api/monitoring/health").await.json();
        assert_eq!(health["alerts"], json!([alert]));
        let metrics = app.get("/metrics").await.body;
        for (name, severity, count) in [("CronFailing", "critical", 1), ("NotDurable", "critical", 0)] {
            let line = format!("tollgate_backend_alerts_firing{{alert=\"{name}\",severity=\"{severity}\"}} {count}");
            assert!(metrics.lines().any(|other| other == line), "{line}");
        }
        scene.run("retry-events").await;
        scene.judge().await;
        assert_eq!(scene.judge().await, ["CronFailing resolved"]);
        let app = scene.first();
        assert_eq!(app.inspect(&format!("{ALERTS}?state=firing")).await.json()["data"], json!([]));
        let resolved = app.inspect(&format!("{ALERTS}?state=resolved&limit=1")).await.json();
        assert_eq!(
            (&resolved["data"][0]["endsAt"], &resolved["hasMore"]),
            (&json!("2025-06-15T15:35:00Z"), &json!(false))
        );
        assert_eq!(app.inspect(ALERTS).await.json()["data"].as_array().unwrap().len(), 1);
        assert_eq!(app.inspect("/api/monitoring/health").await.json()["alerts"], json!([]));
    });
}

#[test]
fn nobody_is_told_of_an_alert_that_an_operator_silenced() {
    on_each_engine!(async |db: Db| {
        let (mut scene, alert) = firing(db).await;
        let path = format!("{ALERTS}/{}/silence", alert["fingerprint"].as_str().unwrap());
        let silence = json!({ "until": "2025-06-15T21:00:00Z", "reason": "known, see #12" });
        let silenced = scene.last().operate(&path, &silence).await.json();
        assert_eq!(silenced["silencedUntil"], "2025-06-15T21:00:00Z");
        scene.advance(5 * 60);
        assert!(scene.judge().await.is_empty(), "it would have been told again");
        scene.advance(60);
        assert!(scene.judge().await.is_empty(), "nobody has judged for an hour: all jobs are late, and about to begin");
        assert_eq!(scene.judge().await, ["CronFailing firing"], "the silence is over");

        let app = scene.first();
        let trail = app.inspect("/api/admin/audit?action=alert.silence").await.json();
        let act = &trail["data"][0];
        assert_eq!((&act["reason"], &act["target"]["id"]), (&json!("known, see #12"), &alert["fingerprint"]));
        assert_eq!(
            (&act["before"]["silencedUntil"], &act["after"]["silencedUntil"]),
            (&Value::Null, &silence["until"])
        );

        for (body, param) in [
            (json!({ "until": "2025-06-15T15:00:00Z", "reason": "late" }), "until"),
            (json!({ "until": "2027-06-15T15:00:00Z", "reason": "too long" }), "until"),
            (json!({ "until": "tomorrow", "reason": "when?" }), "until"),
            (json!({ "until": "2025-06-16T15:00:00Z", "reason": " " }), "reason"),
        ] {
            let refused = app.operate(&path, &body).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())), "{body}");
        }
        let later = json!({ "until": "2025-06-16T15:00:00Z", "reason": "nothing" });
        let unknown = app.operate(&format!("{ALERTS}/0123456789abcdef/silence"), &later).await;
        assert_eq!(unknown.refusal(), (404, "not_found".to_owned()));
        let refused = app.inspect(&format!("{ALERTS}?state=gone")).await.refused_parameter();
        assert_eq!(refused.2.as_deref(), Some("state"));
    });
}

#[rocket::async_test]
async fn alerts_are_for_operators_alone() {
    let app = TestApp::on(db_that_is_away()).await;
    let routes = [
        (Method::Get, ALERTS.to_owned()),
        (Method::Post, format!("{ALERTS}/test")),
        (Method::Post, format!("{ALERTS}/0123456789abcdef/silence")),
    ];
    for (method, path) in routes {
        let request =
            || app.request(method, &path).json(&json!({ "until": "2025-06-16T15:00:00Z", "reason": "quiet" }));
        let refused = |shown: TestResponse| shown.refusal();
        assert_eq!(refused(TestResponse::of(request()).await), (401, "unauthorized".to_owned()), "{path}");
        let user = TestResponse::of(request().header(signed_in("user_1", "user"))).await;
        assert_eq!(refused(user), (403, "forbidden".to_owned()), "{path}");
    }
}
