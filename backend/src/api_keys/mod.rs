//! API keys: 256 random bits, stored as their hash, shown once.

pub mod key;
pub mod routes;
pub mod store;

use bytes::Bytes;
use tollgate_shared::{Rng, Timestamp, ids};

use crate::api_keys::key::ApiKey;
use crate::db::record;
use crate::sealer::Sealer;

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

/// What a sealed copy is bound to: it cannot be passed off as another row's.
pub fn seal_context(id: &str) -> String {
    format!("api_key:{id}")
}

/// The key that a customer's first subscription gives.
pub fn grant(now: Timestamp, rng: &Rng, sealer: &Sealer, live: bool, customer_id: &str) -> StoredKey {
    let key = ApiKey::generate(live, rng);
    let id = ids::new_id("key", now, rng);
    StoredKey {
        sealed: Some(sealer.seal(&seal_context(&id), key.expose().as_bytes(), rng)),
        id,
        customer_id: customer_id.to_owned(),
        origin: "webhook".to_owned(),
        name: None,
        prefix: key.prefix(),
        hash: key.hash(),
        created_at: now,
        revoked_at: None,
    }
}
