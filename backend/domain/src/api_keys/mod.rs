//! API keys: 256 random bits, stored as their hash, shown once.

pub mod holder;
pub mod key;
pub mod store;
pub mod view;

use bytes::Bytes;
use tollgate_shared::Timestamp;

use crate::api_keys::key::ApiKey;
use crate::customers;
use crate::sealer::Sealer;
use tollgate_db::{DbError, Tx, UnitOfWork, record};

record! {
    /// A row of `api_keys`.
    pub struct StoredKey in "api_keys" {
        /// `key_…`
        pub id: String,
        /// Whose it is.
        pub customer_id: String,
        /// `webhook` for the one that a first subscription gives, `user` for those made by hand.
        pub origin: String,
        /// What its maker calls it.
        pub name: Option<String>,
        /// The beginning of the key, to tell keys apart by.
        pub prefix: String,
        /// Hex SHA-256 of the key.
        pub hash: String,
        /// The key itself under `ENCRYPTION_KEY`, until it is revealed.
        pub sealed: Option<Bytes>,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
    }
}

impl StoredKey {
    /// Whether it is of Stripe's live mode.
    pub fn is_live(&self) -> bool {
        key::is_live(&self.prefix)
    }
}

/// The key `id`, if it is one of the user's.
pub async fn of_user(tx: &mut Tx, user_id: &str, id: &str) -> Result<Option<StoredKey>, DbError> {
    customers::thing_of_user(tx, user_id, id, |key: &StoredKey| &key.customer_id).await
}

/// What a sealed copy is bound to: it cannot be passed off as another row's.
pub fn seal_context(id: &str) -> String {
    format!("api_key:{id}")
}

/// Makes the key that a customer's first subscription gives, once.
pub fn grant(work: &mut UnitOfWork, sealer: &Sealer, live: bool, customer_id: &str) {
    let key = ApiKey::generate(live, work.rng());
    let id = work.new_id("key");
    work.append_if_absent(StoredKey {
        sealed: Some(sealer.seal(&seal_context(&id), key.expose().as_bytes(), work.rng())),
        id,
        customer_id: customer_id.to_owned(),
        origin: "webhook".to_owned(),
        name: None,
        prefix: key.prefix(),
        hash: key.hash(),
        created_at: work.now(),
        revoked_at: None,
    });
}
