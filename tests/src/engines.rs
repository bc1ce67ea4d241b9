//! Both database engines, always: a SQLite file, or a database on a PostgreSQL server.
//!
//! The server is that of `TOLLGATE_TEST_POSTGRES` (the URL of a superuser), or a throw-away one that ends with the last
//! database on it: see [`Server`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tollgate_shared::Rng;
use tollgate_shared::testing::postgres::{Durability, Server};

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
        server: Arc<Server>,
        /// The database's name.
        name: String,
    },
}

impl Engine {
    /// A fresh database: a file, or one on the server that this process shares.
    pub async fn database(self) -> Database {
        match self {
            Self::Sqlite => Database::Sqlite { folder: temporary_folder() },
            Self::Postgres => Database::on(shared_server().await).await,
        }
    }

    /// A fresh database that nothing else shares and that keeps what it promised through a crash.
    pub async fn durable_database(self) -> Database {
        match self {
            Self::Sqlite => self.database().await,
            Self::Postgres => Database::on(Arc::new(Server::start(Durability::Synced).await)).await,
        }
    }
}

impl Database {
    async fn on(server: Arc<Server>) -> Self {
        let name = format!("t_{}", hex::encode(Rng::system().bytes::<8>()));
        execute(&server, format!("CREATE DATABASE {name}")).await;
        Self::Postgres { server, name }
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
            Self::Postgres { server, name } => server.url(name),
        }
    }

    /// A PostgreSQL server that is ours alone, to stop and to start; `None` on SQLite.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres { server, .. } => Some(server),
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
            Self::Postgres { server, name } => {
                let copy = format!("{name}_{}", hex::encode(Rng::system().bytes::<4>()));
                execute(server, format!("CREATE DATABASE {copy} TEMPLATE {name}")).await;
                Self::Postgres { server: Arc::clone(server), name: copy }
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
            (Self::Postgres { server, name }, Self::Postgres { name: backup, .. }) => {
                execute(server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
                execute(server, format!("CREATE DATABASE {name} TEMPLATE {backup}")).await;
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
        let Self::Postgres { server, name } = self else { return };
        if server.is_our_own() {
            return; // it goes with its server
        }
        let (url, drop_it) = (server.url("postgres"), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
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

/// The server that all databases of this process share; the last of them ends one of our own.
async fn shared_server() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::of_environment().await);
    *shared = Arc::downgrade(&server);
    server
}

async fn execute(server: &Server, sql: String) {
    let shown = sql.clone();
    let done = async {
        let mut connection = PgConnection::connect(&server.url("postgres")).await?;
        connection.execute(AssertSqlSafe(sql)).await?;
        connection.close().await
    };
    done.await.unwrap_or_else(|error| panic!("{shown}: {error}"));
}
