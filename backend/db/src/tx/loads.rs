//! Whole rows read in bulk, and made where they are missing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Executor as _};

use super::{Connection, Lock, THERE, Tx, on_either};
use crate::bulk;
use crate::error::DbError;
use crate::faults::Operation;
use crate::record::{Record, Verb, statement};
use crate::value::storable;

impl Tx {
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
        self.count(Operation::Statement)?;
        let sql = statement::<T>(self.engine(), Verb::Load { by, for_update: lock == Lock::ForUpdate }, 1);
        let sql = AssertSqlSafe(sql);
        let keys: Vec<_> = keys.iter().map(|key| storable(key)).collect();
        let read = on_either!(self, |connection|
            sqlite: async {
                let rows = connection.fetch_all(sqlx::query(sql).bind(json_list(&keys))).await?;
                Ok(rows.iter().map(T::of_sqlite).collect::<Result<Vec<_>, _>>())
            },
            postgres: async {
                let rows = connection.fetch_all(sqlx::query(sql).bind(keys)).await?;
                Ok(rows.iter().map(T::of_postgres).collect::<Result<Vec<_>, _>>())
            },
        );
        read?.map_err(|error| DbError::of_row(error, T::TABLE, T::COLUMNS))
    }

    /// The rows of which either column has one of its keys, in the order of their own keys: one round trip where
    /// [`load`](Self::load) would take two. No keys, no statement.
    pub async fn load_by_either<T: Record>(
        &mut self,
        [one, other]: [(&'static str, &BTreeSet<String>); 2],
        lock: Lock,
    ) -> Result<Vec<T>, DbError> {
        match (one.1.is_empty(), other.1.is_empty()) {
            (_, true) => return self.load(one.0, one.1, lock).await,
            (true, false) => return self.load(other.0, other.1, lock).await,
            (false, false) => {}
        }
        self.count(Operation::Statement)?;
        let verb = Verb::LoadByEither { by: [one.0, other.0], for_update: lock == Lock::ForUpdate };
        let sql = AssertSqlSafe(statement::<T>(self.engine(), verb, 1));
        let keys = [one.1, other.1].map(|keys| keys.iter().map(|key| storable(key)).collect::<Vec<_>>());
        let read = on_either!(self, |connection|
            sqlite: async {
                let [one, other] = keys.map(|keys| json_list(&keys));
                let rows = connection.fetch_all(sqlx::query(sql).bind(one).bind(other)).await?;
                Ok(rows.iter().map(T::of_sqlite).collect::<Result<Vec<_>, _>>())
            },
            postgres: async {
                let [one, other] = keys;
                let rows = connection.fetch_all(sqlx::query(sql).bind(one).bind(other)).await?;
                Ok(rows.iter().map(T::of_postgres).collect::<Result<Vec<_>, _>>())
            },
        );
        read?.map_err(|error| DbError::of_row(error, T::TABLE, T::COLUMNS))
    }

    /// The rows with the keys of `placeholders`, locked until the transaction ends. One that is not there is inserted as
    /// its placeholder is: what is not there cannot be locked. Each key may stand in them once. No rows, no statement.
    pub async fn load_or_insert<T: Record>(&mut self, placeholders: &[&T]) -> Result<Vec<T>, DbError> {
        let mut rows = Vec::with_capacity(placeholders.len());
        for piece in bulk::pieces(placeholders) {
            rows.extend(self.load_or_insert_piece(piece).await?);
        }
        let mut missing: BTreeSet<_> = placeholders.iter().map(|row| row.key().to_owned()).collect();
        for row in &rows {
            missing.remove(row.key());
        }
        // Inserted by somebody else while the statement ran: too late to be seen by its one half, too early for the other.
        rows.extend(self.load::<T>(T::key_column(), &missing, Lock::ForUpdate).await?);
        Ok(rows)
    }

    async fn load_or_insert_piece<T: Record>(&mut self, placeholders: &[&T]) -> Result<Vec<T>, DbError> {
        self.count(Operation::Statement)?;
        let sql = AssertSqlSafe(statement::<T>(self.engine(), Verb::LoadOrInsert, 1));
        let read = on_either!(self, |connection|
            sqlite: async {
                let mut parameters = SqliteArguments::default();
                bulk::add_json_and_blob(placeholders, &mut parameters).map_err(sqlx::Error::Encode)?;
                let rows = connection.fetch_all(sqlx::query_with(sql, parameters)).await?;
                Ok(rows.iter().map(T::of_sqlite).collect::<Result<Vec<_>, _>>())
            },
            postgres: async {
                let mut parameters = PgArguments::default();
                bulk::add_arrays(placeholders, &mut parameters).map_err(sqlx::Error::Encode)?;
                let rows = connection.fetch_all(sqlx::query_with(sql, parameters)).await?;
                Ok(rows.iter().map(T::of_postgres).collect::<Result<Vec<_>, _>>())
            },
        );
        read?.map_err(|error| DbError::of_row(error, T::TABLE, T::COLUMNS))
    }
}

/// A list of texts as SQLite is given it.
fn json_list(texts: &[Cow<'_, str>]) -> String {
    serde_json::to_string(texts).expect("a list of texts is always JSON")
}
