//! What was given back of a payment, from whatever was seen of it, in any order: never less than was seen.
//!
//! Two kinds of events tell of it, and an endpoint may be sent only one: a charge with the sum of its refunds as it was
//! at some second, and each refund on its own. A refund that failed is in the sums of charges that were seen before it
//! did, and is taken out of them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_stripe::{Charge, Refund};

/// What was seen of what was given back, by charge (`ch_…`; the empty name for refunds that name none).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GivenBack(BTreeMap<String, OfCharge>);

/// Something that was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Returned {
    /// Minor units.
    pub amount: i64,
    /// When the last of it was seen; Unix seconds.
    pub at: Option<i64>,
}

/// What was seen of one charge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OfCharge {
    /// Sums that its snapshots showed, with the newest second of each.
    #[serde(rename = "s", default, skip_serializing_if = "BTreeMap::is_empty")]
    sums: BTreeMap<i64, i64>,
    /// Its refunds by name.
    #[serde(rename = "r", default, skip_serializing_if = "BTreeMap::is_empty")]
    refunds: BTreeMap<String, OfRefund>,
    /// What was asked for and not captured, which Stripe counts among what was given back, though it never was paid.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    uncaptured: Option<Uncaptured>,
}

/// What a charge's newest snapshot shows as not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Uncaptured {
    #[serde(rename = "t")]
    second: i64,
    #[serde(rename = "n")]
    amount: i64,
}

/// What was seen of one refund.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OfRefund {
    #[serde(rename = "n")]
    amount: i64,
    /// The newest second that it was seen at.
    #[serde(rename = "t")]
    second: i64,
    /// The first second that it was seen to have failed at, which is for good.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    failed_at: Option<i64>,
}

impl GivenBack {
    /// Notes a charge as it was at `second`.
    pub(super) fn see_charge(&mut self, charge: &Charge, second: i64) {
        let known = self.0.entry(charge.id.clone()).or_default();
        let newest = known.sums.entry(charge.amount_refunded).or_insert(second);
        *newest = (*newest).max(second);
        let sums = known.sums.clone();
        // A sum that was seen later and is no smaller says all that this one says.
        let is_needed = |sum: &i64, at: &i64| !sums.iter().any(|(other, then)| other > sum && then >= at);
        known.sums.retain(|sum, at| is_needed(sum, at));
        if let Some(captured) = charge.amount_captured {
            let amount = charge.amount.saturating_sub(captured).max(0);
            known.uncaptured = known.uncaptured.into_iter().chain([Uncaptured { second, amount }]).max();
        }
    }

    /// Notes a refund as it was at `second`.
    pub(super) fn see_refund(&mut self, refund: &Refund, second: i64) {
        let known = self.0.entry(refund.charge.clone().unwrap_or_default()).or_default();
        let known = known.refunds.entry(refund.id.clone()).or_default();
        known.amount = known.amount.max(refund.amount);
        known.second = known.second.max(second);
        if matches!(refund.status.as_deref(), Some("failed" | "canceled")) {
            known.failed_at = known.failed_at.into_iter().chain([second]).min();
        }
    }

    /// What all of that comes to.
    pub(super) fn total(&self) -> Returned {
        self.0.values().map(OfCharge::total).fold(Returned::default(), |all, one| Returned {
            amount: all.amount.saturating_add(one.amount),
            at: all.at.max(one.at),
        })
    }
}

impl OfCharge {
    fn total(&self) -> Returned {
        let failed_since = |second: i64| {
            let later = self.refunds.values().filter(|refund| refund.failed_at.is_some_and(|failed| failed >= second));
            later.fold(0_i64, |sum, refund| sum.saturating_add(refund.amount))
        };
        let by_sums = self.sums.iter().map(|(sum, second)| sum.saturating_sub(failed_since(*second))).max();
        let good = || self.refunds.values().filter(|refund| refund.failed_at.is_none());
        let by_refunds = good().fold(0_i64, |sum, refund| sum.saturating_add(refund.amount));
        let total = by_sums.unwrap_or_default().max(by_refunds);
        // A sum that is smaller than what was not captured is one from before it was released.
        let released = self.uncaptured.map_or(0, |uncaptured| uncaptured.amount);
        let amount = if total >= released { total - released } else { total }.max(0);
        let at = self.sums.values().copied().chain(good().map(|refund| refund.second)).max();
        Returned { amount, at: at.filter(|_| amount > 0) }
    }
}
