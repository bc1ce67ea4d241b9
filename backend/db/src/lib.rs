//! Data access for both engines: one SQL text, two engines, and no `if` about them outside of here.
//!
//! A verb gets a [`Tx`] and calls `tx.sql("… $1 …").bind(x).one::<Row>().await`, or moves whole rows in bulk with
//! [`Tx::load`], [`Tx::insert`] and [`Tx::write`]; a table's row is declared by [`record!`]. What can go wrong is a
//! [`DbError`], in classes to decide by. Time, ids and the migrations come in as arguments: no table of the product's is
//! known here.
//!
//! | file | what |
//! |---|---|
//! | `engine`, `url`, `open` | which database, where it is; its connections and their limits |
//! | `database`, `tx` | the database; a transaction, its statements, its end |
//! | `value`, `column` | what goes in and comes out, and its one form on each engine |
//! | `record`, `bulk`, `writes` | a table's rows: their SQL, their parameters, those of several tables at once |
//! | `unit_of_work` | the rows of a transaction: loaded, changed in memory, written at once |
//! | `page` | pages of lists, and the cursors from one to the next |
//! | `migrate` | the schema's versions |
//! | `notifications` | what processes on one PostgreSQL tell each other |
//! | `error`, `faults` | what fails, and what a test makes fail |
//! | `testing` | both engines for a test |

mod bulk;
pub mod column;
mod database;
mod engine;
mod error;
mod faults;
mod migrate;
mod notifications;
mod open;
pub mod page;
mod private_file;
mod record;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tx;
mod unit_of_work;
mod url;
mod value;
mod writes;

pub use self::column::Column;
pub use self::database::Db;
pub use self::engine::Engine;
pub use self::error::{DbError, SchemaProblem};
pub use self::faults::{Faults, Moment, Operation};
pub use self::migrate::{Migration, Migrations};
pub use self::notifications::Notifications;
pub use self::record::{Record, Statements};
pub use self::tx::{Lock, Query, Row, Tx};
pub use self::unit_of_work::{Announcement, Change, Changes, Draft, Effect, UnitOfWork, columns_of};
pub use self::url::{DatabaseUrl, UnusableUrl};
pub use self::value::{Bind, Json, Kind, Value, id_set, storable};
pub use self::writes::Writes;
