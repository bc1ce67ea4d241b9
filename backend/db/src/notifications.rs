//! What processes on one PostgreSQL tell each other, without a row.

use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::error::DbError;
use crate::open::{CONNECT_TIMEOUT, as_we_connect};
use crate::url::{DatabaseUrl, Place};

/// A connection of its own that hears what [`Db::notify`](crate::Db::notify) tells to one channel.
///
/// It hears nothing of what was told before it listened, or after its connection was cut. So when [`Notifications::next`]
/// fails, whoever has it drops it, listens anew, and then looks at all that might have been told meanwhile.
pub struct Notifications(PgListener);

impl Notifications {
    /// Begins to listen; what is told from then on is heard. None on SQLite, where there is nobody to hear.
    pub async fn listen(url: &DatabaseUrl, channel: &str) -> Result<Option<Self>, DbError> {
        let Place::Postgres(options) = &url.0 else { return Ok(None) };
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(as_we_connect(options));
        let mut listener = PgListener::connect_with(&pool).await?;
        // It would connect again by itself and say nothing of what it has not heard.
        listener.eager_reconnect(false);
        listener.listen(channel).await?;
        Ok(Some(Self(listener)))
    }

    /// The next payload. Who gives up waiting misses nothing. After a failure it hears nothing any more.
    pub async fn next(&mut self) -> Result<String, DbError> {
        // The driver says that a connection was lost in either of two ways, by the kind of its end.
        match self.0.try_recv().await? {
            Some(notification) => Ok(notification.payload().to_owned()),
            None => Err(DbError::Unavailable { reason: "the connection that listens was cut".into() }),
        }
    }
}
