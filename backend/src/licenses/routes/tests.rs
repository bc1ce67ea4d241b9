//! What desktop apps are answered, through Rocket's local client, on both engines.

mod limits;
mod presence;
mod races;
mod verdicts;

use std::time::Duration;

use insta::{allow_duplicates, assert_snapshot};
use rocket::http::{ContentType, Header};
use serde_json::{Value, json};
use tollgate_db::testing::block_on;
use tollgate_db::{Lock, UnitOfWork};
use tollgate_domain::apply::Touched;
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::machines::Machine;

use crate::http::auth::INTERNAL_KEY_HEADER;
use crate::on_each_engine;
use crate::testing::{INTERNAL_KEY, TestApp, TestResponse, db_that_is_away, event, subscription};
use crate::webhooks::routes::INTAKE_PATH;

const CALLS: [&str; 4] = ["activate", "deactivate", "validate", "heartbeat"];

impl TestApp {
    /// A subscriber's licence key.
    async fn license_key(&self) -> String {
        self.take_a_subscriber().await;
        let state = self.get("/v1/customers/cus_1").await.json();
        state["licenses"][0]["key"].as_str().unwrap().to_owned()
    }

    /// What an app is answered whose machine is behind the address `from`.
    async fn call_from(&self, from: &str, call: &str, body: &Value) -> TestResponse {
        // As the relay says it: any number of machines may then ask in one test.
        let relay = Header::new(INTERNAL_KEY_HEADER, INTERNAL_KEY);
        let request = self.client.post(format!("/api/license/{call}")).header(ContentType::JSON).header(relay);
        TestResponse::of(request.header(Header::new("x-forwarded-for", from.to_owned())).body(body.to_string())).await
    }

    /// What the app on `machine` is answered.
    async fn call(&self, call: &str, key: &str, machine: &str) -> TestResponse {
        let from = machine.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let from = std::net::Ipv4Addr::from(from).to_string();
        let body = json!({ "licenseKey": key, "machineId": machine, "machineName": format!("{machine}'s name") });
        self.call_from(&from, call, &body).await
    }

    async fn activate(&self, key: &str, machine: &str) -> TestResponse {
        let answer = self.call("activate", key, machine).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        answer
    }

    async fn code(&self, key: &str, machine: &str) -> String {
        let answer = self.call("validate", key, machine).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["valid"] == true, body["code"] == "VALID", "{body}");
        body["code"].as_str().unwrap().to_owned()
    }

    /// Changes the licence as an operator's act does.
    async fn change_license(&self, change: impl Fn(&mut License) + Send + Sync) {
        let mut tx = self.inner.read().await.unwrap();
        let ids = ["cus_1".to_owned()].into();
        let license: License = tx.load("customer_id", &ids, Lock::None).await.unwrap().remove(0);
        drop(tx);
        let rule = |work: &mut UnitOfWork| {
            let mut license: License = work.get_cloned(&license.id).unwrap();
            change(&mut license);
            work.insert(license);
            Ok::<_, ()>(())
        };
        self.inner.write(&Touched::license(&license.id), rule).await.unwrap();
    }

    async fn revoke(&self) {
        let now = self.inner.clock.now();
        self.change_license(|license| {
            license.revoked_at = Some(now);
            license.status = "revoked".to_owned();
        })
        .await;
    }

    /// Every activation that there is or was.
    async fn machines(&self) -> Vec<Machine> {
        let mut tx = self.inner.read().await.unwrap();
        let ids: Vec<(String,)> = tx.sql("SELECT id FROM machines ORDER BY activated_at, id").all().await.unwrap();
        let ids = ids.into_iter().map(|(id,)| id).collect();
        tx.load("id", &ids, Lock::None).await.unwrap()
    }

    /// The types of the events in the licence's log, the newest last.
    async fn told(&self) -> Vec<String> {
        let mut tx = self.inner.read().await.unwrap();
        let types: Vec<(String,)> = tx.sql("SELECT type FROM license_events ORDER BY seq").all().await.unwrap();
        types.into_iter().map(|(event_type,)| event_type).collect()
    }
}

#[test]
fn a_machine_that_is_activated_is_shown_with_its_licence() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        let body = json!({
            "licenseKey": key.to_lowercase().replace('-', " "), "machineId": "a machine", "machineName": "Ada's laptop",
            "platform": "linux", "appVersion": "1.2.3",
        });
        let activated = app.call_from("203.0.113.7", "activate", &body).await;
        allow_duplicates! { assert_snapshot!(activated.shown(), @r#"
        201
        {
          "code": "VALID",
          "lease": {
            "expiresAt": "2025-06-22T15:06:40Z",
            "refreshAt": "2025-06-16T15:06:40Z",
            "token": "…"
          },
          "license": {
            "activations": 1,
            "expiresAt": null,
            "features": {
              "seats": 3,
              "sync": true
            },
            "graceEndsAt": null,
            "id": "lic_…",
            "key": "…",
            "machines": [
              {
                "activatedAt": "2025-06-15T15:06:40Z",
                "appVersion": "1.2.3",
                "id": "mac_…",
                "lastSeenAt": "2025-06-15T15:06:40Z",
                "name": "Ada's laptop",
                "platform": "linux",
                "stale": false
              }
            ],
            "maxActivations": 3,
            "planId": "pro_monthly",
            "status": "active",
            "tier": "pro"
          },
          "machine": {
            "activatedAt": "2025-06-15T15:06:40Z",
            "appVersion": "1.2.3",
            "id": "mac_…",
            "lastSeenAt": "2025-06-15T15:06:40Z",
            "name": "Ada's laptop",
            "platform": "linux",
            "stale": false
          },
          "message": "the licence is valid on this machine",
          "serverTime": "2025-06-15T15:06:40Z",
          "valid": true
        }
        "#); }
    });
}

#[test]
fn activating_again_gives_the_activation_that_is_there() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        let first = app.call("activate", &key, "a").await;
        assert_eq!(first.status, 201);
        app.inner.clock.advance(Duration::from_secs(60));
        let again = app.call("activate", &key, "a").await;
        assert_eq!(again.status, 200);
        assert_eq!(again.json()["machine"]["id"], first.json()["machine"]["id"]);
        assert_eq!(again.json()["machine"]["activatedAt"], first.json()["machine"]["activatedAt"]);
        assert_eq!(app.machines().await.len(), 1);
        assert_eq!(app.told().await, ["license_created", "subscription_created", "machine_activated"]);
    });
}

#[test]
fn without_a_seat_the_machines_in_use_are_named() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        for machine in ["a", "b", "c"] {
            app.inner.clock.advance(Duration::from_secs(1));
            app.activate(&key, machine).await;
        }
        let refused = app.call("activate", &key, "d").await;
        assert_eq!(refused.refusal(), (409, "activation_limit_reached".to_owned()));
        let error = &refused.json()["error"];
        let names: Vec<_> =
            error["machines"].as_array().unwrap().iter().map(|machine| machine["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a's name", "b's name", "c's name"]);
        assert_eq!(error["machines"][0].as_object().unwrap().len(), 7);
        assert_eq!(app.get("/v1/customers/cus_1").await.json()["licenses"][0]["activations"], 3);
    });
}

#[test]
fn a_machine_gives_its_seat_up_whatever_became_of_the_licence() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        for machine in ["a", "b"] {
            app.activate(&key, machine).await;
        }
        for _ in 0..2 {
            let answer = app.call("deactivate", &key, "a").await;
            assert_eq!((answer.status, answer.json()), (200, json!({ "deactivated": true, "machinesLeft": 1 })));
        }
        assert_eq!(app.code(&key, "a").await, "NOT_ACTIVATED");
        app.revoke().await;
        let answer = app.call("deactivate", &key, "b").await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "deactivated": true, "machinesLeft": 0 })));
        let told = app.told().await;
        assert_eq!(told.iter().filter(|event_type| *event_type == "machine_deactivated").count(), 2);
    });
}

#[test]
fn no_fingerprint_is_kept_as_it_is() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        let body = json!({ "licenseKey": key, "machineId": "hunter2 of the board", "machineName": "a name" });
        assert_eq!(app.call_from("203.0.113.7", "activate", &body).await.status, 201);
        app.call_from("203.0.113.7", "deactivate", &body).await;
        let mut tx = app.inner.read().await.unwrap();
        let told: Vec<(String,)> = tx.sql("SELECT CAST(data AS TEXT) FROM license_events").all().await.unwrap();
        drop(tx);
        let kept = format!("{told:?}{:?}", app.machines().await);
        assert!(kept.contains("a name") && !kept.contains("hunter2"), "{kept}");
        assert!(!kept.contains(&key), "nor is the key repeated");
    });
}

#[test]
fn without_the_database_every_call_says_so_but_for_a_mistyped_key() {
    let run = async {
        let app = TestApp::on(db_that_is_away()).await;
        for call in CALLS {
            let answer = app.call(call, "23456-789AB-CDEFG-HJKLM-NPQRH", "a").await;
            assert_eq!(answer.refusal(), (503, "database_unavailable".to_owned()), "{call}");
        }
        assert_eq!(app.code("23456", "a").await, "NOT_FOUND");
    };
    block_on(run);
}
