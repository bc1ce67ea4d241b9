//! What a database can answer instead of a result, in the classes that callers decide by.
//!
//! A failure holds codes and names, never what the driver said whole: PostgreSQL quotes values in its messages.

use std::borrow::Cow;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use crate::column::Column;

/// A failure of the database. Its text never holds a value of a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// There is no database to talk to: refused, shut down, cut off, or no connection was free in time.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: Cow<'static, str>,
    },
    /// Somebody else was in the way (a deadlock, a busy file, a statement that took too long): the same again may work.
    #[error("the database was busy with somebody else ({code})")]
    Conflict {
        /// An SQLSTATE, or SQLite's code.
        code: String,
    },
    /// A row was locked by somebody else for longer than we wait; see [`Tx::locked_by_others`](crate::Tx::locked_by_others).
    #[error("a row is locked by somebody else ({code})")]
    Locked {
        /// An SQLSTATE.
        code: String,
    },
    /// The disk is full.
    #[error("the database has no room left ({code})")]
    Full {
        /// An SQLSTATE, or SQLite's code.
        code: String,
    },
    /// A constraint forbids it.
    #[error("the constraint {} forbids it", name.as_deref().unwrap_or("of a table"))]
    Constraint {
        /// The constraint's name on PostgreSQL, its columns or its text on SQLite; where the engine says it.
        name: Option<String>,
    },
    /// The value of a parameter is one that its column or its index does not take: out of range, or too long.
    #[error("a value cannot be stored ({code})")]
    Unstorable {
        /// An SQLSTATE, or SQLite's code.
        code: String,
    },
    /// A stored value does not fit its type.
    #[error("the database holds a value in {column} of {table} that does not fit its type")]
    Inconsistent {
        /// The table, or `a query`.
        table: &'static str,
        /// The column's name or number.
        column: String,
    },
    /// The schema is not the one of this program.
    #[error("{0}")]
    Schema(#[from] SchemaProblem),
    /// Anything else: a statement that no engine could run, or a defect.
    #[error("the database failed ({code}){}{message}", if message.is_empty() { "" } else { ": " })]
    Other {
        /// An SQLSTATE, SQLite's code, or a word.
        code: String,
        /// What is known to hold no values: what is wrong with a statement's text.
        message: String,
    },
}

/// Why a schema is not the one of this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Some migrations were not applied.
    #[error("the database is not migrated: version {missing} is missing")]
    Behind {
        /// The first of them.
        missing: i64,
    },
    /// It has migrations that this program does not know.
    #[error(
        "the database is newer than this program: it has version {version}; use the program that made it, or a later one"
    )]
    Newer {
        /// The first of them.
        version: i64,
    },
    /// A migration was edited after it was applied.
    #[error("version {version} of the schema is not what was applied to the database")]
    Changed {
        /// Its version.
        version: i64,
    },
}

impl DbError {
    /// A word for logs and for `lastError`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "database_unavailable",
            Self::Conflict { .. } => "database_conflict",
            Self::Locked { .. } => "database_locked",
            Self::Full { .. } => "database_full",
            Self::Constraint { .. } => "database_constraint",
            Self::Unstorable { .. } => "database_value",
            Self::Inconsistent { .. } => "database_inconsistent",
            Self::Schema(_) => "database_schema",
            Self::Other { .. } => "database_error",
        }
    }

    /// Whether the same may work later: once the database is back, free, has room, is migrated.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::Conflict { .. }
                | Self::Locked { .. }
                | Self::Full { .. }
                | Self::Schema(_)
        )
    }

    /// Whether nothing else will work either, as long as this does not: it is about the database, and not about some row.
    pub fn concerns_all(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. } | Self::Schema(_))
    }

    /// Whether the same values will never work, whatever else is changed.
    pub fn is_poison(&self) -> bool {
        matches!(self, Self::Constraint { .. } | Self::Unstorable { .. })
    }

    /// What took longer than we wait.
    pub(super) fn timed_out(what: &'static str) -> Self {
        Self::Unavailable { reason: what.into() }
    }

    /// A failure to read a row of `table`, whose columns are `columns` where they are known.
    pub(super) fn of_row(error: sqlx::Error, table: &'static str, columns: &[Column]) -> Self {
        match error {
            sqlx::Error::ColumnDecode { index, .. } => {
                let name = index.parse().ok().and_then(|index: usize| columns.get(index)).map(|column| column.name);
                let column = name.map_or_else(|| index.trim_matches('"').to_owned(), str::to_owned);
                Self::Inconsistent { table, column }
            }
            error => error.into(),
        }
    }

    fn other(code: &str) -> Self {
        Self::Other { code: code.to_owned(), message: String::new() }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(error) if error.try_downcast_ref::<SqliteError>().is_some() => of_sqlite(&*error),
            E::Database(error) => of_postgres(&*error),
            E::ColumnDecode { .. } => Self::of_row(error, "a query", &[]),
            E::Io(error) => Self::Unavailable { reason: error.to_string().into() },
            E::Tls(error) => Self::Unavailable { reason: format!("TLS: {error}").into() },
            E::Protocol(_) => Self::Unavailable { reason: "the connection was cut in the middle of an answer".into() },
            E::PoolTimedOut => Self::timed_out("no connection could be had in time"),
            E::PoolClosed => Self::Unavailable { reason: "it was closed".into() },
            E::WorkerCrashed => Self::Unavailable { reason: "its thread has ended".into() },
            E::RowNotFound => Self::other("no_row"),
            E::ColumnNotFound(column) => Self::Other { code: "no_column".to_owned(), message: column },
            E::ColumnIndexOutOfBounds { .. } => Self::other("too_few_columns"),
            E::Encode(_) => Self::other("parameter"),
            _ => Self::other("driver"),
        }
    }
}

/// <https://sqlite.org/rescode.html>
fn of_sqlite(error: &dyn DatabaseError) -> DbError {
    let code = error.code().unwrap_or_default().into_owned();
    let unavailable = |reason: &'static str| DbError::Unavailable { reason: reason.into() };
    // The low byte is the primary code; what is above says more exactly what it was.
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        1 => DbError::Other { code, message: about_the_text(error.message()) },
        5 | 6 | 9 => DbError::Conflict { code }, // BUSY, LOCKED, INTERRUPT
        7 => unavailable("out of memory"),       // NOMEM
        8 => unavailable("the file may not be written to"), // READONLY
        10 => unavailable("the file could not be read or written"), // IOERR
        11 | 26 => unavailable("the file is damaged"), // CORRUPT, NOTADB
        13 => DbError::Full { code },            // FULL
        14 => unavailable("the file could not be opened"), // CANTOPEN
        18 | 20 => DbError::Unstorable { code }, // TOOBIG, MISMATCH
        // CONSTRAINT: "UNIQUE constraint failed: licenses.key"; only the text of a check or names follow the colon.
        19 => DbError::Constraint { name: error.message().split_once(": ").map(|(_, name)| name.to_owned()) },
        _ => DbError::Other { code, message: String::new() },
    }
}

/// SQLITE_ERROR is what is wrong with a statement's text, but some functions quote a value with it.
fn about_the_text(message: &str) -> String {
    let is_about_it = message.starts_with("no such ") || message.ends_with(": syntax error");
    if is_about_it { message.to_owned() } else { String::new() }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_postgres(error: &dyn DatabaseError) -> DbError {
    let code = error.code().unwrap_or_default().into_owned();
    match (&code[..2.min(code.len())], &*code) {
        (_, "55P03") => DbError::Locked { code },
        // Serialization, deadlock; in use; a statement that took too long; a transaction that was idle for, or took, too long.
        (_, "40001" | "40P01" | "55006" | "57014" | "25P03" | "25P04") => DbError::Conflict { code },
        // A statement that was prepared before a migration of somebody else: the connection is closed, and it works again.
        (_, "0A000") if error.message().contains("cached plan") => DbError::Conflict { code },
        (_, "53100") => DbError::Full { code },
        // Connections; resources; shut-downs; the system; who we are; which database; a standby that cannot be written to.
        ("08" | "53" | "57" | "58" | "28", _) | (_, "3D000" | "25006" | "40003") => {
            DbError::Unavailable { reason: format!("PostgreSQL said {code}").into() }
        }
        // Data exceptions, such as a number out of range; limits of the server, such as a text too long for its index.
        ("22" | "54", _) => DbError::Unstorable { code },
        ("23", _) => DbError::Constraint { name: error.constraint().map(str::to_owned) },
        // Syntax and names: only what a statement's own text says.
        ("42", _) => DbError::Other { code, message: error.message().to_owned() },
        _ => DbError::Other { code, message: String::new() },
    }
}
