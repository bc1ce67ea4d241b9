//! The deployment's keys, from the database; see [`tollgate_domain::deployment_keys`].

pub mod routes;
#[cfg(test)]
mod tests;

use tollgate_db::DbError;
use tollgate_domain::deployment_keys::{self, DeploymentKeys, Unopenable};

use crate::app::App;
use crate::http::error::ApiError;

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// They are there, under another `ENCRYPTION_KEY`.
    #[error(transparent)]
    Unopenable(#[from] Unopenable),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl KeysError {
    /// A word for logs.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unopenable(_) => "encryption_key",
            Self::Database(failure) => failure.class(),
        }
    }

    /// Whether the same may work later, without anybody changing the configuration.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database(failure) if failure.is_transient())
    }
}

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Unopenable(_) => Self::internal_because(error.class(), error.to_string()),
            KeysError::Database(failure) => failure.into(),
        }
    }
}

impl App {
    /// The deployment's keys. Read when they are first needed, made if the database has none, and kept for as long as the
    /// process lives.
    pub async fn deployment_keys(&self) -> Result<&DeploymentKeys, KeysError> {
        self.keys.get_or_try_init(|| self.read_or_make_keys()).await
    }

    async fn read_or_make_keys(&self) -> Result<DeploymentKeys, KeysError> {
        let sealer = &*self.settings.sealer;
        let rows = deployment_keys::load(&mut self.read().await?).await?;
        if let Some((keys, true)) = DeploymentKeys::of_rows(&rows, sealer)? {
            return Ok(keys);
        }
        let mut tx = self.begin_write().await?;
        let mut work = deployment_keys::load_or_make(&mut tx, sealer, self.clock.now(), &self.rng).await?;
        let keys = deployment_keys::open(&mut work, sealer)?;
        work.write(&mut tx).await?;
        tx.commit().await?;
        Ok(keys)
    }
}
