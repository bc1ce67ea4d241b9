//! The audit trail: each change of a tier, a status, a plan, with who made it and the event that caused it.
//!
//! A trail tells what we came to know and when, so it follows the order of arrival; what it leads to does not.

use tollgate_shared::{Rng, Timestamp, ids};

use crate::db::record;

record! {
    /// A row of `changes`.
    pub struct Change in "changes" {
        /// `chg_…`, in order of making.
        pub id: String,
        /// Whose change it is.
        pub customer_id: String,
        /// The subscription that changed; none for the customer's tier.
        pub subscription_id: Option<String>,
        /// When we made it.
        pub at: Timestamp,
        /// `stripe`, `user`, `operator` or `system`.
        pub actor: String,
        /// What changed: `tier`, `status`, `plan`, `cancel_scheduled`.
        pub change: String,
        /// The value before; null for none.
        pub from_value: Option<String>,
        /// The value after; null for none.
        pub to_value: Option<String>,
        /// The event that caused it.
        pub event_id: Option<String>,
        /// Why, where somebody said so.
        pub reason: Option<String>,
    }
}

/// Who or what caused a change.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// `stripe`, `user`, `operator` or `system`.
    pub actor: &'static str,
    /// The event, where there is one.
    pub event_id: Option<&'a str>,
}

/// One observed difference of a customer or of one of its subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// What changed.
    pub change: &'static str,
    /// The value before.
    pub from: Option<&'a str>,
    /// The value after.
    pub to: Option<&'a str>,
}

impl Difference<'_> {
    /// The entry for this difference, if it is one.
    pub fn entry(
        self,
        now: Timestamp,
        rng: &Rng,
        cause: Cause<'_>,
        customer_id: &str,
        subscription_id: Option<&str>,
    ) -> Option<Change> {
        (self.from != self.to).then(|| Change {
            id: ids::new_id("chg", now, rng),
            customer_id: customer_id.to_owned(),
            subscription_id: subscription_id.map(str::to_owned),
            at: now,
            actor: cause.actor.to_owned(),
            change: self.change.to_owned(),
            from_value: self.from.map(str::to_owned),
            to_value: self.to.map(str::to_owned),
            event_id: cause.event_id.map(str::to_owned),
            reason: None,
        })
    }
}
