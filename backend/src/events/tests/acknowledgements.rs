//! What apps say of the events that they were told.

use futures_util::future::join_all;
use rocket::http::ContentType;
use tollgate_db::Engine;
use tollgate_domain::acknowledgements::{Said, Status, Subject};

use super::*;
use crate::events::acknowledge;
use crate::schema::testing::on;
use crate::testing::subscription_of;

/// What an app knows its machine by.
const MACHINE: &str = "a-fingerprint";

/// What an app says, and is answered. Each call is from another address, so that none comes too often.
pub(super) async fn say(app: &TestApp, body: &Value) -> TestResponse {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let from = format!("10.{}.{}.{}", call >> 16 & 255, call >> 8 & 255, call & 255);
    say_from(app, body, &from).await
}

async fn say_from(app: &TestApp, body: &Value, address: &str) -> TestResponse {
    let request = app.request(Method::Post, "/api/events/acknowledge").header(ContentType::JSON);
    TestResponse::of(request.header(Header::new("X-Forwarded-For", address.to_owned())).body(body.to_string())).await
}

async fn known(app: &TestApp, query: &str) -> TestResponse {
    TestResponse::of(app.client.get(format!("/api/events/acknowledge?{query}"))).await
}

/// The id of an event that happens now.
pub(super) async fn an_event(app: &TestApp, key: &str, number: i64) -> String {
    happen(&app.inner, number).await;
    let page = TestResponse::of(app.client.get(format!("/api/events/{key}/missed?limit=1000"))).await.json();
    page["data"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_app_acknowledges_an_event_once_however_often_it_says_so() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let machine = activate(&app, &key, MACHINE).await;
        let event = an_event(&app, &key, 1).await;
        let body = json!({ "eventId": event, "licenseKey": key.to_lowercase(), "machineId": MACHINE });
        let first = say(&app, &body).await;
        let expected = json!({
            "eventId": event, "machineId": machine, "status": "processed", "acknowledgedAt": "2025-06-15T15:06:40Z",
        });
        assert_eq!((first.status, first.json()), (200, expected.clone()));
        app.inner.clock.advance(Duration::from_secs(60));
        // A later process, too.
        for app in [&app, &app.replica(db).await] {
            assert_eq!(say(app, &body).await.json(), expected);
            let list = known(app, &format!("licenseKey={key}&eventId={event}")).await.json();
            assert_eq!(list, json!({ "data": [expected], "hasMore": false, "nextCursor": null }));
        }
    });
}

#[test]
fn what_failed_may_be_processed_later_and_never_back() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        activate(&app, &key, MACHINE).await;
        let event = an_event(&app, &key, 1).await;
        let mut last = String::new();
        for (status, becomes, is_new) in [
            ("failed", "failed", true),
            ("failed", "failed", false),
            ("processed", "processed", true),
            ("failed", "processed", false),
            ("processed", "processed", false),
        ] {
            app.inner.clock.advance(Duration::from_secs(1));
            let body = json!({
                "eventId": event, "licenseKey": key, "machineId": MACHINE, "status": status, "error": "disk full",
            });
            let answer = say(&app, &body).await.json();
            assert_eq!(answer["status"], becomes);
            let at = answer["acknowledgedAt"].as_str().unwrap().to_owned();
            assert_eq!(at != last, is_new, "{status}");
            last = at;
        }
    });
}

#[test]
fn a_machine_that_nobody_knows_is_taken_at_its_word() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        activate(&app, &key, MACHINE).await;
        let event = an_event(&app, &key, 1).await;
        for machine in [json!("never-activated"), Value::Null, json!("")] {
            let body = json!({ "eventId": event, "licenseKey": key, "machineId": machine, "status": "processed" });
            let answer = say(&app, &body).await;
            assert_eq!((answer.status, &answer.json()["machineId"]), (200, &Value::Null), "{machine}");
        }
        let list = known(&app, &format!("licenseKey={key}&eventId={event}")).await.json();
        assert_eq!(list["data"].as_array().unwrap().len(), 1, "all of them are one");
    });
}

#[test]
fn a_machine_that_gave_up_its_seat_is_still_known() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let machine = activate(&app, &key, MACHINE).await;
        let event = an_event(&app, &key, 1).await;
        let body = json!({ "eventId": event, "licenseKey": key, "machineId": MACHINE });
        assert_eq!(app.post("/api/license/deactivate", &body).await.status, 200);
        assert_eq!(say(&app, &body).await.json()["machineId"], machine);
    });
}

#[test]
fn only_what_stands_in_the_licences_log_can_be_acknowledged() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let event = an_event(&app, &key, 1).await;
        app.take("evt_other", "customer.subscription.created", subscription_of("cus_2", "active")).await;
        let other = app.get("/v1/customers/cus_2").await.json()["licenses"][0]["key"].as_str().unwrap().to_owned();
        for (key, event, refusal) in [
            (&*other, &*event, "not_found"),
            (&key, "sev_unknown", "not_found"),
            (&key, "", "not_found"),
            (&key, "\u{0}", "not_found"),
            (UNKNOWN_KEY, &event, "license_not_found"),
            ("mistyped", &event, "license_not_found"),
        ] {
            let answer = say(&app, &json!({ "eventId": event, "licenseKey": key })).await;
            assert_eq!(answer.refusal(), (404, refusal.to_owned()), "{event}");
        }
        let list = known(&app, &format!("licenseKey={other}&eventId={event}")).await;
        assert_eq!(list.refusal(), (404, "not_found".to_owned()));
        let list = known(&app, &format!("licenseKey={UNKNOWN_KEY}")).await;
        assert_eq!(list.refusal(), (404, "license_not_found".to_owned()));
    });
}

#[test]
fn what_an_app_says_wrongly_is_refused_by_name() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let event = an_event(&app, &key, 1).await;
        for (param, value) in [
            ("status", json!("done")),
            ("status", json!("Processed")),
            ("status", json!(1)),
            ("machineId", json!("é".repeat(513))),
            ("error", json!({})),
            ("eventId", Value::Null),
            ("licenseKey", Value::Null),
        ] {
            let mut body = json!({ "eventId": event, "licenseKey": key });
            body[param] = value.clone();
            let expected = (422, "invalid_parameter".to_owned(), Some(param.to_owned()));
            assert_eq!(say(&app, &body).await.refused_parameter(), expected, "{value}");
        }
        for (query, param) in [("", "licenseKey"), (&*format!("licenseKey={key}&limit=0"), "limit")] {
            let expected = (422, "invalid_parameter".to_owned(), Some(param.to_owned()));
            assert_eq!(known(&app, query).await.refused_parameter(), expected);
        }
        let form = app.client.post("/api/events/acknowledge").header(ContentType::Form).body("eventId=a");
        assert_eq!(TestResponse::of(form).await.refusal(), (415, "unsupported_media_type".to_owned()));
    });
}

#[test]
fn an_app_that_has_much_to_acknowledge_may_still_work() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let event = an_event(&app, &key, 1).await;
        let body = json!({ "eventId": event, "licenseKey": key });
        for _ in 0..10 {
            let all = join_all((0..8).map(|_| say_from(&app, &body, "203.0.113.7"))).await;
            assert!(all.iter().all(|answer| answer.status == 200), "{all:?}");
        }
        let asked = json!({ "licenseKey": key, "machineId": "a" });
        let request = app.request(Method::Post, "/api/license/validate").header(ContentType::JSON);
        let request = request.header(Header::new("X-Forwarded-For", "203.0.113.7")).body(asked.to_string());
        assert_eq!(TestResponse::of(request).await.status, 200);
    });
}

#[test]
fn what_was_said_of_a_licences_events_is_listed_in_pages() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let mut expected = Vec::new();
        for number in 1..=5 {
            let event = an_event(&app, &key, number).await;
            app.inner.clock.advance(Duration::from_secs(1));
            expected.insert(0, say(&app, &json!({ "eventId": event, "licenseKey": key })).await.json());
        }
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = known(&app, &format!("licenseKey={key}&limit=2{cursor}")).await.json();
            listed.extend(page["data"].as_array().unwrap().clone());
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(listed, expected);
    });
}

#[test]
fn said_both_ways_at_once_it_is_processed() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let replica = app.replica(db).await;
        activate(&app, &key, MACHINE).await;
        for number in 1..=10 {
            let event = an_event(&app, &key, number).await;
            let body =
                |status: &str| json!({ "eventId": event, "licenseKey": key, "machineId": MACHINE, "status": status });
            let bodies = ["failed", "processed", "failed", "processed", "failed", "failed"].map(body);
            let said = bodies.iter().zip([&app, &replica].into_iter().cycle()).map(|(body, app)| say(app, body));
            for answer in join_all(said).await {
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            let list = known(&app, &format!("licenseKey={key}&eventId={event}")).await.json();
            assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
            assert_eq!(list["data"][0]["status"], "processed");
        }
    });
}

#[test]
fn an_acknowledgement_waits_for_nobody_who_holds_the_licence() {
    on(Engine::Postgres, async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        activate(&app, &key, MACHINE).await;
        let event = an_event(&app, &key, 1).await;
        let mut tx = db.write().await.unwrap();
        for held in [
            "SELECT id FROM customers FOR UPDATE",
            "SELECT id FROM licenses FOR UPDATE",
            "SELECT id FROM machines FOR UPDATE",
            "SELECT license_id FROM license_logs FOR UPDATE",
        ] {
            let rows: Vec<(String,)> = tx.sql(held).all().await.unwrap();
            assert!(!rows.is_empty(), "{held}");
        }
        let body = json!({ "eventId": event, "licenseKey": key, "machineId": MACHINE });
        assert_eq!(say(&app, &body).await.status, 200);
        tx.commit().await.unwrap();
    });
}

#[test]
fn of_an_event_that_was_removed_nothing_is_kept() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let [kept, removed] = [an_event(&app, &key, 1).await, an_event(&app, &key, 2).await];
        let body = json!({ "eventId": removed, "licenseKey": key });
        assert_eq!(say(&app, &body).await.status, 200);
        let said = [&kept, &removed].map(|event_id| Said {
            of: Subject {
                event_id: event_id.clone(),
                license_id: "lic_1".to_owned(),
                customer_id: "cus_1".to_owned(),
                event_type: "plan_changed".to_owned(),
                created_at: app.inner.clock.now(),
                machine_id: None,
                has_seat: true,
            },
            status: Status::Processed,
            error: None,
        });
        let mut tx = db.write().await.unwrap();
        tx.sql("DELETE FROM license_events WHERE id = $1").bind(&*removed).run().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(say(&app, &body).await.refusal(), (404, "not_found".to_owned()));
        // One that was found before it was removed is no fault of those that are written with it.
        let taken = acknowledge::take(&app.inner, &said).await.unwrap();
        let taken: Vec<_> = taken.iter().map(|taken| taken.as_ref().map(|taken| &taken.event_id)).collect();
        assert_eq!(taken, [Some(&kept), None]);
        let (count,): (i64,) =
            db.read().await.unwrap().sql("SELECT count(*) FROM acknowledgements").one().await.unwrap();
        assert_eq!(count, 1);
    });
}

#[test]
fn acknowledgements_are_counted_once_by_what_they_say() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let event = an_event(&app, &key, 1).await;
        let counted = async || {
            let shown = app.get("/metrics").await.body;
            let line = "tollgate_backend_acknowledgements_total{status=\"failed\"} ";
            shown.lines().find_map(|shown| shown.strip_prefix(line)).map_or(0, |count| count.parse::<u64>().unwrap())
        };
        let before = counted().await;
        let body = json!({ "eventId": event, "licenseKey": key, "status": "failed" });
        say(&app, &body).await;
        // Other tests of this process may count too.
        assert!(counted().await > before);
    });
}

#[rocket::async_test]
async fn without_the_database_an_app_is_told_to_say_it_again() {
    let app = TestApp::on(db_that_is_away()).await;
    let answer = say(&app, &json!({ "eventId": "sev_1", "licenseKey": UNKNOWN_KEY })).await;
    assert_eq!(answer.refusal(), (503, "database_unavailable".to_owned()));
}
