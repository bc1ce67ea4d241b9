//! Replay, through Rocket's local client, on both engines.

use std::collections::BTreeMap;
use std::time::Duration;

use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_db::Record as _;
use tollgate_db::{Db, Engine};
use tollgate_domain::customers::Customer;

use crate::on_each_engine;
use crate::testing::{START, TestApp, TestResponse, db_that_is_away, event, signed_in, subscription};
use crate::webhooks::routes::INTAKE_PATH;

const PATH: &str = "/api/stripe/webhooks/replay";

fn at(seconds: i64, mut event: Value) -> Value {
    event["created"] = json!(START + seconds);
    event
}

fn invoice(status: &str, attempts: i64) -> Value {
    json!({
        "id": "in_1", "object": "invoice", "customer": "cus_1", "status": status, "currency": "usd", "created": START,
        "amount_due": 2900, "amount_paid": if status == "paid" { 2900 } else { 0 }, "attempt_count": attempts,
        "status_transitions": { "paid_at": if status == "paid" { json!(START + 30) } else { json!(null) } },
        "parent": { "type": "subscription_details", "subscription_details": { "subscription": "sub_1" } },
        "payment_intent": "pi_1",
        "lines": { "data": [] },
    })
}

/// A life in which something of every kind happens.
fn a_life() -> Vec<Value> {
    let customer = json!({ "id": "cus_1", "object": "customer", "email": "ada@example.com", "name": "Ada" });
    let session = json!({
        "id": "cs_1", "object": "checkout.session", "customer": "cus_1", "mode": "payment", "payment_status": "paid",
        "client_reference_id": "user_1", "amount_total": 500, "currency": "usd", "payment_intent": "pi_2", "created": START,
    });
    let card = json!({ "id": "pm_1", "object": "payment_method", "customer": "cus_1", "type": "card",
                       "card": { "brand": "visa", "last4": "4242" } });
    let charge = json!({ "id": "ch_1", "object": "charge", "customer": "cus_1", "payment_intent": "pi_1", "amount": 2900,
                         "amount_refunded": 900, "currency": "usd", "refunded": false });
    let refund = json!({ "id": "re_1", "object": "refund", "charge": "ch_1", "payment_intent": "pi_1", "amount": 900,
                         "currency": "usd", "status": "succeeded" });
    let failed_session = json!({ "id": "cs_2", "object": "checkout.session", "customer": "cus_1", "mode": "payment",
                                 "payment_status": "unpaid", "amount_total": 500, "currency": "usd", "created": START });
    let intent = json!({ "id": "pi_3", "object": "payment_intent", "customer": "cus_1", "amount": 700, "amount_received": 0,
                         "currency": "usd", "status": "requires_payment_method", "created": START });
    [
        ("customer.created", customer),
        ("customer.subscription.created", subscription("active")),
        ("payment_method.attached", card),
        ("checkout.session.completed", session),
        ("invoice.payment_failed", invoice("open", 1)),
        ("customer.subscription.updated", subscription("past_due")),
        ("invoice.paid", invoice("paid", 2)),
        ("customer.subscription.updated", subscription("active")),
        ("charge.refunded", charge),
        ("refund.created", refund),
        ("checkout.session.async_payment_failed", failed_session),
        ("payment_intent.payment_failed", intent),
        ("test_helpers.test_clock.ready", json!({ "id": "clock_1", "customer": "cus_1" })),
        ("customer.subscription.updated", json!({ "id": "sub_1", "object": "subscription" })),
        ("customer.subscription.deleted", subscription("canceled")),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, (event_type, object))| at(10 * n as i64, event(&format!("evt_{n:02}"), event_type, &object)))
    .collect()
}

fn columns_sql(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "SELECT t.name, c.name FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c
             WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite%'"
        }
        Engine::Postgres => {
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'"
        }
    }
}

/// Every row of every table, but for what operators did and what was tried.
async fn all_rows(db: &Db) -> BTreeMap<String, Vec<String>> {
    let mut tx = db.read().await.unwrap();
    let columns: Vec<(String, String)> = tx.sql(columns_sql(db.engine())).all().await.unwrap();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column) in columns.into_iter().filter(|(_, column)| column != "batch_id") {
        let text = match (db.engine(), &*column) {
            (Engine::Sqlite, "payload" | "sealed") => format!("coalesce(hex({column}), '-')"),
            _ => format!("coalesce(CAST({column} AS TEXT), '-')"),
        };
        tables.entry(table).or_default().push(text);
    }
    let mut all = BTreeMap::new();
    for (table, texts) in
        tables.into_iter().filter(|(table, _)| !["operator_acts", "webhook_batches"].contains(&&**table))
    {
        let sql = format!("SELECT {} FROM {table} ORDER BY 1", texts.join(" || ' | ' || "));
        let rows: Vec<(String,)> = tx.sql(sql.leak()).all().await.unwrap();
        all.insert(table, rows.into_iter().map(|(row,)| row).collect());
    }
    all
}

impl TestApp {
    async fn live(&self) {
        for event in a_life() {
            let answered = self.post(INTAKE_PATH, &event).await;
            assert_eq!(answered.status, 200, "{answered:?}");
            self.inner.clock.advance(Duration::from_secs(1));
        }
    }

    async fn replay(&self, body: &Value) -> Value {
        let replayed = self.act(PATH, body).await;
        assert_eq!(replayed.status, 200, "{replayed:?}");
        replayed.json()
    }

    async fn lose(&self, sql: &'static str) {
        let mut tx = self.inner.begin_write().await.unwrap();
        assert!(tx.sql(sql).run().await.unwrap() > 0);
        tx.commit().await.unwrap();
    }
}

fn everything() -> Value {
    json!({ "from": "2025-06-15T15:00:00Z", "to": "2025-06-15T16:00:00Z" })
}

fn outcomes(replayed: &Value) -> Vec<(&str, &str)> {
    let results = replayed["results"].as_array().unwrap().iter();
    results.map(|result| (result["eventId"].as_str().unwrap(), result["outcome"].as_str().unwrap())).collect()
}

#[test]
fn a_replayed_life_changes_nothing() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        app.live().await;
        let before = all_rows(&db).await;
        assert!(before["license_events"].len() > 4 && before["payments"].len() > 1, "{before:#?}");
        app.inner.clock.advance(Duration::from_secs(60));
        let dry =
            app.replay(&json!({ "from": "2025-06-15T15:00:00Z", "to": "2025-06-15T16:00:00Z", "dryRun": true })).await;
        for result in dry["results"].as_array().unwrap() {
            let is_in_effect = result["outcome"] == "duplicate";
            assert_eq!(is_in_effect, result["changes"] == json!([]), "{result:#}");
        }
        assert_eq!(all_rows(&db).await, before, "a dry run commits nothing");

        let replayed = app.replay(&everything()).await;
        assert_eq!((&replayed["matched"], &replayed["hasMore"]), (&json!(15), &json!(false)));
        let expected: Vec<_> = (0..15)
            .map(|n| match n {
                12 => "ignored",
                13 => "dead_lettered",
                _ => "duplicate",
            })
            .collect();
        assert_eq!(outcomes(&replayed).iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>(), expected);
        let mut after = all_rows(&db).await;
        // What was no success is tried again, and that is counted.
        for table in ["webhook_events", "dead_letters"] {
            let rows = after.insert(table.to_owned(), before[table].clone()).unwrap();
            let changed = rows.iter().filter(|row| !before[table].contains(row)).count();
            assert_eq!(changed, if table == "webhook_events" { 2 } else { 1 }, "{table}");
        }
        assert_eq!(after, before);
        let acts = app.look_up("/api/admin/audit?action=webhook_event.replay&limit=100").await.json();
        assert_eq!(acts["data"].as_array().unwrap().len(), 15, "each is on record");
    });
}

#[test]
fn a_replay_finds_what_is_missing_and_a_dry_run_shows_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        app.live().await;
        let before = all_rows(&db).await;
        app.lose("DELETE FROM payments WHERE id = 'in_1'").await;
        app.lose("UPDATE customers SET name = 'nobody' WHERE id = 'cus_1'").await;
        let lacking = all_rows(&db).await;

        let dry = app.replay(&json!({ "eventIds": ["evt_06", "evt_02"], "dryRun": true })).await;
        assert_eq!(outcomes(&dry), [("evt_06", "processed"), ("evt_02", "duplicate")]);
        let changes = dry["results"][0]["changes"].as_array().unwrap();
        let payment = changes.iter().find(|change| change["table"] == "payments").unwrap();
        assert_eq!((&payment["key"], &payment["before"]), (&json!("in_1"), &json!(null)), "{payment:#}");
        assert_eq!((&payment["after"]["amount"], &payment["after"]["customerId"]), (&json!(2900), &json!("cus_1")));
        assert_eq!(all_rows(&db).await, lacking, "a dry run commits nothing");
        assert_eq!(app.look_up("/api/admin/audit").await.json()["data"], json!([]));

        let replayed = app.replay(&json!({ "eventId": "evt_06" })).await;
        assert_eq!(replayed["results"], json!([{ "eventId": "evt_06", "outcome": "processed", "changes": null }]));
        assert_eq!(all_rows(&db).await["payments"].len(), before["payments"].len());
        let again = app.replay(&json!({ "eventId": "evt_06" })).await;
        assert_eq!(outcomes(&again), [("evt_06", "duplicate")]);
    });
}

#[test]
fn a_dry_run_shows_rows_as_they_were_and_would_be() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        app.take_a_subscriber().await;
        // An older release did not know what to do with it.
        let cancelled = at(60, event("evt_1", "customer.subscription.deleted", &subscription("canceled")));
        app.post(INTAKE_PATH, &at(60, event("evt_1", "of.no.release", &subscription("canceled")))).await;
        let mut tx = app.inner.begin_write().await.unwrap();
        let older = tx.sql("UPDATE webhook_events SET payload = $1 WHERE id = 'evt_1'");
        older.bind(cancelled.to_string().into_bytes()).run().await.unwrap();
        tx.commit().await.unwrap();

        let dry = app.replay(&json!({ "eventId": "evt_1", "dryRun": true })).await;
        assert_eq!(outcomes(&dry), [("evt_1", "processed")]);
        let changes = dry["results"][0]["changes"].as_array().unwrap();
        let of = |table: &str| changes.iter().find(|change| change["table"] == table).unwrap();
        for (table, key, column, was, will_be) in [
            ("webhook_events", "evt_1", "status", json!("ignored"), json!("processed")),
            (Customer::TABLE, "cus_1", "tier", json!("pro"), json!("free")),
            ("subscriptions", "sub_1", "accessStatus", json!("active"), json!("canceled")),
        ] {
            let change = of(table);
            assert_eq!(change["key"], key);
            assert_eq!((&change["before"][column], &change["after"][column]), (&was, &will_be), "{change:#}");
        }
        assert_eq!(app.get("/v1/customers/cus_1").await.json()["tier"], "pro");
        assert_eq!(outcomes(&app.replay(&json!({ "eventId": "evt_1" })).await), [("evt_1", "processed")]);
        assert_eq!(app.get("/v1/customers/cus_1").await.json()["tier"], "free");
    });
}

#[test]
fn a_dry_run_shows_no_secret() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        app.take_a_subscriber().await;
        let mut tx = db.read().await.unwrap();
        let (licence_key, hash): (String, String) = tx
            .sql("SELECT licenses.key, api_keys.hash FROM licenses JOIN api_keys ON api_keys.customer_id = licenses.customer_id")
            .one()
            .await
            .unwrap();
        drop(tx);
        // What is there, and what would be made anew.
        let update = at(60, event("evt_1", "customer.subscription.updated", &subscription("past_due")));
        app.post(INTAKE_PATH, &update).await;
        app.lose("UPDATE customers SET provisioned_at = NULL, tier = 'free'").await;
        app.lose("UPDATE licenses SET status = 'expired'").await;
        app.lose("DELETE FROM api_keys").await;
        let dry = app.replay(&json!({ "eventIds": ["evt_subscribed", "evt_1"], "dryRun": true })).await;
        let tables: Vec<_> =
            dry["results"][0]["changes"].as_array().unwrap().iter().map(|it| it["table"].as_str().unwrap()).collect();
        assert!(tables.contains(&"api_keys") && tables.contains(&"licenses"), "{dry:#}");
        let text = dry.to_string();
        for secret in [&licence_key, &hash, "sealed", "\"hash\"", "payload\"", "fingerprintHash"] {
            assert!(!text.contains(secret), "{secret}: {dry:#}");
        }
        for change in dry["results"].as_array().unwrap().iter().flat_map(|result| result["changes"].as_array().unwrap())
        {
            assert!(change["table"] != "licenses" || change["after"].get("key").is_none(), "{change:#}");
        }
    });
}

#[test]
fn a_range_is_replayed_page_by_page_each_event_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for n in 0..130 {
            let event_type = if n % 2 == 0 { "charge.succeeded" } else { "charge.pending" };
            app.post(INTAKE_PATH, &event(&format!("evt_{n:03}"), event_type, &json!({ "id": "ch_1" }))).await;
            // Some at the same moment.
            app.inner.clock.advance(Duration::from_millis(if n % 3 == 0 { 500 } else { 0 }));
        }
        let mut body = everything();
        let first = app.replay(&body).await;
        assert_eq!((&first["matched"], &first["hasMore"]), (&json!(130), &json!(true)));
        body["cursor"] = first["nextCursor"].clone();
        let second = app.replay(&body).await;
        assert_eq!((&second["hasMore"], &second["nextCursor"]), (&json!(false), &json!(null)));
        let mut seen: Vec<_> =
            outcomes(&first).into_iter().chain(outcomes(&second)).map(|(id, _)| id.to_owned()).collect();
        assert_eq!((seen.len(), seen[0].as_str()), (130, "evt_000"));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 130);

        let typed = app
            .replay(&json!({ "from": "2025-06-15T15:00:00Z", "to": "2025-06-15T16:00:00Z", "type": "charge.pending" }))
            .await;
        assert_eq!((&typed["matched"], outcomes(&typed).len()), (&json!(65), 65));
        // From the first moment on, and up to but not with the last.
        let few = app.replay(&json!({ "from": "2025-06-15T15:06:40Z", "to": "2025-06-15T15:06:40.5Z" })).await;
        assert_eq!(outcomes(&few), [("evt_000", "ignored")]);
    });
}

#[test]
fn an_unknown_event_is_not_replayed_nor_those_named_with_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        for body in [json!({ "eventId": "evt_none" }), json!({ "eventIds": ["evt_subscribed", "evt_none"] })] {
            assert_eq!(app.act(PATH, &body).await.refusal(), (404, "not_found".to_owned()));
        }
        assert_eq!(app.look_up("/api/admin/audit").await.json()["data"], json!([]));
        let twice = app.replay(&json!({ "eventIds": ["evt_subscribed", "evt_subscribed"] })).await;
        assert_eq!(outcomes(&twice), [("evt_subscribed", "duplicate")]);
    });
}

#[test]
fn replay_is_limited_in_rate() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for _ in 0..60 {
            app.replay(&everything()).await;
        }
        let refused = app.act(PATH, &everything()).await;
        assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
        assert_eq!(refused.header("Retry-After"), Some("1"));
        app.inner.clock.advance(Duration::from_secs(1));
        app.replay(&everything()).await;
    });
}

#[rocket::async_test]
async fn a_replay_says_which_events_and_is_an_operators() {
    let app = TestApp::on(db_that_is_away()).await;
    assert_eq!(app.post(PATH, &everything()).await.refusal(), (401, "unauthorized".to_owned()));
    let as_user = app.request(Method::Post, PATH).header(signed_in("user_1", "user"));
    assert_eq!(TestResponse::of(as_user.body("{}")).await.refusal(), (403, "forbidden".to_owned()));
    let many: Vec<_> = (0..101).map(|n| format!("evt_{n}")).collect();
    let (from, to) = ("2025-06-15T15:00:00Z", "2025-06-15T16:00:00Z");
    for (body, param) in [
        (json!({}), "eventId"),
        (json!({ "eventId": 5 }), "eventId"),
        (json!({ "eventId": "evt_1", "eventIds": ["evt_2"] }), "eventIds"),
        (json!({ "eventIds": [] }), "eventIds"),
        (json!({ "eventIds": many }), "eventIds"),
        (json!({ "eventId": "evt_1", "from": from }), "from"),
        (json!({ "eventIds": ["evt_1"], "type": "invoice.paid" }), "type"),
        (json!({ "eventId": "evt_1", "cursor": "x" }), "cursor"),
        (json!({ "type": "invoice.paid" }), "from"),
        (json!({ "from": from }), "to"),
        (json!({ "to": to }), "from"),
        (json!({ "from": "yesterday", "to": to }), "from"),
        (json!({ "from": from, "to": from }), "to"),
        (json!({ "from": "2025-03-15T15:00:00Z", "to": to }), "from"),
        (json!({ "from": from, "to": to, "cursor": "x" }), "cursor"),
        (json!({ "from": from, "to": to, "dryRun": "yes" }), "dryRun"),
    ] {
        let refused = app.act(PATH, &body).await.refused_parameter();
        assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())), "{body}");
    }
    assert_eq!(app.act(PATH, &everything()).await.refusal(), (503, "database_unavailable".to_owned()));
    assert_eq!(app.act(PATH, &json!({ "eventId": "evt_1" })).await.refusal(), (503, "database_unavailable".to_owned()));
}
