//! Devices: where a user's pushes go, a browser's or an app's.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tollgate_db::{UnitOfWork, record};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

/// How many devices a user may have.
pub const DEVICES_MAX: usize = 20;

record! {
    /// A row of `devices`.
    pub struct Device in "devices" {
        /// `dev_…`
        pub id: String,
        /// Whose it is: who registered it last.
        pub user_id: String,
        /// A [`Kind`].
        pub kind: String,
        /// `ios`, `android` or what else the company's gateway knows; none for a browser.
        pub platform: Option<String>,
        /// What its user calls it.
        pub name: Option<String>,
        /// What there is one of: a digest of where its pushes go.
        pub address_hash: String,
        /// A browser's endpoint, or an app's token.
        pub address: String,
        /// A browser's public key.
        pub p256dh: Option<String>,
        /// What a browser's messages are authenticated with.
        pub auth: Option<String>,
        /// When it was first registered.
        pub created_at: Timestamp,
        /// When it was last sent anything.
        pub last_sent_at: Option<Timestamp>,
    }
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A browser, by Web Push.
    WebPush,
    /// An app, by the company's own gateway.
    App,
}

impl Kind {
    /// Its name on the wire and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebPush => "webpush",
            Self::App => "app",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::WebPush, Self::App].into_iter().find(|kind| kind.name() == name)
    }
}

/// A device that is to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the row")]
pub struct NewDevice {
    pub kind: Kind,
    pub platform: Option<String>,
    pub name: Option<String>,
    pub address: String,
    /// The one spelling of all that lead where `address` does.
    pub normal_address: String,
    pub p256dh: Option<String>,
    pub auth: Option<String>,
}

impl NewDevice {
    /// What there is one of.
    pub fn address_hash(&self) -> String {
        self.hash_of(&self.normal_address)
    }

    /// By what it may be known already: earlier releases went by the address as it was given.
    pub fn known_hashes(&self) -> BTreeSet<String> {
        BTreeSet::from([self.address_hash(), self.hash_of(&self.address)])
    }

    fn hash_of(&self, address: &str) -> String {
        let platform = self.platform.as_deref().unwrap_or_default();
        hex::encode(Sha256::digest(format!("{}:{platform}:{address}", self.kind.name())))
    }
}

/// A user has as many devices as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user may have {DEVICES_MAX} devices")]
pub struct TooMany;

/// Registers a device of a user, whose devices are here, with whoever else's has the same address. Whether it is new: one
/// that another user has registered before is this one's from now on, since it is one browser.
pub fn register(work: &mut UnitOfWork, user_id: &str, new: NewDevice) -> Result<(Device, bool), TooMany> {
    let (address_hash, hashes) = (new.address_hash(), new.known_hashes());
    let by_hash = |hash: &String| work.all().find(|row: &&Device| row.address_hash == *hash).cloned();
    let known = by_hash(&address_hash).or_else(|| hashes.iter().find_map(by_hash));
    let is_own = known.as_ref().is_some_and(|row| row.user_id == user_id);
    if !is_own && work.all().filter(|row: &&Device| row.user_id == user_id).count() >= DEVICES_MAX {
        return Err(TooMany);
    }
    let fresh = || (work.new_id("dev"), work.now(), None);
    let (id, created_at, last_sent_at) = match &known {
        Some(row) if is_own => (row.id.clone(), row.created_at, row.last_sent_at),
        // Of a row that moves the key stays: there is one of an address.
        Some(row) => (row.id.clone(), work.now(), None),
        None => fresh(),
    };
    let row = Device {
        id,
        user_id: user_id.to_owned(),
        kind: new.kind.name().to_owned(),
        platform: new.platform,
        name: new.name,
        address_hash,
        address: new.address,
        p256dh: new.p256dh,
        auth: new.auth,
        created_at,
        last_sent_at,
    };
    if known.as_ref() != Some(&row) {
        work.insert(row.clone());
    }
    Ok((row, !is_own))
}

/// A device as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Device")]
pub struct DeviceView {
    id: String,
    kind: String,
    platform: Option<String>,
    name: Option<String>,
    created_at: String,
    last_sent_at: Option<String>,
}

impl From<Device> for DeviceView {
    fn from(row: Device) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            platform: row.platform,
            name: row.name,
            created_at: rfc3339(row.created_at),
            last_sent_at: row.last_sent_at.map(rfc3339),
        }
    }
}
