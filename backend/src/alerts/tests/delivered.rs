//! On its way to operators.

use tollgate_tests::python;

use super::*;

/// Something that is amiss from now on.
async fn break_something(scene: &Scene) {
    scene.run("retry-events").await;
    scene.advance(15);
}

#[test]
fn what_is_not_taken_is_told_again_until_it_is() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        break_something(&scene).await;
        scene.receiver.will_answer([500, 503]);
        assert!(scene.judge().await.is_empty());
        assert_eq!(scene.receiver.tried(), 1);
        // After a minute, and after four more.
        for (minutes, tried) in [(1, 2), (1, 2), (3, 3)] {
            scene.advance(minutes);
            scene.run("retry-events").await;
            assert_eq!(scene.receiver.tried(), tried, "after {minutes} minutes");
        }
        assert_eq!(scene.receiver.told(), ["CronFailing firing"]);
        scene.advance(60);
        scene.run("retry-events").await;
        assert_eq!(scene.receiver.tried(), 3);
    });
}

#[test]
fn whoever_could_not_be_told_of_it_hears_that_it_is_over() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        break_something(&scene).await;
        scene.receiver.will_answer([503, 503]);
        assert!(scene.judge().await.is_empty());
        scene.run("retry-events").await;
        assert!(scene.judge().await.is_empty());
        assert_eq!(scene.judge().await, ["CronFailing resolved"]);
        scene.advance(30 * 60);
        scene.run("retry-events").await;
        assert!(scene.receiver.told().is_empty(), "what is newer took the place of it");
    });
}

#[test]
fn what_goes_on_is_told_again_after_the_hours_that_are_set() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[("ALERT_REPEAT_HOURS", "1")]).await;
        break_something(&scene).await;
        let mut told = Vec::new();
        for judgement in 0..=24 {
            told.extend((!scene.judge().await.is_empty()).then_some(judgement));
        }
        assert_eq!(told, [0, 12, 24]);
        assert_eq!(scene.receiver.beats(), 25, "each judgement is followed by a heartbeat");
    });
}

#[test]
fn a_process_that_dies_before_it_has_told_is_followed_by_another() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        break_something(&scene).await;
        // Nobody listens there: the attempt is lost with its process, as far as anybody knows.
        scene.receiver.will_answer([200]);
        assert_eq!(scene.judge().await, ["CronFailing firing"]);
        let sql = "UPDATE alert_messages SET status = 'queued', next_attempt_at = created_at WHERE id > $1";
        let mut tx = scene.first().inner.begin_write().await.unwrap();
        tx.sql(sql).bind("").run().await.unwrap();
        tx.commit().await.unwrap();
        scene.advance(1);
        scene.run("retry-events").await;
        let bodies = scene.receiver.bodies();
        assert_eq!(bodies.len(), 1, "once more, under the same id: {bodies:?}");
    });
}

/// By clocks that are right: a signature is good for five minutes.
#[test]
fn each_destination_is_told_of_a_test_and_what_became_of_it_is_said() {
    on_each_engine!(async |db: Db| {
        let mut webhook = python::start("gateway.py", &[SECRET]);
        let mut mail = python::start("mail_server.py", &[]);
        let url = format!("{}/202", webhook.next().await.unwrap()["url"].as_str().unwrap());
        let smtp = format!("smtp://127.0.0.1:{}?tls=none", mail.next().await.unwrap()["port"]);
        let variables = [
            ("ALERT_WEBHOOK_URL", &*url),
            ("ALERT_WEBHOOK_SECRET", SECRET),
            ("ALERT_EMAIL_TO", "Ops <ops@example.com>, unknown@example.com"),
            ("SMTP_URL", &*smtp),
            ("MAIL_FROM", "Tollgate <billing@example.com>"),
            ("ADMIN_API_KEY", ADMIN_KEY),
        ];
        let app = TestApp::of(App::new(Arc::new(config(&variables)), db, Clock::system(), Rng::system())).await;
        let tested = app.operate("/api/monitoring/alerts/test", &json!({})).await.json();
        let each = tested["data"].as_array().unwrap().iter();
        let each: Vec<_> = each.map(|one| (&one["channel"], &one["to"], &one["outcome"])).collect();
        let (ops, unknown) = (json!("ops@example.com"), json!("unknown@example.com"));
        assert_eq!(
            each,
            [
                (&json!("webhook"), &Value::Null, &json!("sent")),
                (&json!("email"), &ops, &json!("sent")),
                (&json!("email"), &unknown, &json!("refused")),
            ],
            "{tested}"
        );
        assert!(tested["data"][2]["error"].as_str().unwrap().contains("550"), "{tested}");
        // The package of Standard Webhooks has checked its signature.
        let got = webhook.next().await.unwrap();
        let alert = &got["push"]["alerts"][0];
        assert_eq!((&got["push"]["version"], &alert["labels"]["alertname"]), (&json!("4"), &json!("Test")));
        let letter = mail.next().await.unwrap();
        assert_eq!(
            (&letter["to"], &letter["headers"]["Subject"]),
            (&json!(["ops@example.com"]), &json!("[firing] Test (warning)"))
        );
        let trail = app.inspect("/api/admin/audit?action=alert.test").await.json();
        assert_eq!(trail["data"][0]["actor"], "key");
    });
}
