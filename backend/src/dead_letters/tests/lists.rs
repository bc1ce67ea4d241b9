//! What is listed, what is counted, and who may see it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tollgate_db::testing::block_on;
use tollgate_db::{Engine, Json};
use tollgate_domain::dead_letters::{self, Delivery, Failure, Subject};
use tollgate_shared::clock::from_unix;

use super::letters::{desktop, webhook};
use crate::dead_letters::view;
use crate::on_each_engine;
use crate::schema::source;
use crate::schema::testing::migrated;
use crate::testing::{START, TestApp, TestResponse, db_that_is_away, signed_in};

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

/// A thousand letters of one moment, of which one in a hundred waits for somebody. Numbers are the names of a document.
const FILL: &str = "INSERT INTO dead_letters
        (id, source, event_id, machine_id, license_id, customer_id, type, reason, attempts, status, created_at,
         last_failed_at, resolved_at, resolved_by)
    SELECT 'dl_' || n, CASE n % 4 WHEN 0 THEN 'webhook' WHEN 1 THEN 'delivery' WHEN 2 THEN 'desktop' ELSE 'notification' END,
           'evt_' || n, CASE WHEN n % 4 IN (1, 2) THEN 'mac_' || n END, 'lic_' || n % 2000, 'cus_' || n % 2000,
           'type.' || n % 30, 'reason ' || n % 200, 1,
           CASE WHEN n % 101 = 0 THEN 'open' WHEN n % 999 = 0 THEN 'retrying' ELSE 'resolved' END, $2, $2,
           CASE WHEN n % 101 = 0 OR n % 999 = 0 THEN NULL ELSE $2 END, 'ada'
    FROM (SELECT CAST(wanted.key AS BIGINT) AS n FROM json_each($1) AS wanted) AS numbers";

const LETTERS: i64 = 30_000;

#[test]
fn a_long_queue_of_dead_letters_is_read_by_its_indexes() {
    block_on(async {
        // What goes through machines for their letters has none to go through here.
        let is_of_letters = |place: &str, sql: &str| {
            !place.contains("tests") && sql.contains("dead_letters") && !sql.contains("FROM machines")
        };
        let of_letters = source::statements().into_iter().filter(|(place, sql)| is_of_letters(place, sql));
        let statements: Vec<_> =
            view::STATEMENTS.iter().map(|sql| (*sql).to_owned()).chain(of_letters.map(|(_, sql)| sql)).collect();
        assert!(statements.len() > 15, "{statements:?}");
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            let db = database.open();
            let mut tx = db.write().await.unwrap();
            for first in (0..LETTERS).step_by(1000) {
                let at = from_unix(START + first).unwrap();
                let numbers: BTreeMap<_, _> = (first..first + 1000).map(|number| (number.to_string(), true)).collect();
                assert_eq!(tx.sql(FILL).bind(Json(numbers)).bind(at).run().await, Ok(1000));
            }
            tx.commit().await.unwrap();
            let slow = database.slow_as_filled(&statements, &[]).await;
            let slow: Vec<_> = slow.iter().map(|(index, step)| (step, &statements[*index])).collect();
            assert!(slow.is_empty(), "on {engine:?}: {slow:#?}");
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
