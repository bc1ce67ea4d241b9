//! Many rows as the parameters of one statement.
//!
//! PostgreSQL gets an array for each column. SQLite gets a JSON text, an array for each row, and one blob of everything
//! that is long: an offset and a length in the JSON stand for each of its pieces. So nothing long is ever escaped, and
//! bytes need not be text.

use std::iter;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, Postgres};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Encode, Type};
use tollgate_shared::Timestamp;

use crate::record::Record;
use crate::value::{Kind, Value, time_text};

/// Adds `rows` to the parameters of a statement on PostgreSQL.
pub(super) fn add_arrays<T: Record>(rows: &[&T], arguments: &mut PgArguments) -> Result<(), BoxDynError> {
    for (index, column) in T::COLUMNS.iter().enumerate() {
        let array = Array { kind: column.kind, len: rows.len(), value: |row: usize| rows[row].value(index) };
        arguments.add(array)?;
    }
    Ok(())
}

/// An array of one dimension. Its elements are written where they go, without being gathered first.
struct Array<F> {
    kind: Kind,
    len: usize,
    value: F,
}

impl<F> Type<Postgres> for Array<F> {
    fn type_info() -> PgTypeInfo {
        Kind::Text.postgres_array() // `produces` is what counts
    }
}

impl<'a, F: Fn(usize) -> Value<'a>> Encode<'_, Postgres> for Array<F> {
    /// <https://github.com/postgres/postgres/blob/REL_17_0/src/backend/utils/adt/arrayfuncs.c#L1578> (`array_send`)
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const DIMENSIONS: i32 = 1;
        const NO_FLAGS: i32 = 0;
        const LOWER_BOUND: i32 = 1;
        for part in [DIMENSIONS, NO_FLAGS, self.kind.postgres_element(), i32::try_from(self.len)?, LOWER_BOUND] {
            buffer.extend_from_slice(&part.to_be_bytes());
        }
        for row in 0..self.len {
            let start = buffer.len();
            buffer.extend_from_slice(&(-1_i32).to_be_bytes()); // null, unless there is more
            if let IsNull::No = (self.value)(row).write_postgres(buffer) {
                let length = i32::try_from(buffer.len() - start - 4)?;
                buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.postgres_array())
    }
}

/// The type `json[]` by its number; the driver's own is of `jsonb`.
const JSON_ARRAY: Oid = Oid(199);

impl Kind {
    fn postgres_array(self) -> PgTypeInfo {
        match self {
            Self::Text => <Vec<String> as Type<Postgres>>::type_info(),
            Self::Integer => <Vec<i64> as Type<Postgres>>::type_info(),
            Self::Boolean => <Vec<bool> as Type<Postgres>>::type_info(),
            Self::Time => <Vec<Timestamp> as Type<Postgres>>::type_info(),
            Self::Json => PgTypeInfo::with_oid(JSON_ARRAY),
            Self::Bytes => <Vec<Vec<u8>> as Type<Postgres>>::type_info(),
        }
    }

    /// The elements' type by its number, which never changes
    /// (<https://github.com/postgres/postgres/blob/REL_17_0/src/include/catalog/pg_type.dat>).
    fn postgres_element(self) -> i32 {
        match self {
            Self::Text => 25,
            Self::Integer => 20,
            Self::Boolean => 16,
            Self::Time => 1184,
            Self::Json => 114,
            Self::Bytes => 17,
        }
    }
}

/// Adds `rows` to the parameters of a statement on SQLite.
pub(super) fn add_json_and_blob<T: Record>(rows: &[&T], arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
    let mut json = Vec::with_capacity(256 * rows.len() + 2);
    // Never empty: SQLite takes an empty blob for null.
    let mut blob = vec![0];
    json.push(b'[');
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        for (index, column) in T::COLUMNS.iter().enumerate() {
            json.push(if index == 0 { b'[' } else { b',' });
            match row.value(index) {
                Value::Null if matches!(column.kind, Kind::Json | Kind::Bytes) => json.extend_from_slice(b"null,null"),
                Value::Null => json.extend_from_slice(b"null"),
                Value::Text(text) => serde_json::to_writer(&mut json, &*text)?,
                Value::Integer(number) => serde_json::to_writer(&mut json, &number)?,
                Value::Boolean(is) => json.push(if is { b'1' } else { b'0' }),
                Value::Time(micros) => serde_json::to_writer(&mut json, &time_text(micros))?,
                Value::Json(text) => put_aside(text.as_bytes(), &mut json, &mut blob)?,
                Value::Bytes(bytes) => put_aside(bytes, &mut json, &mut blob)?,
            }
        }
        json.push(b']');
    }
    json.push(b']');
    arguments.add(String::from_utf8(json)?)?;
    arguments.add(blob)?;
    Ok(())
}

/// `offset,length`, as SQLite's `substr` counts: from 1.
fn put_aside(bytes: &[u8], json: &mut Vec<u8>, blob: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *json, &(blob.len() + 1))?;
    json.push(b',');
    serde_json::to_writer(&mut *json, &bytes.len())?;
    blob.extend_from_slice(bytes);
    Ok(())
}

/// `rows` in pieces that fit into one statement; nearly always one.
pub(super) fn pieces<'r, 't, T: Record>(rows: &'r [&'t T]) -> impl Iterator<Item = &'r [&'t T]> {
    let mut rest = rows;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fits = rest.iter().take(STATEMENT_ROWS_MAX).take_while(|row| {
            bytes += long_bytes(**row);
            bytes <= STATEMENT_BYTES_MAX
        });
        let (piece, more) = rest.split_at(fits.count().max(1));
        rest = more;
        Some(piece)
    })
}

/// The rows of a statement: a million texts would be held twice in memory.
const STATEMENT_ROWS_MAX: usize = 10_000;
/// The bytes of a statement's long columns. Both engines stop at a gigabyte; much less bounds what is held twice.
const STATEMENT_BYTES_MAX: usize = 64 << 20;

fn long_bytes<T: Record>(row: &T) -> usize {
    let long = T::COLUMNS.iter().enumerate().filter(|(_, column)| column.kind == Kind::Bytes);
    long.map(|(index, _)| if let Value::Bytes(bytes) = row.value(index) { bytes.len() } else { 0 }).sum()
}
