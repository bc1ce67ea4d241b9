//! The event log of each licence: what its desktop apps are told, numbered without a gap, in the same transaction as
//! the change it tells of.

use serde_json::Value;
use tollgate_shared::{Rng, Timestamp, ids};

use crate::db::{Json, record};
use crate::licenses::License;
use crate::webhooks::world::World;

record! {
    /// A row of `license_events`. Its key is (`license_id`, `seq`).
    pub struct LicenseEvent in "license_events" {
        /// The licence whose log this is.
        pub license_id: String,
        /// 1, 2, 3, …
        pub seq: i64,
        /// `sev_…`
        pub id: String,
        /// The type, as in [`Told`].
        pub r#type: String,
        /// What the apps get as `data`.
        pub data: Json<Value>,
        /// When it was appended.
        pub created_at: Timestamp,
    }
}

/// What desktop apps can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A current subscription where there was none.
    SubscriptionCreated,
    /// Some other change of it.
    SubscriptionUpdated,
    /// Another plan or price.
    PlanChanged,
    /// Its end is announced.
    SubscriptionCancelScheduled,
    /// It ended.
    SubscriptionCancelled,
    /// Its announced end was taken back, or it is in good standing again.
    SubscriptionReactivated,
    /// A payment for it failed and is being retried.
    SubscriptionPastDue,
    /// Money came.
    PaymentSucceeded,
    /// Money should have come and did not.
    PaymentFailed,
    /// The licence was made.
    LicenseCreated,
    /// The licence does not count for now.
    LicenseSuspended,
    /// The subscription behind the licence ended.
    LicenseExpired,
    /// An operator took the licence away.
    LicenseRevoked,
    /// The licence counts again.
    LicenseReinstated,
}

impl Told {
    /// The type's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::SubscriptionCreated => "subscription_created",
            Self::SubscriptionUpdated => "subscription_updated",
            Self::PlanChanged => "plan_changed",
            Self::SubscriptionCancelScheduled => "subscription_cancel_scheduled",
            Self::SubscriptionCancelled => "subscription_cancelled",
            Self::SubscriptionReactivated => "subscription_reactivated",
            Self::SubscriptionPastDue => "subscription_past_due",
            Self::PaymentSucceeded => "payment_succeeded",
            Self::PaymentFailed => "payment_failed",
            Self::LicenseCreated => "license_created",
            Self::LicenseSuspended => "license_suspended",
            Self::LicenseExpired => "license_expired",
            Self::LicenseRevoked => "license_revoked",
            Self::LicenseReinstated => "license_reinstated",
        }
    }
}

/// Something to tell the apps of a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// What happened.
    pub told: Told,
    /// What it is about.
    pub data: Value,
}

/// Appends to the log of `license`, which the caller then puts back into the world.
pub fn append(now: Timestamp, rng: &Rng, license: &mut License, told: Told, data: Value, world: &mut World) {
    license.last_seq += 1;
    world.license_events.add(LicenseEvent {
        license_id: license.id.clone(),
        seq: license.last_seq,
        id: ids::new_id("sev", now, rng),
        r#type: told.name().to_owned(),
        data: Json(data),
        created_at: now,
    });
}

/// Appends to the log of the customer's licence, if there is one: without a licence there is nobody to tell.
pub fn tell(now: Timestamp, rng: &Rng, customer_id: &str, told: Told, data: Value, world: &mut World) {
    if let Some(mut license) = world.license_of(customer_id) {
        append(now, rng, &mut license, told, data, world);
        world.licenses.put(license);
    }
}
