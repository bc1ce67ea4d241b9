//! The audit log: each change of a tier, a status, a plan, with who made it and the event that caused it.
//!
//! It records what we learned, in order of arrival; what that leads to does not depend on the order.

pub mod acts;
pub mod history;

use tollgate_shared::Timestamp;

use tollgate_db::{UnitOfWork, record};
use tollgate_stripe::Observation;

record! {
    /// A row of `changes`.
    pub struct AuditEntry in "changes" {
        /// `chg_…`
        pub id: String,
        /// Whose change it is.
        pub customer_id: String,
        /// The subscription that changed; none for the customer's tier.
        pub subscription_id: Option<String>,
        /// When we made it.
        pub at: Timestamp,
        /// `stripe`, `user`, `operator` or `system`.
        pub actor: String,
        /// What changed: `tier`, `status`, `plan`, `cancel_scheduled`, `user`; what a user did: `api_key_made`, `widget_changed` ….
        pub change: String,
        /// The value before; null for none.
        pub from_value: Option<String>,
        /// The value after; null for none.
        pub to_value: Option<String>,
        /// The event that caused it.
        pub event_id: Option<String>,
        /// Why, where somebody said so.
        pub reason: Option<String>,
        /// 1, 2, 3, … of its customer, in order of making. Those of one moment have no other order.
        pub number: i64,
    }
}

/// Who or what caused a change.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// `stripe`, `user`, `operator` or `system`.
    pub actor: &'static str,
    /// The event, where there is one.
    pub event_id: Option<&'a str>,
    /// Why, where somebody said so.
    pub reason: Option<&'a str>,
}

impl<'a> Cause<'a> {
    /// What Stripe showed us.
    pub fn stripe(observation: &'a Observation) -> Self {
        Self { actor: "stripe", event_id: Some(&observation.source), reason: None }
    }

    /// The customer's own user, who may have said why.
    pub fn user(reason: Option<&'a str>) -> Self {
        Self { actor: "user", event_id: None, reason }
    }

    /// An operator, whose act has a row of its own: see [`acts`].
    pub fn operator() -> Self {
        Self { actor: "operator", event_id: None, reason: None }
    }

    /// Time, or a change of the operator's files.
    pub fn system() -> Self {
        Self { actor: "system", event_id: None, reason: None }
    }
}

/// A difference of a customer or of one of its subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct Diff<'a> {
    /// What changed.
    pub change: &'static str,
    /// The value before.
    pub from: Option<&'a str>,
    /// The value after.
    pub to: Option<&'a str>,
}

impl Diff<'_> {
    /// The entry for this difference, if it is one. [`append`] numbers it.
    pub fn to_audit_entry(
        self,
        work: &UnitOfWork,
        cause: Cause<'_>,
        customer_id: &str,
        subscription_id: Option<&str>,
    ) -> Option<AuditEntry> {
        (self.from != self.to).then(|| AuditEntry {
            id: work.new_id("chg"),
            customer_id: customer_id.to_owned(),
            subscription_id: subscription_id.map(str::to_owned),
            at: work.now(),
            actor: cause.actor.to_owned(),
            change: self.change.to_owned(),
            from_value: self.from.map(str::to_owned),
            to_value: self.to.map(str::to_owned),
            event_id: cause.event_id.map(str::to_owned),
            reason: cause.reason.map(str::to_owned),
            number: 0,
        })
    }
}

/// Appends `entries` to the log of a customer, whose newest number so far is `last_change`.
pub fn append(work: &mut UnitOfWork, last_change: &mut i64, entries: Vec<AuditEntry>) {
    for entry in entries {
        *last_change += 1;
        work.append(AuditEntry { number: *last_change, ..entry });
    }
}
