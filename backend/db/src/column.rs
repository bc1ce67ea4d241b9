//! What a field of a [`Record`](crate::record::Record) can be, and how it is read back.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use sqlx::postgres::PgRow;
pub use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Row, ValueRef};
pub use sqlx::{Error as ReadError, FromRow};
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

/// Where a column stands in a row: its index, or its name.
pub trait At<R: Row>: ColumnIndex<R> + Copy {}
impl<R: Row, I: ColumnIndex<R> + Copy> At<R> for I {}

/// A field's type: one of `String`, `i64`, `bool`, [`Timestamp`], [`Json`], [`Bytes`], or an `Option` of one.
pub trait Cell: Bind + Sized {
    /// Whether its column may be null.
    const NULLABLE: bool;
    /// Reads it.
    fn of_sqlite(row: &SqliteRow, at: impl At<SqliteRow>) -> Result<Self, sqlx::Error>;
    /// Reads it.
    fn of_postgres(row: &PgRow, at: impl At<PgRow>) -> Result<Self, sqlx::Error>;
}

impl<T: Cell> Cell for Option<T> {
    const NULLABLE: bool = true;

    fn of_sqlite(row: &SqliteRow, at: impl At<SqliteRow>) -> Result<Self, sqlx::Error> {
        if row.try_get_raw(at)?.is_null() { Ok(None) } else { T::of_sqlite(row, at).map(Some) }
    }

    fn of_postgres(row: &PgRow, at: impl At<PgRow>) -> Result<Self, sqlx::Error> {
        if row.try_get_raw(at)?.is_null() { Ok(None) } else { T::of_postgres(row, at).map(Some) }
    }
}

/// A cell that both drivers read as `$read`, of which it is made.
macro_rules! cell {
    ($type:ty as $read:ty) => {
        impl Cell for $type {
            const NULLABLE: bool = false;

            fn of_sqlite(row: &SqliteRow, at: impl At<SqliteRow>) -> Result<Self, sqlx::Error> {
                row.try_get::<$read, _>(at).map(Into::into)
            }

            fn of_postgres(row: &PgRow, at: impl At<PgRow>) -> Result<Self, sqlx::Error> {
                row.try_get::<$read, _>(at).map(Into::into)
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

    fn of_sqlite(row: &SqliteRow, at: impl At<SqliteRow>) -> Result<Self, sqlx::Error> {
        row.try_get(at)
    }

    fn of_postgres(row: &PgRow, at: impl At<PgRow>) -> Result<Self, sqlx::Error> {
        row.try_get(at)
    }
}

/// Declares what a row of a single statement is read into, by the names of its columns:
/// `row! { pub struct Found { pub id: String, … } }`. What types they can be says [`Cell`].
#[macro_export]
macro_rules! row {
    ($(#[$doc:meta])* $vis:vis struct $name:ident {
        $($(#[$field_doc:meta])* $field_vis:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $($(#[$field_doc])* $field_vis $field: $type,)*
        }

        $crate::from_row! { $name { $($field: $type),* } }
    };
}

/// Lets a struct be read from rows, each column by its name.
#[doc(hidden)]
#[macro_export]
macro_rules! from_row {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        impl $crate::column::FromRow<'_, $crate::column::SqliteRow> for $name {
            fn from_row(row: &$crate::column::SqliteRow) -> Result<Self, $crate::column::ReadError> {
                Ok(Self {
                    $($field: $crate::column::Cell::of_sqlite(row, $crate::Column::of::<$type>(stringify!($field)).name)?,)*
                })
            }
        }

        impl $crate::column::FromRow<'_, $crate::column::PgRow> for $name {
            fn from_row(row: &$crate::column::PgRow) -> Result<Self, $crate::column::ReadError> {
                Ok(Self {
                    $($field: $crate::column::Cell::of_postgres(row, $crate::Column::of::<$type>(stringify!($field)).name)?,)*
                })
            }
        }
    };
}
