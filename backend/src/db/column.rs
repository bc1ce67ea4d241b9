//! What a column of a [`Record`](crate::db::Record) can hold, and how each engine is given it.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::encode::Encode;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgHasArrayType, PgRow, Postgres};
use sqlx::sqlite::SqliteRow;
use sqlx::{Arguments, Row, Type};
use tollgate_shared::Timestamp;

/// How values of a column travel in bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text`
    Text,
    /// `bigint`
    Integer,
    /// `boolean`
    Boolean,
    /// `timestamptz`
    Time,
    /// As text, which PostgreSQL casts to `jsonb`.
    Json,
    /// `bytea`; inside SQLite's JSON parameter as text where they are text, else in hexadecimal.
    Bytes,
}

/// A value that is not null.
pub trait Scalar: Sized {
    /// How it travels.
    const KIND: Kind;
    /// What an array of it is made of on PostgreSQL.
    type Element<'a>: Encode<'a, Postgres> + Type<Postgres> + PgHasArrayType
    where
        Self: 'a;
    /// Its place in such an array.
    fn element(&self) -> Self::Element<'_>;
    /// Its form inside a JSON parameter.
    fn json(&self) -> Value;
    /// Reads it.
    fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Option<Self>, sqlx::Error>;
    /// Reads it.
    fn of_postgres(row: &PgRow, index: usize) -> Result<Option<Self>, sqlx::Error>;
}

/// A value of a column: a scalar, or one that may be null.
pub trait Cell: Sized {
    /// Without null.
    type Scalar: Scalar;
    /// Whether the column may be null.
    const NULLABLE: bool;
    /// The value, if it is not null.
    fn scalar(&self) -> Option<&Self::Scalar>;
    /// The cell of a value; none where null does not fit.
    fn of(value: Option<Self::Scalar>) -> Option<Self>;
}

impl<T: Scalar> Cell for T {
    type Scalar = T;
    const NULLABLE: bool = false;
    fn scalar(&self) -> Option<&T> {
        Some(self)
    }
    fn of(value: Option<T>) -> Option<Self> {
        value
    }
}

impl<T: Scalar> Cell for Option<T> {
    type Scalar = T;
    const NULLABLE: bool = true;
    fn scalar(&self) -> Option<&T> {
        self.as_ref()
    }
    fn of(value: Option<T>) -> Option<Self> {
        Some(value)
    }
}

/// Reads a cell.
pub fn read_sqlite<C: Cell>(row: &SqliteRow, index: usize) -> Result<C, sqlx::Error> {
    C::of(C::Scalar::of_sqlite(row, index)?).ok_or_else(|| unexpected_null(index))
}

/// Reads a cell.
pub fn read_postgres<C: Cell>(row: &PgRow, index: usize) -> Result<C, sqlx::Error> {
    C::of(C::Scalar::of_postgres(row, index)?).ok_or_else(|| unexpected_null(index))
}

fn unexpected_null(index: usize) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: index.to_string(), source: "unexpected null".into() }
}

/// Adds one column of many rows as an array.
pub fn bind_array<'a, C: Cell + 'a>(
    cells: impl Iterator<Item = &'a C>,
    arguments: &mut PgArguments,
) -> Result<(), BoxDynError>
where
    for<'e> Vec<Option<<C::Scalar as Scalar>::Element<'e>>>: Encode<'e, Postgres> + Type<Postgres>,
{
    let elements: Vec<Option<<C::Scalar as Scalar>::Element<'_>>> =
        cells.map(|cell| cell.scalar().map(Scalar::element)).collect();
    arguments.add(elements)
}

macro_rules! scalar {
    ($type:ty, $kind:ident, $element:ty, $to_element:expr, $to_json:expr) => {
        impl Scalar for $type {
            const KIND: Kind = Kind::$kind;
            type Element<'a> = $element;
            fn element(&self) -> Self::Element<'_> {
                $to_element(self)
            }
            fn json(&self) -> Value {
                $to_json(self)
            }
            fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Option<Self>, sqlx::Error> {
                row.try_get(index)
            }
            fn of_postgres(row: &PgRow, index: usize) -> Result<Option<Self>, sqlx::Error> {
                row.try_get(index)
            }
        }
    };
}

scalar!(String, Text, Cow<'a, str>, without_nul, |text: &str| Value::from(without_nul(text)));
scalar!(i64, Integer, i64, |number: &i64| *number, |number: &i64| Value::from(*number));
scalar!(bool, Boolean, bool, |is: &bool| *is, |is: &bool| Value::from(*is));
scalar!(Timestamp, Time, Timestamp, |at: &Timestamp| *at, |at: &Timestamp| Value::from(time_text(*at)));

impl Scalar for Bytes {
    const KIND: Kind = Kind::Bytes;
    type Element<'a> = &'a [u8];
    fn element(&self) -> Self::Element<'_> {
        self
    }
    fn json(&self) -> Value {
        match std::str::from_utf8(self) {
            Ok(text) if !text.contains('\0') => Value::from(text),
            _ => serde_json::json!({ "hex": hex::encode(self) }),
        }
    }
    fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Option<Self>, sqlx::Error> {
        Ok(row.try_get::<Option<Vec<u8>>, _>(index)?.map(Self::from))
    }
    fn of_postgres(row: &PgRow, index: usize) -> Result<Option<Self>, sqlx::Error> {
        Ok(row.try_get::<Option<Vec<u8>>, _>(index)?.map(Self::from))
    }
}

/// A JSON document in a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize + DeserializeOwned> Scalar for Json<T> {
    const KIND: Kind = Kind::Json;
    type Element<'a>
        = String
    where
        T: 'a;
    fn element(&self) -> Self::Element<'_> {
        json_text(&self.0)
    }
    fn json(&self) -> Value {
        Value::from(json_text(&self.0))
    }
    fn of_sqlite(row: &SqliteRow, index: usize) -> Result<Option<Self>, sqlx::Error> {
        Ok(row.try_get::<Option<sqlx::types::Json<T>>, _>(index)?.map(|json| Self(json.0)))
    }
    fn of_postgres(row: &PgRow, index: usize) -> Result<Option<Self>, sqlx::Error> {
        Ok(row.try_get::<Option<sqlx::types::Json<T>>, _>(index)?.map(|json| Self(json.0)))
    }
}

/// PostgreSQL's text takes no U+0000; both engines get U+FFFD in its place, so that they hold the same.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The text that sqlx makes of an instant for SQLite, so that bulk and single writes read and sort alike.
pub fn time_text(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, false)
}

fn json_text(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("a column's document has only string keys");
    if !text.contains("\\u0000") {
        return text;
    }
    let mut value: Value = serde_json::from_str(&text).expect("what was just written is JSON");
    replace_nul(&mut value);
    value.to_string()
}

fn replace_nul(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_nul(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(replace_nul),
        Value::Object(members) => {
            let replaced = std::mem::take(members).into_iter().map(|(name, mut value)| {
                replace_nul(&mut value);
                (without_nul(&name).into_owned(), value)
            });
            *members = replaced.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
