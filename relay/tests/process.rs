//! The real binary: its configuration, its logs, and its end.

#![expect(clippy::float_cmp, reason = "counters and gauges are whole numbers here")]
#![allow(clippy::unwrap_used, reason = "a test, its own functions included, may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tollgate_shared::{Clock, Secret, signing};

const SECRET: &str = "whsec_d0_not_show";
const KEY: &str = "key_d0_not_show";
/// No condition takes that long to come true, however slow the machine.
const AT_LAST: Duration = Duration::from_secs(30);

/// The binary in an empty folder, with these variables and no others.
fn command(dir: &TempDir, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate-relay"));
    command.env_clear().current_dir(dir.path()).envs(variables.iter().copied());
    command
}

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    command(&dir, variables).args(arguments).output().unwrap()
}

/// A relay that runs, and its log.
struct Relay {
    process: Child,
    log: mpsc::Receiver<String>,
    read: Vec<String>,
    /// Held by whoever reads the log, for each line.
    reader: Arc<Mutex<()>>,
    addr: SocketAddr,
    admin_addr: SocketAddr,
}

impl Relay {
    fn start(dir: &TempDir, variables: &[(&str, &str)]) -> Self {
        let needed = [
            ("STRIPE_WEBHOOK_SECRET", SECRET),
            ("INTERNAL_API_KEY", KEY),
            ("RELAY_ADDR", "127.0.0.1:0"),
            ("RELAY_ADMIN_ADDR", "127.0.0.1:0"),
        ];
        let mut process = command(dir, &needed).envs(variables.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (tell, log) = mpsc::channel();
        let reader = Arc::<Mutex<()>>::default();
        let reading = Arc::clone(&reader);
        thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| {
                let _held = reading.lock().unwrap();
                tell.send(line)
            })
        });
        let unknown = ([0, 0, 0, 0], 0).into();
        let mut relay = Self { process, log, read: Vec::new(), reader, addr: unknown, admin_addr: unknown };
        let line = relay.wait_for_line("listening on ");
        let (_, addresses) = line.split_once("listening on ").unwrap();
        let (addr, admin_addr) = addresses.split_once(", and privately on ").unwrap();
        relay.addr = addr.parse().unwrap();
        relay.admin_addr = admin_addr.split([' ', '"']).next().unwrap().parse().unwrap();
        relay
    }

    fn wait_for_line(&mut self, part: &str) -> String {
        loop {
            let line = self.log.recv_timeout(AT_LAST).unwrap_or_else(|_| panic!("no {part:?} in {:#?}", self.read));
            self.read.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends `bytes` and reads the answer.
    fn ask(&self, bytes: &str) -> String {
        Self::ask_at(self.addr, bytes)
    }

    /// Asks the private listener.
    fn admin(&self, path: &str) -> String {
        Self::ask_at(self.admin_addr, &format!("GET {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n"))
    }

    /// One number of the metrics.
    fn metric(&self, name: &str) -> f64 {
        let metrics = self.admin("/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    /// Sends `request`, without its last empty line, so many times over one connection.
    fn repeat(&self, times: usize, request: &str) {
        let last = format!("{request}connection: close\r\n\r\n");
        let answers = self.ask(&(format!("{request}\r\n").repeat(times - 1) + &last));
        assert_eq!(answers.matches("HTTP/1.1 ").count(), times);
    }

    /// Lets nobody read the log, and logs until lines are dropped.
    fn stall_log(&self) -> MutexGuard<'_, ()> {
        let stalled = self.reader.lock().unwrap();
        while self.metric("tollgate_relay_log_lines_dropped_total") == 0.0 {
            self.repeat(500, &format!("GET /nowhere HTTP/1.1\r\nhost: relay\r\nx-request-id: {}\r\n", "x".repeat(128)));
        }
        stalled
    }

    fn ask_at(addr: SocketAddr, bytes: &str) -> String {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(AT_LAST)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn terminate(mut self, signal: Signal) -> (ExitStatus, Vec<String>) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        let status = self.process.wait().unwrap();
        self.read.extend(self.log.iter());
        (status, self.read)
    }
}

/// A backend that confirms each request that comes, one a connection.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let body = r#"{"received":true}"#;
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    addr
}

#[test]
fn it_says_its_version_and_how_it_is_used_without_any_configuration() {
    let version = run(&[], &["--version"]);
    assert!(version.status.success());
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("tollgate-relay "));
    let help = run(&[], &["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("serve") && help.contains("journal") && help.contains("--check-config"), "{help}");
}

#[test]
fn it_refuses_to_start_and_names_all_that_is_wrong_and_no_value() {
    let variables = [
        ("STRIPE_WEBHOOK_SECRET", "  "),
        ("RELAY_ADDR", "hunter2"),
        ("RELAY_ACK", "hunter2"),
        ("RUST_LOG", "a=hunter2"),
    ];
    for arguments in [&[][..], &["serve"], &["--check-config"]] {
        let refused = run(&variables, arguments);
        assert_eq!(refused.status.code(), Some(78), "{arguments:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        for name in ["INTERNAL_API_KEY", "RELAY_ACK", "RELAY_ADDR", "RUST_LOG", "STRIPE_WEBHOOK_SECRET"] {
            assert!(said.contains(name), "{name} in {said}");
        }
        assert!(said.starts_with("invalid configuration:\n") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_good_configuration_is_said_to_be_good_and_nothing_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let good = [("STRIPE_WEBHOOK_SECRET", SECRET), ("INTERNAL_API_KEY", KEY)];
    let checked = command(&dir, &good).arg("--check-config").output().unwrap();
    assert!(checked.status.success());
    assert_eq!(checked.stdout, b"configuration OK\n");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "no journal was made");
}

#[test]
fn a_dot_env_file_is_read_and_the_process_wins() {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("STRIPE_WEBHOOK_SECRET={SECRET}\nINTERNAL_API_KEY={KEY}\nRELAY_ACK=never\n");
    std::fs::write(dir.path().join(".env"), file).unwrap();
    let refused = command(&dir, &[]).arg("--check-config").output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
    let taken = command(&dir, &[("RELAY_ACK", "backend")]).arg("--check-config").output().unwrap();
    assert!(taken.status.success());
}

#[test]
fn it_ends_with_status_0_when_it_is_asked_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let relay = Relay::start(&dir, &[]);
        let (status, log) = relay.terminate(signal);
        assert!(status.success(), "{status:?} {log:#?}");
    }
}

#[test]
fn the_log_tells_an_events_story_and_holds_nothing_of_it_even_at_trace() {
    for format in ["text", "json"] {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://{}", backend());
        let variables = [("RUST_LOG", "trace"), ("LOG_FORMAT", format), ("BACKEND_URL", &url), ("BACKEND_HTTP", "1.1")];
        let mut relay = Relay::start(&dir, &variables);
        let body = r#"{"id":"evt_1","type":"invoice.paid","data":{"email":"payload_d0_not_show@example.com"}}"#;
        let signature = signing::sign(&Secret::new(SECRET), Clock::system().now().timestamp(), body.as_bytes());
        let webhook = |signature: &str, body: &str| {
            format!(
                "POST /api/webhooks/stripe HTTP/1.1\r\nhost: relay\r\nconnection: close\r\nx-request-id: from-stripe\r\n\
                 x-odd: header_d0_not_show\r\nstripe-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        assert!(relay.ask(&webhook(&signature, body)).starts_with("HTTP/1.1 200"));
        let forwarding = relay.wait_for_line("Forwarding event evt_1 (invoice.paid)");
        assert!(forwarding.contains("event.id") && forwarding.contains("from-stripe"), "{forwarding}");
        let confirmed = relay.wait_for_line("backend confirmed event evt_1");
        assert!(confirmed.contains("event.id") && confirmed.contains("from-stripe"), "{confirmed}");
        // Refusals, a path with a licence key, and what is no HTTP at all.
        relay.ask(&webhook("t=1,v1=d0_not_show", body));
        relay.ask("GET /api/license/lic_d0_not_show?key=d0_not_show HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n");
        relay.ask("d0_not_show\r\n\r\n");
        let hex = signature.split_once("v1=").unwrap().1.to_owned();
        let (status, log) = relay.terminate(Signal::TERM);
        assert!(status.success());
        for line in &log {
            assert!(!line.contains("d0_not_show") && !line.contains(&hex), "{line}");
            assert!(format == "text" || serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
    }
}

/// A webhook whose event is `id`, signed now.
fn signed_webhook(id: &str) -> String {
    let body = format!(r#"{{"id":"{id}","type":"invoice.paid"}}"#);
    let signature = signing::sign(&Secret::new(SECRET), Clock::system().now().timestamp(), body.as_bytes());
    format!(
        "POST /api/webhooks/stripe HTTP/1.1\r\nhost: relay\r\nconnection: close\r\nstripe-signature: {signature}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(&dir, &[("RUST_LOG", "debug")]);
    let stalled = relay.stall_log();
    assert!(relay.ask(&signed_webhook("evt_1")).starts_with("HTTP/1.1 200"));
    for path in ["/live", "/ready"] {
        assert!(relay.admin(path).starts_with("HTTP/1.1 200"), "{path}");
    }
    drop(stalled);
    relay.wait_for_line("log lines: standard error did not take them in time");
    let (status, _) = relay.terminate(Signal::TERM);
    assert!(status.success());
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(&dir, &[("RUST_LOG", "debug")]);
    let reader = Arc::clone(&relay.reader);
    drop(relay.stall_log());
    let _stalled = reader.lock().unwrap();
    kill_process(Pid::from_child(&relay.process), Signal::TERM).unwrap();
    assert!(relay.process.wait().unwrap().success());
}

#[test]
fn strangers_are_counted_and_do_not_fill_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(&dir, &[]);
    relay.repeat(2000, "GET /nowhere HTTP/1.1\r\nhost: relay\r\n");
    relay.repeat(500, "POST /api/webhooks/stripe HTTP/1.1\r\nhost: relay\r\ncontent-length: 0\r\n");
    let refused = |code| relay.metric(&format!(r#"tollgate_relay_refused_requests_total{{code="{code}"}}"#));
    assert_eq!((refused("not_found"), refused("missing_signature")), (2000.0, 500.0));
    let (_, log) = relay.terminate(Signal::TERM);
    let of = |code: &str| log.iter().filter(|line| line.contains(code)).count();
    assert!((1..10).contains(&of("not_found")) && (1..10).contains(&of("missing_signature")), "{log:#?}");
    assert!(log.len() < 30, "{log:#?}");
}

#[test]
fn sighup_reads_the_certificate_again_and_kills_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name| format!("{}/src/server/tests/{name}", env!("CARGO_MANIFEST_DIR"));
    let tls = [("RELAY_TLS_CERT", &*file("cert.pem")), ("RELAY_TLS_KEY", &*file("key.pem"))];
    for (variables, said) in [(&tls[..], "reloaded RELAY_TLS_CERT"), (&[], "nothing to reload")] {
        let mut relay = Relay::start(&dir, variables);
        kill_process(Pid::from_child(&relay.process), Signal::HUP).unwrap();
        relay.wait_for_line(said);
        let (status, _) = relay.terminate(Signal::TERM);
        assert!(status.success());
    }
}

#[test]
fn metrics_say_what_runs_and_what_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(&dir, &[]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(relay.metric(&format!(r#"tollgate_relay_build_info{{version="{version}"}}"#)), 1.0);
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(relay.metric(name) > 0.0, "{name}");
    }
    let (status, _) = relay.terminate(Signal::TERM);
    assert!(status.success());
}
