//! The audit trail, through Rocket's local client, on both engines.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_db::UnitOfWork;
use tollgate_domain::audit::acts::{self, Act, ActedBy};

use crate::on_each_engine;
use crate::testing::{TestApp, TestResponse, bearer, db_that_is_away, signed_in};

const PATH: &str = "/api/admin/audit";

impl TestApp {
    /// An operator does something, a minute after what was done before.
    async fn done(&self, actor: &str, action: &'static str, target: &str) {
        let by = ActedBy {
            actor: actor.to_owned(),
            claimed_name: Some("Ada".to_owned()).filter(|_| actor == "key"),
            request_id: "req_of_a_test".to_owned(),
            reason: Some("a reason".to_owned()),
        };
        self.inner.clock.advance(Duration::from_secs(60));
        let mut tx = self.inner.begin_write().await.unwrap();
        let mut work = UnitOfWork::new(self.inner.clock.now(), self.inner.rng.clone());
        let after = Some(json!({ "status": "revoked" }));
        acts::record(&mut work, &by, Act { action, target: ("license", target), before: None, after });
        work.release_savepoint();
        work.write(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn found(&self, query: &str) -> Vec<String> {
        let response = self.look_up(&format!("{PATH}?{query}")).await;
        assert_eq!(response.status, 200, "{response:?}");
        let data = response.json()["data"].as_array().unwrap().clone();
        let short =
            |act: &Value| format!("{} {} {}", act["actor"], act["action"], act["target"]["id"]).replace('"', "");
        data.iter().map(short).collect()
    }
}

#[test]
fn an_act_is_shown_with_who_what_why_and_by_which_request() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.done("key", "license.revoke", "lic_1").await;
        let list = app.look_up(PATH).await.json();
        let mut act = list["data"][0].clone();
        assert!(act["id"].as_str().unwrap().starts_with("aud_"), "{act}");
        act["id"] = json!("aud_…");
        let expected = json!({
            "id": "aud_…", "at": "2025-06-15T15:07:40Z", "actor": "key", "claimedName": "Ada",
            "action": "license.revoke", "target": { "type": "license", "id": "lic_1" },
            "reason": "a reason", "requestId": "req_of_a_test", "before": null, "after": { "status": "revoked" },
        });
        assert_eq!(act, expected);
        assert_eq!((&list["hasMore"], &list["nextCursor"]), (&json!(false), &json!(null)));
    });
}

#[test]
fn acts_are_found_by_who_what_on_what_and_when() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (actor, action, target) in [
            ("ada", "license.revoke", "lic_1"),
            ("charles", "license.revoke", "lic_2"),
            ("ada", "license.reinstate", "lic_1"),
            ("ada", "license.revoke", "lic_2"),
        ] {
            app.done(actor, action, target).await;
        }
        let [first, second, third, fourth] = [
            "ada license.revoke lic_1",
            "charles license.revoke lic_2",
            "ada license.reinstate lic_1",
            "ada license.revoke lic_2",
        ];
        assert_eq!(app.found("").await, [fourth, third, second, first], "the newest first");
        assert_eq!(app.found("actor=charles").await, [second]);
        assert_eq!(app.found("action=license.revoke").await, [fourth, second, first]);
        assert_eq!(app.found("target=lic_1").await, [third, first]);
        assert_eq!(app.found("actor=ada&action=license.revoke").await, [fourth, first]);
        assert_eq!(app.found("actor=ada&action=license.revoke&target=lic_2").await, [fourth]);
        assert_eq!(app.found("actor=nobody").await, [""; 0]);
        // From the first moment on, and up to but not with the last.
        assert_eq!(app.found("from=2025-06-15T15:08:40Z&to=2025-06-15T15:10:40Z").await, [third, second]);
    });
}

#[test]
fn every_act_is_on_one_page() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for target in ["lic_1", "lic_2", "lic_3"] {
            app.done("ada", "license.revoke", target).await;
        }
        let first = app.look_up(&format!("{PATH}?actor=ada&limit=2&to=2025-06-15T15:09:40Z")).await.json();
        assert_eq!(first["data"][0]["target"]["id"], "lic_2", "{first}");
        let first = app.look_up(&format!("{PATH}?actor=ada&limit=2")).await.json();
        let cursor = first["nextCursor"].as_str().unwrap();
        assert_eq!(app.found(&format!("actor=ada&limit=2&cursor={cursor}")).await, ["ada license.revoke lic_1"]);
        assert_eq!(app.found(&format!("limit=2&cursor={cursor}&to=2025-06-15T15:07:00Z")).await, [""; 0]);
    });
}

#[rocket::async_test]
async fn the_audit_trail_is_for_operators() {
    let app = TestApp::on(db_that_is_away()).await;
    assert_eq!(app.get(PATH).await.refusal(), (401, "unauthorized".to_owned()));
    let as_user = TestResponse::of(app.client.get(PATH).header(signed_in("user_1", "user"))).await;
    assert_eq!(as_user.refusal(), (403, "forbidden".to_owned()));
    let with_nothing_good = TestResponse::of(app.client.get(PATH).header(bearer("hunter2"))).await;
    assert_eq!(with_nothing_good.refusal(), (401, "unauthorized".to_owned()));
    for (query, param) in [("limit=0", "limit"), ("cursor=x", "cursor"), ("from=yesterday", "from"), ("to=5", "to")] {
        let response = app.look_up(&format!("{PATH}?{query}")).await;
        assert_eq!(
            response.refused_parameter(),
            (422, "invalid_parameter".to_owned(), Some(param.to_owned())),
            "{query}"
        );
    }
}
