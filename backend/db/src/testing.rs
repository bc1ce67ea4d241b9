//! Both engines for a test: fresh, migrated, and gone afterwards.
//!
//! PostgreSQL is the [`Server`] of the environment, or a throw-away one that this process shares. What is migrated once
//! is copied for each test.

mod plans;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{sleep, timeout};
use tollgate_shared::Rng;
use tollgate_shared::testing::postgres::Server;

use crate::database::Db;
use crate::engine::Engine;
use crate::migrate::Migrations;
use crate::url::DatabaseUrl;

/// Runs a test's body on a fresh database of each engine. Not from within a runtime.
pub fn on_each_engine(migrations: &'static Migrations, body: impl AsyncFn(Db)) {
    on(Engine::Sqlite, migrations, &body);
    on(Engine::Postgres, migrations, body);
}

/// Runs a test's body on a fresh database of one engine, for what only that engine has.
pub fn on(engine: Engine, migrations: &'static Migrations, body: impl AsyncFn(Db)) {
    eprintln!("on {engine:?}:"); // shown with a failure
    block_on(async {
        let database = Database::migrated(engine, migrations).await;
        let db = database.open();
        body(db.clone()).await;
        db.close().await;
    });
}

/// Waits until `holds`, for as long as a machine under load may take.
pub async fn wait_until(what: &str, holds: impl AsyncFn() -> bool) {
    let comes = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), comes).await.unwrap_or_else(|_| panic!("{what}: this did not come about"));
}

/// Runs `future` on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built").block_on(future)
}

/// A database of a test. Gone when dropped.
#[derive(Debug)]
pub struct Database {
    url: String,
    migrations: &'static Migrations,
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
    /// One with nothing in it, that `migrations` are for.
    pub async fn empty(engine: Engine, migrations: &'static Migrations) -> Self {
        match engine {
            Engine::Sqlite => Self::in_folder(folder(), migrations),
            Engine::Postgres => {
                let server = server().await;
                let name = format!("t_{}", hex::encode(Rng::system().bytes::<8>()));
                execute(server, format!("CREATE DATABASE {name}")).await.expect("a database can be made");
                Self::on_server(server, name, migrations)
            }
        }
    }

    /// One that is migrated.
    pub async fn migrated(engine: Engine, migrations: &'static Migrations) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = folder();
                fs::write(file_in(&folder), sqlite_template(migrations).await).expect("a file can be written");
                Self::in_folder(folder, migrations)
            }
            Engine::Postgres => {
                let server = server().await;
                let template = postgres_template(server, migrations).await;
                let name = format!("t_{}", hex::encode(Rng::system().bytes::<8>()));
                // By files: the default writes each page of the copy to the log as well.
                let make = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY");
                execute(server, make).await.expect("a database can be copied");
                Self::on_server(server, name, migrations)
            }
        }
    }

    /// Its `DATABASE_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Opens it, as each replica and each restart does for itself.
    pub fn open(&self) -> Db {
        let url: DatabaseUrl = self.url.parse().expect("the URL of a test's database is usable");
        Db::open(&url, self.migrations).expect("a test's database can be opened")
    }

    /// Which of `statements` its engine refuses to prepare, by their index, and why. A parameter whose type only its
    /// value tells is no reason: it is sent with the value.
    pub async fn refused(&self, statements: &[String]) -> Vec<(usize, String)> {
        let mut refused = Vec::new();
        match &self.kept {
            Kept::Sqlite(_) => {
                let mut connection = SqliteConnection::connect(&self.url).await.expect("a test's file can be opened");
                for (index, sql) in statements.iter().enumerate() {
                    if let Err(error) = connection.prepare(AssertSqlSafe(sql.clone()).into_sql_str()).await {
                        refused.push((index, error.to_string()));
                    }
                }
            }
            Kept::Postgres { .. } => {
                let mut connection = PgConnection::connect(&self.url).await.expect("a test's server takes connections");
                let untyped = |error: &sqlx::Error| {
                    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42P18"))
                };
                for (index, sql) in statements.iter().enumerate() {
                    match connection.prepare(AssertSqlSafe(sql.clone()).into_sql_str()).await {
                        Err(error) if !untyped(&error) => refused.push((index, error.to_string())),
                        _ => {}
                    }
                }
            }
        }
        refused
    }

    fn in_folder(folder: TempDir, migrations: &'static Migrations) -> Self {
        Self { url: format!("sqlite://{}", file_in(&folder).display()), migrations, kept: Kept::Sqlite(folder) }
    }

    fn on_server(server: &'static Server, name: String, migrations: &'static Migrations) -> Self {
        Self { url: server.url(&name), migrations, kept: Kept::Postgres { server, name } }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Kept::Postgres { server, name } = &self.kept else { return };
        let (server, drop_it) = (*server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        // A thread, since a runtime is running on this one. Failing to tidy up is no failure of the test.
        let _ = thread::spawn(move || block_on(execute(server, drop_it))).join();
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("tollgate-db-").tempdir().expect("a temporary folder can be made")
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("tollgate.db")
}

/// The bytes of a migrated file, made once a process for each state of the migrations.
async fn sqlite_template(migrations: &'static Migrations) -> Arc<[u8]> {
    static TEMPLATES: Mutex<BTreeMap<String, Arc<[u8]>>> = Mutex::const_new(BTreeMap::new());
    let (mut templates, state) = (TEMPLATES.lock().await, migrations.fingerprint(Engine::Sqlite));
    if let Some(template) = templates.get(&state) {
        return Arc::clone(template);
    }
    let draft = Database::in_folder(folder(), migrations);
    let db = draft.open();
    db.migrate().await.expect("the migrations of SQLite work");
    db.close().await; // which leaves one file and no log
    let Kept::Sqlite(folder) = &draft.kept else { unreachable!("it was made on SQLite") };
    let template: Arc<[u8]> = fs::read(file_in(folder)).expect("a file can be read").into();
    templates.insert(state, Arc::clone(&template));
    template
}

/// A migrated database on `server`, made once for each state of the migrations. Of several processes that make it at
/// once one wins: it gets its name when it is finished.
async fn postgres_template(server: &'static Server, migrations: &'static Migrations) -> String {
    static TEMPLATES: Mutex<BTreeSet<String>> = Mutex::const_new(BTreeSet::new());
    let mut templates = TEMPLATES.lock().await;
    let template = format!("tollgate_{}", migrations.fingerprint(Engine::Postgres));
    if templates.contains(&template) {
        return template;
    }
    let mut connection = connect(server).await.expect("the server of the tests takes connections");
    let there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(&template);
    let is_there = connection.fetch_optional(there).await.expect("databases can be listed").is_some();
    connection.close().await.expect("a connection can be closed");
    if !is_there {
        let draft = Database::empty(Engine::Postgres, migrations).await;
        let db = draft.open();
        db.migrate().await.expect("the migrations of PostgreSQL work");
        db.close().await;
        let Kept::Postgres { name, .. } = &draft.kept else { unreachable!("it was made on PostgreSQL") };
        // Refused where another process was faster: its template is the same.
        let _ = execute(server, format!("ALTER DATABASE {name} RENAME TO {template}")).await;
    }
    templates.insert(template.clone());
    template
}

/// The server that this process uses: to its end, with which one of our own ends too.
async fn server() -> &'static Server {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    SHARED.get_or_init(Server::of_environment).await
}

async fn connect(server: &Server) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect(&server.url("postgres")).await
}

/// Runs a statement of an administrator.
async fn execute(server: &Server, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = connect(server).await?;
    connection.execute(AssertSqlSafe(sql)).await?;
    connection.close().await
}
