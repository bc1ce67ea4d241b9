//! The deployment's own keys: what signs the leases of desktop apps, and what fingerprints of machines are hashed with.
//!
//! They are made once, by whichever replica starts first, and kept in the database under `ENCRYPTION_KEY`. When that is
//! rotated they are sealed again and stay what they are: a machine keeps its seat, and a lease its signature.

mod fingerprint;
mod lease;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};
use tollgate_shared::{Rng, Timestamp};
use zeroize::Zeroizing;

pub use self::fingerprint::FingerprintKey;
pub use self::lease::{Jwk, LeaseKey};
use crate::sealer::Sealer;

/// Random bytes of each key: what Ed25519 takes for a seed, and as many as SHA-256 gives.
const KEY_BYTES: usize = 32;

const FINGERPRINT: &str = "fingerprint";
const LEASE: &str = "lease";

record! {
    /// A row of `deployment_keys`.
    pub struct StoredDeploymentKey in "deployment_keys" {
        /// `fingerprint` or `lease`.
        pub name: String,
        /// The key under `ENCRYPTION_KEY`.
        pub sealed: Bytes,
        /// When it was made.
        pub created_at: Timestamp,
    }
}

/// The deployment's keys, open.
#[derive(Debug)]
pub struct DeploymentKeys {
    /// What fingerprints of machines are hashed with.
    pub fingerprint: FingerprintKey,
    /// What leases are signed with.
    pub lease: LeaseKey,
}

/// The keys of the database cannot be opened. Nothing must be put in their place: every seat hangs on the one, and every
/// lease that was given out on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not open the deployment's {name} key: it is in the database under another ENCRYPTION_KEY; \
     list that one too, as in ENCRYPTION_KEY=new,old"
)]
pub struct Unopenable {
    /// Which of them.
    pub name: &'static str,
}

impl DeploymentKeys {
    /// The keys in `rows`, or none while one of them is missing. The second is whether all of them are under the key that
    /// encrypts now.
    pub fn of_rows(rows: &[StoredDeploymentKey], sealer: &Sealer) -> Result<Option<(Self, bool)>, Unopenable> {
        let open = |name: &'static str| {
            let Some(row) = rows.iter().find(|row| row.name == name) else { return Ok(None) };
            let plain = sealer.open(&seal_context(name), &row.sealed).ok_or(Unopenable { name })?;
            let key = <[u8; KEY_BYTES]>::try_from(&plain[..]).map_err(|_| Unopenable { name })?;
            Ok(Some(Zeroizing::new(key)))
        };
        let (Some(fingerprint), Some(lease)) = (open(FINGERPRINT)?, open(LEASE)?) else { return Ok(None) };
        let keys = Self { fingerprint: FingerprintKey::new(&*fingerprint), lease: LeaseKey::of_seed(&lease) };
        Ok(Some((keys, rows.iter().all(|row| sealer.is_current(&row.sealed)))))
    }
}

/// The rows as they are.
pub async fn load(tx: &mut Tx) -> Result<Vec<StoredDeploymentKey>, DbError> {
    tx.load("name", &[FINGERPRINT, LEASE].map(str::to_owned).into(), Lock::None).await
}

/// The rows, locked; keys that are missing are made. Of several replicas that do so at once one makes them, and the others
/// get those.
pub async fn load_or_make(tx: &mut Tx, sealer: &Sealer, now: Timestamp, rng: &Rng) -> Result<UnitOfWork, DbError> {
    let fresh = [FINGERPRINT, LEASE].map(|name| {
        let key = Zeroizing::new(rng.bytes::<KEY_BYTES>());
        let sealed = sealer.seal(&seal_context(name), &*key, rng);
        StoredDeploymentKey { name: name.to_owned(), sealed, created_at: now }
    });
    let mut work = UnitOfWork::new(now, rng.clone());
    work.add_loaded(tx.load_or_insert(&fresh.iter().collect::<Vec<_>>()).await?);
    Ok(work)
}

/// Opens the keys of `work`, and seals those again that are not under the key that encrypts now.
pub fn open(work: &mut UnitOfWork, sealer: &Sealer) -> Result<DeploymentKeys, Unopenable> {
    let rows: Vec<StoredDeploymentKey> = work.all().cloned().collect();
    let (keys, _) = DeploymentKeys::of_rows(&rows, sealer)?.expect("both were loaded or made");
    for row in rows.into_iter().filter(|row| !sealer.is_current(&row.sealed)) {
        let context = seal_context(&row.name);
        let plain = sealer.open(&context, &row.sealed).expect("it has just been opened");
        work.insert(StoredDeploymentKey { sealed: sealer.seal(&context, &plain, work.rng()), ..row });
    }
    work.release_savepoint();
    Ok(keys)
}

/// What a sealed key is bound to: the one cannot be passed off as the other.
fn seal_context(name: &str) -> String {
    format!("deployment_key:{name}")
}
