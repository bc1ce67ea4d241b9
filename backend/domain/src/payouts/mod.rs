//! What was paid out of a pod: book-keeping. The money is moved by the company itself; here it is seen to that no more is
//! noted than the members have paid in.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

record! {
    /// A row of `payouts`.
    pub struct Payout in "payouts" references "pods" {
        /// `pay_…`
        pub id: String,
        /// What it was paid out of.
        pub pod_id: String,
        /// Whom it was paid to.
        pub membership_id: String,
        /// In the currency's minor unit.
        pub amount: i64,
        /// The pod's: ISO 4217, lower case.
        pub currency: String,
        /// What the company calls it; one of a name in a pod.
        pub reference: String,
        /// When it was paid.
        pub paid_at: Timestamp,
        /// What else is to be said.
        pub note: Option<String>,
        /// When we were told.
        pub created_at: Timestamp,
    }
}

/// A payout as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the row")]
pub struct NewPayout {
    pub pod_id: String,
    pub membership_id: String,
    pub amount: i64,
    pub currency: String,
    pub reference: String,
    pub paid_at: Option<Timestamp>,
    pub note: Option<String>,
}

/// Why a payout is not noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayoutError {
    /// The members have not paid in so much.
    #[error("the pot holds less than that")]
    ExceedsPot,
    /// Another one has that name.
    #[error("another payout of this pod has that reference")]
    Mismatch,
}

/// Notes a payout of a pod into which `contributed` was paid, whose payouts are here and whose row is locked. Whether it
/// is new: one of the same name is the same.
pub fn note(work: &mut UnitOfWork, new: NewPayout, contributed: i64) -> Result<(Payout, bool), PayoutError> {
    let of_pod: Vec<&Payout> = work.all().filter(|row: &&Payout| row.pod_id == new.pod_id).collect();
    if let Some(&known) = of_pod.iter().find(|row| row.reference == new.reference) {
        let is_same = (&known.membership_id, known.amount) == (&new.membership_id, new.amount);
        return if is_same { Ok((known.clone(), false)) } else { Err(PayoutError::Mismatch) };
    }
    let paid_out = of_pod.iter().fold(0_i64, |sum, row| sum.saturating_add(row.amount));
    if new.amount > contributed.saturating_sub(paid_out) {
        return Err(PayoutError::ExceedsPot);
    }
    let payout = Payout {
        id: work.new_id("pay"),
        pod_id: new.pod_id,
        membership_id: new.membership_id,
        amount: new.amount,
        currency: new.currency,
        reference: new.reference,
        paid_at: new.paid_at.unwrap_or(work.now()),
        note: new.note,
        created_at: work.now(),
    };
    work.insert(payout.clone());
    Ok((payout, true))
}

/// A payout as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Payout")]
pub struct PayoutView {
    id: String,
    pod_id: String,
    membership_id: String,
    amount: i64,
    currency: String,
    reference: String,
    paid_at: String,
    note: Option<String>,
    created_at: String,
}

impl From<Payout> for PayoutView {
    fn from(row: Payout) -> Self {
        Self {
            id: row.id,
            pod_id: row.pod_id,
            membership_id: row.membership_id,
            amount: row.amount,
            currency: row.currency,
            reference: row.reference,
            paid_at: rfc3339(row.paid_at),
            note: row.note,
            created_at: rfc3339(row.created_at),
        }
    }
}

/// A page of the payouts of a pod, the newest first.
pub async fn list(tx: &mut Tx, pod_id: &str, page: &Page) -> Result<List<PayoutView>, DbError> {
    let start = page.start();
    let ids: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM payouts
             WHERE pod_id = $1 AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC
             LIMIT $4",
        )
        .bind(pod_id)
        .bind(start.at)
        .bind(start.id)
        .bind(page.rows_wanted())
        .all()
        .await?;
    let ids: BTreeSet<_> = ids.into_iter().map(|(id,)| id).collect();
    let rows: Vec<Payout> = tx.load("id", &ids, Lock::None).await?;
    Ok(page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() }).map(PayoutView::from))
}

#[cfg(test)]
mod tests {
    use tollgate_shared::Rng;
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn payout(reference: &str, amount: i64) -> NewPayout {
        NewPayout {
            pod_id: "pod_1".to_owned(),
            membership_id: "mbr_1".to_owned(),
            amount,
            currency: "ngn".to_owned(),
            reference: reference.to_owned(),
            paid_at: None,
            note: None,
        }
    }

    #[test]
    fn no_more_is_paid_out_than_was_paid_in() {
        let mut work = UnitOfWork::new(from_unix(1_750_000_000).unwrap(), Rng::seeded(1));
        assert_eq!(note(&mut work, payout("a", 10_001), 10_000), Err(PayoutError::ExceedsPot));
        let (first, is_new) = note(&mut work, payout("a", 6000), 10_000).unwrap();
        assert!(is_new);
        assert_eq!(note(&mut work, payout("a", 6000), 10_000), Ok((first, false)), "the same again");
        assert_eq!(note(&mut work, payout("a", 6001), 10_000), Err(PayoutError::Mismatch));
        assert_eq!(note(&mut work, payout("b", 4001), 10_000), Err(PayoutError::ExceedsPot));
        assert!(note(&mut work, payout("b", 4000), 10_000).unwrap().1);
    }
}
