//! The line between the processes of a deployment: PostgreSQL's notifications, or Redis' Pub/Sub.
//!
//! Neither keeps anything: what is told while nobody listens, or while a connection is down, is lost.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, RedisError};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio::time::{error, timeout};
use tollgate_db::{DatabaseUrl, Db, DbError, Lock, Notifications, record};
use tollgate_shared::Secret;

use super::message::Message;

/// PostgreSQL's channel.
const CHANNEL: &str = "tollgate_license_events";

/// What the names of Redis' channels begin with: one a licence, and some for all.
const PREFIX: &str = "license:";

/// How long a server of Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// How many licences' channels are remembered.
const CHANNELS_MAX: usize = 20_000;

/// Which line it is.
pub(super) enum Line {
    Postgres { db: Db, listen: DatabaseUrl },
    Redis { db: Db, client: Box<redis::Client>, state: Mutex<RedisState> },
}

/// What is kept of Redis from one time to the next.
#[derive(Default)]
pub(super) struct RedisState {
    connection: Option<MultiplexedConnection>,
    /// A licence has one key for good.
    channels: HashMap<String, String>,
}

/// One end of the line.
pub(super) enum Ear {
    Postgres(Notifications),
    Redis(Box<PubSubStream>),
}

/// Why nothing can be told or heard. Holds no address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("Redis: {0}")]
    Redis(String),
    #[error("the connection that listens was cut")]
    Cut,
    #[error("what this process said did not come back to it (DATABASE_LISTEN_URL must not be a pooler's address)")]
    Deaf,
}

record! {
    /// What a licence's channel is named by.
    struct LicenseOfKey in "licenses" {
        /// `lic_…`
        pub id: String,
        /// What its holder shows.
        pub key: String,
    }
}

impl Line {
    /// The line of a deployment; none where one process is all there is.
    pub(super) fn open(db: &Db, listen: &DatabaseUrl, redis: Option<&Secret>) -> Result<Option<Self>, LineError> {
        if let Some(url) = redis {
            let client = redis::Client::open(url.expose())?.into();
            return Ok(Some(Self::Redis { db: db.clone(), client, state: Mutex::default() }));
        }
        let is_file = listen.file().is_some();
        Ok((!is_file).then(|| Self::Postgres { db: db.clone(), listen: listen.clone() }))
    }

    /// What it is called in metrics and logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "postgres",
            Self::Redis { .. } => "redis",
        }
    }

    /// Begins to listen: what is told from then on is heard.
    pub(super) async fn listen(&self) -> Result<Ear, LineError> {
        match self {
            Self::Postgres { listen, .. } => {
                let notifications = Notifications::listen(listen, CHANNEL).await?;
                Ok(Ear::Postgres(notifications.expect("it is no file")))
            }
            Self::Redis { client, .. } => {
                let (mut sink, stream) = timeout(REDIS_TIMEOUT, client.get_async_pubsub()).await??.split();
                timeout(REDIS_TIMEOUT, sink.psubscribe(format!("{PREFIX}*"))).await??;
                Ok(Ear::Redis(Box::new(stream)))
            }
        }
    }

    /// Tells something to all who listen, this process among them.
    pub(super) async fn tell(&self, origin: &str, messages: Vec<Message>) -> Result<(), LineError> {
        match self {
            Self::Postgres { db, .. } => {
                let payloads: Vec<_> = messages.iter().map(|message| message.to_text(origin)).collect();
                Ok(db.notify(CHANNEL, &payloads).await?)
            }
            Self::Redis { db, client, state } => {
                let mut state = state.lock().await;
                let told = state.tell(db, client, origin, messages).await;
                // A connection that failed once is not used again.
                told.inspect_err(|_| state.connection = None)
            }
        }
    }
}

impl RedisState {
    async fn tell(
        &mut self,
        db: &Db,
        client: &redis::Client,
        origin: &str,
        messages: Vec<Message>,
    ) -> Result<(), LineError> {
        self.learn_channels(db, &messages).await?;
        let mut pipe = redis::pipe();
        for message in messages {
            match message {
                Message::Rung(licenses) => {
                    for license in licenses {
                        let Some(channel) = self.channels.get(&license) else { continue };
                        pipe.publish(channel, Message::Rung(vec![license]).to_text(origin)).ignore();
                    }
                }
                Message::Opened { ref license_id, .. } => {
                    let Some(channel) = self.channels.get(license_id) else { continue };
                    pipe.publish(channel, message.to_text(origin)).ignore();
                }
                Message::AllRung | Message::Test(_) => {
                    pipe.publish(format!("{PREFIX}all"), message.to_text(origin)).ignore();
                }
            }
        }
        let mut connection = if let Some(connection) = self.connection.clone() {
            connection
        } else {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(REDIS_TIMEOUT))
                .set_response_timeout(Some(REDIS_TIMEOUT));
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            self.connection.insert(connection).clone()
        };
        Ok(pipe.query_async::<()>(&mut connection).await?)
    }

    /// Finds out the channels of licences that are not known yet.
    async fn learn_channels(&mut self, db: &Db, messages: &[Message]) -> Result<(), LineError> {
        let named = messages.iter().flat_map(|message| match message {
            Message::Rung(licenses) => licenses.iter().collect(),
            Message::Opened { license_id, .. } => vec![license_id],
            Message::AllRung | Message::Test(_) => Vec::new(),
        });
        let unknown: BTreeSet<_> = named.filter(|license| !self.channels.contains_key(*license)).cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if self.channels.len() + unknown.len() > CHANNELS_MAX {
            self.channels.clear();
        }
        let licenses: Vec<LicenseOfKey> = db.read_stream().await?.load("id", &unknown, Lock::None).await?;
        // The key opens what it is the key of, and whoever watches Redis sees the names of its channels.
        self.channels.extend(licenses.into_iter().map(|license| {
            let channel = format!("{PREFIX}{}", hex::encode(Sha256::digest(&license.key)));
            (license.id, channel)
        }));
        Ok(())
    }
}

impl Ear {
    /// The next that is told. Who gives up waiting misses nothing. After a failure nothing is heard any more.
    pub(super) async fn next(&mut self) -> Result<String, LineError> {
        match self {
            Self::Postgres(notifications) => Ok(notifications.next().await?),
            Self::Redis(stream) => {
                let message = stream.next().await.ok_or(LineError::Cut)?;
                Ok(message.get_payload()?)
            }
        }
    }
}

impl From<RedisError> for LineError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error.category().to_owned())
    }
}

impl From<error::Elapsed> for LineError {
    fn from(_: error::Elapsed) -> Self {
        Self::Redis("it did not answer in time".to_owned())
    }
}
