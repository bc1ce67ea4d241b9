//! Whether keys are good, through Rocket's local client, on both engines.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::json;
use tollgate_shared::Rng;

use crate::on_each_engine;
use crate::testing::{TestApp, event, subscription};
use crate::webhooks::routes::INTAKE_PATH;
use tollgate_domain::api_keys::StoredKey;
use tollgate_domain::api_keys::key::ApiKey;

const VERIFY: &str = "/v1/api-keys/verify";

impl TestApp {
    /// A key of `cus_1` that the test knows.
    async fn key(&self) -> (StoredKey, ApiKey) {
        let key = ApiKey::generate(false, &Rng::seeded(5));
        let row = StoredKey {
            id: "key_1".to_owned(),
            customer_id: "cus_1".to_owned(),
            origin: "user".to_owned(),
            name: None,
            prefix: key.prefix(),
            hash: key.hash(),
            sealed: None,
            created_at: self.inner.clock.now(),
            revoked_at: None,
        };
        self.store(&row).await;
        (row, key)
    }

    async fn store(&self, row: &StoredKey) {
        let mut tx = self.inner.db.write().await.unwrap();
        tx.upsert(&[row]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[test]
fn a_good_key_says_whose_it_is_and_what_they_may_use() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let (_, key) = app.key().await;
        let response = app.post(VERIFY, &json!({ "key": key.expose() })).await;
        let shown = response.shown();
        allow_duplicates! { assert_snapshot!(shown, @r#"
        200
        {
          "features": {
            "seats": 3,
            "sync": true
          },
          "keyId": "key_…",
          "stripeCustomerId": "cus_1",
          "tier": "pro",
          "userId": "user_1",
          "valid": true
        }
        "#); }
    });
}

#[test]
fn after_the_end_a_key_is_good_for_the_default_tier() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let (_, key) = app.key().await;
        let mut ended = event("evt_ended", "customer.subscription.deleted", &subscription("canceled"));
        ended["created"] = json!(ended["created"].as_i64().unwrap() + 1);
        assert_eq!(app.post(INTAKE_PATH, &ended).await.status, 200);
        let verdict = app.post(VERIFY, &json!({ "key": key.expose() })).await.json();
        assert_eq!(
            (&verdict["valid"], &verdict["tier"], &verdict["features"]),
            (&json!(true), &json!("free"), &json!({}))
        );
    });
}

#[test]
fn an_unknown_key_is_said_to_be_unknown_whatever_it_looks_like() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let nobodys = ApiKey::generate(true, &Rng::seeded(9));
        for key in ["", "hunter2", "tg_live_", nobodys.expose()] {
            let response = app.post(VERIFY, &json!({ "key": key })).await;
            assert_eq!(response.status, 200);
            assert_eq!(response.json(), json!({ "valid": false, "code": "unknown" }));
        }
    });
}

#[test]
fn a_revoked_key_is_said_to_be_revoked_from_that_moment_on() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let (mut row, key) = app.key().await;
        row.revoked_at = Some(app.inner.clock.now() + chrono::Duration::seconds(60));
        app.store(&row).await;
        let verdict = async || app.post(VERIFY, &json!({ "key": key.expose() })).await.json();
        assert_eq!(verdict().await["valid"], true);
        app.inner.clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(verdict().await, json!({ "valid": false, "code": "revoked" }));
    });
}

#[test]
fn a_request_without_a_key_is_refused_by_name() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for body in [json!({}), json!({ "key": null }), json!({ "key": 5 }), json!({ "key": ["hunter2"] })] {
            let response = app.post(VERIFY, &body).await;
            assert_eq!(
                response.refused_parameter(),
                (422, "invalid_parameter".to_owned(), Some("key".to_owned())),
                "{body}"
            );
            assert!(!response.body.contains("hunter2"));
        }
    });
}
