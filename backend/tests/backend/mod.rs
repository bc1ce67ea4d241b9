//! A backend process of a test's own: its variables, its folder, its log.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says what went wrong")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// What an internal caller shows.
pub(crate) const INTERNAL_KEY: &str = "an-internal-key-of-a-test";

/// Long enough for the slowest machine; nothing waits for it unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

const PLANS: &str = include_str!("../plans.toml");

/// The environment and the folder of a process that is not started yet. Clones share the folder.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    variables: BTreeMap<String, String>,
    folder: Arc<tempfile::TempDir>,
}

impl Variables {
    /// No variable at all.
    pub(crate) fn none() -> Self {
        Self { variables: BTreeMap::new(), folder: Arc::new(tempfile::tempdir().unwrap()) }
    }

    /// All that has to be there, on a free port and a SQLite file of its own.
    pub(crate) fn good() -> Self {
        Self::none()
            .with_file("plans.toml", PLANS)
            .with_file("widgets.json", r#"[{"name": "default", "config": {}}]"#)
            .with("BACKEND_ADDR", "127.0.0.1:0")
            .with("DATABASE_URL", "sqlite://tollgate.db")
            .with("INTERNAL_API_KEY", INTERNAL_KEY)
            .with("AUTH_SECRET", "an-auth-secret-of-a-test")
            .with("CRON_SECRET", "a-cron-secret-of-a-test")
            .with("ENCRYPTION_KEY", "an-encryption-key-of-a-test-that-is-long")
    }

    /// The same with `name` set to `value`.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with `name` not set.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// The same with a file in its folder.
    pub(crate) fn with_file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    /// The same with TLS under `tests/backend/tls/cert.pem`, a certificate of `localhost` for a hundred years.
    pub(crate) fn with_tls(self) -> Self {
        self.with("BACKEND_TLS_CERT", &tls_file("cert.pem")).with("BACKEND_TLS_KEY", &tls_file("key.pem"))
    }

    /// The path of a file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the process to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).into_std().output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate-backend"));
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }
}

/// A process that listens. Killed when dropped.
pub(crate) struct Backend {
    child: Child,
    addr: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Held by whoever reads the log, for each line.
    reader: Arc<tokio::sync::Mutex<()>>,
    client: reqwest::Client,
    _variables: Variables,
}

impl Backend {
    /// Starts one and waits until it says where it listens.
    pub(crate) async fn start(variables: Variables) -> Self {
        let mut child =
            variables.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let reader = Arc::default();
        collect(child.stdout.take().unwrap(), &log, &reader);
        collect(child.stderr.take().unwrap(), &log, &reader);
        let addr = until("it listens", async || {
            let log = log.lock().unwrap();
            let (_, rest) = log.split_once("listening on ")?;
            rest.split([' ', '\n']).next()?.parse().ok()
        })
        .await;
        Self { child, addr, log, reader, client: client(), _variables: variables }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A GET with the internal key.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.addr);
        self.client.get(url).header("x-internal-api-key", INTERNAL_KEY).send().await.unwrap()
    }

    /// As [`Backend::get`], with this request id.
    pub(crate) async fn get_as(&self, path: &str, request_id: &str) -> reqwest::Response {
        let request = self.client.get(format!("http://{}{path}", self.addr)).header("x-request-id", request_id);
        request.header("x-internal-api-key", INTERNAL_KEY).send().await.unwrap()
    }

    /// One number of the metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").await.text().await.unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    /// Until what this gives back is dropped, nobody reads the log.
    pub(crate) async fn stall_log(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.reader.clone().lock_owned().await
    }

    /// Waits until the log has this.
    pub(crate) async fn has_logged(&self, part: &str) {
        until("it is logged", async || self.log.lock().unwrap().contains(part).then_some(())).await;
    }

    /// A POST with the internal key.
    pub(crate) async fn post(&self, path: &str, body: &'static str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.addr);
        self.client.post(url).header("x-internal-api-key", INTERNAL_KEY).body(body).send().await.unwrap()
    }

    /// The beginning of a request for hyper's own client, with the internal key.
    pub(crate) fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        hyper::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr))
            .header("x-internal-api-key", INTERNAL_KEY)
    }

    /// The head of an HTTP/1.1 request, with the internal key.
    pub(crate) fn head(&self, method: &str, path: &str, length: usize) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nx-internal-api-key: {INTERNAL_KEY}\r\ncontent-length: {length}\r\n\r\n",
            self.addr
        )
    }

    /// Waits until `/ready` says so.
    pub(crate) async fn is_ready(&self) {
        until("it is ready", async || (self.get("/ready").await.status() == 200).then_some(())).await;
    }

    /// Waits until so many requests are in flight, beside the one that asks.
    pub(crate) async fn has_in_flight(&self, count: usize) {
        let line = format!("tollgate_backend_requests_in_flight {}\n", count + 1);
        until("the requests are in flight", async || {
            self.get("/metrics").await.text().await.unwrap().contains(&line).then_some(())
        })
        .await;
    }

    /// Waits until so many requests for `route` have been answered with 200.
    pub(crate) async fn has_served(&self, route: &str, count: u64) {
        let name = format!("tollgate_backend_requests_total{{route=\"{route}\",status=\"200\"}} ");
        until("the requests are answered", async || {
            let metrics = self.get("/metrics").await.text().await.unwrap();
            let served: u64 = metrics.lines().find_map(|line| line.strip_prefix(&name))?.parse().unwrap();
            (served >= count).then_some(())
        })
        .await;
    }

    /// Waits until nobody can connect.
    pub(crate) async fn refuses_connections(&self) {
        until("connections are refused", async || TcpStream::connect(self.addr).await.err().map(drop)).await;
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("the process has not ended");
        kill_process(id, signal).expect("the process is there");
    }

    /// Waits for the end.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("the process ends").unwrap()
    }

    /// Stops it in order and returns all that it printed.
    pub(crate) async fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        assert!(self.exit().await.success());
        // The pipes end with the process; their readers may be a line behind.
        until("the log is read", async || (Arc::strong_count(&self.log) == 1).then_some(())).await;
        self.log.lock().unwrap().clone()
    }
}

/// A bare connection, to send and read bytes as they are.
pub(crate) struct Connection(TcpStream);

impl Connection {
    /// Connects.
    pub(crate) async fn open(backend: &Backend) -> Self {
        Self(TcpStream::connect(backend.addr).await.unwrap())
    }

    /// Sends some bytes.
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything that comes until the other side closes.
    pub(crate) async fn read_to_end(mut self) -> String {
        let mut answer = String::new();
        timeout(PATIENCE, self.0.read_to_string(&mut answer)).await.expect("the connection is closed").unwrap();
        answer
    }
}

/// A client without any wishes of its own.
pub(crate) fn client() -> reqwest::Client {
    client_builder().build().unwrap()
}

/// The beginning of a client that trusts the certificate of the tests.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    // An error means that another test of this process was faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cert = std::fs::read(tls_file("cert.pem")).unwrap();
    reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&cert).unwrap()])
}

/// The path of one of the files under `tests/backend/tls`.
pub(crate) fn tls_file(name: &str) -> String {
    format!("{}/tests/backend/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn collect(
    pipe: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    log: &Arc<Mutex<String>>,
    reader: &Arc<tokio::sync::Mutex<()>>,
) {
    let (log, reader) = (log.clone(), reader.clone());
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _reading = reader.lock().await;
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// Looks again and again until there is something to see.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(LOOK).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
