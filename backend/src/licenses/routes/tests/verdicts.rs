//! What may keep a machine from working, and how each route says so.

use std::sync::Arc;

use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};

use super::*;
use crate::app::App;
use crate::entitlements::reapply_plans::ReapplyPlans;
use crate::testing::{PLANS, START, config_with_plans};
use tollgate_domain::licenses::key::LicenseKey;

impl TestApp {
    /// The subscription changes as Stripe says, a second after what was there.
    async fn subscription_becomes(&self, event_type: &str, status: &str) {
        let mut changed = event(&format!("evt_{status}"), event_type, &subscription(status));
        changed["created"] = json!(changed["created"].as_i64().unwrap() + 1);
        let answer = self.post(INTAKE_PATH, &changed).await;
        assert_eq!(answer.json()["outcome"], "processed", "{answer:?}");
    }

    /// Statuses and codes of `activate`, `deactivate`, `validate` and `heartbeat` on `machine`.
    async fn answers(&self, key: &str, machine: &str) -> Vec<(u16, String)> {
        let mut answers = Vec::new();
        for call in CALLS {
            let answer = self.call(call, key, machine).await;
            let body = answer.json();
            let code = body["error"]["code"].as_str().or(body["code"].as_str()).unwrap_or("-").to_owned();
            if body["error"].is_object() {
                answer.refusal();
            }
            answers.push((answer.status, code));
        }
        answers
    }
}

fn all(codes: [(u16, &str); 4]) -> Vec<(u16, String)> {
    codes.map(|(status, code)| (status, code.to_owned())).into()
}

#[test]
fn a_key_that_nobody_has_is_unknown_however_it_looks() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        let unknown = LicenseKey::generate(&Rng::seeded(99)).expose().to_owned();
        let mistyped = format!("{}{}", if key.starts_with('2') { '3' } else { '2' }, &key[1..]);
        for nobodys in [&*unknown, &*mistyped, "", "hunter2"] {
            let expected = [
                (404, "license_not_found"),
                (404, "license_not_found"),
                (200, "NOT_FOUND"),
                (404, "license_not_found"),
            ];
            assert_eq!(app.answers(nobodys, "a").await, all(expected));
        }
        let message = async |key: &str| {
            let body = app.call("validate", key, "a").await.json();
            assert_eq!(
                (&body["license"], &body["machine"], &body["lease"]),
                (&Value::Null, &Value::Null, &Value::Null)
            );
            body["message"].as_str().unwrap().to_owned()
        };
        assert_ne!(message(&unknown).await, message(&mistyped).await);
        let refusals = [app.call("activate", &unknown, "a").await, app.call("activate", &mistyped, "a").await];
        assert_ne!(refusals[0].json()["error"]["message"], refusals[1].json()["error"]["message"]);
    });
}

#[test]
fn a_licence_that_lets_nobody_work_says_why_by_its_code() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        app.activate(&key, "a").await;
        app.activate(&key, "b").await;
        app.subscription_becomes("customer.subscription.updated", "unpaid").await;
        let bad = |code: &str, refusal: &str| all([(403, refusal), (200, "-"), (200, code), (403, refusal)]);
        // `a` gives its seat up on the way.
        for machine in ["a", "a", "nowhere"] {
            assert_eq!(app.answers(&key, machine).await, bad("SUSPENDED", "license_suspended"), "{machine}");
        }
        app.subscription_becomes("customer.subscription.deleted", "canceled").await;
        assert_eq!(app.answers(&key, "nowhere").await, bad("EXPIRED", "license_expired"));
        let body = app.call("validate", &key, "b").await.json();
        assert_eq!((&body["valid"], &body["lease"]), (&json!(false), &Value::Null));
        assert_eq!((&body["license"]["status"], &body["license"]["key"]), (&json!("expired"), &json!(key)));
        assert_eq!(body["machine"]["name"], "b's name");
        app.revoke().await;
        assert_eq!(app.answers(&key, "nowhere").await, bad("REVOKED", "license_revoked"));
        assert_eq!(app.answers(&key, "b").await, bad("REVOKED", "license_revoked"));
    });
}

#[test]
fn a_machine_without_a_seat_is_not_activated() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        assert_eq!(app.code(&key, "a").await, "NOT_ACTIVATED");
        assert_eq!(app.call("heartbeat", &key, "a").await.refusal(), (403, "not_activated".to_owned()));
        app.activate(&key, "a").await;
        let heartbeat = app.call("heartbeat", &key, "a").await;
        assert_eq!((heartbeat.status, &heartbeat.json()["code"]), (200, &json!("VALID")));
        let validated = app.call("validate", &key, "a").await;
        assert_eq!(heartbeat.json(), validated.json(), "both say the same");
        assert!(validated.json()["lease"]["token"].is_string());
    });
}

#[test]
fn fewer_machines_leave_the_first_ones_valid_until_there_are_more() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let key = app.license_key().await;
        for machine in ["a", "b", "c"] {
            app.inner.clock.advance(Duration::from_secs(1));
            app.activate(&key, machine).await;
        }
        let codes = async || [app.code(&key, "a").await, app.code(&key, "b").await, app.code(&key, "c").await];
        let plans_become = async |max_activations: &str| {
            let plans = PLANS.replace("max_activations = 3", max_activations);
            let config = Arc::new(config_with_plans(&plans, &[]));
            let replica = App::new(config, db.clone(), app.inner.clock.clone(), Rng::system());
            assert_eq!(ReapplyPlans::default().run(&replica).await.unwrap(), 1);
        };
        plans_become("max_activations = 1").await;
        assert_eq!(codes().await, ["VALID", "TOO_MANY_MACHINES", "TOO_MANY_MACHINES"]);
        for call in ["activate", "heartbeat"] {
            let answer = app.call(call, &key, "c").await;
            let body = answer.json();
            assert_eq!(
                (answer.status, &body["valid"], &body["code"]),
                (200, &json!(false), &json!("TOO_MANY_MACHINES"))
            );
            assert_eq!(body["lease"], Value::Null);
        }
        assert_eq!(app.call("activate", &key, "d").await.refusal().0, 409);
        app.call("deactivate", &key, "a").await;
        assert_eq!(codes().await, ["NOT_ACTIVATED", "VALID", "TOO_MANY_MACHINES"]);
        plans_become("max_activations = 2").await;
        assert_eq!(codes().await, ["NOT_ACTIVATED", "VALID", "VALID"]);
    });
}

#[test]
fn a_payment_that_is_overdue_shows_until_when_the_licence_lasts() {
    on_each_engine!(async |db| {
        let plans = PLANS.replace("default_tier = \"free\"", "default_tier = \"free\"\npast_due_days = 14");
        let clock = Clock::manual(from_unix(START).unwrap());
        let app = TestApp::of(App::new(Arc::new(config_with_plans(&plans, &[])), db, clock, Rng::seeded(1))).await;
        let key = app.license_key().await;
        let grace = async || app.call("activate", &key, "a").await.json()["license"]["graceEndsAt"].clone();
        assert_eq!(grace().await, Value::Null);
        app.subscription_becomes("customer.subscription.updated", "past_due").await;
        assert_eq!(grace().await, "2025-06-29T15:06:41Z");
    });
}
