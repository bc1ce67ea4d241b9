//! The real binary: its configuration, its logs, and its end.

#![allow(clippy::unwrap_used, reason = "a test, its own functions included, may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
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
    addr: SocketAddr,
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
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut relay = Self { process, log, read: Vec::new(), addr: ([0, 0, 0, 0], 0).into() };
        let line = relay.wait_for_line("Relay listens on ");
        let addr = line.split("listens on ").nth(1).unwrap().split(',').next().unwrap();
        relay.addr = addr.parse().unwrap();
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
        let mut stream = TcpStream::connect(self.addr).unwrap();
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
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        for name in ["INTERNAL_API_KEY", "RELAY_ACK", "RELAY_ADDR", "RUST_LOG", "STRIPE_WEBHOOK_SECRET"] {
            assert!(said.contains(name), "{name} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_good_configuration_is_said_to_be_good_and_nothing_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let good = [("STRIPE_WEBHOOK_SECRET", SECRET), ("INTERNAL_API_KEY", KEY)];
    let checked = command(&dir, &good).arg("--check-config").output().unwrap();
    assert!(checked.status.success());
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "no journal was made");
}

#[test]
fn a_dot_env_file_is_read_and_the_process_wins() {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("STRIPE_WEBHOOK_SECRET={SECRET}\nINTERNAL_API_KEY={KEY}\nRELAY_ACK=never\n");
    std::fs::write(dir.path().join(".env"), file).unwrap();
    let refused = command(&dir, &[]).arg("--check-config").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
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
        let confirmed = relay.wait_for_line("Backend confirmed event evt_1");
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
