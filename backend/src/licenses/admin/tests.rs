//! What operators do with licences, through Rocket's local client, on both engines.

use std::time::Duration;

use rocket::http::Method;
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{START, TestApp, TestResponse, db_that_is_away, event, signed_in, subscription, subscription_of};
use crate::webhooks::routes::INTAKE_PATH;

fn reason() -> Value {
    json!({ "reason": "chargeback" })
}

fn path(license_id: &str, act: &str) -> String {
    format!("/api/admin/licenses/{license_id}/{act}")
}

impl TestApp {
    async fn acts(&self) -> Vec<Value> {
        self.look_up("/api/admin/audit").await.json()["data"].as_array().unwrap().clone()
    }

    /// Hands over another event of the subscription.
    async fn subscription_turns(&self, id: &str, status: &str, event_type: &str, seconds: i64) {
        let mut update = event(id, event_type, &subscription(status));
        update["created"] = json!(START + seconds);
        assert_eq!(self.post(INTAKE_PATH, &update).await.json()["outcome"], "processed");
    }
}

#[test]
fn a_revoked_licence_stays_revoked_until_it_is_reinstated() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let id = app.license_of("cus_1").await;
        let revoked = app.act(&path(&id, "revoke"), &reason()).await;
        assert_eq!((revoked.status, &revoked.json()["status"]), (200, &json!("revoked")), "{revoked:?}");
        assert_eq!(revoked.json()["id"], *id);
        app.subscription_turns("evt_2", "past_due", "customer.subscription.updated", 1).await;
        app.subscription_turns("evt_3", "active", "customer.subscription.updated", 2).await;
        assert_eq!(app.act(&path(&id, "revoke"), &reason()).await.json()["status"], "revoked");

        let reinstated = app.act(&path(&id, "reinstate"), &reason()).await;
        assert_eq!((reinstated.status, &reinstated.json()["status"]), (200, &json!("active")), "{reinstated:?}");
        assert_eq!(app.act(&path(&id, "reinstate"), &reason()).await.json(), reinstated.json(), "the same again");

        // Each was told once.
        for (event_type, status) in [("license_revoked", "revoked"), ("license_reinstated", "active")] {
            let told = app.log_of(&id, event_type).await;
            assert_eq!(told.len(), 1, "{event_type}");
            assert_eq!((&told[0]["license"]["id"], &told[0]["license"]["status"]), (&json!(id), &json!(status)));
            assert!(told[0]["license"].get("key").is_none());
        }
    });
}

#[test]
fn a_reinstated_licence_follows_its_subscription() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let id = app.license_of("cus_1").await;
        app.act(&path(&id, "revoke"), &reason()).await;
        app.subscription_turns("evt_2", "canceled", "customer.subscription.deleted", 1).await;
        assert_eq!(app.log_of(&id, "license_expired").await, [json!(null); 0]);
        assert_eq!(app.act(&path(&id, "reinstate"), &reason()).await.json()["status"], "expired");
        assert_eq!(app.log_of(&id, "license_reinstated").await[0]["license"]["status"], "expired");
    });
}

#[test]
fn each_act_is_in_the_audit_trail_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let id = app.license_of("cus_1").await;
        let revoked = app.act(&path(&id, "revoke"), &reason()).await;
        app.act(&path(&id, "revoke"), &reason()).await;
        app.inner.clock.advance(Duration::from_secs(60));
        app.act(&path(&id, "reinstate"), &json!({ "reason": " it was a mistake\n" })).await;
        let [reinstate, revoke] = &app.acts().await[..] else { panic!("{:?}", app.acts().await) };
        assert_eq!(
            (&revoke["actor"], &revoke["action"], &revoke["target"], &revoke["reason"]),
            (&json!("ada"), &json!("license.revoke"), &json!({ "type": "license", "id": id }), &json!("chargeback"))
        );
        assert_eq!(revoke["requestId"].as_str(), revoked.request_id.as_deref());
        assert_eq!(
            (&revoke["before"], &revoke["after"]),
            (&json!({ "status": "active" }), &json!({ "status": "revoked" }))
        );
        assert_eq!(
            (&reinstate["action"], &reinstate["reason"]),
            (&json!("license.reinstate"), &json!("it was a mistake"))
        );
    });
}

#[test]
fn a_licence_that_is_not_there_cannot_be_revoked() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for act in ["revoke", "reinstate"] {
            let refused = app.act(&path("lic_of_nobody", act), &reason()).await;
            assert_eq!(refused.refusal(), (404, "not_found".to_owned()));
        }
        assert_eq!(app.acts().await, [json!(null); 0]);
    });
}

#[test]
fn an_operator_frees_a_seat_of_the_licence_that_is_named() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for customer in ["cus_1", "cus_2"] {
            let id = format!("evt_{customer}");
            app.take(&id, "customer.subscription.created", subscription_of(customer, "active")).await;
        }
        let (id, other) = (app.license_of("cus_1").await, app.license_of("cus_2").await);
        let machine = app.seat(&id, "a hash").await;
        let free = async |license: &str, machine: &str| {
            let path = format!("/api/admin/licenses/{license}/machines/{machine}");
            TestResponse::of(app.client.req(Method::Delete, path.clone()).header(signed_in("ada", "admin"))).await
        };
        assert_eq!(free(&other, &machine).await.refusal(), (404, "not_found".to_owned()));
        assert_eq!(free(&id, "mac_of_nobody").await.refusal(), (404, "not_found".to_owned()));
        for _ in 0..2 {
            assert_eq!(free(&id, &machine).await.status, 204);
        }
        let told = app.log_of(&id, "machine_deactivated").await;
        assert_eq!((told.len(), &told[0]["machine"]["id"]), (1, &json!(machine)));
        let [act] = &app.acts().await[..] else { panic!("{:?}", app.acts().await) };
        assert_eq!((&act["action"], &act["target"]["id"]), (&json!("machine.deactivate"), &json!(machine)));
    });
}

#[rocket::async_test]
async fn only_operators_act_and_they_say_why() {
    let app = TestApp::on(db_that_is_away()).await;
    for act in ["revoke", "reinstate"] {
        let path = path("lic_1", act);
        assert_eq!(app.post(&path, &reason()).await.refusal(), (401, "unauthorized".to_owned()));
        let as_user = app.request(Method::Post, &path).header(signed_in("user_1", "user"));
        assert_eq!(TestResponse::of(as_user.body("{}")).await.refusal(), (403, "forbidden".to_owned()));
        for bad in [json!({}), json!({ "reason": " " }), json!({ "reason": 5 }), json!({ "reason": "a".repeat(1001) })]
        {
            let refused = app.act(&path, &bad).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some("reason".to_owned())), "{bad}");
        }
    }
    let path = "/api/admin/licenses/lic_1/machines/mac_1";
    assert_eq!(TestResponse::of(app.request(Method::Delete, path)).await.refusal(), (401, "unauthorized".to_owned()));
}
