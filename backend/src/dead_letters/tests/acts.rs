//! What operators do with dead letters, from the failure to its end.

use std::time::Duration;

use rocket::http::Method;
use serde_json::{Value, json};

use super::letters::{desktop, webhook};
use crate::on_each_engine;
use crate::testing::{START, TestApp, TestResponse, db_that_is_away, event, signed_in, subscription};
use crate::webhooks::retry;
use crate::webhooks::routes::INTAKE_PATH;

const MISLAY_A_TABLE: &str = "ALTER TABLE widgets RENAME TO mislaid";
const BRING_IT_BACK: &str = "ALTER TABLE mislaid RENAME TO widgets";

fn cancelled() -> Value {
    let mut event = event("evt_cancelled", "customer.subscription.deleted", &subscription("canceled"));
    event["created"] = json!(START + 60);
    event
}

impl TestApp {
    /// Whoever numbers the licence's log begins anew, as after a table was restored without the other: the next event that
    /// tells the apps something cannot be stored. Gives the number that would be right.
    async fn lose_the_place_in_the_log(&self) -> i64 {
        let mut tx = self.inner.begin_write().await.unwrap();
        let (last,): (i64,) = tx.sql("SELECT max(last_seq) FROM license_logs").one().await.unwrap();
        tx.sql("UPDATE license_logs SET last_seq = 0").run().await.unwrap();
        tx.commit().await.unwrap();
        last
    }

    async fn mend_the_log(&self, last: i64) {
        let mut tx = self.inner.begin_write().await.unwrap();
        tx.sql("UPDATE license_logs SET last_seq = $1").bind(last).run().await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Changes the database by hand.
    pub(crate) async fn alter(&self, sql: &'static str) {
        let mut tx = self.inner.begin_write().await.unwrap();
        tx.sql(sql).run().await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Whatever waits for its next attempt is due.
    async fn let_time_pass_for_events(&self) {
        let mut tx = self.inner.begin_write().await.unwrap();
        tx.sql("UPDATE webhook_events SET next_attempt_at = NULL").run().await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn retry(&self, id: &str) -> Value {
        let retried = self.act(&format!("/api/dlq/retry/{id}"), &json!({})).await;
        assert_eq!(retried.status, 200, "{retried:?}");
        retried.json()
    }

    async fn acts_on_record(&self) -> Vec<Value> {
        self.look_up("/api/admin/audit").await.json()["data"].as_array().unwrap().clone()
    }

    async fn tier(&self) -> Value {
        self.get("/v1/customers/cus_1").await.json()["tier"].clone()
    }
}

#[test]
fn what_fails_for_a_passing_reason_is_retried_and_works() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.alter(MISLAY_A_TABLE).await;
        let event = event("evt_1", "customer.subscription.created", &subscription("active"));
        let stored = app.post(INTAKE_PATH, &event).await;
        assert_eq!((stored.status, &stored.json()["stored"]), (500, &json!(true)));
        app.alter(BRING_IT_BACK).await;
        app.inner.clock.advance(Duration::from_secs(5));
        assert_eq!(retry::run(&app.inbox).await.unwrap(), 1);
        assert_eq!(app.get("/v1/webhook-events/evt_1").await.json()["status"], "processed");
        assert_eq!(app.tier().await, "pro");
        assert_eq!(app.dead_letters("").await, [json!(null); 0], "it never was a matter for a person");
    });
}

#[test]
fn a_dead_letter_is_mended_retried_and_gone() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let last = app.lose_the_place_in_the_log().await;
        let answered = app.post(INTAKE_PATH, &cancelled()).await;
        assert_eq!((answered.status, &answered.json()["outcome"]), (200, &json!("dead_lettered")));
        assert_eq!(app.tier().await, "pro");
        let letters = app.dead_letters("status=open&source=webhook").await;
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!(
            (&letter["eventId"], &letter["reason"], &letter["type"], &letter["stripeCustomerId"]),
            (
                &json!("evt_cancelled"),
                &json!("database_constraint"),
                &json!("customer.subscription.deleted"),
                &json!("cus_1")
            )
        );
        assert_eq!(app.look_up("/api/dlq?stats=true").await.json()["byReason"], json!({ "database_constraint": 1 }));

        // Nothing was mended yet.
        let again = app.retry("evt_cancelled").await;
        assert_eq!(again, json!({ "eventId": "evt_cancelled", "status": "open", "outcome": "dead_lettered" }));
        assert_eq!(app.dead_letters("").await[0]["attempts"], 2);

        app.mend_the_log(last).await;
        app.inner.clock.advance(Duration::from_secs(60));
        let mended = app.retry(letter["id"].as_str().unwrap()).await;
        assert_eq!(mended, json!({ "eventId": "evt_cancelled", "status": "resolved", "outcome": "processed" }));
        assert_eq!(app.tier().await, "free");
        assert_eq!(app.dead_letters("status=open").await, [json!(null); 0]);
        assert_eq!(app.look_up("/api/dlq?stats=true").await.json()["open"], 0);
        let [resolved] = &app.dead_letters("").await[..] else { panic!("one letter") };
        assert_eq!((&resolved["resolvedBy"], &resolved["id"]), (&json!("ada"), &letter["id"]));
        let refused = app.act("/api/dlq/retry/evt_cancelled", &json!({})).await;
        assert_eq!(refused.refusal(), (409, "already_resolved".to_owned()));

        let acts = app.acts_on_record().await;
        let [second, first] = &acts[..] else { panic!("{acts:?}") };
        for (act, status) in [(first, "dead_lettered"), (second, "processed")] {
            assert_eq!((&act["actor"], &act["action"]), (&json!("ada"), &json!("dead_letter.retry")));
            assert_eq!(act["target"], json!({ "type": "webhook_event", "id": "evt_cancelled" }));
            assert_eq!((&act["before"]["status"], &act["after"]["status"]), (&json!("dead_lettered"), &json!(status)));
        }
    });
}

#[test]
fn a_retry_that_fails_for_a_passing_reason_goes_on_by_itself() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let last = app.lose_the_place_in_the_log().await;
        app.post(INTAKE_PATH, &cancelled()).await;
        app.mend_the_log(last).await;
        app.alter(MISLAY_A_TABLE).await;
        let waits = app.retry("evt_cancelled").await;
        assert_eq!(waits, json!({ "eventId": "evt_cancelled", "status": "retrying", "outcome": "failed" }));
        let [act] = &app.acts_on_record().await[..] else { panic!("one act") };
        assert_eq!(act["after"], json!({ "status": "failed" }));
        assert_eq!(app.dead_letters("status=retrying").await.len(), 1);
        app.alter(BRING_IT_BACK).await;
        app.inner.clock.advance(Duration::from_secs(5));
        assert_eq!(retry::run(&app.inbox).await.unwrap(), 1);
        assert_eq!(app.tier().await, "free");
        let [ended] = &app.dead_letters("").await[..] else { panic!("one letter") };
        assert_eq!((&ended["status"], &ended["resolvedBy"]), (&json!("resolved"), &json!("ada")));
    });
}

#[test]
fn retries_that_are_used_up_open_the_letter_again() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let event = event("evt_1", "customer.subscription.created", &subscription("active"));
        app.alter(MISLAY_A_TABLE).await;
        for _ in 0..8 {
            app.post(INTAKE_PATH, &event).await;
            app.let_time_pass_for_events().await;
        }
        let [letter] = &app.dead_letters("status=open").await[..] else { panic!("one letter") };
        assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("retries_exhausted"), &json!(8)));
        assert_eq!(app.retry("evt_1").await["status"], "retrying");
        for _ in 0..7 {
            app.let_time_pass_for_events().await;
            app.post(INTAKE_PATH, &event).await;
        }
        let [letter] = &app.dead_letters("").await[..] else { panic!("one letter") };
        assert_eq!((&letter["status"], &letter["attempts"]), (&json!("open"), &json!(16)));
    });
}

#[test]
fn a_dead_letter_is_resolved_with_a_note_and_by_whom() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.dead_lettered(&webhook("evt_1")).await;
        let id = app.dead_letters("").await[0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/dlq/resolve/{id}");
        let done = app.act(&path, &json!({ "note": " by hand, at Stripe\n" })).await;
        assert_eq!(
            (done.status, done.json()),
            (200, json!({ "eventId": "evt_1", "status": "resolved", "outcome": "resolved" }))
        );
        let [letter] = &app.dead_letters("status=resolved").await[..] else { panic!("one letter") };
        assert_eq!((&letter["resolvedBy"], &letter["note"]), (&json!("ada"), &json!("by hand, at Stripe")));
        assert_eq!(app.act(&path, &json!({})).await.refusal(), (409, "already_resolved".to_owned()));
        let [act] = &app.acts_on_record().await[..] else { panic!("one act") };
        assert_eq!((&act["action"], &act["reason"]), (&json!("dead_letter.resolve"), &json!("by hand, at Stripe")));
        assert_eq!(act["target"], json!({ "type": "dead_letter", "id": id }));
        assert_eq!((&act["before"]["status"], &act["after"]["status"]), (&json!("open"), &json!("resolved")));

        // Without a note, and without a body; by the id of its event.
        app.dead_lettered(&webhook("evt_2")).await;
        let bare = app.client.req(Method::Post, "/api/dlq/resolve/evt_2").header(signed_in("ada", "admin"));
        assert_eq!(TestResponse::of(bare).await.json()["status"], "resolved");
    });
}

#[test]
fn what_a_machine_failed_at_is_sent_again_until_it_works() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.dead_lettered(&desktop("sev_1", "plan_changed", "crashed")).await;
        let id = app.dead_letters("").await[0]["id"].as_str().unwrap().to_owned();
        let rung = app.inner.bells.times_rung();
        assert_eq!(app.retry(&id).await, json!({ "eventId": "sev_1", "status": "retrying", "outcome": "sent" }));
        assert_eq!(app.inner.bells.times_rung(), rung + 1);
        assert_eq!(app.dead_letters("status=retrying").await.len(), 1);
        // Of these only the letter's own id will do: an event is many machines'.
        assert_eq!(app.act("/api/dlq/retry/sev_1", &json!({})).await.refusal(), (404, "not_found".to_owned()));
        app.acknowledged("mac_1", "sev_1").await;
        assert_eq!(
            app.act(&format!("/api/dlq/retry/{id}"), &json!({})).await.refusal(),
            (409, "already_resolved".to_owned())
        );
        let [act] = &app.acts_on_record().await[..] else { panic!("one act") };
        assert_eq!((&act["action"], &act["target"]["id"]), (&json!("dead_letter.retry"), &json!(id)));
    });
}

#[test]
fn an_unknown_dead_letter_cannot_be_acted_on() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        for id in ["dl_none", "evt_none", "evt_subscribed"] {
            for act in ["retry", "resolve"] {
                let refused = app.act(&format!("/api/dlq/{act}/{id}"), &json!({})).await;
                assert_eq!(refused.refusal(), (404, "not_found".to_owned()), "{act} {id}");
            }
        }
        // The event is gone; its letter tells of it still.
        app.dead_lettered(&webhook("evt_gone")).await;
        let refused = app.act("/api/dlq/retry/evt_gone", &json!({})).await;
        assert_eq!(refused.refusal(), (404, "not_found".to_owned()));
        assert_eq!(app.acts_on_record().await, [json!(null); 0]);
    });
}

#[rocket::async_test]
async fn only_operators_act_on_dead_letters() {
    let app = TestApp::on(db_that_is_away()).await;
    for path in ["/api/dlq/retry/dl_1", "/api/dlq/resolve/dl_1"] {
        assert_eq!(app.post(path, &json!({})).await.refusal(), (401, "unauthorized".to_owned()));
        let as_user = app.request(Method::Post, path).header(signed_in("user_1", "user"));
        assert_eq!(TestResponse::of(as_user).await.refusal(), (403, "forbidden".to_owned()));
        assert_eq!(app.act(path, &json!({})).await.refusal(), (503, "database_unavailable".to_owned()));
    }
    for bad in [json!({ "note": 5 }), json!({ "note": "a".repeat(1001) })] {
        let refused = app.act("/api/dlq/resolve/dl_1", &bad).await.refused_parameter();
        assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some("note".to_owned())), "{bad}");
    }
    let form = app.client.req(Method::Post, "/api/dlq/resolve/dl_1").header(signed_in("ada", "admin")).body("note=x");
    assert_eq!(TestResponse::of(form).await.refusal(), (415, "unsupported_media_type".to_owned()));
}
