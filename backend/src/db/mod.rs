//! The door to the database: one SQL text, two engines, no `if` outside of here.
//!
//! A verb gets a [`Tx`] and says `tx.sql("… $1 …").bind(x).one::<Row>().await`, or moves whole rows in bulk with
//! [`Tx::load`], [`Tx::insert`] and [`Tx::write`]; a table's row is declared by [`record!`](crate::record). What can go
//! wrong is a [`DbError`], in classes to decide by. Time and ids come in as parameters.
//!
//! | file | what |
//! |---|---|
//! | `url`, `open` | where the database is; its connections and their limits |
//! | `tx` | a transaction, its statements, its end |
//! | `value`, `column` | what goes in and comes out, and its one form on each engine |
//! | `record`, `bulk`, `writes` | a table's rows: their SQL, their parameters, those of several tables at once |
//! | `unit_of_work` | the rows of a transaction: loaded, changed in memory, written at once |
//! | `migrate` | the schema's versions |
//! | `error`, `faults` | what fails, and what a test makes fail |
//! | `testing` | both engines for a test |

mod bulk;
pub mod column;
mod error;
mod faults;
pub mod migrate;
mod open;
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

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

pub use self::column::Column;
pub use self::error::DbError;
pub use self::faults::{Faults, Moment, Operation};
pub use self::migrate::SchemaProblem;
pub use self::record::{Record, Statements};
pub use self::tx::{Lock, Query, Row, Tx};
pub use self::unit_of_work::{Announcement, Change, Changes, Effect, UnitOfWork};
pub use self::url::{DatabaseUrl, UnusableUrl};
pub use self::value::{Bind, Json, Kind, Value, storable};
pub use self::writes::Writes;
pub use crate::record;

use self::open::Pools;

/// How long [`Db::ready`] waits: whoever asks, asks again.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    url: DatabaseUrl,
    pools: Pools,
    faults: Option<Arc<Faults>>,
    /// Why this program must not use the schema, if it found that out when it wanted to migrate it.
    refused: Arc<Mutex<Option<SchemaProblem>>>,
}

impl Db {
    /// A database that is connected to when it is first needed: one that is away now may be there then. Makes the folder
    /// of a file.
    pub fn open(url: &DatabaseUrl) -> Result<Self, DbError> {
        let pools = Pools::open(url)?;
        Ok(Self { url: url.clone(), pools, faults: None, refused: Arc::default() })
    }

    /// The same database, whose operations `faults` counts and can fail.
    #[cfg(any(test, feature = "testing"))]
    pub fn with_faults(mut self, faults: Arc<Faults>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        self.pools.engine()
    }

    /// Where it is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Brings the schema to this program's version. Safe to run on several replicas at once: one migrates, the others
    /// wait for it and then find nothing to do. Refuses a schema that is newer than this program.
    pub async fn migrate(&self) -> Result<(), DbError> {
        let migrated = migrate::migrate(self).await;
        let refused = if let Err(DbError::Schema(problem)) = &migrated { Some(problem.clone()) } else { None };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        migrated
    }

    /// Whether it answers, and holds the schema that this program needs. A schema that somebody else has made newer
    /// since is no reason to stop: in a deployment the old replicas work until they are replaced.
    pub async fn ready(&self) -> Result<(), DbError> {
        if let Some(problem) = &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(DbError::Schema(problem.clone()));
        }
        let asked = timeout(READY_WITHIN, migrate::check(self)).await;
        asked.unwrap_or_else(|_| Err(DbError::timed_out("it did not answer in time")))
    }

    /// A transaction that only reads, all of it as of one moment.
    pub async fn read(&self) -> Result<Tx, DbError> {
        self.count_begin()?;
        self.pools.read(self.faults.clone()).await
    }

    /// A transaction that writes. On SQLite the only one at that moment.
    pub async fn write(&self) -> Result<Tx, DbError> {
        self.count_begin()?;
        self.pools.write(self.faults.clone()).await
    }

    /// How many of the inbox's writers can be at work at once. On SQLite there is one writer.
    pub fn inbox_writers(&self) -> u32 {
        self.pools.inbox_writers()
    }

    /// A transaction for a writer of the inbox; on PostgreSQL they have connections of their own.
    pub async fn inbox(&self) -> Result<Tx, DbError> {
        self.count_begin()?;
        self.pools.inbox(self.faults.clone()).await
    }

    /// How many connections are open, and how many of them idle.
    pub fn connections(&self) -> (u32, usize) {
        self.pools.connections()
    }

    /// Ends every connection, once what is under way has ended.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    fn count_begin(&self) -> Result<(), DbError> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.before(Operation::Begin))
    }
}
