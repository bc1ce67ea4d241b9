//! What goes into a statement, and the one form that each engine is given it in: whether it is bound to a single
//! statement or travels in bulk, it is stored alike.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, Postgres};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Encode, Type};
use tollgate_shared::Timestamp;

pub use sqlx::types::Json;

/// The first instant that is stored: the start of year 1. PostgreSQL goes further, but a text of a fixed width does not.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
/// The last instant that is stored: the end of year 9999.
const LAST_MICROS: i64 = 253_402_300_799_999_999;
/// PostgreSQL's number of the type `json`, which never changes
/// (<https://github.com/postgres/postgres/blob/REL_17_0/src/include/catalog/pg_type.dat>); the driver's own is `jsonb`'s.
const JSON: Oid = Oid(114);
/// PostgreSQL counts microseconds from the start of 2000.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What a value is, the same on both engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `TEXT`
    Text,
    /// `BIGINT`; `INTEGER` on SQLite
    Integer,
    /// `BOOLEAN`; `INTEGER` of 0 or 1 on SQLite
    Boolean,
    /// `TIMESTAMPTZ`; on SQLite `TEXT` of a fixed width that sorts as time does
    Time,
    /// `JSON`; `TEXT` on SQLite. Nothing in such a document is asked for in SQL, and a `JSONB` is taken apart at each write
    /// and put together at each read: measured at the inbox's writers, a twelfth of PostgreSQL's CPU
    Json,
    /// `BYTEA`; `BLOB` on SQLite
    Bytes,
}

/// One value on its way to the database. Texts hold no U+0000, instants are within the years 1 to 9999.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// None, of whatever kind.
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// An instant, in microseconds since the Unix epoch.
    Time(i64),
    /// A document, as text.
    Json(String),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// What can be bound to a statement.
pub trait Bind {
    /// What it is, also where it is null.
    const KIND: Kind;
    /// The value.
    fn value(&self) -> Value<'_>;
}

impl<T: Bind + ?Sized> Bind for &T {
    const KIND: Kind = T::KIND;
    fn value(&self) -> Value<'_> {
        T::value(self)
    }
}

impl<T: Bind> Bind for Option<T> {
    const KIND: Kind = T::KIND;
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Bind::value)
    }
}

impl Bind for str {
    const KIND: Kind = Kind::Text;
    fn value(&self) -> Value<'_> {
        Value::Text(storable(self))
    }
}

impl Bind for String {
    const KIND: Kind = Kind::Text;
    fn value(&self) -> Value<'_> {
        Value::Text(storable(self))
    }
}

impl Bind for i64 {
    const KIND: Kind = Kind::Integer;
    fn value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl Bind for bool {
    const KIND: Kind = Kind::Boolean;
    fn value(&self) -> Value<'_> {
        Value::Boolean(*self)
    }
}

impl Bind for Timestamp {
    const KIND: Kind = Kind::Time;
    fn value(&self) -> Value<'_> {
        Value::Time(self.timestamp_micros().clamp(FIRST_MICROS, LAST_MICROS))
    }
}

impl<T: Serialize> Bind for Json<T> {
    const KIND: Kind = Kind::Json;
    fn value(&self) -> Value<'_> {
        let text = serde_json::to_string(&self.0).expect("a document of ours has only texts as names");
        Value::Json(without_nul_escapes(text))
    }
}

impl Bind for Bytes {
    const KIND: Kind = Kind::Bytes;
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl Bind for Vec<u8> {
    const KIND: Kind = Kind::Bytes;
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

/// A set of ids as a statement of either engine takes it apart: `… IN (SELECT key FROM json_each($1))`.
pub fn id_set<'a>(ids: impl IntoIterator<Item = &'a str>) -> Json<BTreeMap<&'a str, bool>> {
    Json(ids.into_iter().map(|id| (id, true)).collect())
}

/// `text` as both engines store it: PostgreSQL's texts take no U+0000, so it becomes U+FFFD.
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same for a text of JSON, where U+0000 can only stand as its escape; an escaped backslash before `u0000` is no escape.
fn without_nul_escapes(json: String) -> String {
    if !json.contains("\\u0000") {
        return json;
    }
    let mut cleaned = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        cleaned.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\u0000") {
            cleaned.push('\u{fffd}');
            rest = after;
        } else {
            // Every escape is ASCII and at least two bytes long; the second may be a backslash itself.
            cleaned.push_str(&rest[..2]);
            rest = &rest[2..];
        }
    }
    cleaned + rest
}

/// The text of an instant on SQLite, such as `2026-11-21T12:00:00.000000Z`: always as long, so that it sorts as time does.
pub(super) fn time_text(micros: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_micros(micros).expect("the years 1 to 9999 are all known");
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Value<'_> {
    /// Binds it to a statement of SQLite.
    pub(super) fn add_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Null => arguments.add(None::<i64>),
            Self::Text(text) => arguments.add(text.into_owned()),
            Self::Integer(number) => arguments.add(number),
            Self::Boolean(is) => arguments.add(is),
            Self::Time(micros) => arguments.add(time_text(micros)),
            Self::Json(text) => arguments.add(text),
            Self::Bytes(bytes) => arguments.add(bytes),
        }
    }

    /// Binds it to a statement of PostgreSQL, which wants to know what it is even when it is null.
    pub(super) fn add_postgres(self, kind: Kind, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        arguments.add(Parameter { kind, value: self })
    }

    /// Appends PostgreSQL's binary form, without its length; says whether there was anything to append.
    pub(super) fn write_postgres(&self, to: &mut Vec<u8>) -> IsNull {
        match self {
            Self::Null => return IsNull::Yes,
            Self::Text(text) => to.extend_from_slice(text.as_bytes()),
            Self::Integer(number) => to.extend_from_slice(&number.to_be_bytes()),
            Self::Boolean(is) => to.push(u8::from(*is)),
            Self::Time(micros) => to.extend_from_slice(&(micros - POSTGRES_EPOCH_MICROS).to_be_bytes()),
            Self::Json(text) => to.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => to.extend_from_slice(bytes),
        }
        IsNull::No
    }
}

/// One parameter of PostgreSQL.
struct Parameter<'a> {
    kind: Kind,
    value: Value<'a>,
}

impl Type<Postgres> for Parameter<'_> {
    fn type_info() -> PgTypeInfo {
        Kind::Text.postgres_type() // `produces` is what counts
    }
}

impl Encode<'_, Postgres> for Parameter<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(self.value.write_postgres(buffer))
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.postgres_type())
    }
}

impl Kind {
    fn postgres_type(self) -> PgTypeInfo {
        match self {
            Self::Text => <String as Type<Postgres>>::type_info(),
            Self::Integer => <i64 as Type<Postgres>>::type_info(),
            Self::Boolean => <bool as Type<Postgres>>::type_info(),
            Self::Time => <Timestamp as Type<Postgres>>::type_info(),
            Self::Json => PgTypeInfo::with_oid(JSON),
            Self::Bytes => <Vec<u8> as Type<Postgres>>::type_info(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate_shared::clock::from_unix;

    use super::*;

    #[test]
    fn u0000_becomes_ufffd_in_texts() {
        assert_eq!("a\0b".value(), Value::Text("a\u{fffd}b".into()));
        assert_eq!("plain".value(), Value::Text("plain".into()));
    }

    #[test]
    fn u0000_becomes_ufffd_in_documents_and_a_backslash_before_u0000_stays() {
        let document = Json(json!({ "na\0me": ["\0\0", "\\u0000", "\\\0", "\"\0\n"] }));
        let Value::Json(text) = document.value() else { panic!("a document is a document") };
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back, json!({ "na\u{fffd}me": ["\u{fffd}\u{fffd}", "\\u0000", "\\\u{fffd}", "\"\u{fffd}\n"] }));
    }

    #[test]
    fn the_texts_of_instants_sort_as_time_does() {
        let micros = [FIRST_MICROS, -1, 0, 1, 500_000, 999_999, 1_000_000, 1_700_000_000_000_000, LAST_MICROS];
        let texts: Vec<_> = micros.iter().map(|micros| time_text(*micros)).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert!(texts.iter().all(|text| text.len() == texts[0].len()), "{texts:?}");
    }

    #[test]
    fn an_instant_beyond_what_can_be_stored_is_the_first_or_the_last() {
        assert_eq!(DateTime::<Utc>::MAX_UTC.value(), Value::Time(LAST_MICROS));
        assert_eq!(DateTime::<Utc>::MIN_UTC.value(), Value::Time(FIRST_MICROS));
        assert_eq!(from_unix(1).unwrap().value(), Value::Time(1_000_000));
    }

    #[test]
    fn null_is_of_a_kind() {
        assert_eq!((<Option<Timestamp>>::KIND, None::<Timestamp>.value()), (Kind::Time, Value::Null));
    }
}
