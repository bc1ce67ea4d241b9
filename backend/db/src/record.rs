//! Whole rows, many at a time: what has to be known of a table, and the SQL that is made from it.
//!
//! A statement costs a round trip whatever it does, so the write path moves rows in bulk. Every statement has one text
//! for any number of rows, so that it is prepared once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::column::Column;
use crate::engine::Engine;
use crate::value::{Kind, Value};

/// A row of one table, made by [`record!`](crate::record!).
pub trait Record: Clone + PartialEq + Send + Sync + Sized + 'static {
    /// The table.
    const TABLE: &'static str;
    /// Its columns, or those of them that this type knows. The first is the key, a text; where rows are only ever
    /// inserted, any text that names them.
    const COLUMNS: &'static [Column];
    /// The tables that its foreign keys reference: their rows are written first.
    const REFERENCES: &'static [&'static str];

    /// The key's column.
    fn key_column() -> &'static str {
        Self::COLUMNS[0].name
    }

    /// This row's key.
    fn key(&self) -> &str;
    /// The value of the column at `index` in [`Self::COLUMNS`].
    fn value(&self, index: usize) -> Value<'_>;
    /// Reads a row whose columns are in their order.
    fn of_sqlite(row: &SqliteRow) -> Result<Self, sqlx::Error>;
    /// Reads a row whose columns are in their order.
    fn of_postgres(row: &PgRow) -> Result<Self, sqlx::Error>;
    /// Where the SQL of this type is kept.
    fn statements() -> &'static Statements;
}

/// Declares a row's type: `record! { pub struct Invoice in "invoices" { pub id: String, … } }`. Fields are columns by
/// name, the first is the key; what types they can be says [`Cell`](crate::column::Cell). After `in "…"` may stand
/// `references "…", "…"`: the tables of its foreign keys.
#[macro_export]
macro_rules! record {
    ($(#[$doc:meta])* $vis:vis struct $name:ident in $table:literal $(references $($parent:literal),+)? {
        $(#[$key_doc:meta])* pub $key:ident: $key_type:ty,
        $($(#[$field_doc:meta])* pub $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $(#[$key_doc])* pub $key: $key_type,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::Record for $name {
            const TABLE: &'static str = $table;
            const REFERENCES: &'static [&'static str] = &[$($($parent),+)?];
            const COLUMNS: &'static [$crate::column::Column] = &[
                $crate::column::Column::of::<$key_type>(stringify!($key)),
                $($crate::column::Column::of::<$type>(stringify!($field)),)*
            ];

            #[allow(clippy::misnamed_getters, reason = "a row may have a column `key` beside its own key")]
            fn key(&self) -> &str {
                &self.$key
            }

            fn value(&self, index: usize) -> $crate::Value<'_> {
                let values: &[fn(&Self) -> $crate::Value<'_>] = &[
                    |row| $crate::Bind::value(&row.$key),
                    $(|row| $crate::Bind::value(&row.$field),)*
                ];
                values[index](self)
            }

            fn of_sqlite(row: &$crate::column::SqliteRow) -> Result<Self, $crate::column::ReadError> {
                let mut indexes = 0..;
                let mut next = || indexes.next().expect("counting does not end");
                Ok(Self {
                    $key: $crate::column::Cell::of_sqlite(row, next())?,
                    $($field: $crate::column::Cell::of_sqlite(row, next())?,)*
                })
            }

            fn of_postgres(row: &$crate::column::PgRow) -> Result<Self, $crate::column::ReadError> {
                let mut indexes = 0..;
                let mut next = || indexes.next().expect("counting does not end");
                Ok(Self {
                    $key: $crate::column::Cell::of_postgres(row, next())?,
                    $($field: $crate::column::Cell::of_postgres(row, next())?,)*
                })
            }

            fn statements() -> &'static $crate::Statements {
                static STATEMENTS: $crate::Statements = $crate::Statements::new();
                &STATEMENTS
            }
        }

        $crate::from_row! { $name { $key: $key_type, $($field: $type),* } }
    };
}

/// What a bulk statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    /// Rows by a column's values.
    Load {
        /// The column.
        by: &'static str,
        /// Whether to lock them.
        for_update: bool,
    },
    /// Rows by either of two columns' values.
    LoadByEither {
        /// The columns.
        by: [&'static str; 2],
        /// Whether to lock them.
        for_update: bool,
    },
    /// Insert, or replace all but the key.
    Upsert,
    /// Insert what is not there, and say the keys of that.
    Insert,
    /// Insert, and fail where a unique constraint forbids it.
    Append,
    /// Insert what is not there, and give every row, locked.
    LoadOrInsert,
    /// Lock what nobody else has locked, and give every key, with whether that was done. Only for PostgreSQL.
    LockFree,
}

/// The texts of a record's statements, each made when it is first needed.
#[derive(Debug, Default)]
pub struct Statements(OnceLock<Mutex<Texts>>);

type Texts = HashMap<(Engine, Verb, usize), Arc<str>>;

impl Statements {
    /// None yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }
}

/// The text of `verb` for `T` on `engine`, whose parameters are those from `$first` on.
pub(super) fn statement<T: Record>(engine: Engine, verb: Verb, first: usize) -> Arc<str> {
    let made = T::statements().0.get_or_init(Mutex::default);
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry((engine, verb, first)).or_insert_with(|| text(engine, verb, first, T::TABLE, T::COLUMNS).into()).clone()
}

fn text(engine: Engine, verb: Verb, first: usize, table: &str, columns: &[Column]) -> String {
    let key = columns[0].name;
    let names = list(columns, |column| format!("\"{}\"", column.name));
    let rows = rows(engine, first, columns);
    match verb {
        Verb::Load { by, for_update } => {
            let matching = is_one_of(engine, by, first);
            format!("SELECT {names} FROM {table} WHERE {matching} ORDER BY \"{key}\"{}", lock(engine, for_update))
        }
        Verb::LoadByEither { by: [one, other], for_update } => {
            let [one, other] = [is_one_of(engine, one, first), is_one_of(engine, other, first + 1)];
            let lock = lock(engine, for_update);
            format!("SELECT {names} FROM {table} WHERE {one} OR {other} ORDER BY \"{key}\"{lock}")
        }
        Verb::Upsert => {
            let replaced = list(&columns[1..], |column| format!("\"{0}\" = excluded.\"{0}\"", column.name));
            format!("INSERT INTO {table} ({names}) {rows} ON CONFLICT (\"{key}\") DO UPDATE SET {replaced}")
        }
        Verb::Insert => format!("INSERT INTO {table} ({names}) {rows} ON CONFLICT DO NOTHING RETURNING \"{key}\""),
        Verb::Append => format!("INSERT INTO {table} ({names}) {rows}"),
        Verb::LoadOrInsert => match engine {
            Engine::Sqlite => format!(
                "INSERT INTO {table} ({names}) {rows} ON CONFLICT DO NOTHING; \
                 SELECT {names} FROM {table} \
                 WHERE \"{key}\" IN (SELECT value ->> 0 FROM jsonb_each(${first}))"
            ),
            // What the one half inserts the other does not see, and what the one finds it leaves to the other.
            Engine::Postgres => format!(
                "WITH made AS (INSERT INTO {table} ({names}) {rows} ON CONFLICT DO NOTHING RETURNING {names}), \
                 known AS (SELECT {names} FROM {table} WHERE \"{key}\" = ANY (${first}) \
                           ORDER BY \"{key}\" FOR UPDATE) \
                 SELECT {names} FROM known UNION ALL SELECT {names} FROM made"
            ),
        },
        Verb::LockFree => format!(
            "WITH free AS MATERIALIZED \
                 (SELECT \"{key}\" FROM {table} WHERE \"{key}\" = ANY (${first}) ORDER BY \"{key}\" FOR UPDATE SKIP LOCKED) \
             SELECT \"{key}\", free.\"{key}\" IS NOT NULL FROM {table} LEFT JOIN free USING (\"{key}\") \
             WHERE \"{key}\" = ANY (${first})"
        ),
    }
}

/// Whether a column has one of the values of the parameter `$index`.
fn is_one_of(engine: Engine, column: &str, index: usize) -> String {
    match engine {
        Engine::Sqlite => format!("\"{column}\" IN (SELECT value FROM json_each(${index}))"),
        Engine::Postgres => format!("\"{column}\" = ANY (${index})"),
    }
}

fn lock(engine: Engine, for_update: bool) -> &'static str {
    match engine {
        Engine::Postgres if for_update => " FOR UPDATE",
        // One writer at a time: there is nothing to lock.
        Engine::Sqlite | Engine::Postgres => "",
    }
}

/// Several statements that give nothing back as one text.
pub(super) fn together(engine: Engine, statements: &[Arc<str>]) -> String {
    match (engine, statements) {
        (_, [only]) => only.to_string(),
        (Engine::Sqlite, statements) => statements.join("; "),
        (Engine::Postgres, statements) => {
            let parts = statements.iter().enumerate().map(|(index, statement)| format!("w{index} AS ({statement})"));
            format!("WITH {} SELECT", parts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The rows of the parameters from `$first` on, as a query; see [`bulk`](super::bulk) for the parameters.
fn rows(engine: Engine, first: usize, columns: &[Column]) -> String {
    match engine {
        Engine::Sqlite => {
            let mut indexes = 0..;
            let mut index = || indexes.next().expect("counting does not end");
            let blob = first + 1;
            let values = list(columns, |column| match column.kind {
                Kind::Bytes => format!("substr(${blob}, value ->> {}, value ->> {})", index(), index()),
                Kind::Json => format!("CAST(substr(${blob}, value ->> {}, value ->> {}) AS TEXT)", index(), index()),
                Kind::Text | Kind::Integer | Kind::Boolean | Kind::Time => format!("value ->> {}", index()),
            });
            // `jsonb_each`: each row stays parsed, which is a quarter of an insert. `WHERE TRUE`: without it SQLite reads
            // `ON CONFLICT` as the `ON` of a join.
            format!("SELECT {values} FROM jsonb_each(${first}) WHERE TRUE")
        }
        Engine::Postgres => {
            let mut indexes = first..;
            let arrays = list(columns, |_| format!("${}", indexes.next().expect("counting does not end")));
            format!("SELECT * FROM UNNEST({arrays})")
        }
    }
}

fn list(columns: &[Column], of: impl FnMut(&Column) -> String) -> String {
    columns.iter().map(of).collect::<Vec<_>>().join(", ")
}
