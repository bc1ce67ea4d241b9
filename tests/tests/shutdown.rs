//! Starting and stopping cleanly, and refusing to start on a bad configuration.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Method;
use tokio::net::TcpStream;
use tollgate_tests::engines::{block_on, temporary_folder};
use tollgate_tests::load::{self, Load, LoadPlan, Repeats};
use tollgate_tests::process::{Program, binary};
use tollgate_tests::stack::WEBHOOK_PATH;
use tollgate_tests::stripe::{ApiVersion, Stripe, story};
use tollgate_tests::wait::SOON;
use tollgate_tests::{Engine, Stack, StackConfig, on_each_engine, wait_until};

const EVENTS: usize = 1500;

fn plan(stack: &Stack, load: &Load, accepted: &Arc<AtomicUsize>, repeats: Repeats) -> LoadPlan {
    LoadPlan {
        target: stack.relay.address,
        path: WEBHOOK_PATH.to_owned(),
        headers: Vec::new(),
        deliveries: load::signed(&load.events, &stack.secrets.webhook),
        connections: 32,
        repeats,
        accepted: Arc::clone(accepted),
    }
}

fn quiet(engine: Engine) -> StackConfig {
    StackConfig::on(engine).relay("RUST_LOG", "info").backend("RUST_LOG", "info")
}

/// The limits of a process's open files, the one in force and the most that it may set itself.
fn descriptor_limits(pid: u32) -> (String, String) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a running process has limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("one is of open files");
    let mut columns = line.split_whitespace().map(str::to_owned);
    columns.next().zip(columns.next()).expect("there are two of them")
}

#[test]
fn both_tiers_open_as_many_files_as_they_are_allowed_to() {
    block_on(async {
        let stack = Stack::prepare(quiet(Engine::Sqlite)).await;
        for tier in [&stack.backends[0], &stack.relay] {
            let mut program = tier.program();
            let ours = program.path.to_str().expect("our path is UTF-8").to_owned();
            // As a shell and a service manager start them.
            program.path = "/bin/sh".into();
            program.arguments = ["-c", "ulimit -Sn 256 && exec \"$0\"", &ours].map(str::to_owned).to_vec();
            let process = program.start();
            tier.ready(&stack.http).await;
            let (in_force, most) = descriptor_limits(process.id());
            assert_eq!(in_force, most, "{}", program.name);
        }
    });
}

on_each_engine!(a_relay_that_is_told_to_stop_under_load_loses_nothing_it_answered, async |engine| {
    let mut stack = Stack::spawn(quiet(engine)).await;
    let load = load::paid_invoices(EVENTS, 20);
    stack.deliver_all(&load.beginnings, 16).await;
    let accepted = Arc::default();
    let sending = tokio::spawn(load::run(plan(&stack, &load, &accepted, Repeats::NEVER)));
    wait_until("the load goes on", SOON, async || accepted.load(Ordering::Relaxed) > EVENTS / 4).await;
    stack.relay.ask_to_stop();
    let status = stack.relay.exited().await;
    assert_eq!(status.code(), Some(0));
    let report = sending.await.expect("the load does not panic");
    assert!(report.responses.keys().all(|status| *status == 200), "what it answered it took: {:?}", report.responses);
    stack.start().await;
    stack.settled().await;
    for (index, event) in load.events.iter().enumerate() {
        if report.given_up.binary_search(&index).is_err() {
            let record = stack.event(&event.id).await.unwrap_or_else(|| panic!("{} was answered 200", event.id));
            assert_eq!(record["status"], "processed");
        }
    }
});

on_each_engine!(a_backend_that_is_told_to_stop_under_load_loses_nothing, async |engine| {
    let mut stack = Stack::spawn(quiet(engine)).await;
    let load = load::paid_invoices(EVENTS, 20);
    stack.deliver_all(&load.beginnings, 16).await;
    let accepted = Arc::default();
    let sending = tokio::spawn(load::run(plan(&stack, &load, &accepted, Repeats::NEVER)));
    wait_until("the load goes on", SOON, async || accepted.load(Ordering::Relaxed) > EVENTS / 4).await;
    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    stack.start_backends().await;
    let report = sending.await.expect("the load does not panic");
    assert_eq!(report.accepted(), EVENTS as u64, "the relay takes them all: {:?}", report.responses);
    stack.settled().await;
    for customer in &load.customers {
        stack.assert_true_to(&load.stripe, customer).await;
    }
});

on_each_engine!(idle_connections_do_not_hold_a_stop_up, async |engine| {
    let mut stack = Stack::spawn(quiet(engine)).await;
    let mut idle = Vec::new();
    for address in [stack.relay.address, stack.relay.admin, stack.backends[0].address] {
        idle.push(TcpStream::connect(address).await.expect("it listens"));
    }
    // Kept-alive ones too.
    stack.http.get(&stack.public("/api/health"), &[]).await;
    stack.http.get(&stack.private("/live"), &[]).await;
    assert_eq!(stack.relay.terminate().await.code(), Some(0));
    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    drop(idle);
});

fn bare(name: &str, environment: &[(&str, &str)], arguments: &[&str]) -> (Program, tempfile::TempDir) {
    let folder = temporary_folder();
    let program = Program {
        name: name.to_owned(),
        path: binary(name),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        folder: folder.path().to_owned(),
        log: folder.path().join("log"),
    };
    (program, folder)
}

/// Runs the program and returns whether it succeeded and everything it printed.
fn said(name: &str, environment: &[(&str, &str)], arguments: &[&str]) -> (bool, String) {
    let (program, _folder) = bare(name, environment, arguments);
    let output = program.run();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_relay_names_all_bad_variables_at_once_and_never_their_values() {
    let bad = [
        ("STRIPE_WEBHOOK_SECRET", "  "),
        ("RELAY_ADDR", "telling-address"),
        ("RELAY_ACK", "telling-ack"),
        ("BACKEND_URL", "telling-url"),
        ("BACKEND_HTTP", "telling-version"),
        ("RELAY_FORWARD_DEADLINE_MS", "telling-deadline"),
        ("RELAY_REQUIRE_HTTPS", "telling-switch"),
        ("RELAY_TRUSTED_PROXIES", "telling-proxy"),
        ("RELAY_BODY_BYTES_MAX", "telling-bytes"),
        ("CORS_ORIGINS", "*"),
        ("LOG_FORMAT", "telling-format"),
    ];
    for arguments in [&["--check-config"][..], &[], &["serve"]] {
        let (good, said) = said("tollgate-relay", &bad, arguments);
        assert!(!good, "{arguments:?}");
        for (name, _) in bad.iter().chain(&[("INTERNAL_API_KEY", "")]) {
            assert!(said.contains(name), "{arguments:?}: {name} is not named in: {said}");
        }
        assert!(!said.contains("telling"), "{said}");
    }
}

#[test]
fn a_backend_names_all_bad_variables_at_once_and_never_their_values() {
    let bad = [
        ("INTERNAL_API_KEY", ""),
        ("ENCRYPTION_KEY", "telling-short"),
        ("BACKEND_ADDR", "telling-address"),
        ("DATABASE_URL", "telling://url"),
        ("STRIPE_LIVEMODE", "telling-switch"),
        ("DATABASE_MIGRATE", "telling-mode"),
        ("PLANS_FILE", "telling-file-that-is-not-there"),
    ];
    for arguments in [&["--check-config"][..], &[]] {
        let (good, said) = said("tollgate-backend", &bad, arguments);
        assert!(!good, "{arguments:?}");
        for (name, _) in bad.iter().chain(&[("AUTH_SECRET", ""), ("CRON_SECRET", "")]) {
            assert!(said.contains(name), "{arguments:?}: {name} is not named in: {said}");
        }
        assert!(!said.contains("telling"), "{said}");
    }
}

on_each_engine!(a_good_configuration_is_said_to_be_one_without_starting_anything, async |engine| {
    let mut stack = Stack::prepare(quiet(engine)).await;
    for tier in [&stack.relay, &stack.backends[0]] {
        let output = tier.command(&["--check-config"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!stack.journal.exists(), "checking makes no journal");
    stack.backend().unset("CRON_SECRET");
    let output = stack.backend().command(&["--check-config"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("CRON_SECRET"));
});

#[test]
fn both_binaries_say_what_they_are() {
    for name in ["tollgate-relay", "tollgate-backend"] {
        let (good, version) = said(name, &[], &["--version"]);
        assert!(good && version.contains(env!("CARGO_PKG_VERSION")), "{version}");
        let (good, help) = said(name, &[], &["--help"]);
        assert!(good && help.contains("serve"), "{help}");
        let (good, _) = said(name, &[], &["--unheard-of"]);
        assert!(!good);
    }
}

on_each_engine!(a_database_that_is_away_at_start_is_waited_for, async |engine| {
    let mut stack = Stack::prepare(StackConfig { durable: true, ..quiet(engine) }).await;
    let held = match stack.database.server() {
        Some(server) => {
            server.stop_immediately();
            None
        }
        // A file is never away, but another process may have it.
        None => Some(stack.database.hold("").await),
    };
    let http = stack.http.clone();
    stack.backend().start(&http).await;
    assert!(!stack.backends[0].is_ready(&http).await);
    let answer = stack.internal(Method::GET, "/v1/customers/cus_1", Bytes::new()).await;
    assert_eq!((answer.status, &*answer.error_code()), (503, "database_unavailable"));
    stack.start_relay().await;
    let mut stripe = Stripe::fresh();
    let customer = story::twenty_five_events(&mut stripe);
    stack.deliver_all(&stripe.events(ApiVersion::Endive), 4).await;

    drop(held);
    if let Some(server) = stack.database.server() {
        server.start_again().await;
    }
    stack.start().await;
    stack.settled().await;
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(a_database_that_goes_away_and_comes_back_costs_no_event, async |engine| {
    let mut stack = Stack::spawn(StackConfig { durable: true, ..quiet(engine) }).await;
    let mut stripe = Stripe::fresh();
    let customer = story::twenty_five_events(&mut stripe);
    let events = stripe.events(ApiVersion::Endive);
    let (first, rest) = events.split_at(10);
    stack.tell(first).await;
    if let Some(server) = stack.database.server() {
        server.stop_immediately();
        stack.deliver_all(rest, 4).await;
        assert_eq!(stack.backlog().await, Some(rest.len() as u64));
        server.start_again().await;
    } else {
        // The file is in the backend's own process: they go away together.
        stack.backend().kill();
        stack.deliver_all(rest, 4).await;
        stack.start_backends().await;
    }
    stack.settled().await;
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(a_database_is_migrated_by_command_where_the_backend_may_not, async |engine| {
    let mut stack = Stack::prepare(quiet(engine).backend("DATABASE_MIGRATE", "off")).await;
    let http = stack.http.clone();
    stack.backend().start(&http).await;
    assert!(!stack.backends[0].is_ready(&http).await, "nothing is migrated");
    let answer = stack.internal(Method::GET, "/v1/customers/cus_1", Bytes::new()).await;
    assert_eq!((answer.status, &*answer.error_code()), (503, "database_unavailable"));
    for time in ["first", "second"] {
        let output = stack.backends[0].command(&["migrate"]);
        assert!(output.status.success(), "{time}: {}", String::from_utf8_lossy(&output.stderr));
    }
    stack.start().await;
    let mut stripe = Stripe::fresh();
    let customer = story::twenty_five_events(&mut stripe);
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    stack.assert_true_to(&stripe, &customer).await;
});
