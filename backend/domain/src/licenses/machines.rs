//! The machines that a licence is active on. A row is one activation: it ends for good, and the next one of the same
//! machine is another row. Long after it ended it is removed.

use std::collections::BTreeSet;

use chrono::Duration;
use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

use super::store;

record! {
    /// A row of `machines`.
    pub struct Machine in "machines" references "licenses" {
        /// `mac_…`
        pub id: String,
        /// The licence that it was activated for.
        pub license_id: String,
        /// The keyed hash of what the app knows the machine by, which is kept nowhere.
        pub fingerprint_hash: String,
        /// What its user calls it.
        pub name: Option<String>,
        /// Its operating system, as the app calls it.
        pub platform: Option<String>,
        /// The app's version when it was last heard of.
        pub app_version: Option<String>,
        /// When it took its seat.
        pub activated_at: Timestamp,
        /// When it was last heard of; behind the present by the few seconds for which that is only in memory.
        pub last_seen_at: Timestamp,
        /// When it gave its seat up.
        pub deactivated_at: Option<Timestamp>,
        /// The licence whose seat it holds: `license_id`, until it is deactivated.
        pub seat_of: Option<String>,
    }
}

impl Machine {
    /// Whether nothing has been heard of it for so long that its seat may be given to another machine.
    pub fn is_stale(&self, now: Timestamp, stale_after: Duration) -> bool {
        now - self.last_seen_at >= stale_after
    }

    /// Takes in that it was heard of at `at`. What is older than what is known changes nothing.
    pub fn see(&mut self, at: Timestamp, app_version: Option<&str>) {
        if at >= self.last_seen_at {
            self.last_seen_at = at;
            if let Some(app_version) = app_version {
                self.app_version = Some(app_version.to_owned());
            }
        }
    }
}

/// The machines that hold a seat of the licence, the one that took it first being the first.
pub fn of_license<'w>(work: &'w UnitOfWork, license_id: &str) -> Vec<&'w Machine> {
    let holds = |machine: &&Machine| machine.seat_of.as_deref() == Some(license_id);
    let mut machines: Vec<_> = work.all().filter(holds).collect();
    machines.sort_by(|a, b| (a.activated_at, &a.id).cmp(&(b.activated_at, &b.id)));
    machines
}

/// The machines that hold seats of any of `licenses`, those that took them first being the first.
pub async fn in_seats_of(tx: &mut Tx, licenses: &BTreeSet<String>, lock: Lock) -> Result<Vec<Machine>, DbError> {
    let mut machines: Vec<Machine> = tx.load("seat_of", licenses, lock).await?;
    machines.sort_by(|a, b| (a.activated_at, &a.id).cmp(&(b.activated_at, &b.id)));
    Ok(machines)
}

/// Machines that gave up their seats before `before`, the earliest first and at most `limit`; locked.
pub async fn lock_deactivated(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<BTreeSet<String>, DbError> {
    let ids = store::deactivated_before(tx, before, limit).await?;
    let locked: Vec<Machine> = tx.load("id", &ids, Lock::ForUpdate).await?;
    Ok(locked.into_iter().map(|machine| machine.id).collect())
}

/// Forgets machines that gave up their seats, of which nothing else is kept; says how many.
pub async fn forget(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<u64, DbError> {
    store::delete_deactivated(tx, ids).await
}
