//! The database: where transactions begin, and whether its schema is this program's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::engine::Engine;
use crate::error::DbError;
use crate::faults::{Faults, Operation};
use crate::migrate::{self, Migrations};
use crate::open::Pools;
use crate::tx::Tx;
use crate::url::DatabaseUrl;

/// How long [`Db::ready`] waits: whoever asks, asks again.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer of [`Db::is_ready`] is given again.
const READY_INTERVAL: Duration = Duration::from_secs(1);

/// How many look into the log at the moment when an event is told: whoever has the stream, and who tells other processes.
const STREAMS_WARM: u32 = 2;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    url: DatabaseUrl,
    pools: Pools,
    migrations: &'static Migrations,
    faults: Option<Arc<Faults>>,
    /// Whether the schema was seen to be exactly this program's; see [`Db::admit`].
    was_ours: Arc<AtomicBool>,
    /// When it was last seen whether it is ready, and whether it was.
    last_ready: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl Db {
    /// A database that is connected to when it is first needed: one that is away now may be there then. Makes the folder
    /// of a file. `migrations` make its schema.
    pub fn open(url: &DatabaseUrl, migrations: &'static Migrations) -> Result<Self, DbError> {
        let pools = Pools::open(url)?;
        Ok(Self {
            url: url.clone(),
            pools,
            migrations,
            faults: None,
            was_ours: Arc::default(),
            last_ready: Arc::default(),
        })
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
        migrate::migrate(&self.pools, self.migrations).await?;
        self.was_ours.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether it answers, and holds the schema that this program needs.
    pub async fn ready(&self) -> Result<(), DbError> {
        let check = async {
            self.admit().await?;
            migrate::check_has_ours(&mut self.pools.read(None).await?, self.migrations).await
        };
        let asked = timeout(READY_TIMEOUT, check).await;
        asked.unwrap_or_else(|_| Err(DbError::timed_out("it did not answer in time")))
    }

    /// The same for whoever may ask as often as he likes: the answer of a moment ago will do.
    pub async fn is_ready(&self) -> bool {
        // Who asks while somebody else does gets his answer.
        let mut last = self.last_ready.lock().await;
        let recent = last.filter(|(at, _)| at.elapsed() < READY_INTERVAL);
        let (_, is_ready) = match recent {
            Some(recent) => recent,
            None => *last.insert((Instant::now(), self.ready().await.is_ok())),
        };
        is_ready
    }

    /// A transaction that only reads, all of it as of one moment: a look-up, which takes milliseconds.
    pub async fn read(&self) -> Result<Tx, DbError> {
        self.admit().await?;
        self.count_begin()?;
        self.pools.read(self.faults.clone()).await
    }

    /// The same for pages of lists and whatever else may take long. They have connections of their own, so that look-ups
    /// and [`Db::ready`] never wait for one.
    pub async fn read_list(&self) -> Result<Tx, DbError> {
        self.admit().await?;
        self.count_begin()?;
        self.pools.read_list(self.faults.clone()).await
    }

    /// The same for streams of events, of which there may be thousands that all look at once.
    pub async fn read_stream(&self) -> Result<Tx, DbError> {
        self.admit().await?;
        self.count_begin()?;
        self.pools.read_stream(self.faults.clone()).await
    }

    /// Tells `payloads` to every process that listens to `channel`; see [`Notifications`](crate::Notifications). Nobody
    /// can listen on SQLite, where this does nothing. Not to be done within a transaction that holds locks: PostgreSQL
    /// lets those that notify commit one by one.
    pub async fn notify(&self, channel: &'static str, payloads: &[String]) -> Result<(), DbError> {
        self.count_begin()?;
        let Some(mut tx) = self.pools.notify(self.faults.clone()).await? else { return Ok(()) };
        tx.notify(channel, payloads).await?;
        tx.commit().await
    }

    /// A transaction that writes. On SQLite the only one at that moment.
    pub async fn write(&self) -> Result<Tx, DbError> {
        self.admit().await?;
        self.count_begin()?;
        self.pools.write(self.faults.clone()).await
    }

    /// A transaction like [`Db::write`]'s for what would be done again if it were undone, such as removing what is old: a
    /// power cut may undo it, and nobody waits for the disk because of it.
    pub async fn upkeep(&self) -> Result<Tx, DbError> {
        self.admit().await?;
        self.count_begin()?;
        self.pools.upkeep(self.faults.clone()).await
    }

    /// Has what was written lately moved to where it stays. Engines do that by themselves, SQLite within the commit of
    /// whoever happens to write then: who writes much and has time does it himself, beside those who write.
    pub async fn write_back(&self) -> Result<(), DbError> {
        self.pools.write_back().await
    }

    /// Lets nobody in before the schema was seen to be exactly this program's, once: every transaction passes here.
    ///
    /// A program that finds a newer schema when it comes refuses it, whatever is asked of it: it cannot know what the
    /// newer program relies on, and would write rows that lack it. One that was at work before goes on when another makes
    /// the schema newer: from one release to the next tables are only added to, so that replicas can be replaced one by
    /// one. So the answer is kept once it is yes, and asked for again while it is no: the database may be migrated, or
    /// restored, meanwhile.
    async fn admit(&self) -> Result<(), DbError> {
        if self.was_ours.load(Ordering::Acquire) {
            return Ok(());
        }
        migrate::check_is_ours(&mut self.pools.read(None).await?, self.migrations).await?;
        self.was_ours.store(true, Ordering::Release);
        Ok(())
    }

    /// How many of the inbox's writers can be at work at once. On SQLite there is one writer.
    pub fn inbox_writers(&self) -> u32 {
        self.pools.inbox_writers()
    }

    /// A transaction for a writer of the inbox; on PostgreSQL they have connections of their own.
    pub async fn inbox(&self) -> Result<Tx, DbError> {
        self.admit().await?;
        self.count_begin()?;
        self.pools.inbox(self.faults.clone()).await
    }

    /// A transaction like [`Db::inbox`]'s that hardly waits for rows which somebody else holds; it takes no connection from
    /// the writers.
    pub async fn inbox_probe(&self) -> Result<Tx, DbError> {
        self.admit().await?;
        self.count_begin()?;
        self.pools.inbox_probe(self.faults.clone()).await
    }

    /// Opens the connections by which events come in and are told to streams: the first event waits for none. They are
    /// kept from then on.
    pub async fn warm_up(&self) -> Result<(), DbError> {
        let mut held = Vec::new();
        for _ in 0..self.inbox_writers() {
            held.push(self.inbox().await?);
        }
        for _ in 0..STREAMS_WARM {
            held.push(self.read_stream().await?);
        }
        for tx in held {
            tx.commit().await?;
        }
        Ok(())
    }

    /// How many connections are open, and how many of them idle.
    pub fn connections(&self) -> (u32, usize) {
        self.pools.connections()
    }

    /// Ends every connection, once what is in flight has ended.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    fn count_begin(&self) -> Result<(), DbError> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.before(Operation::Begin))
    }
}
