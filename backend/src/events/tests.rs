//! Streams as a client sees them, through Rocket's local client.

mod acknowledgements;
mod bells;
mod letters;
mod missed;
mod presence;
mod races;
mod restored;
mod undelivered;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rocket::http::{Header, Method};
use rocket::local::asynchronous::{Client, LocalResponse};
use rocket::{Build, Rocket};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tollgate_db::Db;
use tollgate_db::testing::wait_until;
use tollgate_domain::apply::Touched;
use tollgate_domain::events::{EventType, PendingEvent};
use tollgate_domain::licenses;

use super::{LIMITS, Limits, OfLicense, Streams, routes};
use crate::app::App;
use crate::http::access_log::AccessLog;
use crate::http::catchers;
use crate::http::in_flight::InFlight;
use crate::licenses::key_holder::LicenseLimits;
use crate::on_each_engine;
use crate::testing::{START, TestApp, TestResponse, db_that_is_away, subscription};

/// A key that is well formed and that nobody has.
const UNKNOWN_KEY: &str = "23456-789AB-CDEFG-HJKLM-NPQRH";

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// So that nothing comes about by the poll.
const WITHOUT_POLL: Limits = Limits { poll: Duration::from_secs(3600), ..LIMITS };

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    id: Option<String>,
    event: String,
    data: Value,
}

/// A client of a stream.
struct Listener<'c> {
    response: LocalResponse<'c>,
    text: String,
}

impl<'c> Listener<'c> {
    async fn open(client: &'c Client, key: &str, last_event_id: Option<&str>) -> Self {
        let mut request = client.get(format!("/api/events/{key}"));
        if let Some(id) = last_event_id {
            request.add_header(Header::new("Last-Event-ID", id.to_owned()));
        }
        Self { response: request.dispatch().await, text: String::new() }
    }

    async fn of_machine(client: &'c Client, key: &str, machine: &str) -> Self {
        let request = client.get(format!("/api/events/{key}?machineId={machine}"));
        Self { response: request.dispatch().await, text: String::new() }
    }

    /// What is told next; none at the end.
    async fn next(&mut self) -> Option<Told> {
        timeout(SOON, self.read()).await.expect("something is told, or the stream ends")
    }

    async fn read(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(event) = field("event: ") {
                    let data =
                        serde_json::from_str(&field("data: ").expect("an event has data")).expect("data is JSON");
                    return Some(Told { id: field("id: "), event, data });
                }
            }
            let mut bytes = [0; 1024];
            let read = self.response.read(&mut bytes).await.expect("a local response can be read");
            if read == 0 {
                return None;
            }
            self.text.push_str(std::str::from_utf8(&bytes[..read]).expect("a stream is text"));
        }
    }

    /// The numbers of the next events.
    async fn numbers(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(number_of(&self.next().await.expect("the stream goes on")));
        }
        numbers
    }
}

/// What an event made by [`happen`] was given.
fn number_of(told: &Told) -> i64 {
    told.data["data"]["number"].as_i64().unwrap_or_else(|| panic!("{told:?}"))
}

/// Another process on a database, or a later one: it makes other ids than the first.
async fn another_on(db: Db) -> TestApp {
    static PROCESSES: AtomicU64 = AtomicU64::new(1);
    TestApp::process(db, PROCESSES.fetch_add(1, Ordering::Relaxed)).await
}

/// An app with a licence; its key, and where its log is at.
async fn with_license(db: Db) -> (TestApp, String, String) {
    let app = TestApp::on(db).await;
    app.take_a_subscriber().await;
    let (key, cursor) = license_of(&app).await;
    (app, key, cursor)
}

/// The key of the customer's licence, and where its log is at.
async fn license_of(app: &TestApp) -> (String, String) {
    let key = app.get("/v1/customers/cus_1").await.json()["licenses"][0]["key"].as_str().unwrap().to_owned();
    let cursor = Listener::open(&app.client, &key, None).await.next().await.unwrap().id.unwrap();
    (key, cursor)
}

/// Gives a machine a seat; gives its id.
async fn activate(app: &TestApp, key: &str, machine: &str) -> String {
    let answer = app.post("/api/license/activate", &json!({ "licenseKey": key, "machineId": machine })).await;
    answer.json()["machine"]["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Something happens to the customer's licence.
async fn happen(app: &App, number: i64) {
    let event = PendingEvent { event_type: EventType::PlanChanged, data: json!({ "number": number }) };
    app.write(&Touched::customer("cus_1"), |work| {
        licenses::append_event(work, "cus_1", event.clone());
        Ok::<_, ()>(())
    })
    .await
    .unwrap();
}

/// The same server with other limits.
async fn client_of(app: &App, limits: Limits) -> Client {
    Client::untracked(server(app, limits)).await.unwrap()
}

fn server(app: &App, limits: Limits) -> Rocket<Build> {
    let config = rocket::Config { log_level: rocket::config::LogLevel::Off, ..rocket::Config::release_default() };
    rocket::custom(config)
        .manage(app.clone())
        .manage(InFlight::default())
        .manage(LicenseLimits::new(app))
        .manage(Streams::start_with(app, limits))
        .attach(AccessLog)
        .register("/", catchers::catchers())
        .mount("/", routes::routes().into_iter().map(|endpoint| endpoint.route).collect::<Vec<_>>())
}

fn seq_of(cursor: &str) -> i64 {
    cursor.rsplit_once('.').unwrap().1.parse().unwrap()
}

#[test]
fn a_stream_begins_now_and_tells_what_happens() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db).await;
        let client = client_of(&app.inner, WITHOUT_POLL).await;
        let mut listener = Listener::open(&client, &key.to_lowercase(), None).await;
        let headers = listener.response.headers();
        assert_eq!(listener.response.status().code, 200);
        assert_eq!(headers.get_one("content-type"), Some("text/event-stream"));
        assert_eq!(headers.get_one("x-accel-buffering"), Some("no"));
        assert!(headers.get_one("cache-control").unwrap().contains("no-transform"));

        let connected = listener.next().await.unwrap();
        assert_eq!((&*connected.event, connected.id.as_deref()), ("connected", Some(&*cursor)));
        let expected = json!({
            "cursor": cursor, "licenseStatus": "active", "heartbeatSeconds": 30, "serverTime": "2025-06-15T15:06:40Z",
        });
        assert_eq!(connected.data, expected);

        happen(&app.inner, 7).await;
        let told = listener.next().await.unwrap();
        assert_eq!((&*told.event, number_of(&told)), ("plan_changed", 7));
        assert_eq!(seq_of(told.id.as_deref().unwrap()), seq_of(&cursor) + 1);
        let members: Vec<_> = told.data.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["createdAt", "data", "id", "type"]);
        assert!(told.data["id"].as_str().unwrap().starts_with("sev_"));
        assert_eq!(told.data["createdAt"], "2025-06-15T15:06:40Z");
    });
}

#[test]
fn what_a_webhook_changes_is_told() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let client = client_of(&app.inner, WITHOUT_POLL).await;
        let mut listener = Listener::open(&client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        let mut gone = subscription("canceled");
        gone["ended_at"] = START.into();
        app.take("evt_gone", "customer.subscription.deleted", gone).await;
        let events: Vec<_> =
            [listener.next().await.unwrap(), listener.next().await.unwrap()].map(|told| told.event).into();
        assert!(events.contains(&"license_expired".to_owned()), "{events:?}");
    });
}

#[test]
fn who_comes_back_is_told_what_it_missed_once_and_in_order() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db).await;
        for number in 1..=40 {
            happen(&app.inner, number).await;
        }
        let mut listener = Listener::open(&app.client, &key, Some(&cursor)).await;
        let connected = listener.next().await.unwrap();
        assert_eq!(connected.id.as_deref(), Some(&*cursor), "it goes on where it was");
        assert_eq!(listener.numbers(40).await, (1..=40).collect::<Vec<_>>());
        happen(&app.inner, 41).await;
        assert_eq!(listener.numbers(1).await, [41]);

        let path = format!("/api/events/{key}?lastEventId={cursor}&machineId=not-activated");
        let response = app.client.get(path).dispatch().await;
        let mut by_query = Listener { response, text: String::new() };
        assert_eq!(by_query.next().await.unwrap().event, "connected");
        assert_eq!(by_query.numbers(41).await, (1..=41).collect::<Vec<_>>());
    });
}

#[test]
fn the_header_of_who_comes_back_goes_before_the_query() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db).await;
        happen(&app.inner, 1).await;
        let mut request = app.client.get(format!("/api/events/{key}?lastEventId=0"));
        request.add_header(Header::new("Last-Event-ID", cursor));
        let mut listener = Listener { response: request.dispatch().await, text: String::new() };
        listener.next().await.unwrap();
        assert_eq!(listener.numbers(1).await, [1]);
    });
}

#[test]
fn from_the_oldest_everything_that_is_kept_is_told() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db).await;
        let mut listener = Listener::open(&app.client, &key, Some("0")).await;
        assert_eq!(seq_of(&listener.next().await.unwrap().id.unwrap()), 0);
        let first = listener.next().await.unwrap();
        assert_eq!((&*first.event, seq_of(first.id.as_deref().unwrap())), ("license_created", 1));
        for seq in 2..=seq_of(&cursor) {
            assert_eq!(seq_of(&listener.next().await.unwrap().id.unwrap()), seq);
        }
    });
}

#[test]
fn what_can_no_longer_be_told_is_a_gap_and_then_all_that_is_kept() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db.clone()).await;
        for number in 1..=5 {
            happen(&app.inner, number).await;
        }
        let newest = seq_of(&cursor) + 5;
        let mut tx = db.write().await.unwrap();
        tx.sql("DELETE FROM license_events WHERE seq <= $1").bind(newest - 2).run().await.unwrap();
        tx.commit().await.unwrap();
        let (epoch, _) = cursor.split_once('.').unwrap();
        let at = |seq: i64| format!("{epoch}.{seq}");

        let other_epoch = format!("{}.{newest}", "0".repeat(16));
        let unknown = [at(newest - 3), other_epoch, at(newest + 1), "41".to_owned(), "no cursor".to_owned()];
        for shown in unknown {
            let mut listener = Listener::open(&app.client, &key, Some(&shown)).await;
            let connected = listener.next().await.unwrap();
            assert_eq!(connected.id, Some(at(newest - 2)), "the place before what is kept: {shown}");
            let gap = listener.next().await.unwrap();
            assert_eq!((&*gap.event, gap.id), ("gap", None), "{shown}");
            assert_eq!(gap.data, json!({ "oldest": at(newest - 1), "newest": at(newest) }));
            assert_eq!(listener.numbers(2).await, [4, 5], "{shown}");
        }
        for (known, told) in [(at(newest - 2), vec![4, 5]), (at(newest - 1), vec![5]), ("0".to_owned(), vec![4, 5])] {
            let mut listener = Listener::open(&app.client, &key, Some(&known)).await;
            assert_eq!(listener.next().await.unwrap().event, "connected");
            assert_eq!(listener.numbers(told.len()).await, told, "{known}");
        }
    });
}

#[test]
fn what_is_removed_under_a_stream_is_a_gap() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db.clone()).await;
        let client = client_of(&app.inner, WITHOUT_POLL).await;
        let mut listener = Listener::open(&client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        let newest = seq_of(&cursor);
        let mut tx = db.write().await.unwrap();
        // As if two had come and gone while the stream could not look.
        tx.sql("UPDATE license_logs SET last_seq = last_seq + $1").bind(2).run().await.unwrap();
        tx.commit().await.unwrap();
        happen(&app.inner, 1).await;
        let gap = listener.next().await.unwrap();
        let (epoch, _) = cursor.split_once('.').unwrap();
        let only = format!("{epoch}.{}", newest + 3);
        assert_eq!((&*gap.event, gap.data), ("gap", json!({ "oldest": only, "newest": only })));
        assert_eq!(listener.numbers(1).await, [1]);
    });
}

#[test]
fn a_key_that_nobody_has_is_refused_once_and_then_told_to_stop() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for key in [UNKNOWN_KEY, "no-key-at-all", "%00%ff"] {
            let mut listener = Listener::open(&app.client, key, None).await;
            assert_eq!(listener.response.status().code, 200);
            let refused = listener.next().await.unwrap();
            assert_eq!((&*refused.event, refused.id.as_deref()), ("refused", Some("refused")));
            assert_eq!(refused.data["code"], "NOT_FOUND");
            assert!(!refused.data["message"].as_str().unwrap().contains(key));
            assert_eq!(listener.next().await, None);
            let again = Listener::open(&app.client, key, Some("refused")).await;
            assert_eq!(again.response.status().code, 204);
        }
    });
}

#[test]
fn a_licence_that_does_not_count_keeps_its_stream() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        for status in ["suspended", "expired", "revoked"] {
            let mut tx = db.write().await.unwrap();
            tx.sql("UPDATE licenses SET status = $1").bind(status).run().await.unwrap();
            tx.commit().await.unwrap();
            let mut listener = Listener::open(&app.client, &key, None).await;
            assert_eq!(listener.next().await.unwrap().data["licenseStatus"], status);
        }
    });
}

#[rocket::async_test]
async fn without_the_database_a_stream_is_told_when_to_come_again() {
    let app = TestApp::on(db_that_is_away()).await;
    let mut times = Vec::new();
    for _ in 0..3 {
        let answer = TestResponse::of(app.client.get(format!("/api/events/{UNKNOWN_KEY}"))).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        times.push(retry_of(&answer.body));
    }
    assert!(times.iter().any(|time| *time != times[0]), "each at another time: {times:?}");
    let missed = app.get(&format!("/api/events/{UNKNOWN_KEY}/missed")).await;
    assert_eq!(missed.refusal(), (503, "database_unavailable".to_owned()));
}

fn retry_of(body: &str) -> u64 {
    body.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap().parse().unwrap()
}

#[test]
fn a_server_that_is_full_tells_a_stream_when_to_come_again() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let client = client_of(&app.inner, Limits { streams_max: 1, ..LIMITS }).await;
        let mut first = Listener::open(&client, &key, None).await;
        assert_eq!(first.next().await.unwrap().event, "connected");
        let second = TestResponse::of(client.get(format!("/api/events/{key}"))).await;
        assert_eq!(second.status, 200);
        retry_of(&second.body);
        drop(first);
        let mut third = Listener::open(&client, &key, None).await;
        assert_eq!(third.next().await.unwrap().event, "connected");
    });
}

#[test]
fn a_licence_of_too_many_streams_keeps_those_of_its_machines() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        activate(&app, &key, "a-fingerprint").await;
        let of_license = OfLicense { at_least: 2, a_seat: 0, at_most: 2 };
        let client = client_of(&app.inner, Limits { of_license, ..LIMITS }).await;
        let mut open = vec![Listener::open(&client, &key, None).await, Listener::open(&client, &key, None).await];
        for listener in &mut open {
            assert_eq!(listener.next().await.unwrap().event, "connected");
        }
        // Its status is that of any stream: of another one a browser would never come again.
        let refused = TestResponse::of(client.get(format!("/api/events/{key}?machineId=unknown"))).await;
        assert_eq!((refused.status, refused.header("content-type")), (200, Some("text/event-stream")));
        assert!((30_000..=60_000).contains(&retry_of(&refused.body)), "{}", refused.body);
        let response = client.get(format!("/api/events/{key}?machineId=a-fingerprint")).dispatch().await;
        open.push(Listener { response, text: String::new() });
        assert_eq!(open[2].next().await.unwrap().event, "connected");
        happen(&app.inner, 1).await;
        for listener in &mut open {
            assert_eq!(listener.numbers(1).await, [1]);
        }
        open.truncate(1);
        open.push(Listener::open(&client, &key, None).await);
        assert_eq!(open[1].next().await.unwrap().event, "connected", "there is room again");
    });
}

#[test]
fn a_licence_has_streams_by_its_seats() {
    let seats = |seats| LIMITS.of_license.with_seats(seats);
    assert_eq!([-1, 0, 3, 25, 26, 500, i64::MAX].map(seats), [100, 100, 100, 100, 104, 2000, 5000]);
}

#[test]
fn a_quiet_stream_says_that_it_lives_and_ends_in_its_time() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let short = Duration::from_millis(20);
        let limits = Limits { heartbeat: 3 * short, lifetime: (30 * short, 30 * short), ..WITHOUT_POLL };
        let client = client_of(&app.inner, limits).await;
        let mut listener = Listener::open(&client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        let heartbeat = listener.next().await.unwrap();
        assert_eq!((&*heartbeat.event, heartbeat.id), ("heartbeat", None));
        assert_eq!(heartbeat.data, json!({ "serverTime": "2025-06-15T15:06:40Z" }));
        while let Some(told) = listener.next().await {
            assert_eq!(told.event, "heartbeat");
        }
        assert_eq!(app.inner.bells.count(), 0);
    });
}

#[test]
fn a_stop_ends_streams_and_does_not_wait_for_them() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let in_flight = app.client.rocket().state::<InFlight>().unwrap().clone();
        let mut listener = Listener::open(&app.client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        timeout(SOON, in_flight.none_left()).await.unwrap();
        app.inner.bells.close();
        assert_eq!(listener.next().await, None);
        let mut late = Listener::open(&app.client, &key, None).await;
        assert_eq!((late.response.status().code, late.next().await), (200, None));
    });
}

#[test]
fn streams_are_counted_while_they_are_open() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let mut listener = Listener::open(&app.client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        let shown = app.get("/metrics").await.body;
        for line in ["tollgate_backend_streams 1\n", "tollgate_backend_bell_up{bell=\"in_process\"} 1\n"] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        happen(&app.inner, 1).await;
        assert_eq!(listener.numbers(1).await, [1]);
        drop(listener);
        let shown = app.get("/metrics").await.body;
        assert!(shown.contains("tollgate_backend_streams 0\n"), "{shown}");
        assert!(shown.contains("tollgate_backend_stream_lag_seconds_count"), "{shown}");
    });
}

#[test]
fn anybody_may_know_whether_the_service_and_its_streams_are_there() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let shown = async |path: &str| TestResponse::of(app.client.req(Method::Get, path.to_owned())).await;
        let health = shown("/api/health").await;
        assert_eq!(
            (health.status, health.json()),
            (200, json!({ "status": "ok", "serverTime": "2025-06-15T15:06:40Z" }))
        );
        let expected = json!({ "status": "ok", "serverTime": "2025-06-15T15:06:40Z", "heartbeatSeconds": 30 });
        assert_eq!(shown("/api/health/sse").await.json(), expected);
    });
}

#[rocket::async_test]
async fn without_the_database_the_public_health_is_down() {
    let app = TestApp::on(db_that_is_away()).await;
    for path in ["/api/health", "/api/health/sse"] {
        let health = TestResponse::of(app.client.get(path)).await;
        assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("down")), "{path}");
    }
}

#[test]
fn a_machines_new_stream_ends_its_older_one() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db).await;
        let body = json!({ "licenseKey": key, "machineId": "a-fingerprint" });
        let activated = app.post("/api/license/activate", &body).await;
        assert_eq!(activated.status, 201, "{activated:?}");
        let open = async |machine: &str| {
            let response = app.client.get(format!("/api/events/{key}?machineId={machine}")).dispatch().await;
            let mut listener = Listener { response, text: String::new() };
            assert_eq!(listener.next().await.unwrap().event, "connected");
            listener
        };
        let (mut older, mut others) = (open("a-fingerprint").await, [open("not-active").await, open("").await]);
        let mut newer = open("a-fingerprint").await;
        assert_eq!(older.next().await, None);
        open("not-active").await;
        happen(&app.inner, 1).await;
        for listener in others.iter_mut().chain([&mut newer]) {
            assert_eq!(listener.numbers(1).await, [1]);
        }
    });
}

/// A stream that looks only when it is rung for hears nothing by itself.
#[test]
fn without_any_bell_the_poll_finds_what_happened() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let mut listener = Listener::open(&app.client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        // Another app on the same database, whose bells nobody hears here.
        let other = another_on(db).await;
        happen(&other.inner, 1).await;
        assert_eq!(listener.numbers(1).await, [1]);
        wait_until("its number is known", async || app.inner.bells.watched().iter().all(|(_, seq)| *seq > 0)).await;
    });
}
