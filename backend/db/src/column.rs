//! What a field of a [`Record`](crate::record::Record) can be, and how it is read back.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use sqlx::Error as ReadError;
pub use sqlx::postgres::PgRow;
pub use sqlx::sqlite::SqliteRow;
use sqlx::{Row, ValueRef};
use tollgate_shared::Timestamp;

use crate::value::{Bind, Json, Kind};

/// A column: its name, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// As in the migrations.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
}

impl Column {
    /// The column of a field of the type `T`. A raw identifier's column has the plain name.
    pub const fn of<T: Cell>(field: &'static str) -> Self {
        let name = match field.as_bytes() {
            [b'r', b'#', ..] => field.split_at(2).1,
            _ => field,
        };
        Self { name, kind: T::KIND, nullable: T::NULLABLE }
    }
}

/// A field's type: one of `String`, `i64`, `bool`, [`Timestamp`], [`Json`], [`Bytes`], or an `Option` of one.
pub trait Cell: Bind + Sized {
    /// Whether its column may be null.
    const NULLABLE: bool;
    /// Reads it.
    fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Self, sqlx::Error>;
    /// Reads it.
    fn of_postgres(row: &PgRow, index: usize) -> Result<Self, sqlx::Error>;
}

impl<T: Cell> Cell for Option<T> {
    const NULLABLE: bool = true;

    fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Self, sqlx::Error> {
        if row.try_get_raw(index)?.is_null() { Ok(None) } else { T::of_sqlite(row, index).map(Some) }
    }

    fn of_postgres(row: &PgRow, index: usize) -> Result<Self, sqlx::Error> {
        if row.try_get_raw(index)?.is_null() { Ok(None) } else { T::of_postgres(row, index).map(Some) }
    }
}

/// A cell that both drivers read as `$read`, of which it is made.
macro_rules! cell {
    ($type:ty as $read:ty) => {
        impl Cell for $type {
            const NULLABLE: bool = false;

            fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Self, sqlx::Error> {
                row.try_get::<$read, _>(index).map(Into::into)
            }

            fn of_postgres(row: &PgRow, index: usize) -> Result<Self, sqlx::Error> {
                row.try_get::<$read, _>(index).map(Into::into)
            }
        }
    };
}

cell!(String as String);
cell!(i64 as i64);
cell!(bool as bool);
cell!(Timestamp as Timestamp);
cell!(Bytes as Vec<u8>);

impl<T: Serialize + DeserializeOwned> Cell for Json<T> {
    const NULLABLE: bool = false;

    fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Self, sqlx::Error> {
        row.try_get(index)
    }

    fn of_postgres(row: &PgRow, index: usize) -> Result<Self, sqlx::Error> {
        row.try_get(index)
    }
}
