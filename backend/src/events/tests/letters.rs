//! Events that apps failed at, or never said a word of.

use rocket::http::ContentType;
use tollgate_db::Json;

use super::acknowledgements::{an_event, say};
use super::undelivered::{DAY, a_delivery, be_there};
use super::*;
use crate::events::undelivered::{end_of_who_left, find_undelivered};
use crate::testing::{ADMIN_KEY, bearer};

/// An app with a licence, and an operator whose key is good for ever; the licence's key, and where its log is at.
async fn with_operator(db: Db) -> (TestApp, String, String) {
    let app = TestApp::with(db, &[("ADMIN_API_KEY", ADMIN_KEY)]).await;
    app.take_a_subscriber().await;
    let (key, cursor) = license_of(&app).await;
    (app, key, cursor)
}

/// The dead letters of a source, the newest first.
async fn letters(app: &TestApp, source: &str) -> Vec<Value> {
    let path = format!("/api/dlq?source={source}");
    let answer = TestResponse::of(app.client.get(path).header(bearer(ADMIN_KEY))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"].as_array().unwrap().clone()
}

/// Has an operator try a letter again.
async fn retry(app: &TestApp, letter: &Value) {
    let path = format!("/api/dlq/retry/{}", letter["id"].as_str().unwrap());
    let request = app.client.post(path).header(bearer(ADMIN_KEY)).header(ContentType::JSON);
    let answer = TestResponse::of(request.body("{}")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("retrying")), "{answer:?}");
}

async fn fail(app: &TestApp, key: &str, machine: &str, event: &str, error: &str) {
    let body = json!({ "eventId": event, "licenseKey": key, "machineId": machine, "status": "failed", "error": error });
    assert_eq!(say(app, &body).await.status, 200);
}

async fn process(app: &TestApp, key: &str, machine: &str, event: &str) {
    assert_eq!(say(app, &json!({ "eventId": event, "licenseKey": key, "machineId": machine })).await.status, 200);
}

/// A stream of a machine, of a server that looks often for what is to be sent again.
async fn stream<'c>(client: &'c Client, key: &str, machine: &str) -> Listener<'c> {
    let response = client.get(format!("/api/events/{key}?machineId={machine}")).dispatch().await;
    let mut listener = Listener { response, text: String::new() };
    assert_eq!(listener.next().await.unwrap().event, "connected");
    listener
}

const OFTEN: Limits = Limits { poll: Duration::from_millis(20), ..LIMITS };

#[test]
fn what_a_machine_failed_at_is_one_letter_a_machine_and_type() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_operator(db).await;
        let [first, second] = [activate(&app, &key, "a").await, activate(&app, &key, "b").await];
        let events = [an_event(&app, &key, 1).await, an_event(&app, &key, 2).await];
        fail(&app, &key, "a", &events[0], "disk full").await;
        fail(&app, &key, "a", &events[0], "disk full").await;
        let opened = letters(&app, "desktop").await;
        assert_eq!(opened.len(), 1, "who repeats itself fails no second time: {opened:?}");
        for (name, value) in [
            ("eventId", json!(events[0])),
            ("machineId", json!(first)),
            ("type", json!("plan_changed")),
            ("reason", json!("disk full")),
            ("attempts", json!(1)),
            ("status", json!("open")),
            ("stripeCustomerId", json!("cus_1")),
        ] {
            assert_eq!(opened[0][name], value, "{name}");
        }
        fail(&app, &key, "a", &events[1], &"é".repeat(600)).await;
        fail(&app, &key, "b", &events[1], " ").await;
        let mut opened = letters(&app, "desktop").await;
        opened.sort_by_key(|letter| letter["machineId"] != first);
        assert_eq!(opened.len(), 2, "{opened:?}");
        assert_eq!((&opened[0]["eventId"], &opened[0]["attempts"]), (&json!(events[1]), &json!(2)));
        assert_eq!(opened[0]["reason"], "é".repeat(500));
        assert_eq!((&opened[1]["machineId"], &opened[1]["reason"]), (&json!(second), &json!("the app gave no reason")));
    });
}

#[test]
fn what_a_machine_that_nobody_knows_failed_at_is_no_letter() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_operator(db).await;
        let event = an_event(&app, &key, 1).await;
        fail(&app, &key, "never-activated", &event, "disk full").await;
        fail(&app, &key, "", &event, "disk full").await;
        assert_eq!(letters(&app, "desktop").await, [json!(null); 0]);
    });
}

#[test]
fn no_holder_of_a_key_can_bury_the_operators() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_operator(db.clone()).await;
        activate(&app, &key, "a").await;
        let event = an_event(&app, &key, 1).await;
        fail(&app, &key, "a", &event, "disk full").await;
        // As of machines that have come and gone.
        let mut tx = db.write().await.unwrap();
        let others = "INSERT INTO dead_letters
                          (id, source, event_id, machine_id, license_id, type, reason, attempts, status, created_at, last_failed_at)
                      SELECT 'dl_' || wanted.key, l.source, l.event_id, 'mac_' || wanted.key, l.license_id, l.type, l.reason, l.attempts,
                             l.status, l.created_at, l.last_failed_at
                      FROM json_each($1) AS wanted, dead_letters AS l";
        let names: serde_json::Map<_, _> = (0..200).map(|number| (number.to_string(), Value::Null)).collect();
        assert_eq!(tx.sql(others).bind(Json(&names)).run().await, Ok(200));
        tx.commit().await.unwrap();
        activate(&app, &key, "b").await;
        fail(&app, &key, "b", &event, "disk full").await;
        let second = an_event(&app, &key, 2).await;
        fail(&app, &key, "a", &second, "still full").await;
        let sql = "SELECT count(*), max(attempts) FROM dead_letters";
        assert_eq!(
            app.inner.read().await.unwrap().sql(sql).one::<(i64, i64)>().await,
            Ok((201, 2)),
            "its own letter goes on"
        );
    });
}

#[test]
fn what_is_processed_at_last_ends_its_letter() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_operator(db).await;
        activate(&app, &key, "a").await;
        let event = an_event(&app, &key, 1).await;
        fail(&app, &key, "a", &event, "disk full").await;
        process(&app, &key, "a", &event).await;
        let ended = letters(&app, "desktop").await;
        assert_eq!((&ended[0]["status"], &ended[0]["resolvedBy"]), (&json!("resolved"), &json!("acknowledgement")));
        fail(&app, &key, "a", &event, "disk full").await;
        assert_eq!(letters(&app, "desktop").await, ended, "it never goes back");
    });
}

#[test]
fn a_retried_event_is_sent_again_on_its_machines_stream() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_operator(db.clone()).await;
        activate(&app, &key, "a").await;
        activate(&app, &key, "b").await;
        // The operator's server is another one than that of the streams.
        let operator = app.replica(db).await;
        let client = client_of(&app.inner, OFTEN).await;
        let event = an_event(&app, &key, 7).await;
        let (mut here, mut elsewhere) = (stream(&client, &key, "a").await, stream(&client, &key, "b").await);
        fail(&app, &key, "a", &event, "disk full").await;
        for attempts in 1..=2 {
            let letter = letters(&operator, "desktop").await.remove(0);
            assert_eq!((&letter["status"], &letter["attempts"]), (&json!("open"), &json!(attempts)));
            retry(&operator, &letter).await;
            let again = here.next().await.unwrap();
            assert_eq!((&*again.event, &again.id, number_of(&again)), ("plan_changed", &None, 7));
            assert_eq!(again.data["id"], event);
            app.inner.clock.advance(Duration::from_secs(1));
            // It fails again, which is no mere repetition.
            fail(&app, &key, "a", &event, "still full").await;
        }
        let letter = letters(&operator, "desktop").await.remove(0);
        assert_eq!((&letter["attempts"], &letter["reason"]), (&json!(3), &json!("still full")));
        retry(&operator, &letter).await;
        assert_eq!(number_of(&here.next().await.unwrap()), 7);
        process(&app, &key, "a", &event).await;
        assert_eq!(letters(&operator, "desktop").await[0]["status"], "resolved");
        // Nobody else was told, and what is told next has the cursor after the one before.
        happen(&app.inner, 8).await;
        for listener in [&mut here, &mut elsewhere] {
            let next = listener.next().await.unwrap();
            assert_eq!(number_of(&next), 8);
            assert!(seq_of(next.id.as_deref().unwrap()) > seq_of(&cursor));
        }
    });
}

#[test]
fn a_retried_event_waits_for_its_machine_to_come_back() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_operator(db.clone()).await;
        activate(&app, &key, "a").await;
        let event = an_event(&app, &key, 7).await;
        fail(&app, &key, "a", &event, "disk full").await;
        retry(&app, &letters(&app, "desktop").await[0]).await;
        // A later process, too; and once more to who was cut off before it said anything.
        let later = app.replica(db).await;
        let client = client_of(&later.inner, OFTEN).await;
        for _ in 0..2 {
            let mut listener = stream(&client, &key, "a").await;
            let again = listener.next().await.unwrap();
            assert_eq!((again.id, &again.data["id"]), (None, &json!(event)));
        }
        process(&later, &key, "a", &event).await;
        let mut listener = stream(&client, &key, "a").await;
        happen(&app.inner, 8).await;
        assert_eq!(listener.numbers(1).await, [8], "what is acknowledged is not sent any more");
    });
}

/// What is sent again is sent once a stream, however often it is looked for.
#[test]
fn a_retried_event_is_sent_once_a_stream() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_operator(db).await;
        activate(&app, &key, "a").await;
        let event = an_event(&app, &key, 7).await;
        fail(&app, &key, "a", &event, "disk full").await;
        retry(&app, &letters(&app, "desktop").await[0]).await;
        let client = client_of(&app.inner, OFTEN).await;
        let mut listener = stream(&client, &key, "a").await;
        assert_eq!(number_of(&listener.next().await.unwrap()), 7);
        for number in 8..=20 {
            happen(&app.inner, number).await;
            assert_eq!(listener.numbers(1).await, [number]);
        }
    });
}

/// The same with a delivery; the ids of its machine and event.
async fn with_delivery(db: Db) -> (TestApp, String, String, String) {
    let (app, key, _) = with_operator(db).await;
    let (machine, event) = a_delivery(&app, &key).await;
    (app, key, machine, event)
}

async fn judge(app: &TestApp) -> usize {
    find_undelivered(&app.inner).await.unwrap()
}

#[test]
fn what_a_machine_says_nothing_of_for_a_week_is_a_letter() {
    on_each_engine!(async |db| {
        let (app, key, machine, event) = with_delivery(db.clone()).await;
        app.inner.clock.advance(6 * DAY + Duration::from_secs(86_389));
        judge(&app).await;
        assert_eq!(letters(&app, "delivery").await.len(), 0, "a second is left");
        app.inner.clock.advance(Duration::from_secs(1));
        assert_eq!(judge(&app).await, 1);
        let opened = letters(&app, "delivery").await;
        assert_eq!(opened.len(), 1);
        for (name, value) in [
            ("eventId", json!(event)),
            ("machineId", json!(machine)),
            ("type", json!("plan_changed")),
            ("reason", json!("not acknowledged for 7 days")),
            ("attempts", json!(1)),
        ] {
            assert_eq!(opened[0][name], value, "{name}");
        }
        // Each event is judged once, by a later process too.
        assert_eq!((judge(&app).await, judge(&app.replica(db).await).await), (0, 0));
        assert_eq!(letters(&app, "delivery").await, opened);
        let client = client_of(&app.inner, OFTEN).await;
        let mut listener = stream(&client, &key, "a").await;
        retry(&app, &opened[0]).await;
        assert_eq!(listener.next().await.unwrap().data["id"], event);
        process(&app, &key, "a", &event).await;
        assert_eq!(letters(&app, "delivery").await[0]["status"], "resolved");
    });
}

#[test]
fn what_was_acknowledged_either_way_is_no_letter_of_delivery() {
    on_each_engine!(async |db| {
        let (app, key, _, event) = with_delivery(db).await;
        fail(&app, &key, "a", &event, "disk full").await;
        app.inner.clock.advance(8 * DAY);
        assert!(judge(&app).await > 0);
        assert_eq!(letters(&app, "delivery").await.len(), 0);
    });
}

#[test]
fn only_who_was_there_before_and_after_an_event_owes_a_word() {
    on_each_engine!(async |db| {
        let (app, key, machine, first) = with_delivery(db).await;
        // One that came too late for the first event and left before the second, one that never was there, and one that
        // gave its seat up.
        activate(&app, &key, "b").await;
        be_there(&app, &key, "b").await;
        activate(&app, &key, "c").await;
        app.inner.clock.advance(DAY);
        let second = an_event(&app, &key, 2).await;
        app.inner.clock.advance(Duration::from_secs(1));
        be_there(&app, &key, "a").await;
        let owed = async || {
            let opened = letters(&app, "delivery").await;
            let of_type = opened.into_iter().filter(|letter| letter["type"] == "plan_changed");
            of_type
                .map(|letter| (letter["machineId"].clone(), letter["eventId"].clone(), letter["attempts"].clone()))
                .collect::<Vec<_>>()
        };
        app.inner.clock.advance(8 * DAY);
        judge(&app).await;
        assert_eq!(owed().await, [(json!(machine), json!(second), json!(2))], "one letter tells of {first} too");

        let body = json!({ "licenseKey": key, "machineId": "a" });
        an_event(&app, &key, 3).await;
        be_there(&app, &key, "a").await;
        assert_eq!(app.post("/api/license/deactivate", &body).await.status, 200);
        app.inner.clock.advance(8 * DAY);
        judge(&app).await;
        assert_eq!(owed().await.len(), 1, "who gave up its seat owes nothing more");
    });
}

#[test]
fn the_letters_of_a_machine_that_leaves_wait_for_nobody() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_operator(db).await;
        let [leaves, _] = [activate(&app, &key, "a").await, activate(&app, &key, "b").await];
        let [first, second] = [an_event(&app, &key, 1).await, an_event(&app, &key, 2).await];
        for machine in ["a", "b"] {
            fail(&app, &key, machine, &first, "disk full").await;
        }
        assert_eq!(end_of_who_left(&app.inner).await, Ok(0));
        let left = app.post("/api/license/deactivate", &json!({ "licenseKey": key, "machineId": "a" })).await;
        assert_eq!(left.status, 200);
        app.inner.clock.advance(Duration::from_secs(60));
        assert_eq!(end_of_who_left(&app.inner).await, Ok(1));
        assert_eq!(end_of_who_left(&app.inner).await, Ok(0));
        let states = async || {
            let letters = letters(&app, "desktop").await.into_iter();
            let mut states: Vec<_> = letters
                .map(|letter| (letter["machineId"] == leaves, letter["status"].clone(), letter["resolvedBy"].clone()))
                .collect();
            states.sort_by_key(|(is_gone, ..)| *is_gone);
            states
        };
        let expected = [(false, json!("open"), json!(null)), (true, json!("resolved"), json!("deactivation"))];
        assert_eq!(states().await, expected);
        // What it still says is taken, and makes no letter that could not be sent to it.
        fail(&app, &key, "a", &second, "disk full").await;
        assert_eq!(states().await, expected);
    });
}

#[test]
fn two_replicas_judge_each_event_once() {
    on_each_engine!(async |db| {
        let (app, key, _, _) = with_delivery(db.clone()).await;
        let replica = app.replica(db).await;
        for number in 2..=250 {
            happen(&app.inner, number).await;
        }
        app.inner.clock.advance(Duration::from_secs(1));
        be_there(&app, &key, "a").await;
        app.inner.clock.advance(8 * DAY);
        let (here, there) = tokio::join!(judge(&app), judge(&replica));
        assert!(here + there >= 250, "{here} {there}");
        let opened = letters(&app, "delivery").await;
        assert_eq!(opened.len(), 1);
        assert_eq!(opened[0]["attempts"], 250, "each event counts once");
    });
}
