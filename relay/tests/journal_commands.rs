//! `tollgate-relay journal …` as an operator uses it: the real binary, on a journal that a relay has open and on one that
//! none has.

#![allow(clippy::unwrap_used, reason = "a test, its own functions included, may panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tollgate_journal::{Journal, NewEntry, Options, Position};
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_shared::{Clock, EventHead, RequestId, Timestamp};

/// When the first event was received; each later one a minute after the one before.
const START: i64 = 1_700_000_000;

struct Folder {
    _parent: TempDir,
    path: PathBuf,
    clock: Clock,
}

impl Folder {
    fn new() -> Self {
        Self::at("relay")
    }

    fn at(name: &str) -> Self {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join(name);
        Self { _parent: parent, path, clock: Clock::manual(from_unix(START).unwrap()) }
    }

    fn open(&self) -> Journal {
        Journal::open(Options::keeping_all(&self.path), self.clock.clone()).unwrap()
    }

    /// A journal that is open as a relay has it.
    fn open_as_relay(&self) -> Journal {
        let journal = self.open();
        journal.serve_control().unwrap();
        journal
    }

    async fn keep(&self, journal: &Journal, id: &str) -> Position {
        self.keep_body(journal, id, &format!("{{ \"id\": \"{id}\",\n \"type\": \"invoice.paid\" }}")).await
    }

    async fn keep_body(&self, journal: &Journal, id: &str, body: &str) -> Position {
        let entry = NewEntry {
            event_id: id.to_owned(),
            event_type: "invoice.paid".to_owned(),
            received_at: self.clock.now(),
            request_id: RequestId::parse(&format!("req-of-{id}")).unwrap(),
            body: Bytes::from(body.to_owned()),
        };
        self.clock.advance(Duration::from_secs(60));
        journal.append(entry).await.unwrap()
    }

    /// `evt_0` to `evt_4`, of which the even ones are confirmed.
    async fn keep_five(&self, journal: &Journal) {
        for number in 0..5 {
            let position = self.keep(journal, &format!("evt_{number}")).await;
            if number % 2 == 0 {
                journal.confirm(position);
            }
        }
        journal.flush().await.unwrap();
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&[], arguments).await
    }

    async fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_tollgate-relay"))
            .arg("journal")
            .args(arguments)
            .env_clear()
            .env("RELAY_DATA_DIR", &self.path)
            .envs(variables.iter().copied())
            .current_dir(self.path.parent().unwrap())
            .stdin(Stdio::null())
            .output();
        Ran(tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap())
    }

    async fn listed(&self) -> Vec<Value> {
        let ran = self.run(&["list", "--json"]).await;
        ran.expect_success();
        ran.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Which events are confirmed, by id.
    async fn confirmed(&self) -> BTreeMap<String, bool> {
        let listed = self.listed().await;
        listed.iter().map(|entry| (entry["eventId"].as_str().unwrap().to_owned(), entry["confirmed"] == true)).collect()
    }
}

struct Ran(Output);

impl Ran {
    fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    #[track_caller]
    fn expect_success(&self) {
        assert!(self.0.status.success(), "{}", self.err());
    }

    #[track_caller]
    fn expect_failure(&self, says: &str) {
        assert_eq!(self.0.status.code(), Some(1), "{}{}", self.out(), self.err());
        assert!(self.err().contains(says), "{}", self.err());
    }
}

/// What a backend got.
struct Delivery {
    id: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A process at the other end of `BACKEND_URL`, which answers by event id.
struct Backend {
    url: String,
    got: Arc<Mutex<Vec<Delivery>>>,
}

type Script = fn(&str) -> (u16, Value);

fn receives(_: &str) -> (u16, Value) {
    (200, json!({"received": true, "outcome": "duplicate"}))
}

impl Backend {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Delivery>>> = Arc::default();
        let deliveries = Arc::clone(&got);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let deliveries = Arc::clone(&deliveries);
                let service = service_fn(move |request| take(request, script, Arc::clone(&deliveries)));
                tokio::spawn(async move {
                    // A command that is done just hangs up.
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, got }
    }

    fn variables(&self) -> [(&'static str, &str); 2] {
        [("BACKEND_URL", &self.url), ("INTERNAL_API_KEY", "key-one,key-two")]
    }

    fn ids(&self) -> Vec<String> {
        self.got.lock().unwrap().iter().map(|delivery| delivery.id.clone()).collect()
    }

    fn sorted_ids(&self) -> Vec<String> {
        let mut ids = self.ids();
        ids.sort();
        ids
    }
}

async fn take(
    request: Request<Incoming>,
    script: Script,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    assert_eq!(request.uri().path(), "/subscriptions/internal/stripe-webhook");
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let id = EventHead::parse(&body).unwrap().id.into_owned();
    let (status, said) = script(&id);
    deliveries.lock().unwrap().push(Delivery { id, headers: head.headers, body });
    let mut response = Response::new(Full::from(said.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn minute(number: i64) -> Timestamp {
    from_unix(START + number * 60).unwrap()
}

#[tokio::test]
async fn list_shows_each_entry_in_order_of_arrival() {
    let folder = Folder::new();
    let journal = folder.open();
    folder.keep_five(&journal).await;

    let listed = folder.listed().await;
    assert_eq!(listed.len(), 5);
    let expected = json!({"eventId": "evt_0", "type": "invoice.paid", "receivedAt": "2023-11-14T22:13:20Z",
        "confirmed": true, "attempts": 1, "bytes": 42});
    assert_eq!(listed[0], expected);
    assert_eq!((&listed[1]["confirmed"], &listed[1]["attempts"]), (&json!(false), &json!(0)));

    let text = folder.run(&["list", "--unconfirmed"]).await.out();
    let expected = [
        "2023-11-14T22:14:20Z  evt_1  invoice.paid  unconfirmed  0 attempts  42 bytes",
        "2023-11-14T22:16:20Z  evt_3  invoice.paid  unconfirmed  0 attempts  42 bytes",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);

    let (from, to) = (rfc3339(minute(1)), rfc3339(minute(3)));
    let within = folder.run(&["list", "--from", &from, "--to", &to]).await.out();
    assert_eq!(
        within.lines().filter_map(|line| line.split("  ").nth(1)).collect::<Vec<_>>(),
        ["evt_1", "evt_2", "evt_3"]
    );
}

#[tokio::test]
async fn a_time_of_any_offset_is_understood_and_what_is_no_time_is_refused() {
    let folder = Folder::new();
    let journal = folder.open();
    folder.keep_five(&journal).await;
    let later = folder.run(&["list", "--from", "2023-11-15T00:16:20+02:00"]).await;
    assert_eq!(later.out().lines().count(), 2);
    let refused = folder.run(&["list", "--from", "yesterday"]).await;
    assert!(!refused.0.status.success() && refused.err().contains("RFC 3339"), "{}", refused.err());
}

#[tokio::test]
async fn show_writes_the_very_bytes_and_nothing_else() {
    let folder = Folder::new();
    let journal = folder.open();
    let body = " {\"id\":\"evt_1\",\n\t\"type\":\"x\", \"text\":\"\\u0041 ü\"}\r\n ";
    folder.keep_body(&journal, "evt_1", body).await;
    let ran = folder.run(&["show", "evt_1"]).await;
    ran.expect_success();
    assert_eq!(ran.out(), body);
    folder.run(&["show", "evt_2"]).await.expect_failure("no event evt_2");
}

#[tokio::test]
async fn export_writes_each_event_once_on_a_line_of_its_own() {
    let folder = Folder::new();
    let journal = folder.open();
    folder.keep_five(&journal).await;
    folder.keep(&journal, "evt_0").await;
    let ran = folder.run(&["export", "--from", &rfc3339(minute(3))]).await;
    ran.expect_success();
    let expected = [3, 4, 0].map(|number| format!(r#"{{"id":"evt_{number}","type":"invoice.paid"}}"#));
    assert_eq!(ran.out().lines().collect::<Vec<_>>(), expected);
    assert!(ran.out().ends_with('\n'));
}

#[tokio::test]
async fn reading_needs_no_variable_but_the_folder_and_says_when_there_is_no_journal() {
    let folder = Folder::new();
    for arguments in [&["list"][..], &["export"], &["show", "evt_1"], &["discard", "evt_1"]] {
        folder.run(arguments).await.expect_failure("there is no journal in");
    }
    assert!(!folder.path.exists(), "looking for a journal makes none");
}

async fn redelivers(journal: Option<Journal>, folder: &Folder) {
    let backend = Backend::start(receives).await;
    let before = folder.listed().await;
    let ran = folder.run_with(&backend.variables(), &["redeliver", "--from", &rfc3339(minute(1))]).await;
    ran.expect_success();
    assert_eq!(ran.out(), "redelivered 4 events\n");
    assert_eq!(backend.sorted_ids(), ["evt_1", "evt_2", "evt_3", "evt_4"]);
    {
        let got = backend.got.lock().unwrap();
        let first = got.iter().find(|delivery| delivery.id == "evt_1").unwrap();
        assert_eq!(first.body, "{ \"id\": \"evt_1\",\n \"type\": \"invoice.paid\" }");
        assert_eq!(first.headers["x-internal-api-key"], "key-one");
        assert_eq!(first.headers["content-type"], "application/json");
        assert_eq!(first.headers["x-request-id"], "req-of-evt_1");
    }
    let after = folder.listed().await;
    assert!(after.iter().all(|entry| entry["confirmed"] == true), "{after:?}");
    assert_eq!(before[0], after[0]);
    if let Some(journal) = journal {
        assert_eq!(journal.stats().unconfirmed, 0, "the relay knows it too");
    }
}

#[tokio::test]
async fn redeliver_delivers_again_what_was_confirmed_and_what_was_not_while_the_relay_runs() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    redelivers(Some(journal), &folder).await;
}

#[tokio::test]
async fn redeliver_does_the_same_while_the_relay_is_stopped() {
    let folder = Folder::new();
    let journal = folder.open();
    folder.keep_five(&journal).await;
    journal.close().await;
    redelivers(None, &folder).await;
    assert_eq!(folder.open().stats().unconfirmed, 0);
}

#[tokio::test]
async fn a_backend_restored_from_an_old_backup_needs_one_command() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    for number in 0..1000 {
        let position = folder.keep(&journal, &format!("evt_{number:04}")).await;
        journal.confirm(position);
    }
    let backend = Backend::start(receives).await;
    let ran = folder.run_with(&backend.variables(), &["redeliver", "--from", &rfc3339(minute(0))]).await;
    ran.expect_success();
    assert_eq!(ran.out(), "redelivered 1000 events\n");
    let expected: Vec<_> = (0..1000).map(|number| format!("evt_{number:04}")).collect();
    assert_eq!(backend.sorted_ids(), expected);
    // In order of arrival, as far as several at a time allow.
    let position = |id: &String| expected.iter().position(|other| other == id).unwrap();
    let mut newest_begun = 0;
    for id in backend.ids() {
        newest_begun = newest_begun.max(position(&id));
        assert!(position(&id) + 200 > newest_begun, "{id} came after {newest_begun}");
    }
}

#[tokio::test]
async fn an_event_that_stripe_repeated_is_redelivered_once_and_all_its_entries_are_confirmed() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    for _ in 0..3 {
        folder.keep(&journal, "evt_1").await;
    }
    let backend = Backend::start(receives).await;
    let ran = folder.run_with(&backend.variables(), &["redeliver"]).await;
    assert_eq!(ran.out(), "redelivered 1 event\n");
    assert_eq!(backend.ids(), ["evt_1"]);
    assert_eq!(journal.stats().unconfirmed, 0);
}

#[tokio::test]
async fn only_the_events_that_are_named_are_redelivered() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    let backend = Backend::start(receives).await;
    let ran = folder.run_with(&backend.variables(), &["redeliver", "evt_4", "evt_1"]).await;
    ran.expect_success();
    assert_eq!(backend.sorted_ids(), ["evt_1", "evt_4"]);
    assert!(!folder.confirmed().await["evt_3"]);
}

#[tokio::test]
async fn an_event_that_is_not_there_is_not_redelivered_nor_is_any_other() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    let backend = Backend::start(receives).await;
    let ran = folder.run_with(&backend.variables(), &["redeliver", "evt_1", "evt_9"]).await;
    ran.expect_failure("no event evt_9");
    assert!(backend.ids().is_empty());
}

#[tokio::test]
async fn what_the_backend_does_not_confirm_is_said_and_nothing_changes_for_it() {
    fn respond(id: &str) -> (u16, Value) {
        match id {
            "evt_0" => (500, json!({"error": {"code": "failed"}, "stored": true})),
            "evt_1" => (200, json!({"received": false})),
            "evt_2" => (301, json!({"received": true})),
            "evt_3" => (403, json!({"error": {"code": "forbidden"}})),
            _ => receives(id),
        }
    }
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    let before = folder.confirmed().await;
    let backend = Backend::start(respond).await;
    let ran = folder.run_with(&backend.variables(), &["redeliver"]).await;
    ran.expect_failure("4 of 5 events could not be delivered");
    assert_eq!(ran.out(), "redelivered 1 event\n");
    for number in 0..4 {
        assert!(ran.err().contains(&format!("evt_{number} was not delivered")), "{}", ran.err());
    }
    assert_eq!(folder.confirmed().await, before);
    assert_eq!(backend.sorted_ids(), ["evt_0", "evt_1", "evt_2", "evt_3", "evt_4"], "none is tried twice");
}

#[tokio::test]
async fn a_backend_that_is_busy_for_a_moment_is_asked_again() {
    static BUSY: Mutex<bool> = Mutex::new(true);
    fn respond(id: &str) -> (u16, Value) {
        if std::mem::take(&mut *BUSY.lock().unwrap()) { (503, json!({})) } else { receives(id) }
    }
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep(&journal, "evt_1").await;
    let backend = Backend::start(respond).await;
    folder.run_with(&backend.variables(), &["redeliver"]).await.expect_success();
    assert_eq!(backend.ids(), ["evt_1", "evt_1"]);
}

#[tokio::test]
async fn a_backend_that_is_away_fails_the_command_without_a_wait_for_each_event() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    for number in 0..200 {
        folder.keep(&journal, &format!("evt_{number}")).await;
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let variables = [("BACKEND_URL", url.as_str()), ("INTERNAL_API_KEY", "key")];
    let ran = folder.run_with(&variables, &["redeliver"]).await;
    ran.expect_failure("200 of 200 events could not be delivered");
    assert_eq!(journal.stats().unconfirmed, 200);
}

#[tokio::test]
async fn redeliver_names_the_variables_it_lacks_and_sends_the_relays_own_secret_if_there_is_one() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep(&journal, "evt_1").await;
    folder.run(&["redeliver"]).await.expect_failure("INTERNAL_API_KEY");
    let backend = Backend::start(receives).await;
    let mut variables = backend.variables().to_vec();
    variables.push(("RELAY_INTERNAL_SECRET", "own-secret"));
    folder.run_with(&variables, &["redeliver"]).await.expect_success();
    assert_eq!(backend.got.lock().unwrap()[0].headers["x-internal-api-key"], "own-secret");
}

#[tokio::test]
async fn discard_ends_an_unconfirmed_event_while_the_relay_runs() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    folder.keep(&journal, "evt_1").await;
    let ran = folder.run(&["discard", "evt_1"]).await;
    ran.expect_success();
    assert_eq!(ran.out(), "discarded evt_1\n");
    assert_eq!(journal.stats().unconfirmed, 1, "both entries of evt_1 have ended");
    let listed = folder.listed().await;
    assert_eq!((&listed[1]["confirmed"], &listed[1]["attempts"]), (&json!(true), &json!(0)));
    assert_eq!(folder.run(&["show", "evt_1"]).await.out().len(), 42, "it is kept");
}

#[tokio::test]
async fn discard_ends_an_unconfirmed_event_while_the_relay_is_stopped_and_says_so_in_the_log() {
    let folder = Folder::new();
    let journal = folder.open();
    folder.keep_five(&journal).await;
    journal.close().await;
    let ran = folder.run(&["discard", "evt_1"]).await;
    ran.expect_success();
    assert!(ran.err().contains("discarded event evt_1"), "{}", ran.err());
    assert!(folder.confirmed().await["evt_1"]);
    let journal = folder.open();
    assert_eq!(journal.stats().unconfirmed, 1);
}

#[tokio::test]
async fn discard_of_a_confirmed_event_changes_nothing_and_of_one_that_is_not_there_fails() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    let ran = folder.run(&["discard", "evt_0"]).await;
    ran.expect_success();
    assert!(ran.out().contains("confirmed already"), "{}", ran.out());
    assert_eq!(folder.listed().await[0]["attempts"], 1, "it was delivered, not discarded");
    folder.run(&["discard", "evt_9"]).await.expect_failure("no event evt_9");
}

#[tokio::test]
async fn a_folder_with_a_name_too_long_for_a_sockets_address_works_all_the_same() {
    let folder = Folder::at(&"long".repeat(50));
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    folder.run(&["discard", "evt_1"]).await.expect_success();
    assert_eq!(journal.stats().unconfirmed, 1);
}

#[tokio::test]
async fn a_socket_that_a_killed_relay_left_behind_is_in_nobodys_way() {
    let folder = Folder::new();
    let journal = folder.open_as_relay();
    folder.keep_five(&journal).await;
    journal.close().await;
    assert!(folder.path.join("control.sock").exists());
    folder.run(&["discard", "evt_1"]).await.expect_success();
    let journal = folder.open_as_relay();
    folder.run(&["discard", "evt_3"]).await.expect_success();
    assert_eq!(journal.stats().unconfirmed, 0);
}

#[tokio::test]
async fn a_journal_that_grows_can_be_listed_at_any_moment() {
    let folder = Arc::new(Folder::new());
    let journal = folder.open_as_relay();
    let growing = {
        let (folder, journal) = (Arc::clone(&folder), journal.clone());
        tokio::spawn(async move {
            for number in 0_u64.. {
                let position = folder.keep_body(&journal, &format!("evt_{number}"), &"x".repeat(10_000)).await;
                journal.confirm(position);
                if journal.stats().bytes > 20 * 1024 * 1024 {
                    return;
                }
            }
        })
    };
    let mut before = 0;
    while !growing.is_finished() {
        let ran = folder.run(&["list", "--json"]).await;
        ran.expect_success();
        assert_eq!(ran.err(), "", "nothing looks damaged");
        let ids: Vec<_> =
            ran.out().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["eventId"].clone()).collect();
        let expected: Vec<_> = (0..ids.len()).map(|number| json!(format!("evt_{number}"))).collect();
        assert_eq!(ids, expected);
        assert!(ids.len() >= before);
        before = ids.len();
    }
    growing.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_has_had_enough_is_no_failure() {
    let folder = Folder::new();
    let journal = folder.open();
    for number in 0..2000 {
        folder.keep(&journal, &format!("evt_{number}")).await;
    }
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_tollgate-relay"))
        .args(["journal", "export"])
        .env_clear()
        .env("RELAY_DATA_DIR", &folder.path)
        .current_dir(folder.path.parent().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().await.unwrap().success());
}
