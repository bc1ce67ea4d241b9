//! What a database can answer instead of a result, in the classes that callers decide by.

use std::sync::Arc;

/// A failure of the database. Its text never holds a value of a statement.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DbError {
    /// There is no database to talk to: refused, shut down, cut off, or no connection free in time.
    #[error("the database is not available")]
    Unavailable {
        /// What the driver said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// Somebody else was in the way (a deadlock, a busy file, a lock that took too long): the same again may work.
    #[error("the database was busy with somebody else")]
    Conflict {
        /// What the driver said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// The disk is full.
    #[error("the database has no room left")]
    Full {
        /// What the driver said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// A constraint forbids it.
    #[error("the constraint {} forbids it", constraint.as_deref().unwrap_or("of a column"))]
    Constraint {
        /// The constraint's name, where the engine says it.
        constraint: Option<String>,
    },
    /// A stored value does not fit its type.
    #[error("the database holds a value in {column} that does not fit its type")]
    Inconsistent {
        /// Where.
        column: String,
    },
    /// The schema is not the one of this program.
    #[error("{0}")]
    Schema(String),
    /// Anything else.
    #[error("the database failed")]
    Other {
        /// What the driver said.
        #[source]
        source: Arc<sqlx::Error>,
    },
}

impl DbError {
    /// A word for logs and for `lastError`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "database_unavailable",
            Self::Conflict { .. } => "database_conflict",
            Self::Full { .. } => "database_full",
            Self::Constraint { .. } => "database_constraint",
            Self::Inconsistent { .. } => "database_inconsistent",
            Self::Schema(_) => "database_schema",
            Self::Other { .. } => "database_error",
        }
    }

    /// Whether the same may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Conflict { .. } | Self::Full { .. })
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(ref database) => match kind_of(&**database) {
                Kind::Unavailable => Self::Unavailable { source: Arc::new(error) },
                Kind::Conflict => Self::Conflict { source: Arc::new(error) },
                Kind::Full => Self::Full { source: Arc::new(error) },
                Kind::Constraint => Self::Constraint { constraint: database.constraint().map(str::to_owned) },
                Kind::Other => Self::Other { source: Arc::new(error) },
            },
            E::ColumnDecode { index, .. } => Self::Inconsistent { column: index },
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
                Self::Unavailable { source: Arc::new(error) }
            }
            error => Self::Other { source: Arc::new(error) },
        }
    }
}

enum Kind {
    Unavailable,
    Conflict,
    Full,
    Constraint,
    Other,
}

fn kind_of(error: &dyn sqlx::error::DatabaseError) -> Kind {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // The low byte is the primary code (https://sqlite.org/rescode.html).
        return match code.parse::<u32>().unwrap_or_default() & 0xff {
            5 | 6 => Kind::Conflict,          // SQLITE_BUSY, SQLITE_LOCKED
            13 => Kind::Full,                 // SQLITE_FULL
            8 | 10 | 14 => Kind::Unavailable, // SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN
            19 => Kind::Constraint,           // SQLITE_CONSTRAINT
            _ => Kind::Other,
        };
    }
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match &*code {
        "40001" | "40P01" | "55P03" | "57014" => Kind::Conflict, // serialization, deadlock, lock or statement time-out
        "53100" => Kind::Full,
        code if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => Kind::Unavailable,
        code if code.starts_with("28") || code == "3D000" => Kind::Unavailable, // who we are, or which database
        code if code.starts_with("23") => Kind::Constraint,
        _ => Kind::Other,
    }
}
