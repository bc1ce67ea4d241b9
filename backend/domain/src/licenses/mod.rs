//! Licences: one a customer, the same key for good, following the customer's current subscription.
//!
//! Life: made with the first entitled snapshot that is seen; `active` while entitled, `suspended` while the
//! subscription waits, `expired` when it ended, `active` again with the next. `revoked` is an operator's act, and only
//! an operator takes it back.

pub mod key;
pub mod lease;
pub mod machines;
pub mod seats;
mod store;
pub mod verdict;
pub mod view;

use std::collections::BTreeSet;

use chrono::Duration;
use serde_json::json;
use tollgate_shared::Timestamp;

use crate::events::{self, CustomerEvent, EventType, LicenseEvent, PendingEvent};
use crate::licenses::key::LicenseKey;
use crate::licenses::view::LicenseEventView;
use crate::plans::Plans;
use crate::purchases::Bought;
use crate::subscriptions::{StatusClass, Subscription};
use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};

record! {
    /// A row of `licenses`.
    pub struct License in "licenses" {
        /// `lic_…`
        pub id: String,
        /// Whose it is.
        pub customer_id: String,
        /// What a person types into the app. It is shown to its holder at any time, so it is kept as it is.
        pub key: String,
        /// `active`, `suspended`, `expired` or `revoked`.
        pub status: String,
        /// The current subscription's tier, else the default.
        pub tier: String,
        /// The current subscription's plan.
        pub plan_id: Option<String>,
        /// How many machines it may be active on.
        pub max_activations: i64,
        /// When it expired.
        pub expires_at: Option<Timestamp>,
        /// When an operator revoked it.
        pub revoked_at: Option<Timestamp>,
        /// Of earlier releases, which numbered its log here; see [`LicenseLog`].
        pub last_seq: i64,
        /// When it was made.
        pub created_at: Timestamp,
        /// When the grace of the subscription that it follows ends, or ended.
        pub grace_ends_at: Option<Timestamp>,
        /// When that subscription is to end, if its end is announced.
        pub cancels_at: Option<Timestamp>,
    }
}

impl License {
    /// When it will end, as far as is known.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.grace_ends_at.into_iter().chain(self.cancels_at).min()
    }
}

record! {
    /// A row of `license_logs`: what numbers a licence's log. A row of its own, so that a machine which says something of
    /// itself waits for no webhook.
    pub struct LicenseLog in "license_logs" references "licenses" {
        /// The licence.
        pub license_id: String,
        /// The number of its newest event.
        pub last_seq: i64,
    }
}

/// What follows from the current subscription for the licence of its customer.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenseTerms {
    /// `active`, `suspended` or `expired`.
    pub status: &'static str,
    /// The subscription's tier, else the default.
    pub tier: String,
    /// The subscription's plan.
    pub plan_id: Option<String>,
    /// Seats of that plan.
    pub max_activations: i64,
    /// The end of a subscription that ended.
    pub expires_at: Option<Timestamp>,
    /// The end of the grace of one that is past due.
    pub grace_ends_at: Option<Timestamp>,
    /// The end that was announced.
    pub cancels_at: Option<Timestamp>,
}

/// Seats of a licence whose subscription no plan matches.
const MAX_ACTIVATIONS_WITHOUT_PLAN: i64 = 1;

impl LicenseTerms {
    /// The terms under `subscription`; `entitled` says whether its status gives the customer what was bought, and
    /// `grace_ends_at` until when it does so while it is past due.
    pub fn under(
        subscription: Option<&Subscription>,
        entitled: bool,
        grace_ends_at: Option<Timestamp>,
        plans: &Plans,
    ) -> Self {
        let plan = subscription.and_then(|subscription| plans.by_id(subscription.plan_id.as_deref()?));
        let class = subscription.and_then(|subscription| StatusClass::of(subscription.access_status.as_deref()?));
        let ended = class == Some(StatusClass::Ended);
        Self {
            status: match entitled {
                true => "active",
                false if ended => "expired",
                false => "suspended",
            },
            tier: plan.map_or_else(|| plans.default_tier().to_owned(), |plan| plan.tier.clone()),
            plan_id: plan.map(|plan| plan.id.clone()),
            max_activations: plan.map_or(MAX_ACTIVATIONS_WITHOUT_PLAN, |plan| {
                plan.activations_of(subscription.and_then(|subscription| subscription.quantity))
            }),
            expires_at: subscription.filter(|_| ended && !entitled).and_then(|subscription| subscription.ended_at),
            grace_ends_at,
            cancels_at: subscription.and_then(Subscription::announced_end),
        }
    }

    /// The terms of who has bought something for good and has no live plan of a subscription: those of the purchase,
    /// unless both have ended and the subscription did so later, or the subscription may yet come to be live again.
    /// `has_current` says whether there is a subscription that `by_subscription` is under.
    pub fn with_purchase(by_subscription: Self, has_current: bool, bought: &Bought) -> Self {
        let both_ended = by_subscription.status == "expired" && bought.ended_at.is_some();
        let is_later = both_ended && by_subscription.expires_at > bought.ended_at;
        let may_return = has_current && by_subscription.status != "expired";
        if bought.ended_at.is_some() && (is_later || may_return) { by_subscription } else { Self::of_purchase(bought) }
    }

    /// The terms of what was bought for good.
    fn of_purchase(bought: &Bought) -> Self {
        Self {
            status: if bought.ended_at.is_none() { "active" } else { "expired" },
            tier: bought.plan.tier.clone(),
            plan_id: Some(bought.plan.id.clone()),
            max_activations: bought.plan.activations_of(bought.quantity),
            expires_at: bought.ended_at,
            grace_ends_at: None,
            cancels_at: None,
        }
    }
}

/// The licence of a customer.
pub fn of_customer<'w>(work: &'w UnitOfWork, customer_id: &str) -> Option<&'w License> {
    work.all().find(|license: &&License| license.customer_id == customer_id)
}

/// Makes the customer's licence, under no terms yet: [`follow`] sets them.
pub fn grant(work: &mut UnitOfWork, plans: &Plans, customer_id: &str) {
    if of_customer(work, customer_id).is_some() {
        return;
    }
    let id = work.new_id("lic");
    work.insert(LicenseLog { license_id: id.clone(), last_seq: 0 });
    work.insert(License {
        id,
        customer_id: customer_id.to_owned(),
        key: LicenseKey::generate(work.rng()).expose().to_owned(),
        status: "suspended".to_owned(),
        tier: plans.default_tier().to_owned(),
        plan_id: None,
        max_activations: MAX_ACTIVATIONS_WITHOUT_PLAN,
        expires_at: None,
        revoked_at: None,
        last_seq: 0,
        created_at: work.now(),
        grace_ends_at: None,
        cancels_at: None,
    });
}

/// Loads licences for writing, each with its machines and its log, but without its customer: an app that says something of
/// its machine waits for no event of the customer's, nor lets one wait.
pub async fn load(tx: &mut Tx, work: &mut UnitOfWork, ids: &BTreeSet<String>) -> Result<(), DbError> {
    work.add_loaded::<License>(tx.load("id", ids, Lock::ForUpdate).await?);
    work.add_loaded(machines::in_seats_of(tx, ids, Lock::ForUpdate).await?);
    work.add_loaded::<LicenseLog>(tx.load("license_id", ids, Lock::ForUpdate).await?);
    work.expect_appended::<LicenseEvent>();
    Ok(())
}

/// Brings the customer's licence under `terms` and tells its apps what changed for them.
pub fn follow(
    work: &mut UnitOfWork,
    plans: &Plans,
    machines_stale_after: Duration,
    customer_id: &str,
    terms: LicenseTerms,
) {
    let Some(mut license) = of_customer(work, customer_id).cloned() else { return };
    let was = license.clone();
    let status = if license.revoked_at.is_some() { "revoked" } else { terms.status };
    status.clone_into(&mut license.status);
    license.tier = terms.tier;
    license.plan_id = terms.plan_id;
    license.max_activations = terms.max_activations;
    license.expires_at = terms.expires_at;
    license.grace_ends_at = terms.grace_ends_at;
    license.cancels_at = terms.cancels_at;
    let is_new = work.before::<License>(&license.id).is_none();
    let event_type = if is_new { Some(EventType::LicenseCreated) } else { event_of(&was.status, &license.status) };
    if let Some(event_type) = event_type {
        let machines = machines::of_license(work, &license.id);
        let view = LicenseEventView::of(&license, plans, machines, work.now(), machines_stale_after);
        let data = json!({ "license": view });
        append_to(work, customer_id, &license.id, PendingEvent { event_type, data });
    }
    if license != was {
        work.insert(license);
    }
}

/// Says what happened to a customer: to whoever reads the changes, and to the log of its licence, if it has one.
pub fn append_event(work: &mut UnitOfWork, customer_id: &str, event: PendingEvent) {
    match of_customer(work, customer_id).map(|license| license.id.clone()) {
        Some(license_id) => {
            append_to(work, customer_id, &license_id, event);
        }
        None => work.announce(CustomerEvent { customer_id: customer_id.to_owned(), event }),
    }
}

/// Says what happened to a licence by itself; gives the event's id. None where there is no such licence.
pub fn append_to_log(work: &mut UnitOfWork, license_id: &str, event: PendingEvent) -> Option<String> {
    let customer_id = work.get::<License>(license_id)?.customer_id.clone();
    Some(append_to(work, &customer_id, license_id, event))
}

fn append_to(work: &mut UnitOfWork, customer_id: &str, license_id: &str, event: PendingEvent) -> String {
    let none_yet = || LicenseLog { license_id: license_id.to_owned(), last_seq: 0 };
    let mut log = work.get_cloned(license_id).unwrap_or_else(none_yet);
    let id = events::append(work, license_id, &mut log.last_seq, event.clone());
    work.insert(log);
    work.announce(CustomerEvent { customer_id: customer_id.to_owned(), event });
    id
}

fn event_of(was: &str, is: &str) -> Option<EventType> {
    match (was, is) {
        (before, after) if before == after => None,
        (_, "revoked") => Some(EventType::LicenseRevoked),
        ("revoked", _) | (_, "active") => Some(EventType::LicenseReinstated),
        (_, "suspended") => Some(EventType::LicenseSuspended),
        (_, "expired") => Some(EventType::LicenseExpired),
        _ => None,
    }
}
