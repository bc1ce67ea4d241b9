//! What becomes of a dead letter.

use serde_json::{Value, json};
use tollgate_domain::dead_letters::{self, Delivery, Failure, Subject};

use crate::on_each_engine;
use crate::testing::TestApp;

/// An event of Stripe's that can never work.
pub(super) fn webhook(event_id: &str) -> Failure<'_> {
    Failure {
        subject: Subject::Webhook(event_id),
        customer_id: Some("cus_1"),
        event_type: "invoice.paid",
        reason: "unreadable",
        attempts: 1,
    }
}

/// What `mac_1` of `lic_1` says that it failed at.
pub(super) fn desktop<'a>(event_id: &'a str, event_type: &'a str, reason: &'a str) -> Failure<'a> {
    let delivery = Delivery { event_id, machine_id: "mac_1", license_id: "lic_1" };
    Failure { subject: Subject::Desktop(delivery), event_type, reason, ..webhook(event_id) }
}

impl TestApp {
    pub(super) async fn dead_lettered(&self, failure: &Failure<'_>) {
        let mut tx = self.inner.begin_write().await.unwrap();
        dead_letters::open(&mut tx, self.inner.clock.now(), &self.inner.rng, failure).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(super) async fn dead_letters(&self, query: &str) -> Vec<Value> {
        let list = self.look_up(&format!("/api/dlq?{query}")).await;
        assert_eq!(list.status, 200, "{list:?}");
        list.json()["data"].as_array().unwrap().clone()
    }

    pub(super) async fn acknowledged(&self, machine_id: &str, event_id: &str) {
        let mut tx = self.inner.begin_write().await.unwrap();
        dead_letters::end_acknowledged(&mut tx, self.inner.clock.now(), machine_id, event_id).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[test]
fn a_machine_has_one_open_letter_for_each_type_of_event() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (event_id, event_type) in [("sev_1", "plan_changed"), ("sev_2", "plan_changed"), ("sev_3", "broadcast")] {
            app.dead_lettered(&desktop(event_id, event_type, &"é".repeat(501))).await;
        }
        let letters = app.dead_letters("status=open&source=desktop&type=plan_changed").await;
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!((&letter["eventId"], &letter["attempts"]), (&json!("sev_2"), &json!(2)), "the one that failed last");
        assert_eq!(letter["reason"], "é".repeat(500));
        assert_eq!((&letter["machineId"], &letter["licenseId"]), (&json!("mac_1"), &json!("lic_1")));

        // Of another event nothing ends it; and once it has ended the next failure is another letter.
        app.acknowledged("mac_1", "sev_1").await;
        assert_eq!(app.dead_letters("status=open&type=plan_changed").await.len(), 1);
        app.acknowledged("mac_1", "sev_2").await;
        assert_eq!(app.dead_letters("status=open&type=plan_changed").await, [json!(null); 0]);
        app.dead_lettered(&desktop("sev_4", "plan_changed", "again")).await;
        let letters = app.dead_letters("type=plan_changed").await;
        let statuses: Vec<_> = letters.iter().map(|letter| letter["status"].as_str().unwrap()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == "open").count(), 1, "{letters:?}");
        assert_eq!(letters.len(), 2);
        let resolved = letters.iter().find(|letter| letter["status"] == "resolved").unwrap();
        assert_eq!(resolved["resolvedBy"], "acknowledgement");
    });
}

#[test]
fn an_event_of_stripes_has_one_letter_whatever_becomes_of_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let clock = app.inner.clock.clone();
        app.dead_lettered(&webhook("evt_1")).await;
        let first = app.dead_letters("").await.remove(0);
        clock.advance(std::time::Duration::from_secs(60));
        app.dead_lettered(&Failure { reason: "panicked", attempts: 8, ..webhook("evt_1") }).await;
        let [again] = &app.dead_letters("").await[..] else { panic!("one letter") };
        assert_eq!((&again["id"], &again["createdAt"]), (&first["id"], &first["createdAt"]));
        assert_eq!((&again["reason"], &again["attempts"]), (&json!("panicked"), &json!(9)));
        assert_ne!(again["lastFailedAt"], first["lastFailedAt"]);

        let mut tx = app.inner.begin_write().await.unwrap();
        let known = dead_letters::of_events(&mut tx, &["evt_1", "evt_2"].map(str::to_owned).into()).await.unwrap();
        assert_eq!(known.len(), 1);
        dead_letters::end(&mut tx, clock.now(), &known[0].id, Some("ada")).await.unwrap();
        tx.commit().await.unwrap();
        let [ended] = &app.dead_letters("status=resolved").await[..] else { panic!("one letter") };
        assert_eq!((&ended["resolvedBy"], &ended["resolvedAt"]), (&json!("ada"), &again["lastFailedAt"]));
        clock.advance(std::time::Duration::from_secs(60));
        app.dead_lettered(&webhook("evt_1")).await;
        let [anew] = &app.dead_letters("").await[..] else { panic!("one letter") };
        assert_eq!((&anew["id"], &anew["status"], &anew["resolvedAt"]), (&first["id"], &json!("open"), &json!(null)));
        assert_eq!(anew["createdAt"], anew["lastFailedAt"], "it has not been open for all that time");
    });
}

#[test]
fn what_is_to_be_sent_again_is_known_by_its_licence() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.dead_lettered(&desktop("sev_1", "plan_changed", "crashed")).await;
        app.dead_lettered(&desktop("sev_2", "broadcast", "crashed")).await;
        let letter = app.dead_letters("type=broadcast").await.remove(0);
        let now = app.inner.clock.now();
        let mut tx = app.inner.begin_write().await.unwrap();
        assert!(dead_letters::note_retry(&mut tx, now, letter["id"].as_str().unwrap(), "ada").await.unwrap());
        let to_send = dead_letters::to_send_again(&mut tx, ["lic_1", "lic_2"]).await.unwrap();
        let to_send: Vec<_> = to_send.iter().map(|it| (&*it.machine_id, &*it.event_id, it.retried_at)).collect();
        assert_eq!(to_send, [("mac_1", "sev_2", now)]);
        assert_eq!(dead_letters::to_send_again(&mut tx, ["lic_2"]).await.unwrap(), []);
        tx.commit().await.unwrap();
        // It fails there again, and is a matter for an operator.
        app.dead_lettered(&desktop("sev_2", "broadcast", "crashed again")).await;
        let [again] = &app.dead_letters("type=broadcast").await[..] else { panic!("one letter") };
        assert_eq!((&again["status"], &again["attempts"]), (&json!("open"), &json!(2)));
    });
}
