//! What is listed, what is counted, and who may see it.

use std::time::Duration;

use serde_json::json;
use tollgate_db::Engine;
use tollgate_db::testing::block_on;
use tollgate_domain::dead_letters::{self, Delivery, Failure, Subject};

use super::letters::{desktop, webhook};
use crate::dead_letters::view;
use crate::on_each_engine;
use crate::schema::testing::migrated;
use crate::testing::{TestApp, TestResponse, db_that_is_away, signed_in};

#[test]
fn every_list_of_dead_letters_goes_by_an_index() {
    block_on(async {
        let statements = view::STATEMENTS.map(str::to_owned);
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            assert_eq!(database.refused(&statements).await, []);
            assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
        }
    });
}

#[test]
fn dead_letters_are_found_by_status_source_and_type() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let delivery = Delivery { event_id: "sev_3", machine_id: "mac_2", license_id: "lic_1" };
        for failure in [
            webhook("evt_1"),
            desktop("sev_2", "plan_changed", "crashed"),
            Failure { subject: Subject::Delivery(delivery), event_type: "plan_changed", ..webhook("") },
            Failure { subject: Subject::Notification("msg_4"), event_type: "receipt", ..webhook("") },
            webhook("evt_5"),
        ] {
            app.inner.clock.advance(Duration::from_secs(60));
            app.dead_lettered(&failure).await;
        }
        let mut tx = app.inner.begin_write().await.unwrap();
        let known = dead_letters::of_events(&mut tx, &["evt_5".to_owned()].into()).await.unwrap();
        dead_letters::end(&mut tx, app.inner.clock.now(), &known[0].id, None).await.unwrap();
        tx.commit().await.unwrap();
        for (query, expected) in [
            ("", &["evt_5", "msg_4", "sev_3", "sev_2", "evt_1"][..]),
            ("status=open", &["msg_4", "sev_3", "sev_2", "evt_1"]),
            ("status=resolved", &["evt_5"]),
            ("status=retrying", &[]),
            ("source=webhook", &["evt_5", "evt_1"]),
            ("source=delivery", &["sev_3"]),
            ("type=plan_changed", &["sev_3", "sev_2"]),
            ("type=plan_changed&source=desktop&status=open", &["sev_2"]),
            ("type=of.none", &[]),
        ] {
            let letters = app.dead_letters(query).await;
            let ids: Vec<_> = letters.iter().map(|letter| letter["eventId"].as_str().unwrap()).collect();
            assert_eq!(ids, expected, "{query}");
        }

        // Page by page, each of them once.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.look_up(&format!("/api/dlq?limit=2{cursor}")).await.json();
            seen.extend(page["data"].as_array().unwrap().iter().map(|letter| letter["eventId"].clone()));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, ["evt_5", "msg_4", "sev_3", "sev_2", "evt_1"]);

        let stats = app.look_up("/api/dlq?stats=true").await.json();
        let expected = json!({
            "open": 4, "oldestOpenSeconds": 240,
            "bySource": { "webhook": 1, "desktop": 1, "delivery": 1, "notification": 1 },
            "byReason": { "unreadable": 3, "crashed": 1 },
        });
        assert_eq!(stats, expected);
    });
}

#[test]
fn a_dead_letter_is_shown_with_all_that_is_known_of_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        assert_eq!(
            app.look_up("/api/dlq?stats=true").await.json(),
            json!({ "open": 0, "oldestOpenSeconds": null, "bySource": {}, "byReason": {} })
        );
        app.dead_lettered(&webhook("evt_1")).await;
        let mut letter = app.dead_letters("").await.remove(0);
        assert!(letter["id"].as_str().unwrap().starts_with("dl_"), "{letter}");
        letter["id"] = json!("dl_…");
        let expected = json!({
            "id": "dl_…", "eventId": "evt_1", "machineId": null, "source": "webhook", "type": "invoice.paid",
            "reason": "unreadable", "attempts": 1, "status": "open", "stripeCustomerId": "cus_1", "licenseId": null,
            "createdAt": "2025-06-15T15:06:40Z", "lastFailedAt": "2025-06-15T15:06:40Z",
            "resolvedAt": null, "resolvedBy": null, "note": null,
        });
        assert_eq!(letter, expected);
    });
}

#[rocket::async_test]
async fn dead_letters_are_for_operators() {
    let app = TestApp::on(db_that_is_away()).await;
    let path = "/api/dlq";
    assert_eq!(app.get(path).await.refusal(), (401, "unauthorized".to_owned()));
    let as_user = TestResponse::of(app.client.get(path).header(signed_in("user_1", "user"))).await;
    assert_eq!(as_user.refusal(), (403, "forbidden".to_owned()));
    for (query, param) in
        [("status=dead", "status"), ("source=stripe", "source"), ("limit=0", "limit"), ("stats=yes", "stats")]
    {
        let refused = app.look_up(&format!("{path}?{query}")).await.refused_parameter();
        assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())), "{query}");
    }
    assert_eq!(app.look_up(path).await.refusal(), (503, "database_unavailable".to_owned()));
}
