//! One transaction on either engine, and the statements in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{FromRow, Transaction};

use crate::db::bind::Bind;
use crate::db::faults::{Faults, Operation};
use crate::db::record::{Record, Verb, statement};
use crate::db::{DbError, Engine};

/// A transaction. Dropping it rolls back.
pub struct Tx {
    inner: Inner,
    faults: Option<Arc<Faults>>,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
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

impl Tx {
    pub(super) fn sqlite(transaction: Transaction<'static, Sqlite>, faults: Option<Arc<Faults>>) -> Self {
        Self { inner: Inner::Sqlite(transaction), faults }
    }

    pub(super) fn postgres(transaction: Transaction<'static, Postgres>, faults: Option<Arc<Faults>>) -> Self {
        Self { inner: Inner::Postgres(transaction), faults }
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(_) => Engine::Postgres,
        }
    }

    /// A statement with `$1`, `$2`, …, to be bound in their order.
    pub fn sql<'t>(&'t mut self, sql: &'static str) -> Query<'t> {
        let arguments = match self.inner {
            Inner::Sqlite(_) => Bound::Sqlite(SqliteArguments::default()),
            Inner::Postgres(_) => Bound::Postgres(PgArguments::default()),
        };
        Query { tx: self, sql, arguments: Ok(arguments) }
    }

    /// The rows whose column `by` is any of `keys`, in the order of their own keys. No keys, no statement.
    pub async fn load<T: Record>(
        &mut self,
        by: &'static str,
        keys: &BTreeSet<String>,
        lock: Lock,
    ) -> Result<Vec<T>, DbError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.fault(Operation::Statement)?;
        let verb = Verb::Load { by, for_update: lock == Lock::ForUpdate };
        let sql = statement::<T>(verb, self.engine());
        match &mut self.inner {
            Inner::Sqlite(tx) => {
                let keys = serde_json::to_string(keys).expect("a list of strings is always JSON");
                let rows = sqlx::query(sql).bind(keys).fetch_all(&mut **tx).await?;
                Ok(rows.iter().map(T::of_sqlite).collect::<Result<_, _>>()?)
            }
            Inner::Postgres(tx) => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                let rows = sqlx::query(sql).bind(keys).fetch_all(&mut **tx).await?;
                Ok(rows.iter().map(T::of_postgres).collect::<Result<_, _>>()?)
            }
        }
    }

    /// Inserts `rows`, or replaces those whose keys are there. A key may stand in them once. No rows, no statement.
    pub async fn upsert<T: Record>(&mut self, rows: &[&T]) -> Result<(), DbError> {
        self.write_rows(Verb::Upsert, rows).await?;
        Ok(())
    }

    /// Inserts those of `rows` that no unique constraint forbids, and says the keys of those. No rows, no statement.
    pub async fn insert<T: Record>(&mut self, rows: &[&T]) -> Result<Vec<String>, DbError> {
        self.write_rows(Verb::Insert, rows).await
    }

    async fn write_rows<T: Record>(&mut self, verb: Verb, rows: &[&T]) -> Result<Vec<String>, DbError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.fault(Operation::Statement)?;
        let sql = statement::<T>(verb, self.engine());
        let keys: Vec<(String,)> = match &mut self.inner {
            Inner::Sqlite(tx) => {
                let rows: Vec<_> = rows.iter().map(|row| row.json()).collect();
                let rows = serde_json::to_string(&rows).expect("rows of scalars are always JSON");
                sqlx::query_as(sql).bind(rows).fetch_all(&mut **tx).await?
            }
            Inner::Postgres(tx) => {
                let mut arguments = PgArguments::default();
                T::bind_arrays(rows, &mut arguments).map_err(sqlx::Error::Encode)?;
                sqlx::query_as_with(sql, arguments).fetch_all(&mut **tx).await?
            }
        };
        Ok(keys.into_iter().map(|(key,)| key).collect())
    }

    /// Makes everything of this transaction true, on disk. When this fails it may have become true all the same: the
    /// reply can be lost.
    pub async fn commit(self) -> Result<(), DbError> {
        self.fault(Operation::Commit)?;
        match self.inner {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        match &self.faults {
            Some(faults) => faults.after(Operation::Commit),
            None => Ok(()),
        }
    }

    fn fault(&self, operation: Operation) -> Result<(), DbError> {
        match &self.faults {
            Some(faults) => faults.before(operation),
            None => Ok(()),
        }
    }
}

/// A statement that is being bound.
#[must_use = "a statement does nothing until it is run"]
pub struct Query<'t> {
    tx: &'t mut Tx,
    sql: &'static str,
    arguments: Result<Bound, sqlx::Error>,
}

enum Bound {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

impl Query<'_> {
    /// Binds the next parameter.
    pub fn bind(mut self, value: impl Bind) -> Self {
        let bound = match &mut self.arguments {
            Ok(Bound::Sqlite(arguments)) => value.bind_sqlite(arguments),
            Ok(Bound::Postgres(arguments)) => value.bind_postgres(arguments),
            Err(_) => Ok(()),
        };
        if let Err(error) = bound {
            self.arguments = Err(sqlx::Error::Encode(error));
        }
        self
    }

    /// Every row.
    pub async fn all<R: Row>(self) -> Result<Vec<R>, DbError> {
        self.tx.fault(Operation::Statement)?;
        let sql = self.sql;
        Ok(match (&mut self.tx.inner, self.arguments?) {
            (Inner::Sqlite(tx), Bound::Sqlite(bound)) => sqlx::query_as_with(sql, bound).fetch_all(&mut **tx).await?,
            (Inner::Postgres(tx), Bound::Postgres(bound)) => {
                sqlx::query_as_with(sql, bound).fetch_all(&mut **tx).await?
            }
            _ => unreachable!("a statement is bound for the engine of its transaction"),
        })
    }

    /// The row, if there is one.
    pub async fn optional<R: Row>(self) -> Result<Option<R>, DbError> {
        Ok(self.all().await?.pop())
    }

    /// The row, which has to be there.
    pub async fn one<R: Row>(self) -> Result<R, DbError> {
        self.optional().await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// Runs it; says how many rows it touched.
    pub async fn run(self) -> Result<u64, DbError> {
        self.tx.fault(Operation::Statement)?;
        let sql = self.sql;
        Ok(match (&mut self.tx.inner, self.arguments?) {
            (Inner::Sqlite(tx), Bound::Sqlite(bound)) => {
                sqlx::query_with(sql, bound).execute(&mut **tx).await?.rows_affected()
            }
            (Inner::Postgres(tx), Bound::Postgres(bound)) => {
                sqlx::query_with(sql, bound).execute(&mut **tx).await?.rows_affected()
            }
            _ => unreachable!("a statement is bound for the engine of its transaction"),
        })
    }
}
