//! Connections: how many, how they are set, and how a transaction begins on one.

use std::borrow::Cow;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Database, Executor as _, Pool};
use tracing::warn;

use crate::engine::Engine;
use crate::error::DbError;
use crate::faults::Faults;
use crate::private_file::make_private;
use crate::tx::Tx;
use crate::url::{DatabaseUrl, Place};

/// How long a request waits for a connection to a server, which may be away: long enough for a burst, short enough that a
/// caller gets its 503 and a relay does not count us as hanging.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection is kept that nobody uses.
const IDLE_MAX: Option<Duration> = Some(Duration::from_mins(10));
/// Connections of look-ups and of `/ready`, of lists, of streams, and of what writes beside the inbox, on PostgreSQL. Each
/// kind has its own, so that none waits for what another is held up by. It takes 100 by default, and a deployment has
/// several replicas.
const LOOKUPS_MAX: u32 = 5;
const LISTS_MAX: u32 = 3;
const STREAMS_MAX: u32 = 3;
const WRITES_MAX: u32 = 4;
/// The inbox's writers on PostgreSQL, a connection each. Measured with 64 events waiting on two cores: a second one takes
/// a fifth more events a second, for no more CPU an event in either process; a third one gains nothing.
const INBOX_WRITERS: u32 = 2;
/// What waits beside the writers for rows that somebody else holds; opened when there is such a thing.
const INBOX_LANE: u32 = 2;
/// The same on SQLite, where each is a thread, and one writes at a time.
const SQLITE_LOOKUPS_MAX: u32 = 4;
const SQLITE_LISTS_MAX: u32 = 2;
const SQLITE_STREAMS_MAX: u32 = 2;
/// How long another process may hold SQLite's file, such as a command of ours beside the server; and how long a request
/// waits for a connection to it, which only we ourselves can be in the way of.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages in SQLite's log before a commit writes them back: 16 MB. The default of 1000 costs a third of the write rate;
/// left to a background task alone, the log grows without end.
const WAL_AUTOCHECKPOINT_PAGES: &str = "4000";
/// SQLite's cache in KiB, as it wants it: the pages that a batch touches again and again.
const CACHE_KIB: &str = "-8192";
/// Rows that SQLite's thread may be ahead of us. At the default of 50 a batch's load makes the two wait for each other.
const ROWS_AHEAD: usize = 1024;
/// How a transaction that writes begins on SQLite, and how one whose loss in a power cut is no loss: its commit waits for no
/// disk, and the next one that does syncs both. On one connection, since what another one writes makes it forget its cache.
const SQLITE_WRITE: &str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE";
const SQLITE_UPKEEP: &str = "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE";
/// Statements that a connection keeps prepared: all that we have.
const STATEMENTS_MAX: usize = 256;

/// All limits of PostgreSQL's are set for the transaction and not for the connection, since a pooler gives every
/// transaction another one. It ends a statement, a wait for a lock and an idle transaction by itself, so that a replica
/// that hangs does not hold its locks for long: between two statements of a transaction we never wait for anybody. A read
/// is as of one moment, as it is on SQLite.
macro_rules! begin {
    ($how:literal; $($name:literal = $value:literal),*) => {
        concat!("BEGIN ISOLATION LEVEL ", $how, $("; SET LOCAL ", $name, " = '", $value, "'"),*)
    };
}
/// A page of a long list is guessed to cost enough to be compiled first, which takes a hundred times as long as the page.
const READ: &str = begin!(
    "REPEATABLE READ READ ONLY";
    "statement_timeout" = "10s", "idle_in_transaction_session_timeout" = "15s", "jit" = "off"
);
const WRITE: &str = begin!(
    "READ COMMITTED READ WRITE";
    "statement_timeout" = "10s", "lock_timeout" = "5s", "idle_in_transaction_session_timeout" = "3s"
);
/// The same for what would be done again if a power cut undid it, and has time.
const UPKEEP: &str = begin!(
    "READ COMMITTED READ WRITE";
    "statement_timeout" = "10s", "lock_timeout" = "1s", "idle_in_transaction_session_timeout" = "3s",
    "synchronous_commit" = "off"
);
/// Many events of many customers share a transaction of the inbox, so it waits for a row only as long as another one of
/// them takes. A plan that was made while a table was small stays a sequential scan when it has grown, and the writer's
/// statements all go by key.
macro_rules! begin_inbox {
    ($($name:literal = $value:literal),*) => {
        begin!(
            "READ COMMITTED READ WRITE";
            "statement_timeout" = "10s", "lock_timeout" = "200ms", "idle_in_transaction_session_timeout" = "3s",
            "enable_seqscan" = "off" $(, $name = $value)*
        )
    };
}
const INBOX: &str = begin_inbox!();
/// The same on a server that can also end a transaction that goes on and on, one short statement after the other.
const INBOX_FROM_17: &str = begin_inbox!("transaction_timeout" = "20s");
/// The same for events of which somebody may hold the rows: just long enough to find out.
const INBOX_PROBE: &str = begin_inbox!("lock_timeout" = "20ms");
const VERSION_17: u32 = 17_00_00;
/// A notification is a matter of the moment: it waits for nobody for long, and not for the disk.
const NOTIFY: &str = begin!(
    "READ COMMITTED READ WRITE";
    "statement_timeout" = "2s", "lock_timeout" = "2s", "idle_in_transaction_session_timeout" = "3s",
    "synchronous_commit" = "off"
);
/// A migration may take its time, and waits for the one of another replica.
const MIGRATE: &str = begin!(
    "READ COMMITTED READ WRITE";
    "statement_timeout" = "0", "lock_timeout" = "60s", "idle_in_transaction_session_timeout" = "15s"
);

#[derive(Clone)]
pub(super) enum Pools {
    Sqlite {
        file: PathBuf,
        write: Pool<Sqlite>,
        lookups: Pool<Sqlite>,
        lists: Pool<Sqlite>,
        streams: Pool<Sqlite>,
    },
    Postgres {
        write: Pool<Postgres>,
        lookups: Pool<Postgres>,
        lists: Pool<Postgres>,
        streams: Pool<Postgres>,
        inbox: Pool<Postgres>,
    },
}

impl Pools {
    pub(super) fn open(url: &DatabaseUrl) -> Result<Self, DbError> {
        match &url.0 {
            Place::Sqlite(path) => {
                if let Some(folder) = path.parent() {
                    // For its owner alone: customers' addresses are in it.
                    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(sqlx::Error::Io)?;
                }
                Ok(Self::open_sqlite(path))
            }
            Place::Postgres(options) => {
                let options = as_we_connect(options);
                let pool = |max, idle_max| {
                    PgPoolOptions::new()
                        .max_connections(max)
                        .idle_timeout(idle_max)
                        .acquire_timeout(CONNECT_TIMEOUT)
                        // That would be a round trip more each time; `begin` finds out.
                        .test_before_acquire(false)
                        .connect_lazy_with(options.clone())
                };
                Ok(Self::Postgres {
                    write: pool(WRITES_MAX, IDLE_MAX),
                    lookups: pool(LOOKUPS_MAX, IDLE_MAX),
                    lists: pool(LISTS_MAX, IDLE_MAX),
                    // After a quiet night the first event is to be told as soon as any other.
                    streams: pool(STREAMS_MAX, None),
                    inbox: pool(INBOX_WRITERS + INBOX_LANE, None),
                })
            }
        }
    }

    fn open_sqlite(file: &Path) -> Self {
        // A file that cannot be made now may be made later, by who writes.
        if let Err(error) = make_private(file) {
            warn!("{} cannot be made: {error}", file.display());
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROWS_AHEAD)
            .statement_cache_capacity(STATEMENTS_MAX)
            .disable_statement_logging();
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full) // what was committed survives a power cut
            .pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES)
            .pragma("cache_size", CACHE_KIB);
        // Not opened for reading only: the last one to close such a file could not tidy up its log.
        let reading = options.pragma("query_only", "ON");
        let pool = |max, options| {
            SqlitePoolOptions::new()
                .max_connections(max)
                // Those before it wait as long for another process.
                .acquire_timeout(BUSY_TIMEOUT)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options)
        };
        Self::Sqlite {
            file: file.to_owned(),
            write: pool(1, writing),
            lookups: pool(SQLITE_LOOKUPS_MAX, reading.clone()),
            lists: pool(SQLITE_LISTS_MAX, reading.clone()),
            streams: pool(SQLITE_STREAMS_MAX, reading),
        }
    }

    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres { .. } => Engine::Postgres,
        }
    }

    pub(super) async fn read(&self, faults: Option<Arc<Faults>>) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { lookups, .. } => begin_sqlite(lookups, faults, "BEGIN").await,
            Self::Postgres { lookups, .. } => begin_postgres(lookups, faults, |_| READ).await,
        }
    }

    pub(super) async fn read_list(&self, faults: Option<Arc<Faults>>) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { lists, .. } => begin_sqlite(lists, faults, "BEGIN").await,
            Self::Postgres { lists, .. } => begin_postgres(lists, faults, |_| READ).await,
        }
    }

    pub(super) async fn read_stream(&self, faults: Option<Arc<Faults>>) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { streams, .. } => begin_sqlite(streams, faults, "BEGIN").await,
            Self::Postgres { streams, .. } => begin_postgres(streams, faults, |_| READ).await,
        }
    }

    /// A transaction of PostgreSQL's that notifies; none on SQLite.
    pub(super) async fn notify(&self, faults: Option<Arc<Faults>>) -> Result<Option<Tx>, DbError> {
        match self {
            Self::Sqlite { .. } => Ok(None),
            Self::Postgres { streams, .. } => begin_postgres(streams, faults, |_| NOTIFY).await.map(Some),
        }
    }

    pub(super) async fn write(&self, faults: Option<Arc<Faults>>) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { file, write, .. } => begin_writing_sqlite(file, write, faults, SQLITE_WRITE).await,
            Self::Postgres { write, .. } => begin_postgres(write, faults, |_| WRITE).await,
        }
    }

    pub(super) async fn upkeep(&self, faults: Option<Arc<Faults>>) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { file, write, .. } => begin_writing_sqlite(file, write, faults, SQLITE_UPKEEP).await,
            Self::Postgres { write, .. } => begin_postgres(write, faults, |_| UPKEEP).await,
        }
    }

    /// Writes SQLite's log back to its file, as far as nobody is in the way, and keeps nobody waiting.
    /// <https://sqlite.org/pragma.html#pragma_wal_checkpoint>
    pub(super) async fn write_back(&self) -> Result<(), DbError> {
        let Self::Sqlite { lists, .. } = self else { return Ok(()) };
        acquire(lists).await?.execute(sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)")).await?;
        Ok(())
    }

    pub(super) async fn inbox(&self, faults: Option<Arc<Faults>>) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { file, write, .. } => begin_writing_sqlite(file, write, faults, SQLITE_WRITE).await,
            Self::Postgres { inbox, .. } => begin_postgres(inbox, faults, begin_inbox).await,
        }
    }

    pub(super) async fn inbox_probe(&self, faults: Option<Arc<Faults>>) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { file, write, .. } => begin_writing_sqlite(file, write, faults, SQLITE_WRITE).await,
            Self::Postgres { inbox, .. } => begin_postgres(inbox, faults, |_| INBOX_PROBE).await,
        }
    }

    pub(super) fn inbox_writers(&self) -> u32 {
        match self {
            Self::Sqlite { .. } => 1,
            Self::Postgres { .. } => INBOX_WRITERS,
        }
    }

    pub(super) async fn migrate(&self) -> Result<Tx, DbError> {
        let mut tx = match self {
            Self::Sqlite { file, write, .. } => begin_writing_sqlite(file, write, None, SQLITE_WRITE).await?,
            Self::Postgres { write, .. } => begin_postgres(write, None, |_| MIGRATE).await?,
        };
        tx.take_time();
        Ok(tx)
    }

    /// Runs statements of PostgreSQL's that no transaction takes, on a connection that ends with them.
    pub(super) async fn run_outside(&self, statements: Vec<String>) -> Result<(), DbError> {
        let Self::Postgres { write, .. } = self else { unreachable!("SQLite has no such statements") };
        let mut connection = acquire(write).await?.detach();
        for statement in statements {
            connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
        }
        connection.close().await?;
        Ok(())
    }

    pub(super) fn connections(&self) -> (u32, usize) {
        fn sum<D: Database>(pools: &[&Pool<D>]) -> (u32, usize) {
            (pools.iter().map(|pool| pool.size()).sum(), pools.iter().map(|pool| pool.num_idle()).sum())
        }
        match self {
            Self::Sqlite { write, lookups, lists, streams, .. } => sum(&[write, lookups, lists, streams]),
            Self::Postgres { write, lookups, lists, streams, inbox } => sum(&[write, lookups, lists, streams, inbox]),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { write, lookups, lists, streams, .. } => {
                streams.close().await;
                lists.close().await;
                lookups.close().await;
                write.close().await; // last, so that it tidies up the log
            }
            Self::Postgres { write, lookups, lists, streams, inbox } => {
                for pool in [inbox, streams, lists, lookups, write] {
                    pool.close().await;
                }
            }
        }
    }
}

/// The options of every connection of ours to PostgreSQL.
pub(super) fn as_we_connect(options: &PgConnectOptions) -> PgConnectOptions {
    options
        .clone()
        .application_name("tollgate")
        .statement_cache_capacity(STATEMENTS_MAX)
        .extra_float_digits(None) // poolers refuse it, and we have no such numbers
        .disable_statement_logging()
}

/// A connection of a pool. sqlx's own future has room for connecting anew (14 KiB with PostgreSQL), which every future that
/// begins a transaction, each idle stream's too, would have in itself.
async fn acquire<D: Database>(pool: &Pool<D>) -> Result<PoolConnection<D>, DbError> {
    Ok(Box::pin(pool.acquire()).await?)
}

async fn begin_sqlite(pool: &Pool<Sqlite>, faults: Option<Arc<Faults>>, begin: &'static str) -> Result<Tx, DbError> {
    Tx::begin_sqlite(acquire(pool).await?, faults, begin).await
}

async fn begin_writing_sqlite(
    file: &Path,
    pool: &Pool<Sqlite>,
    faults: Option<Arc<Faults>>,
    begin: &'static str,
) -> Result<Tx, DbError> {
    if pool.size() == 0 {
        make_private(file).map_err(sqlx::Error::Io)?;
    }
    begin_sqlite(pool, faults, begin).await
}

fn begin_inbox(connection: &PgConnection) -> &'static str {
    if connection.server_version_num().is_some_and(|version| version >= VERSION_17) { INBOX_FROM_17 } else { INBOX }
}

/// A connection that died while it lay idle shows itself here: it is closed, and another is taken. After a restart of the
/// server all of them are dead.
async fn begin_postgres(
    pool: &Pool<Postgres>,
    faults: Option<Arc<Faults>>,
    begin: fn(&PgConnection) -> &'static str,
) -> Result<Tx, DbError> {
    let mut failure = DbError::Unavailable { reason: Cow::Borrowed("every connection was cut") };
    for _ in 0..=pool.options().get_max_connections() {
        let connection = acquire(pool).await?;
        let begin = begin(&connection);
        match Tx::begin_postgres(connection, faults.clone(), begin).await {
            Ok(tx) => return Ok(tx),
            Err(DbError::Unavailable { reason }) => failure = DbError::Unavailable { reason },
            Err(failure) => return Err(failure),
        }
    }
    Err(failure)
}
