//! The door to the database: one SQL text, two engines, no `if` outside of here.
//!
//! A verb gets a [`Tx`] and says `tx.sql("… $1 …").bind(x).one::<Row>().await`, or moves whole rows in bulk with
//! [`Tx::load`], [`Tx::upsert`] and [`Tx::insert`]. Time and ids come in as parameters.

mod bind;
pub mod column;
mod error;
mod faults;
mod migrate;
mod record;
mod tx;
mod url;

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Pool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use self::bind::Bind;
pub use self::column::Json;
pub use self::error::DbError;
pub use self::faults::{Faults, Moment, Operation};
pub use self::record::{Column, Record, column_name};
pub use self::tx::{Lock, Query, Row, Tx};
pub use self::url::DatabaseUrl;
pub use crate::{column, record};

/// How long a request waits for a connection: long enough for a burst, short enough that a caller gets its 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Readers side by side. A request holds one for a few statements.
const READERS_MAX: u32 = 8;
/// How long a writer of another process may hold the SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages in SQLite's log before a commit writes them back: 16 MB. The default of 1000 costs a third of the write rate;
/// left to a background task alone, the log grows without end.
const WAL_AUTOCHECKPOINT_PAGES: &str = "4000";
/// What PostgreSQL ends by itself, so that a lost client holds no locks: statements, waits for locks, idle transactions.
const POSTGRES_TIMEOUTS: [(&str, &str); 3] =
    [("statement_timeout", "30s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")];

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pools: Pools,
    faults: Option<Arc<Faults>>,
}

#[derive(Clone)]
enum Pools {
    Sqlite { write: Pool<Sqlite>, read: Pool<Sqlite> },
    Postgres { shared: Pool<Postgres>, inbox: Pool<Postgres> },
}

impl Db {
    /// A database that is connected to when it is first needed: one that is away now may be there then.
    pub fn open(url: &DatabaseUrl) -> Result<Self, DbError> {
        let pools = match url {
            DatabaseUrl::Sqlite(path) => open_sqlite(path)?,
            DatabaseUrl::Postgres(url) => open_postgres(url)?,
        };
        Ok(Self { pools, faults: None })
    }

    /// The same database, whose operations `faults` counts and can fail.
    pub fn with_faults(mut self, faults: Arc<Faults>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
        }
    }

    /// Brings the schema to this program's version. Safe to run on several replicas at once.
    pub async fn migrate(&self) -> Result<(), DbError> {
        migrate::migrate(self).await
    }

    /// Whether it answers, and holds the schema that this program needs.
    pub async fn ready(&self) -> Result<(), DbError> {
        let mut tx = self.read().await?;
        let applied = tx.sql("SELECT MAX(version) FROM _sqlx_migrations WHERE success").one::<(Option<i64>,)>().await;
        let newest = migrate::newest(self.engine());
        match applied {
            Ok((Some(version),)) if version >= newest => Ok(()),
            Ok(_) | Err(DbError::Other { .. }) => Err(DbError::Schema("the database is not migrated yet".to_owned())),
            Err(failure) => Err(failure),
        }
    }

    /// A transaction that only reads.
    pub async fn read(&self) -> Result<Tx, DbError> {
        self.fault_begin()?;
        match &self.pools {
            Pools::Sqlite { read, .. } => Ok(Tx::sqlite(read.begin().await?, self.faults.clone())),
            Pools::Postgres { shared, .. } => self.begin(shared, "BEGIN READ ONLY").await,
        }
    }

    /// A transaction that writes. On SQLite the only one at that moment.
    pub async fn write(&self) -> Result<Tx, DbError> {
        self.fault_begin()?;
        match &self.pools {
            Pools::Sqlite { write, .. } => {
                Ok(Tx::sqlite(write.begin_with("BEGIN IMMEDIATE").await?, self.faults.clone()))
            }
            Pools::Postgres { shared, .. } => self.begin(shared, "BEGIN").await,
        }
    }

    /// A transaction for the inbox's writer, which has a connection of its own.
    pub async fn inbox(&self) -> Result<Tx, DbError> {
        match &self.pools {
            Pools::Sqlite { .. } => self.write().await,
            Pools::Postgres { inbox, .. } => {
                self.fault_begin()?;
                self.begin(inbox, "BEGIN").await
            }
        }
    }

    /// How many connections are open, and how many of them idle.
    pub fn connections(&self) -> (u32, usize) {
        match &self.pools {
            Pools::Sqlite { write, read } => (write.size() + read.size(), write.num_idle() + read.num_idle()),
            Pools::Postgres { shared, inbox } => (shared.size() + inbox.size(), shared.num_idle() + inbox.num_idle()),
        }
    }

    /// Ends every connection.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres { shared, inbox } => {
                inbox.close().await;
                shared.close().await;
            }
        }
    }

    /// Connections are not tested before each use (that would be a round trip more each time), so one that died while
    /// it lay idle shows itself here: it is dropped, and another is taken.
    async fn begin(&self, pool: &Pool<Postgres>, statement: &'static str) -> Result<Tx, DbError> {
        for _ in 0..pool.num_idle() {
            match pool.begin_with(statement).await.map_err(DbError::from) {
                Ok(transaction) => return Ok(Tx::postgres(transaction, self.faults.clone())),
                Err(DbError::Unavailable { source }) if !matches!(*source, sqlx::Error::PoolTimedOut) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Tx::postgres(pool.begin_with(statement).await?, self.faults.clone()))
    }

    fn fault_begin(&self) -> Result<(), DbError> {
        match &self.faults {
            Some(faults) => faults.before(Operation::Begin),
            None => Ok(()),
        }
    }
}

fn open_sqlite(path: &Path) -> Result<Pools, DbError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(sqlx::Error::Io)?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A 200 survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES);
    let pool = || SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
    Ok(Pools::Sqlite {
        write: pool().max_connections(1).connect_lazy_with(options.clone()),
        read: pool().max_connections(READERS_MAX).connect_lazy_with(options.pragma("query_only", "ON")),
    })
}

fn open_postgres(url: &str) -> Result<Pools, DbError> {
    let options = PgConnectOptions::from_str(url)?.application_name("tollgate").options(POSTGRES_TIMEOUTS);
    let pool = || PgPoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
    // A plan made while a table is small stays a sequential scan when it has grown; the writer's statements all go by key.
    let by_key = options.clone().options([("enable_seqscan", "off")]);
    Ok(Pools::Postgres {
        shared: pool().max_connections(READERS_MAX).connect_lazy_with(options),
        inbox: pool().max_connections(1).connect_lazy_with(by_key),
    })
}
