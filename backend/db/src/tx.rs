//! One transaction on either engine, and the statements in it.

mod identity;
mod loads;
mod locks;
mod notify;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Executor as _, FromRow};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::bulk;
use crate::engine::Engine;
use crate::error::DbError;
use crate::faults::{Faults, Operation};
use crate::page::{Page, Position};
use crate::record::{Record, Verb, statement};
use crate::value::Bind;
use crate::writes::{Parameters, Writes};

/// How long we wait for a server's answer. It ends a statement by itself before that (`statement_timeout`), unless the network
/// or the server is gone without a word.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A transaction. Dropping it rolls back.
///
/// After a statement that failed, every further one and the commit fail alike: PostgreSQL is so, and would answer a
/// commit with a roll-back that looks like success.
pub struct Tx {
    /// Always there until it is dropped.
    connection: Option<Connection>,
    state: State,
}

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

struct State {
    faults: Option<Arc<Faults>>,
    answer_timeout: Duration,
    failed: Option<DbError>,
    /// A statement was begun and its end not seen: of its connection nothing is known.
    pending: bool,
    ended: bool,
}

/// Whether rows are locked as they are loaded. SQLite has one writer at a time, so there is nothing to lock there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Not locked.
    None,
    /// For writing, until the transaction ends; in the order of keys.
    ForUpdate,
}

/// What a row of a single statement can be read into: a tuple, or a struct that derives `sqlx::FromRow`.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// Runs the same thing on either engine's connection, under the eyes of the transaction's state.
macro_rules! on_either {
    ($tx:expr, |$connection:ident| sqlite: $sqlite:expr, postgres: $postgres:expr $(,)?) => {{
        let Tx { connection, state } = $tx;
        match connection.as_mut().expect(THERE) {
            Connection::Sqlite($connection) => state.watch($sqlite).await,
            Connection::Postgres($connection) => state.watch($postgres).await,
        }
    }};
}

pub(crate) use on_either;

const THERE: &str = "a transaction has its connection until it is dropped";

impl Tx {
    pub(super) async fn begin_sqlite(
        connection: PoolConnection<Sqlite>,
        faults: Option<Arc<Faults>>,
        begin: &'static str,
    ) -> Result<Self, DbError> {
        Self::begin(Connection::Sqlite(connection), faults, begin).await
    }

    pub(super) async fn begin_postgres(
        connection: PoolConnection<Postgres>,
        faults: Option<Arc<Faults>>,
        begin: &'static str,
    ) -> Result<Self, DbError> {
        Self::begin(Connection::Postgres(connection), faults, begin).await
    }

    async fn begin(connection: Connection, faults: Option<Arc<Faults>>, begin: &'static str) -> Result<Self, DbError> {
        let state = State { faults, answer_timeout: ANSWER_TIMEOUT, failed: None, pending: false, ended: false };
        let mut tx = Self { connection: Some(connection), state };
        tx.batch(begin).await?;
        Ok(tx)
    }

    /// Lets statements take as long as they need.
    pub(super) fn take_time(&mut self) {
        self.state.answer_timeout = Duration::MAX;
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self.connection {
            Some(Connection::Postgres(_)) => Engine::Postgres,
            Some(Connection::Sqlite(_)) | None => Engine::Sqlite,
        }
    }

    /// A statement with `$1`, `$2`, …, to be bound in their order.
    pub fn sql<'t>(&'t mut self, sql: &'static str) -> Query<'t> {
        let parameters = Ok(Parameters::none(self.engine()));
        Query { tx: self, sql, parameters }
    }

    /// Inserts those of `rows` that no unique constraint forbids, and says the keys of those. No rows, no statement.
    pub async fn insert<T: Record>(&mut self, rows: &[&T]) -> Result<Vec<String>, DbError> {
        let mut keys = Vec::new();
        for piece in bulk::pieces(rows) {
            self.count(Operation::Statement)?;
            let sql = AssertSqlSafe(statement::<T>(self.engine(), Verb::Insert, 1));
            let written: Vec<(String,)> = on_either!(self, |connection|
                sqlite: async {
                    let mut parameters = SqliteArguments::default();
                    bulk::add_json_and_blob(piece, &mut parameters).map_err(sqlx::Error::Encode)?;
                    sqlx::query_as_with(sql, parameters).fetch_all(&mut **connection).await
                },
                postgres: async {
                    let mut parameters = PgArguments::default();
                    bulk::add_arrays(piece, &mut parameters).map_err(sqlx::Error::Encode)?;
                    sqlx::query_as_with(sql, parameters).fetch_all(&mut **connection).await
                },
            )?;
            keys.extend(written.into_iter().map(|(key,)| key));
        }
        Ok(keys)
    }

    /// Inserts `rows`, or replaces those whose keys are there. A key may stand in them once. No rows, no statement.
    pub async fn upsert<T: Record>(&mut self, rows: &[&T]) -> Result<(), DbError> {
        for piece in bulk::pieces(rows) {
            let writes = self.writes().upsert(piece);
            self.write(writes).await?;
        }
        Ok(())
    }

    /// Writes to several tables, to be gathered and then written at once.
    pub fn writes(&self) -> Writes {
        Writes::on(self.engine())
    }

    /// Writes all that was gathered, in one round trip. No rows, no statement.
    pub async fn write(&mut self, writes: Writes) -> Result<(), DbError> {
        let gathered = writes.end().inspect_err(|failure| self.state.failed = Some(failure.clone()))?;
        let Some((sql, parameters)) = gathered else { return Ok(()) };
        self.count(Operation::Statement)?;
        let (sql, (sqlite, postgres)) = (AssertSqlSafe(sql), parameters.split());
        on_either!(self, |connection|
            sqlite: async { connection.execute(sqlx::query_with(sql, sqlite)).await.map(drop) },
            postgres: async { connection.execute(sqlx::query_with(sql, postgres)).await.map(drop) },
        )
    }

    /// Makes everything of this transaction true, on disk. When this fails it may have become true all the same: the
    /// reply can be lost.
    pub async fn commit(mut self) -> Result<(), DbError> {
        self.count(Operation::Commit)?;
        self.batch("COMMIT").await?;
        self.state.ended = true;
        match &self.state.faults {
            Some(faults) => faults.after(),
            None => Ok(()),
        }
    }

    /// Runs statements that take no parameters and give no rows, several if need be.
    pub(super) async fn batch(&mut self, sql: &'static str) -> Result<(), DbError> {
        on_either!(self, |connection|
            sqlite: async { connection.execute(sqlx::raw_sql(sql)).await.map(drop) },
            postgres: async { connection.execute(sqlx::raw_sql(sql)).await.map(drop) },
        )
    }

    /// Counts an operation for the tests that make one fail.
    fn count(&mut self, operation: Operation) -> Result<(), DbError> {
        if let Some(failure) = &self.state.failed {
            return Err(failure.clone());
        }
        let Some(faults) = &self.state.faults else { return Ok(()) };
        faults.before(operation).inspect_err(|failure| self.state.failed = Some(failure.clone()))
    }
}

impl State {
    /// Runs a statement: none after one that failed, and none without end.
    async fn watch<T>(&mut self, statement: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Result<T, DbError> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        self.pending = true;
        let done = timeout(self.answer_timeout, statement).await;
        if let Ok(done) = done {
            self.pending = false;
            let replied = done.map_err(DbError::from);
            return replied.inspect_err(|failure| self.failed = Some(failure.clone()));
        }
        let failure = DbError::timed_out("it did not answer in time");
        self.failed = Some(failure.clone());
        Err(failure)
    }

    /// Whether the connection is good for another transaction. A file that is full or fails rolls back by itself, and
    /// the driver loses count; a server's connection may be gone.
    fn connection_is_sound(&self) -> bool {
        let harmless = |failure: &DbError| {
            matches!(
                failure,
                DbError::Constraint { .. }
                    | DbError::Unstorable { .. }
                    | DbError::Inconsistent { .. }
                    | DbError::Other { .. }
            )
        };
        !self.pending && self.failed.as_ref().is_none_or(harmless)
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let (Some(mut connection), false) = (self.connection.take(), self.state.ended) else { return };
        if !self.state.connection_is_sound() {
            return connection.close_on_drop();
        }
        let Ok(runtime) = Handle::try_current() else {
            // The process is at its end, and its connections with it; the pool could only panic.
            return mem::forget(connection);
        };
        runtime.spawn(async move {
            if !matches!(timeout(ANSWER_TIMEOUT, connection.roll_back()).await, Ok(Ok(()))) {
                connection.close_on_drop();
            }
        });
    }
}

impl Connection {
    async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.execute(sqlx::raw_sql("ROLLBACK")).await.map(drop),
            Self::Postgres(connection) => connection.execute(sqlx::raw_sql("ROLLBACK")).await.map(drop),
        }
    }

    fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            Self::Postgres(connection) => connection.close_on_drop(),
        }
    }
}

/// A statement that is being bound.
#[must_use = "a statement does nothing until it is run"]
pub struct Query<'t> {
    tx: &'t mut Tx,
    sql: &'static str,
    parameters: Result<Parameters, sqlx::Error>,
}

impl Query<'_> {
    /// Binds the next parameter.
    pub fn bind<T: Bind>(mut self, value: T) -> Self {
        let bound = match &mut self.parameters {
            Ok(Parameters::Sqlite(parameters)) => value.value().add_sqlite(parameters),
            Ok(Parameters::Postgres(parameters)) => value.value().add_postgres(T::KIND, parameters),
            Err(_) => Ok(()),
        };
        if let Err(error) = bound {
            self.parameters = Err(sqlx::Error::Encode(error));
        }
        self
    }

    /// Binds the next four parameters: whose list it is, the time and the id that its page begins after, and how many rows
    /// are wanted.
    pub fn bind_page(self, owner: &str, page: &Page) -> Self {
        let Position { at, id } = page.start();
        self.bind(owner).bind(at).bind(id.as_str()).bind(page.rows_wanted())
    }

    /// Every row.
    pub async fn all<R: Row>(self) -> Result<Vec<R>, DbError> {
        self.tx.count(Operation::Statement)?;
        let (sqlite, postgres) = self.parameters?.split();
        on_either!(self.tx, |connection|
            sqlite: sqlx::query_as_with(self.sql, sqlite).fetch_all(&mut **connection),
            postgres: sqlx::query_as_with(self.sql, postgres).fetch_all(&mut **connection),
        )
    }

    /// Every row of a `SELECT` that nobody else has locked, locked until the transaction ends: of two who take from one queue
    /// neither waits for the other, and each gets others. On SQLite, where one writes at a time, every row.
    pub async fn all_free<R: Row>(self) -> Result<Vec<R>, DbError> {
        if self.tx.engine() == Engine::Sqlite {
            return self.all().await;
        }
        self.tx.count(Operation::Statement)?;
        let sql = AssertSqlSafe(format!("{} FOR UPDATE SKIP LOCKED", self.sql));
        let (_, parameters) = self.parameters?.split();
        let Tx { connection, state } = self.tx;
        let Some(Connection::Postgres(connection)) = connection else { unreachable!("{THERE}") };
        state.watch(sqlx::query_as_with(sql, parameters).fetch_all(&mut **connection)).await
    }

    /// The row, if there is one.
    pub async fn optional<R: Row>(self) -> Result<Option<R>, DbError> {
        self.tx.count(Operation::Statement)?;
        let (sqlite, postgres) = self.parameters?.split();
        on_either!(self.tx, |connection|
            sqlite: sqlx::query_as_with(self.sql, sqlite).fetch_optional(&mut **connection),
            postgres: sqlx::query_as_with(self.sql, postgres).fetch_optional(&mut **connection),
        )
    }

    /// The row, which has to be there.
    pub async fn one<R: Row>(self) -> Result<R, DbError> {
        self.optional().await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// Runs it; says how many rows it touched.
    pub async fn run(self) -> Result<u64, DbError> {
        self.tx.count(Operation::Statement)?;
        let (sqlite, postgres) = self.parameters?.split();
        on_either!(self.tx, |connection|
            sqlite: async { Ok(connection.execute(sqlx::query_with(self.sql, sqlite)).await?.rows_affected()) },
            postgres: async { Ok(connection.execute(sqlx::query_with(self.sql, postgres)).await?.rows_affected()) },
        )
    }
}
