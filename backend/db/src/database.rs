//! The database: where transactions begin, and whether its schema is this program's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::engine::Engine;
use crate::error::{DbError, SchemaProblem};
use crate::faults::{Faults, Operation};
use crate::migrate::{self, Migrations};
use crate::open::Pools;
use crate::tx::Tx;
use crate::url::DatabaseUrl;

/// How long [`Db::ready`] waits: whoever asks, asks again.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    url: DatabaseUrl,
    pools: Pools,
    migrations: &'static Migrations,
    faults: Option<Arc<Faults>>,
    /// Why this program must not use the schema, if it found that out when it wanted to migrate it.
    refused: Arc<Mutex<Option<SchemaProblem>>>,
}

impl Db {
    /// A database that is connected to when it is first needed: one that is away now may be there then. Makes the folder
    /// of a file. `migrations` make its schema.
    pub fn open(url: &DatabaseUrl, migrations: &'static Migrations) -> Result<Self, DbError> {
        let pools = Pools::open(url)?;
        Ok(Self { url: url.clone(), pools, migrations, faults: None, refused: Arc::default() })
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
        let migrated = migrate::migrate(&self.pools, self.migrations).await;
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
        let check = async { migrate::check(&mut self.read().await?, self.migrations).await };
        let asked = timeout(READY_WITHIN, check).await;
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

    /// A transaction like [`Db::inbox`]'s that hardly waits for rows which somebody else holds; it takes no connection from
    /// the writers.
    pub async fn inbox_probe(&self) -> Result<Tx, DbError> {
        self.count_begin()?;
        self.pools.inbox_probe(self.faults.clone()).await
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
