//! The SQL of `contributions`, but for what the unit of work does.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Lock, Tx, row};
use tollgate_shared::Timestamp;

use crate::contributions::{Contribution, ReportedPayment};

/// The contribution that `pi_…`, `in_…` or `ch_…` is known to be of.
pub async fn of_reference(tx: &mut Tx, reference: &str) -> Result<Option<Contribution>, DbError> {
    let key = BTreeSet::from([reference.to_owned()]);
    let told: Vec<ReportedPayment> = tx.load("id", &key, Lock::None).await?;
    if let Some(told) = told.into_iter().next() {
        return Ok(tx.load("id", &BTreeSet::from([told.contribution_id]), Lock::None).await?.pop());
    }
    Ok(tx.load_by_either([("invoice_id", &key), ("reference", &key)], Lock::None).await?.pop())
}

/// What a membership owes and has paid.
pub async fn of_membership(tx: &mut Tx, membership_id: &str) -> Result<Vec<Contribution>, DbError> {
    tx.load("membership_id", &BTreeSet::from([membership_id.to_owned()]), Lock::None).await
}

row! {
    /// A contribution about which something is to be done.
    pub struct Due {
        /// `con_…`
        pub id: String,
        /// Whose it is.
        pub membership_id: String,
    }
}

/// The contributions about which something is to be done by `now` and that nobody is at, the longest due first.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Due>, DbError> {
    tx.sql(
        "SELECT id, membership_id
         FROM contributions
         WHERE step_at <= $1 AND (asking_until IS NULL OR asking_until <= $1)
         ORDER BY step_at, id
         LIMIT $2",
    )
    .bind(now)
    .bind(limit)
    .all()
    .await
}
