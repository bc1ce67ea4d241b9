//! The process from outside: its command line, what it listens to, what it logs, how it ends.

#![expect(clippy::float_cmp, reason = "counters and gauges are whole numbers here")]

mod backend;

use std::process::Output;
use std::time::Duration;

use backend::{Backend, Connection, Variables};
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tollgate_backend::schema::MIGRATIONS;
use tollgate_db::Db;
use tollgate_shared::Clock;
use tollgate_shared::clock::rfc3339;
use tollgate_tests::stripe::Stripe;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};

const INTAKE: &str = "/subscriptions/internal/stripe-webhook";

#[test]
fn a_bad_configuration_is_refused_with_all_of_its_problems_and_no_value() {
    let variables = Variables::good()
        .without("AUTH_SECRET")
        .with("CRON_SECRET", "  ")
        .with("ENCRYPTION_KEY", "0123456789abcdef0123456789abcdef,hunter2")
        .with("BACKEND_ADDR", "hunter2")
        .with("DATABASE_URL", "mysql://hunter2")
        .with("DATABASE_MIGRATE", "hunter2")
        .with("STRIPE_LIVEMODE", "hunter2")
        .with("STRIPE_ACCOUNTS", "acct_1,hunter2")
        .with("STRIPE_API_BASE", "hunter2")
        .with("APP_URL", "hunter2")
        .with("AUTH_JWKS_URL", "http://hunter2.example.com/")
        .with("REDIS_URL", "hunter2")
        .with("PLANS_FILE", "no-such-file.toml")
        .with("WIDGETS_FILE", "no-such-file.json")
        .with("BACKEND_TLS_CERT", "no-such-file.pem")
        .with("LOG_FORMAT", "hunter2");
    let output = variables.run(&[]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("hunter2"), "{said}");
    let named: Vec<_> = said.lines().skip(1).map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        named,
        [
            "APP_URL",
            "AUTH_JWKS_URL",
            "AUTH_SECRET",
            "BACKEND_ADDR",
            "BACKEND_TLS_KEY",
            "CRON_SECRET",
            "DATABASE_MIGRATE",
            "DATABASE_URL",
            "ENCRYPTION_KEY",
            "LOG_FORMAT",
            "PLANS_FILE",
            "REDIS_URL",
            "STRIPE_ACCOUNTS",
            "STRIPE_API_BASE",
            "STRIPE_LIVEMODE",
            "WIDGETS_FILE",
        ]
    );
}

#[test]
fn a_token_for_development_is_printed_and_nothing_else() {
    let output = Variables::good().run(&["token", "--sub", "user_1", "--role", "admin", "--ttl", "5m"]);
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap();
    assert_eq!((token.lines().count(), token.matches('.').count()), (1, 2), "{token}");
    let refused = Variables::good().without("AUTH_SECRET").run(&["token", "--sub", "user_1"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(refused.stdout.is_empty());
}

#[test]
fn a_key_for_pushes_is_printed_as_the_configuration_takes_it() {
    let output = Variables::none().run(&["vapid-keys"]);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let key = printed.lines().find_map(|line| line.strip_prefix("VAPID_PRIVATE_KEY=")).unwrap();
    let variables = Variables::good().with("VAPID_SUBJECT", "mailto:ops@example.com").with("VAPID_PRIVATE_KEY", key);
    assert!(variables.run(&["--check-config"]).status.success());
    // As it stands, in the file.
    let file = Variables::good().with("VAPID_SUBJECT", "mailto:ops@example.com").with_file(".env", &printed);
    assert!(file.run(&["--check-config"]).status.success());
    let other = String::from_utf8(Variables::none().run(&["vapid-keys"]).stdout).unwrap();
    assert_ne!(other, printed);
}

#[test]
fn a_good_configuration_is_said_to_be_good_without_starting_anything() {
    let output = Variables::good().run(&["--check-config"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"configuration OK\n");
    let refused = Variables::good().without("INTERNAL_API_KEY").run(&["--check-config"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(refused.stderr.starts_with(b"invalid configuration:\n"), "{refused:?}");
}

#[test]
fn help_and_version_need_no_configuration() {
    let help = Variables::none().run(&["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("DATABASE_LISTEN_URL"));
    let version = Variables::none().run(&["--version"]);
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("tollgate-backend "));
}

#[tokio::test]
async fn rockets_own_configuration_is_ignored() {
    let variables = Variables::good()
        .with("ROCKET_PORT", "1")
        .with("ROCKET_LOG_LEVEL", "debug")
        .with("ROCKET_CONFIG", "Rocket.toml")
        .with_file("Rocket.toml", "[default]\nport = 2\nlimits = \"nonsense\"\nlog_level = \"debug\"\n");
    let mut backend = Backend::start(variables).await;
    assert_eq!(backend.get("/live").await.status(), 200);
    let log = backend.stop().await;
    assert!(!log.contains("rocket") && !log.contains("Rocket"), "{log}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_and_ends_it() {
    let backend = Backend::start(Variables::good()).await;
    let output = Variables::good().with("BACKEND_ADDR", &backend.addr().to_string()).run(&["serve"]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("could not listen on BACKEND_ADDR") && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn without_its_database_it_starts_and_says_so() {
    // Nobody listens on port 1.
    let backend = Backend::start(Variables::good().with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")).await;
    assert_eq!(backend.get("/live").await.status(), 200);
    assert_eq!(backend.get("/metrics").await.status(), 200);
    for path in ["/ready", "/v1/customers/cus_1", "/v1/webhook-events", "/v1/webhook-events/evt_1"] {
        let answer = backend.get(path).await;
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"));
        assert!(answer.text().await.unwrap().contains("database_unavailable"), "{path}");
    }
    let answer = backend.post(INTAKE, r#"{"id":"evt_1","type":"x"}"#).await;
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn it_migrates_its_database_and_becomes_ready() {
    let backend = Backend::start(Variables::good()).await;
    backend.is_ready().await;
    let answer = backend.post(INTAKE, r#"{"id":"evt_1","type":"test.unheard_of"}"#).await;
    assert_eq!(answer.text().await.unwrap(), r#"{"received":true,"eventId":"evt_1","outcome":"ignored"}"#);
}

#[tokio::test]
async fn a_database_that_nobody_migrates_is_not_ready_until_somebody_does() {
    let variables = Variables::good().with("DATABASE_MIGRATE", "off");
    let backend = Backend::start(variables.clone()).await;
    assert_eq!(backend.get("/ready").await.status(), 503);
    assert_eq!(backend.get("/v1/webhook-events").await.status(), 503);
    assert!(variables.run(&["migrate"]).status.success());
    backend.is_ready().await;
    assert_eq!(backend.get("/v1/webhook-events").await.status(), 200);
}

#[tokio::test]
async fn under_another_encryption_key_it_is_not_ready_and_says_why() {
    let variables = Variables::good();
    let mut backend = Backend::start(variables.clone()).await;
    backend.is_ready().await;
    backend.stop().await;
    let other = "another key of thirty-two letters";
    let mut backend = Backend::start(variables.clone().with("ENCRYPTION_KEY", other)).await;
    backend.has_logged("another ENCRYPTION_KEY").await;
    assert_eq!(backend.get("/ready").await.status(), 503);
    assert!(!backend.stop().await.contains(other));
    // Nothing was overwritten.
    Backend::start(variables).await.is_ready().await;
}

/// What the relay does: one connection for all that is in flight.
#[tokio::test]
async fn one_http2_connection_without_tls_carries_a_thousand_requests_at_once() {
    const REQUESTS: usize = 1000;
    let backend = Backend::start(Variables::good()).await;
    backend.is_ready().await;
    let stream = TcpStream::connect(backend.addr()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);

    let (finish, finished) = tokio::sync::watch::channel(false);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let mut finished = finished.clone();
            let body = event_in_two_parts(number, async move {
                finished.wait_for(|finished| *finished).await.unwrap();
            });
            let request = backend.request("POST", INTAKE).body(body).unwrap();
            let mut sender = sender.clone();
            tokio::spawn(async move { sender.send_request(request).await.unwrap().status().as_u16() })
        })
        .collect();

    backend.has_in_flight(REQUESTS).await;
    finish.send(true).unwrap();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_http2_to_whoever_offers_it() {
    let backend = Backend::start(Variables::good().with_tls()).await;
    let url = format!("https://localhost:{}/live", backend.addr().port());
    for (client, version) in [
        (backend::client_builder(), reqwest::Version::HTTP_2),
        (backend::client_builder().http1_only(), reqwest::Version::HTTP_11),
    ] {
        let answer = client.build().unwrap().get(&url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    }
    assert!(backend::client().get(url.replace("https", "http")).send().await.is_err());
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_before_anything_listens() {
    let named = |cert: &str, key: &str| {
        let variables = Variables::good().with("BACKEND_TLS_CERT", cert).with("BACKEND_TLS_KEY", key);
        let output = variables.run(&["--check-config"]);
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().skip(1).map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let file = backend::tls_file;
    assert_eq!(named(&file("cert.pem"), &file("key.pem")), [""; 0]);
    assert_eq!(named(&file("cert.pem"), &file("other-key.pem")), ["BACKEND_TLS_KEY"]);
    assert_eq!(named(&file("key.pem"), &file("cert.pem")), ["BACKEND_TLS_CERT", "BACKEND_TLS_KEY"]);
    assert_eq!(named("nowhere.pem", "nowhere.pem"), ["BACKEND_TLS_CERT", "BACKEND_TLS_KEY"]);
    assert_eq!(named(&file("cert.pem"), ""), ["BACKEND_TLS_KEY"]);
}

#[tokio::test]
async fn what_is_in_flight_at_a_stop_is_finished_and_nothing_new_is_taken() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut backend = Backend::start(Variables::good()).await;
        backend.is_ready().await;
        let idle = Connection::open(&backend).await;
        let event = r#"{"id":"evt_1","type":"x.y"}"#;
        let (first, last) = event.split_at(20);
        let mut in_flight = Connection::open(&backend).await;
        in_flight.send(&backend.head("POST", INTAKE, event.len())).await;
        in_flight.send(first).await;
        backend.has_in_flight(1).await;

        backend.signal(signal);
        backend.refuses_connections().await;
        in_flight.send(last).await;
        let answer = in_flight.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"received":true,"eventId":"evt_1","outcome":"ignored"}"#), "{answer}");
        assert_eq!(idle.read_to_end().await, "");
        assert!(backend.exit().await.success());
    }
}

#[tokio::test]
async fn a_stop_finishes_what_came_over_http2_too() {
    let mut backend = Backend::start(Variables::good()).await;
    backend.is_ready().await;
    let stream = TcpStream::connect(backend.addr()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let body = event_in_two_parts(1, async move { finished.await.unwrap() });
    let request = backend.request("POST", INTAKE).body(body).unwrap();
    let answer = tokio::spawn(async move { sender.send_request(request).await });
    backend.has_in_flight(1).await;

    backend.signal(Signal::TERM);
    backend.refuses_connections().await;
    finish.send(()).unwrap();
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.into_body().collect().await.unwrap().to_bytes().ends_with(br#""outcome":"ignored"}"#));
    assert!(backend.exit().await.success());
}

#[tokio::test]
async fn who_sends_far_too_much_can_still_read_why_it_is_refused() {
    const BYTES: usize = 128 << 20;
    let backend = Backend::start(Variables::good()).await;
    let mut sender = Connection::open(&backend).await;
    sender.send(&backend.head("POST", INTAKE, BYTES)).await;
    let piece = "x".repeat(1 << 20);
    for _ in 0..BYTES / piece.len() {
        sender.send(&piece).await;
    }
    let response = sender.read_to_end().await;
    assert!(response.starts_with("HTTP/1.1 413 ") && response.contains("body_too_large"), "{response}");
}

#[tokio::test]
async fn a_stop_under_load_is_a_success_every_time() {
    for _ in 0..10 {
        let mut backend = Backend::start(Variables::good()).await;
        backend.is_ready().await;
        let load: Vec<_> = (0..16)
            .map(|_| {
                let (client, url) = (backend::client(), format!("http://{}/v1/webhook-events", backend.addr()));
                tokio::spawn(async move {
                    let get = || client.get(&url).header("x-internal-api-key", backend::INTERNAL_KEY).send();
                    let mut answered = 0;
                    while let Ok(answer) = get().await {
                        // Whatever has begun to be answered is answered whole.
                        assert!(answer.bytes().await.unwrap().ends_with(b"}"));
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        backend.has_served("/v1/webhook-events", 200).await;
        let log = backend.stop().await;
        assert!(!log.contains("panicked"), "{log}");
        for client in load {
            assert!(client.await.unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_a_stop_for_good() {
    let mut backend = Backend::start(Variables::good()).await;
    let mut stalled = Connection::open(&backend).await;
    stalled.send(&backend.head("POST", INTAKE, 1000)).await;
    stalled.send("{\"id\": \"evt_1\", \"type\"").await;
    backend.has_in_flight(1).await;
    backend.signal(Signal::TERM);
    assert!(backend.exit().await.success());
}

#[tokio::test]
async fn nothing_that_must_not_be_seen_is_ever_logged() {
    const MARK: &str = "hunter2";
    let variables = Variables::good().with("RUST_LOG", "trace").with("ROCKET_LOG_LEVEL", "debug");
    let mut backend = Backend::start(variables).await;
    backend.is_ready().await;

    let client = backend::client();
    let url = |path: &str| format!("http://{}{path}", backend.addr());
    let key = ("x-internal-api-key", backend::INTERNAL_KEY);
    let requests = [
        client.get(url("/api/events/hunter2")),
        client.get(url("/hunter2?hunter2=hunter2")),
        client.delete(url("/v1/customers/hunter2")),
        client.request("HUNTER2hunter2".parse().unwrap(), url("/live")),
        client.get(url("/v1/customers/hunter2")).header(key.0, MARK),
        client.get(url("/v1/customers/hunter2")).header(key.0, key.1),
        client.get(url("/v1/customers/%ff%00hunter2")).header(key.0, key.1),
        client.get(url("/live")).header("cookie", "hunter2=hunter2; hunter2").header("authorization", "Bearer hunter2"),
        client.get(url("/live")).header("x-request-id", "hunter2 hunter2").header("traceparent", MARK),
        client.get(url("/live")).header("x-odd", reqwest::header::HeaderValue::from_bytes(b"\xffhunter2").unwrap()),
        client.get(url("/v1/webhook-events?status=hunter2&cursor=hunter2&limit=hunter2")).header(key.0, key.1),
        client.get(url("/v1/webhook-events?type=hunter2&customer=hunter2")).header(key.0, key.1),
        client.post(url("/v1/api-keys/verify")).header(key.0, key.1).body("hunter2"),
        client.post(url("/v1/api-keys/verify")).header(key.0, key.1).header("content-type", "application/json").body(r#"{"key":"hunter2"}"#),
        client.post(url("/v1/api-keys/verify")).header(key.0, key.1).header("content-type", "application/json").body(r#"{"key":["hunter2"]}"#),
        client.post(url("/v1/api-keys/verify")).header(key.0, key.1).header("content-type", "application/json").body("{hunter2"),
        client.post(url("/v1/api-keys/verify")).header(key.0, key.1).header("content-type", "hunter2/hunter2").body("hunter2"),
        client.post(url(INTAKE)).header(key.0, MARK).body("hunter2"),
        client.post(url(INTAKE)).header(key.0, key.1).body("hunter2"),
        client.post(url(INTAKE)).header(key.0, key.1).header("content-type", "application/x-www-form-urlencoded").body("_method=hunter2&hunter2"),
        client.post(url(INTAKE)).header(key.0, key.1).body(r#"{"id":"evt_1","type":"customer.created","created":1700000000,"data":{"object":{"id":"cus_1","object":"customer","email":"hunter2@example.com","name":"hunter2","metadata":{"user_id":"hunter2"}}}}"#),
        client.post(url(INTAKE)).header(key.0, key.1).body(r#"{"id":"evt_2","type":"invoice.paid","created":1700000000,"data":{"object":{"object":"invoice","hunter2":"hunter2"}}}"#),
        client.post(url(INTAKE)).header(key.0, key.1).header("content-type", "application/json-seq").body("hunter2\x1ehunter2\n"),
    ];
    for request in requests {
        let answer = request.send().await.unwrap();
        assert!(answer.headers().contains_key("x-request-id"), "{answer:?}");
        let is_refusal = !answer.status().is_success();
        let body = answer.text().await.unwrap();
        assert!(!is_refusal || !body.contains(MARK), "{body}");
    }

    let log = backend.stop().await;
    assert!(log.contains("answered POST /v1/api-keys/verify with 422"), "{log}");
    for secret in [MARK, backend::INTERNAL_KEY, "example.com", "cus_1@"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

/// An event whose body is not whole before `rest` is there. Rocket counts a request once its body has begun.
fn event_in_two_parts(
    number: usize,
    rest: impl Future<Output = ()> + Send + 'static,
) -> impl hyper::body::Body<Data = Bytes, Error = std::io::Error> + Send + Unpin {
    let frame = |text: String| Ok::<_, std::io::Error>(Frame::data(Bytes::from(text)));
    let first = frame(format!(r#"{{"id":"evt_{number}","type":"#));
    let last = async move {
        rest.await;
        frame(r#""x.y"}"#.to_owned())
    };
    StreamBody::new(stream::once(async { first }).chain(stream::once(last)).boxed())
}

#[tokio::test]
async fn no_event_can_forge_a_line_of_the_log() {
    let mut backend = Backend::start(Variables::good()).await;
    backend.is_ready().await;
    let answer = backend.post(INTAKE, r#"{"id":"evt_1\nforged","type":"x\r\nforged\u001b[2J"}"#).await;
    assert_eq!(answer.status(), 200);
    let log = backend.stop().await;
    assert!(log.contains(r"ignored event evt_1\nforged"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("forged")) && !log.contains('\u{1b}'), "{log}");
}

#[tokio::test]
async fn a_failure_of_ours_is_logged_with_the_id_that_its_caller_has() {
    let variables = Variables::good();
    let file = variables.path("tollgate.db");
    let mut backend = Backend::start(variables).await;
    backend.is_ready().await;
    let db = Db::open(&format!("sqlite://{}", file.display()).parse().unwrap(), &MIGRATIONS).unwrap();
    let mut tx = db.write().await.unwrap();
    tx.sql("ALTER TABLE customers RENAME TO no_customers").run().await.unwrap();
    tx.commit().await.unwrap();
    let answer = backend.get("/v1/customers/cus_1").await;
    assert_eq!(answer.status(), 500);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let log = backend.stop().await;
    let said = log.lines().find(|line| line.contains("could not use the database")).unwrap_or_else(|| panic!("{log}"));
    assert!(said.contains(&id), "{said}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let variables = Variables::good().with("RUST_LOG", "debug");
    let mut backend = Backend::start(variables).await;
    backend.is_ready().await;
    let stalled = backend.stall_log().await;
    let id = "x".repeat(128);
    while backend.metric("tollgate_backend_log_lines_dropped_total").await == 0.0 {
        let requests = (0..200).map(|_| backend.get_as("/v1/webhook-events/evt_unknown", &id));
        futures_util::future::join_all(requests).await;
    }
    for path in ["/live", "/ready"] {
        assert_eq!(backend.get(path).await.status(), 200, "{path}");
    }
    let answer = backend.post(INTAKE, r#"{"id":"evt_1","type":"test.unheard_of"}"#).await;
    assert_eq!(answer.status(), 200);
    backend.signal(Signal::TERM);
    assert!(backend.exit().await.success());
    drop(stalled);
}

#[tokio::test]
async fn sighup_reads_the_certificate_again_if_there_is_one() {
    for (variables, said) in [
        (Variables::good().with_tls(), "reloaded BACKEND_TLS_CERT and BACKEND_TLS_KEY"),
        (Variables::good(), "nothing to reload"),
    ] {
        let mut backend = Backend::start(variables).await;
        backend.signal(Signal::HUP);
        backend.has_logged(said).await;
        backend.signal(Signal::TERM);
        assert!(backend.exit().await.success());
    }
}

#[tokio::test]
async fn metrics_say_what_runs_and_what_it_takes() {
    let backend = Backend::start(Variables::good()).await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(backend.metric(&format!(r#"tollgate_backend_build_info{{version="{version}"}}"#)).await, 1.0);
    assert!(backend.metric("process_resident_memory_bytes").await > 0.0);
}

#[tokio::test]
async fn events_are_replayed_from_the_command_line() {
    let variables = Variables::good();
    let missing = variables.run(&["replay", "evt_1"]);
    assert_eq!(missing.status.code(), Some(1), "there is no database yet: {missing:?}");
    let mut backend = Backend::start(variables.clone()).await;
    backend.is_ready().await;
    let customer = r#"{"id":"evt_1","object":"event","type":"customer.created","created":1780000000,
        "data":{"object":{"id":"cus_1","object":"customer","name":"Ada"}}}"#;
    assert_eq!(backend.post(INTAKE, customer).await.status(), 200);
    let run = |arguments: &'static [&'static str]| {
        let variables = variables.clone();
        // The backend is served by this thread's runtime.
        tokio::task::spawn_blocking(move || variables.run(arguments))
    };
    let said = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();

    let again = run(&["replay", "evt_1"]).await.unwrap();
    assert!(again.status.success(), "{again:?}");
    assert_eq!(said(&again), "evt_1 duplicate\n1 events replayed\n");
    let unknown = run(&["replay", "evt_2"]).await.unwrap();
    assert_eq!((unknown.status.code(), said(&unknown).as_str()), (Some(1), ""), "{unknown:?}");
    let unsaid = run(&["replay", "--dry-run"]).await.unwrap();
    assert_eq!(unsaid.status.code(), Some(2), "{unsaid:?}");

    // Of all that was received, and without anybody who serves.
    backend.stop().await;
    let now = Clock::system().now();
    let hour = Duration::from_hours(1);
    let (from, to) = (rfc3339(now - hour), rfc3339(now + hour));
    let dry = variables.run(&["replay", "--from", &from, "--to", &to, "--dry-run"]);
    assert!(dry.status.success(), "{dry:?}");
    assert_eq!(said(&dry), "evt_1 duplicate\n1 events would be replayed\n");
    let far = variables.run(&["replay", "--from", "2020-01-01T00:00:00Z", "--to", &to]);
    assert_eq!(far.status.code(), Some(1), "{far:?}");
}

#[tokio::test]
async fn what_never_came_is_reconciled_from_the_command_line() {
    let variables = Variables::good();
    assert!(variables.run(&["migrate"]).status.success());
    let mute = variables.run(&["reconcile"]);
    assert_eq!(mute.status.code(), Some(2), "there is no key to ask with: {mute:?}");
    let help = variables.run(&["reconcile", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("Exit status: 0 if"), "{help:?}");

    let mut stripe = Stripe::fresh();
    stripe.now = Clock::system().now().timestamp() - 3600;
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    stripe.pass(3600);
    let api = Api::start(&stripe).await;
    let variables = variables.with("STRIPE_SECRET_KEY", SECRET_KEY).with("STRIPE_API_BASE", &api.base);
    let run = |arguments: &'static [&'static str]| {
        let variables = variables.clone();
        // Stripe is served by this thread's runtime.
        tokio::task::spawn_blocking(move || variables.run(arguments))
    };
    let event = &stripe.occurrences[0].id;
    let line = format!("{event} customer.created of {customer}: never came");
    for (arguments, status, lines) in [
        (&["reconcile"][..], 1, format!("{line}\n1 objects compared, 1 differences\n")),
        (&["reconcile", "--apply"], 0, format!("{line}; mended\n1 objects compared, 1 differences, 1 mended\n")),
        (&["reconcile"], 0, "1 objects compared, 0 differences\n".to_owned()),
    ] {
        let output = run(arguments).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), &*said), (Some(status), &*lines), "{output:?}");
    }
    api.fail(&[401]);
    assert_eq!(run(&["reconcile"]).await.unwrap().status.code(), Some(2), "the key is no good");
}
