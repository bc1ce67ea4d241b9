//! Both database engines, always: a SQLite file, or a database on a PostgreSQL server.
//!
//! The server is that of `TOLLGATE_TEST_POSTGRES` (the URL of a superuser), or one of our own: a throw-away cluster in a
//! temporary folder that ends with the last database on it. Where PostgreSQL is not installed, tests fail with what to
//! install: an engine is never skipped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::Signal;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tollgate_shared::Rng;

use crate::process::{Process, Program};
use crate::wait::{SOON, wait_until};

/// The superuser's name in a cluster of our own.
const SUPERUSER: &str = "postgres";

/// What a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file, in the backend's own process.
    Sqlite,
    /// A server.
    Postgres,
}

/// Runs a test body once on each engine, each under its own name: `on_each_engine!(a_sentence, async |engine| { … });`
///
/// The body gets an [`Engine`]; a stack takes its databases from it.
#[macro_export]
macro_rules! on_each_engine {
    ($(#[$attribute:meta])* $name:ident, $body:expr) => {
        $(#[$attribute])*
        mod $name {
            use super::*;

            #[test]
            fn on_sqlite() {
                $crate::engines::block_on(($body)($crate::Engine::Sqlite));
            }

            #[test]
            fn on_postgresql() {
                $crate::engines::block_on(($body)($crate::Engine::Postgres));
            }
        }
    };
}

/// Runs a test's future on a runtime of its own.
pub fn block_on<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(body)
}

/// A fresh, empty database. Gone when dropped.
#[derive(Debug)]
pub enum Database {
    /// A file in a folder of its own.
    Sqlite {
        /// Holds the file and its companions.
        folder: TempDir,
    },
    /// A database on a server.
    Postgres {
        /// The server; the last database on it ends it.
        cluster: Arc<Cluster>,
        /// The database's name.
        name: String,
    },
}

impl Engine {
    /// A fresh database: a file, or one on the server that this process shares.
    pub async fn database(self) -> Database {
        match self {
            Self::Sqlite => Database::Sqlite { folder: temporary_folder() },
            Self::Postgres => Database::on(Cluster::shared().await).await,
        }
    }

    /// A fresh database that nothing else shares and that keeps what it promised through a crash.
    pub async fn durable_database(self) -> Database {
        match self {
            Self::Sqlite => self.database().await,
            Self::Postgres => Database::on(Arc::new(Cluster::start(Durability::Synced).await)).await,
        }
    }
}

impl Database {
    async fn on(cluster: Arc<Cluster>) -> Self {
        let name = format!("t_{}", hex::encode(Rng::system().bytes::<8>()));
        cluster.execute(format!("CREATE DATABASE {name}")).await;
        Self::Postgres { cluster, name }
    }

    /// Which engine it is on.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres { .. } => Engine::Postgres,
        }
    }

    /// The value for `DATABASE_URL`.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite { folder } => format!("sqlite://{}", file_in(folder).display()),
            Self::Postgres { cluster, name } => cluster.url(name),
        }
    }

    /// A PostgreSQL server that is ours alone, to stop and to start; `None` on SQLite.
    pub fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres { cluster, .. } => Some(cluster),
        }
    }

    /// The number that a query gives, for what no route shows.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let found = match self {
            Self::Sqlite { .. } => {
                let mut connection = SqliteConnection::connect(&self.url()).await.expect("the file can be opened");
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
            Self::Postgres { .. } => {
                let mut connection = PgConnection::connect(&self.url()).await.expect("the server takes connections");
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
        };
        found.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a statement, for what no route does.
    pub async fn execute(&self, sql: &'static str) {
        let done = match self {
            Self::Sqlite { .. } => {
                let mut connection = SqliteConnection::connect(&self.url()).await.expect("the file can be opened");
                connection.execute(sql).await.map(drop)
            }
            Self::Postgres { .. } => {
                let mut connection = PgConnection::connect(&self.url()).await.expect("the server takes connections");
                connection.execute(sql).await.map(drop)
            }
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Holds something until it is dropped: on PostgreSQL the rows that `rows` selects `FOR UPDATE`, on SQLite, which locks
    /// nothing smaller, the whole file.
    pub async fn hold(&self, rows: &'static str) -> Held {
        match self {
            Self::Sqlite { folder } => {
                let options = SqliteConnectOptions::new().filename(file_in(folder)).create_if_missing(true);
                let mut connection = options.connect().await.expect("the file can be opened");
                connection.execute("BEGIN EXCLUSIVE").await.expect("nobody else holds the file for long");
                Held::File { _connection: connection }
            }
            Self::Postgres { .. } => {
                let mut connection = PgConnection::connect(&self.url()).await.expect("the server takes connections");
                connection.execute("BEGIN").await.expect("a transaction begins");
                connection.execute(rows).await.unwrap_or_else(|error| panic!("{rows}: {error}"));
                Held::Rows { _connection: connection }
            }
        }
    }

    /// A copy of it as it is now. No backend may have it open.
    pub async fn copy(&self) -> Self {
        match self {
            Self::Sqlite { folder } => {
                let copy = temporary_folder();
                copy_files(folder.path(), copy.path());
                Self::Sqlite { folder: copy }
            }
            Self::Postgres { cluster, name } => {
                let copy = format!("{name}_{}", hex::encode(Rng::system().bytes::<4>()));
                cluster.execute(format!("CREATE DATABASE {copy} TEMPLATE {name}")).await;
                Self::Postgres { cluster: Arc::clone(cluster), name: copy }
            }
        }
    }

    /// Replaces what is in it by what is in `backup`, under the same URL. No backend may have either open.
    pub async fn restore(&self, backup: &Self) {
        match (self, backup) {
            (Self::Sqlite { folder }, Self::Sqlite { folder: backup }) => {
                for file in files_in(folder.path()) {
                    fs::remove_file(file).expect("a database file of ours can be removed");
                }
                copy_files(backup.path(), folder.path());
            }
            (Self::Postgres { cluster, name }, Self::Postgres { name: backup, .. }) => {
                cluster.execute(format!("DROP DATABASE {name} WITH (FORCE)")).await;
                cluster.execute(format!("CREATE DATABASE {name} TEMPLATE {backup}")).await;
            }
            _ => panic!("a backup is of the same engine"),
        }
    }
}

/// What [`Database::hold`] holds.
#[derive(Debug)]
pub enum Held {
    /// A SQLite file.
    File {
        /// Its end is that of the lock.
        _connection: SqliteConnection,
    },
    /// Rows on PostgreSQL.
    Rows {
        /// Its end is that of the locks.
        _connection: PgConnection,
    },
}

impl Drop for Database {
    fn drop(&mut self) {
        let Self::Postgres { cluster, name } = self else { return };
        if cluster.server.is_some() {
            return; // it goes with its cluster
        }
        let (url, drop_it) = (cluster.url("postgres"), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        // A thread, since a runtime may be running on this one. Failing to tidy up is no failure of the test.
        let tidying = std::thread::spawn(move || {
            block_on(async {
                if let Ok(mut connection) = PgConnection::connect(&url).await {
                    let _ = connection.execute(AssertSqlSafe(drop_it)).await;
                }
            });
        });
        let _ = tidying.join();
    }
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("tollgate.db")
}

/// A folder that nobody else uses; gone when dropped.
pub fn temporary_folder() -> TempDir {
    tempfile::Builder::new().prefix("tollgate-test-").tempdir().expect("a temporary folder can be made")
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of ours can be listed");
    entries.map(|entry| entry.expect("a folder of ours can be listed").path()).filter(|path| path.is_file()).collect()
}

fn copy_files(from: &Path, to: &Path) {
    for file in files_in(from) {
        let name = file.file_name().expect("a file in a folder has a name");
        fs::copy(&file, to.join(name)).expect("a database file of ours can be copied");
    }
}

/// Whether a cluster waits for its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production: what was committed survives a crash.
    Synced,
    /// Faster; only for servers that nobody crashes.
    Unsynced,
}

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Cluster {
    /// A URL with `{}` where the database's name goes.
    url: String,
    /// `None` when the server is someone else's.
    server: Option<Server>,
}

#[derive(Debug)]
struct Server {
    program: Program,
    process: Mutex<Option<Process>>,
    /// Data and socket. Last, so that the process has ended when it is removed.
    _folder: TempDir,
}

impl Cluster {
    /// The server that all databases of this process share.
    async fn shared() -> Arc<Self> {
        static SHARED: tokio::sync::Mutex<Weak<Cluster>> = tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(match std::env::var("TOLLGATE_TEST_POSTGRES") {
            Ok(url) if !url.trim().is_empty() => Self { url: with_placeholder(url.trim()), server: None },
            _ => Self::start(Durability::Unsynced).await,
        });
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// Makes and starts a server of our own, reached by a Unix socket.
    pub async fn start(durability: Durability) -> Self {
        let programs = programs();
        let folder = temporary_folder();
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("root can give a folder away");
        }
        let data = folder.path().join("data");
        let text = |path: &Path| path.to_str().expect("a temporary path is UTF-8").to_owned();
        let mut program = Program {
            name: "postgres".to_owned(),
            path: programs.join("initdb"),
            arguments: ["--pgdata", &text(&data), "--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8"]
                .into_iter()
                .chain(["--locale", "C", "--no-sync"])
                .map(str::to_owned)
                .collect(),
            environment: vec![
                ("PATH".to_owned(), text(&programs)),
                ("HOME".to_owned(), text(folder.path())),
                ("LC_ALL".to_owned(), "C".to_owned()),
            ],
            folder: folder.path().to_owned(),
            log: folder.path().join("postgres.log"),
            user,
        };
        let made = program.run();
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        let synced = if durability == Durability::Synced { "on" } else { "off" };
        let settings = [
            format!("unix_socket_directories={}", text(folder.path())),
            "listen_addresses=".to_owned(),
            "max_connections=300".to_owned(),
            format!("fsync={synced}"),
            format!("synchronous_commit={synced}"),
            format!("full_page_writes={synced}"),
        ];
        program.path = programs.join("postgres");
        program.arguments = ["-D".to_owned(), text(&data)]
            .into_iter()
            .chain(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]))
            .collect();
        let url = format!("postgres://{SUPERUSER}@localhost/{{}}?host={}", text(folder.path()));
        let server = Server { program, process: Mutex::new(None), _folder: folder };
        let cluster = Self { url, server: Some(server) };
        cluster.start_again().await;
        cluster
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        self.url.replace("{}", database)
    }

    /// Stops it the hard way (`pg_ctl stop -m immediate`): no checkpoint, connections cut, recovery at the next start.
    pub fn stop_immediately(&self) {
        self.server().stop(Signal::QUIT);
    }

    /// Starts it on the same data and socket, and waits until it takes connections.
    pub async fn start_again(&self) {
        let process = self.server().program.start();
        *self.server().process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        wait_until("PostgreSQL takes connections", SOON, async || {
            PgConnection::connect(&self.url("postgres")).await.is_ok()
        })
        .await;
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("only a server of our own is stopped and started: see `Engine::durable_database`")
    }

    async fn execute(&self, sql: String) {
        let shown = sql.clone();
        let done = async {
            let mut connection = PgConnection::connect(&self.url("postgres")).await?;
            connection.execute(AssertSqlSafe(sql)).await?;
            connection.close().await
        };
        done.await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    }
}

impl Server {
    fn stop(&self, signal: Signal) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut process) = process {
            if process.status().is_none() {
                process.signal(signal);
            }
            // Not `kill -9`, which would leave the server's children behind; both signals end it within seconds.
            process.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Signal::QUIT);
    }
}

/// The folder of PostgreSQL's server programs.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    versions.sort();
    std::env::split_paths(&on_path)
        .chain(versions.into_iter().rev())
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .unwrap_or_else(|| {
            panic!(
                "PostgreSQL's `initdb` and `postgres` are neither in PATH nor in /usr/lib/postgresql/*/bin: install the \
                 server (Debian: `apt-get install postgresql`), or set TOLLGATE_TEST_POSTGRES to a superuser's URL"
            )
        })
}

/// PostgreSQL refuses to run as root: then it runs as `postgres`, else as `nobody`.
fn unprivileged_user() -> Option<(u32, u32)> {
    let probe = temporary_folder();
    if fs::metadata(probe.path()).expect("a folder of ours has metadata").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields[..] {
            [user, _, uid, gid, ..] if user == name => Some((uid.parse().ok()?, gid.parse().ok()?)),
            _ => None,
        })
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a system has a user `postgres` or `nobody`"))
}

/// `postgres://user@host:1/name?x=y` with `{}` for the name.
fn with_placeholder(url: &str) -> String {
    let (path, query) = url.split_once('?').map_or((url, String::new()), |(path, query)| (path, format!("?{query}")));
    let authority = path.find("://").map_or(0, |start| start + 3);
    let end = path[authority..].find('/').map_or(path.len(), |slash| authority + slash);
    format!("{}/{{}}{query}", &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_databases_name_goes_into_a_url_whatever_it_had_before() {
        for (url, expected) in [
            ("postgres://u:p@h:5/postgres", "postgres://u:p@h:5/{}"),
            ("postgres://u@h", "postgres://u@h/{}"),
            ("postgres://u@localhost/postgres?host=/tmp/x&a=b", "postgres://u@localhost/{}?host=/tmp/x&a=b"),
        ] {
            assert_eq!(with_placeholder(url), expected);
        }
    }
}
