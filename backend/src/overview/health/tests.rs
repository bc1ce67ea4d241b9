//! Whether all that is needed is there, on both engines.

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{TestApp, db_that_is_away, event};
use crate::webhooks::routes::INTAKE_PATH;

impl TestApp {
    async fn check(&self, name: &str) -> Value {
        let shown = self.look_up("/api/monitoring/health").await.json();
        let checks = shown["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no {name}: {shown}")).clone()
    }
}

#[test]
fn what_is_amiss_is_said_by_the_check_that_finds_it() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("RELAY_ADMIN_URLS", "http://127.0.0.1:1")]).await;
        for name in ["database", "migrations", "stripe", "bells", "cron", "backlog"] {
            assert_eq!(app.check(name).await["status"], "ok", "{name}");
        }
        let relays = app.check("relays").await;
        assert_eq!(
            (&relays["status"], &relays["detail"]),
            (&json!("degraded"), &json!("http://127.0.0.1:1/ is silent"))
        );
        let since = app.check("backlog").await["since"].clone();
        app.inner.clock.advance(Duration::from_secs(60));
        assert_eq!(app.check("backlog").await["since"], since);
        let unreadable = event("evt_1", "customer.subscription.updated", &json!({ "object": "subscription" }));
        assert_eq!(app.post(INTAKE_PATH, &unreadable).await.status, 200);
        let backlog = app.check("backlog").await;
        assert_eq!((&backlog["status"], &backlog["detail"]), (&json!("degraded"), &json!("1 dead letters are open")));
        assert_ne!(backlog["since"], since);
        let shown = app.look_up("/api/monitoring/health").await;
        assert_eq!((shown.status, &shown.json()["status"]), (200, &json!("degraded")));
    });
}

#[rocket::async_test]
async fn without_its_database_it_is_down() {
    let app = TestApp::on(db_that_is_away()).await;
    let shown = app.look_up("/api/monitoring/health").await;
    assert_eq!((shown.status, &shown.json()["status"]), (503, &json!("down")), "{shown:?}");
    assert_eq!(app.check("database").await["status"], "down");
    assert_eq!(app.check("backlog").await["detail"], "not known: no database");
}
