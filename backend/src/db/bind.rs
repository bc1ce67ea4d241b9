//! What a parameter of a single statement can be, and how each engine is given it.

use bytes::Bytes;
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use tollgate_shared::Timestamp;

use crate::db::column::{time_text, without_nul};

/// A parameter.
pub trait Bind {
    /// Adds it.
    fn bind_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError>;
    /// Adds it.
    fn bind_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError>;
}

macro_rules! bind {
    ($type:ty, $value:ident => $sqlite:expr, $postgres:expr) => {
        impl Bind for $type {
            fn bind_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
                let $value = self;
                arguments.add($sqlite)
            }
            fn bind_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
                let $value = self;
                arguments.add($postgres)
            }
        }
        impl Bind for Option<$type> {
            fn bind_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
                arguments.add(self.map(|$value| $sqlite))
            }
            fn bind_postgres(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
                arguments.add(self.map(|$value| $postgres))
            }
        }
    };
}

bind!(&str, text => without_nul(text).into_owned(), without_nul(text).into_owned());
bind!(String, text => without_nul(&text).into_owned(), without_nul(&text).into_owned());
bind!(i64, number => number, number);
bind!(bool, is => is, is);
// sqlx writes as many fractional digits as there are, and such texts do not sort by time.
bind!(Timestamp, at => time_text(at), at);
bind!(Bytes, bytes => bytes.to_vec(), bytes.to_vec());
