//! Both engines for a test: fresh, migrated, and gone afterwards.
//!
//! PostgreSQL is the server of `TOLLGATE_TEST_POSTGRES` (the URL of a superuser), or a throw-away one of this process's
//! own. Where it is not installed tests fail and say what to install: an engine is never skipped. What is migrated once is
//! copied for each test.

mod server;

use std::path::PathBuf;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tollgate_shared::Rng;

use crate::db::{DatabaseUrl, Db, Engine, migrate};

use self::server::Server;

/// Runs a test's body on a fresh database of each engine: `on_each_engine!(async |db| { … })`. Not from within a runtime.
#[macro_export]
macro_rules! on_each_engine {
    ($body:expr) => {
        $crate::db::testing::on_each_engine($body)
    };
}

/// See [`on_each_engine!`](crate::on_each_engine).
pub fn on_each_engine(body: impl AsyncFn(Db)) {
    on(Engine::Sqlite, &body);
    on(Engine::Postgres, body);
}

/// Runs a test's body on a fresh database of one engine, for what only that engine has.
pub fn on(engine: Engine, body: impl AsyncFn(Db)) {
    eprintln!("on {engine:?}:"); // shown with a failure
    block_on(async {
        let database = Database::migrated(engine).await;
        let db = database.open();
        body(db.clone()).await;
        db.close().await;
    });
}

/// Waits until `holds`, for as long as a machine under load may take.
pub async fn wait_until(what: &str, holds: impl AsyncFn() -> bool) {
    let comes = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), comes).await.unwrap_or_else(|_| panic!("{what}: this did not come about"));
}

/// Runs `future` on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built").block_on(future)
}

/// A database of a test. Gone when dropped.
#[derive(Debug)]
pub struct Database {
    url: String,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// In this folder.
    Sqlite(TempDir),
    /// On the server, by this name.
    Postgres { server: &'static Server, name: String },
}

impl Database {
    /// One with nothing in it.
    pub async fn empty(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => Self::in_folder(folder()),
            Engine::Postgres => {
                let server = Server::shared().await;
                let name = format!("t_{}", hex::encode(Rng::system().bytes::<8>()));
                server.execute(format!("CREATE DATABASE {name}")).await.expect("a database can be made");
                Self::on_server(server, name)
            }
        }
    }

    /// One that is migrated.
    pub async fn migrated(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = folder();
                std::fs::write(file_in(&folder), sqlite_template().await).expect("a file can be written");
                Self::in_folder(folder)
            }
            Engine::Postgres => {
                let server = Server::shared().await;
                let template = postgres_template(server).await;
                let name = format!("t_{}", hex::encode(Rng::system().bytes::<8>()));
                let make = format!("CREATE DATABASE {name} TEMPLATE {template}");
                server.execute(make).await.expect("a database can be copied");
                Self::on_server(server, name)
            }
        }
    }

    /// Its `DATABASE_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A door to it, as each replica and each restart has one of its own.
    pub fn open(&self) -> Db {
        let url: DatabaseUrl = self.url.parse().expect("the URL of a test's database is usable");
        Db::open(&url).expect("a test's database can be opened")
    }

    fn in_folder(folder: TempDir) -> Self {
        Self { url: format!("sqlite://{}", file_in(&folder).display()), kept: Kept::Sqlite(folder) }
    }

    fn on_server(server: &'static Server, name: String) -> Self {
        Self { url: server.url(&name), kept: Kept::Postgres { server, name } }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Kept::Postgres { server, name } = &self.kept else { return };
        let (server, drop_it) = (*server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        // A thread, since a runtime is running on this one. Failing to tidy up is no failure of the test.
        let _ = std::thread::spawn(move || block_on(server.execute(drop_it))).join();
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("tollgate-db-").tempdir().expect("a temporary folder can be made")
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("tollgate.db")
}

/// The bytes of a migrated file, made once a process.
async fn sqlite_template() -> &'static [u8] {
    static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
    let make = async || {
        let draft = Database::empty(Engine::Sqlite).await;
        let db = draft.open();
        db.migrate().await.expect("the migrations of SQLite work");
        db.close().await; // which leaves one file and no log
        let Kept::Sqlite(folder) = &draft.kept else { unreachable!("it was made on SQLite") };
        std::fs::read(file_in(folder)).expect("a file can be read")
    };
    TEMPLATE.get_or_init(make).await
}

/// A migrated database on `server`, made once for each state of the migrations. Of several processes that make it at once
/// one wins: it gets its name when it is finished.
async fn postgres_template(server: &'static Server) -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let make = async || {
        let template = format!("tollgate_{}", migrate::fingerprint(Engine::Postgres));
        let mut connection = server.connect().await.expect("the server of the tests takes connections");
        let there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(&template);
        let is_there = connection.fetch_optional(there).await.expect("databases can be listed").is_some();
        connection.close().await.expect("a connection can be closed");
        if !is_there {
            let draft = Database::empty(Engine::Postgres).await;
            let db = draft.open();
            db.migrate().await.expect("the migrations of PostgreSQL work");
            db.close().await;
            let Kept::Postgres { name, .. } = &draft.kept else { unreachable!("it was made on PostgreSQL") };
            // Refused where another process was faster: its template is the same.
            let _ = server.execute(format!("ALTER DATABASE {name} RENAME TO {template}")).await;
        }
        template
    };
    TEMPLATE.get_or_init(make).await
}

impl Server {
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url("postgres")).await
    }

    /// Runs a statement of an administrator.
    async fn execute(&self, sql: String) -> Result<(), sqlx::Error> {
        let mut connection = self.connect().await?;
        connection.execute(AssertSqlSafe(sql)).await?;
        connection.close().await
    }
}
