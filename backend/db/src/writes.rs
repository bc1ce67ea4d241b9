//! Rows for several tables, gathered and then written in one round trip: a statement costs one whatever it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

use crate::bulk;
use crate::engine::Engine;
use crate::error::DbError;
use crate::record::{Record, Verb, statement, together};

/// What one statement is given.
pub(super) enum Parameters {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

impl Parameters {
    pub(super) fn none(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => Self::Sqlite(SqliteArguments::default()),
            Engine::Postgres => Self::Postgres(PgArguments::default()),
        }
    }

    /// Those of the one engine, and none for the other.
    pub(super) fn split(self) -> (SqliteArguments, PgArguments) {
        match self {
            Self::Sqlite(parameters) => (parameters, PgArguments::default()),
            Self::Postgres(parameters) => (SqliteArguments::default(), parameters),
        }
    }

    fn add_rows<T: Record>(&mut self, rows: &[&T]) -> Result<(), DbError> {
        let added = match self {
            Self::Sqlite(parameters) => bulk::add_json_and_blob(rows, parameters),
            Self::Postgres(parameters) => bulk::add_arrays(rows, parameters),
        };
        added.map_err(|error| sqlx::Error::Encode(error).into())
    }

    fn len(&self) -> usize {
        match self {
            Self::Sqlite(parameters) => parameters.len(),
            Self::Postgres(parameters) => parameters.len(),
        }
    }
}

/// Rows to be written by [`Tx::write`](super::Tx::write). They are in memory twice until then, so they are what one
/// batch changes, not what a table holds. Always the same tables in the same order, rows or not, are one prepared
/// statement.
#[must_use = "nothing is written before `Tx::write`"]
pub struct Writes {
    engine: Engine,
    statements: Vec<Arc<str>>,
    parameters: Parameters,
    rows: usize,
    failure: Option<DbError>,
}

impl Writes {
    pub(super) fn on(engine: Engine) -> Self {
        Self { engine, statements: Vec::new(), parameters: Parameters::none(engine), rows: 0, failure: None }
    }

    /// Inserts `rows`, or replaces those whose keys are there. A key may stand in them once.
    pub fn upsert<T: Record>(mut self, rows: &[&T]) -> Self {
        let keys: BTreeSet<_> = rows.iter().map(|row| row.key()).collect();
        if keys.len() < rows.len() {
            // PostgreSQL refuses it (21000), SQLite would take the last one.
            let message = format!("a key of {} stands twice in one upsert", T::TABLE);
            self.failure.get_or_insert(DbError::Other { code: "21000".to_owned(), message });
        }
        self.add(Verb::Upsert, rows)
    }

    /// Inserts those of `rows` that no unique constraint forbids.
    pub fn insert<T: Record>(self, rows: &[&T]) -> Self {
        self.add(Verb::Insert, rows)
    }

    /// Inserts `rows`, and fails where a unique constraint forbids one of them.
    pub fn append<T: Record>(self, rows: &[&T]) -> Self {
        self.add(Verb::Append, rows)
    }

    fn add<T: Record>(mut self, verb: Verb, rows: &[&T]) -> Self {
        let first = self.parameters.len() + 1;
        self.statements.push(statement::<T>(self.engine, verb, first));
        self.rows += rows.len();
        if let Err(failure) = self.parameters.add_rows(rows) {
            self.failure.get_or_insert(failure);
        }
        self
    }

    /// The statement and its parameters; none when there are no rows.
    pub(super) fn end(self) -> Result<Option<(String, Parameters)>, DbError> {
        match self.failure {
            Some(failure) => Err(failure),
            None if self.rows == 0 => Ok(None),
            None => Ok(Some((together(self.engine, &self.statements), self.parameters))),
        }
    }
}
