//! Whole rows, many at a time: what the door must know of a table, and the SQL that is made from it, once an engine.
//!
//! A statement costs a round trip whatever it does, so the write path moves rows in bulk: arrays and `UNNEST` on
//! PostgreSQL, one JSON parameter and `json_each` on SQLite. Both keep one statement text however many rows there are.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde_json::Value;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::SqliteRow;

use crate::db::Engine;
use crate::db::column::Kind;

/// A column: its name, and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// As in the migrations.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
}

/// A row of one table, made by [`record!`](crate::db::record).
pub trait Record: Clone + PartialEq + Send + Sync + Unpin + Sized + 'static {
    /// The table.
    const TABLE: &'static str;
    /// Its columns; the first is the key, a text.
    const COLUMNS: &'static [Column];
    /// The key's column.
    fn key_column() -> &'static str {
        Self::COLUMNS[0].name
    }
    /// This row's key.
    fn key(&self) -> &str;
    /// Reads a row whose columns are in their order.
    fn of_sqlite(row: &SqliteRow) -> Result<Self, sqlx::Error>;
    /// Reads a row whose columns are in their order.
    fn of_postgres(row: &PgRow) -> Result<Self, sqlx::Error>;
    /// The values in the order of the columns.
    fn json(&self) -> Value;
    /// Adds one array a column.
    fn bind_arrays(rows: &[&Self], arguments: &mut PgArguments) -> Result<(), BoxDynError>;
}

/// Declares a row type: `record! { pub struct Invoice in "invoices" { pub id: String, … } }`. Fields are columns by name.
#[macro_export]
macro_rules! record {
    ($(#[$doc:meta])* $vis:vis struct $name:ident in $table:literal {
        $(#[$key_doc:meta])* pub $key:ident: $key_type:ty,
        $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $(#[$key_doc])* pub $key: $key_type,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::db::Record for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [$crate::db::Column] = &[
                $crate::db::column!($key: $key_type),
                $($crate::db::column!($field: $type),)*
            ];

            fn key(&self) -> &str {
                &self.$key
            }

            #[allow(unused_assignments, reason = "the last column has no next")]
            fn of_sqlite(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                let mut column = 0..;
                let mut next = || column.next().expect("counting does not end");
                Ok(Self {
                    $key: $crate::db::column::read_sqlite(row, next())?,
                    $($field: $crate::db::column::read_sqlite(row, next())?,)*
                })
            }

            fn of_postgres(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                let mut column = 0..;
                let mut next = || column.next().expect("counting does not end");
                Ok(Self {
                    $key: $crate::db::column::read_postgres(row, next())?,
                    $($field: $crate::db::column::read_postgres(row, next())?,)*
                })
            }

            fn json(&self) -> serde_json::Value {
                use $crate::db::column::{Cell, Scalar};
                serde_json::Value::Array(vec![
                    self.$key.scalar().map_or(serde_json::Value::Null, Scalar::json),
                    $(self.$field.scalar().map_or(serde_json::Value::Null, Scalar::json),)*
                ])
            }

            fn bind_arrays(
                rows: &[&Self],
                arguments: &mut sqlx::postgres::PgArguments,
            ) -> Result<(), sqlx::error::BoxDynError> {
                $crate::db::column::bind_array(rows.iter().map(|row| &row.$key), arguments)?;
                $($crate::db::column::bind_array(rows.iter().map(|row| &row.$field), arguments)?;)*
                Ok(())
            }
        }
    };
}

/// The description of one field of [`record!`].
#[macro_export]
macro_rules! column {
    ($field:ident: $type:ty) => {
        $crate::db::Column {
            name: $crate::db::column_name(stringify!($field)),
            kind: <<$type as $crate::db::column::Cell>::Scalar as $crate::db::column::Scalar>::KIND,
            nullable: <$type as $crate::db::column::Cell>::NULLABLE,
        }
    };
}

/// A raw identifier's column has the plain name.
pub const fn column_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
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
    /// Insert, or replace all but the key.
    Upsert,
    /// Insert what is not there.
    Insert,
}

/// The text of `verb` for the table of `T`: made once, kept as long as the program runs.
pub(super) fn statement<T: Record>(verb: Verb, engine: Engine) -> &'static str {
    type Key = (&'static str, usize, Verb, Engine);
    static MADE: LazyLock<RwLock<HashMap<Key, &'static str>>> = LazyLock::new(RwLock::default);
    // Two record types may be views of one table; they differ in their columns.
    let key = (T::TABLE, T::COLUMNS.as_ptr() as usize, verb, engine);
    if let Some(text) = MADE.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return text;
    }
    let text = write(T::TABLE, T::COLUMNS, verb, engine);
    MADE.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(|| text.leak())
}

fn write(table: &str, columns: &[Column], verb: Verb, engine: Engine) -> String {
    let key = columns[0].name;
    let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
    let mut sql = String::new();
    let written = match verb {
        Verb::Load { by, for_update } => {
            let (matches, lock) = match engine {
                Engine::Sqlite => ("IN (SELECT value FROM json_each($1))", ""),
                Engine::Postgres => ("= ANY ($1)", if for_update { " FOR UPDATE" } else { "" }),
            };
            write!(sql, "SELECT {names} FROM {table} WHERE {by} {matches} ORDER BY {key}{lock}")
        }
        Verb::Upsert => {
            let set: Vec<_> = columns[1..].iter().map(|c| format!("{0} = excluded.{0}", c.name)).collect();
            let (rows, set) = (rows(columns, engine), set.join(", "));
            write!(sql, "INSERT INTO {table} ({names}) {rows} ON CONFLICT ({key}) DO UPDATE SET {set}")
        }
        Verb::Insert => {
            let rows = rows(columns, engine);
            write!(sql, "INSERT INTO {table} ({names}) {rows} ON CONFLICT DO NOTHING RETURNING {key}")
        }
    };
    written.expect("writing to a string does not fail");
    sql
}

/// The rows of the parameters, as a query.
fn rows(columns: &[Column], engine: Engine) -> String {
    match engine {
        Engine::Sqlite => {
            let values: Vec<_> = columns.iter().enumerate().map(|(n, column)| sqlite_value(n, column.kind)).collect();
            // `WHERE true`: without it SQLite reads `ON CONFLICT` as the `ON` of a join.
            format!("SELECT {} FROM json_each($1) WHERE true", values.join(", "))
        }
        Engine::Postgres => {
            let names: Vec<_> = columns.iter().map(|column| column.name).collect();
            let values = columns.iter().map(|column| match column.kind {
                Kind::Json => format!("{}::jsonb", column.name),
                _ => column.name.to_owned(),
            });
            let arrays =
                columns.iter().enumerate().map(|(n, column)| format!("${}::{}[]", n + 1, element(column.kind)));
            format!(
                "SELECT {} FROM UNNEST({}) AS rows ({})",
                values.collect::<Vec<_>>().join(", "),
                arrays.collect::<Vec<_>>().join(", "),
                names.join(", ")
            )
        }
    }
}

fn sqlite_value(n: usize, kind: Kind) -> String {
    match kind {
        Kind::Bytes => format!("COALESCE(unhex(value ->> '$[{n}].hex'), CAST(value ->> {n} AS BLOB))"),
        _ => format!("value ->> {n}"),
    }
}

fn element(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Json => "text",
        Kind::Integer => "bigint",
        Kind::Boolean => "boolean",
        Kind::Time => "timestamptz",
        Kind::Bytes => "bytea",
    }
}
