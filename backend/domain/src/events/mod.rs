//! The event log of each licence: what its desktop apps are told, numbered without a gap, in the same transaction as
//! the change it tells of.

pub mod cursor;
pub mod epoch;
pub mod log;
pub mod retention;
mod store;

use serde_json::Value;
use tollgate_shared::Timestamp;

use tollgate_db::{Announcement, Json, UnitOfWork, record, row};

record! {
    /// A row of `license_events`. Its key is (`license_id`, `seq`).
    pub struct LicenseEvent in "license_events" references "licenses" {
        /// The licence whose log this is.
        pub license_id: String,
        /// 1, 2, 3, …
        pub seq: i64,
        /// `sev_…`
        pub id: String,
        /// The type, as in [`EventType`].
        pub r#type: String,
        /// What the apps get as `data`.
        pub data: Json<Value>,
        /// When it was appended.
        pub created_at: Timestamp,
        /// The event of Stripe's that it tells of; none for what users, operators, machines or time brought about.
        pub stripe_event_id: Option<String>,
    }
}

/// An event as it stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its number.
    pub seq: i64,
    /// `sev_…`
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// Its data: JSON, as it was written.
    pub data: String,
    /// When it was appended.
    pub created_at: Timestamp,
}

/// What somebody who has read up to a number finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The number of the log's newest event.
    pub newest: i64,
    /// The next events that are kept, [`log::LOOK_EVENTS_MAX`] at most, in order.
    pub events: Vec<LoggedEvent>,
}

row! {
    /// An event that is old enough to be removed.
    pub struct OldEvent {
        /// Whose log it is in.
        pub license_id: String,
        /// Its number there.
        pub seq: i64,
        /// `sev_…`
        pub id: String,
        /// When it was appended.
        pub created_at: Timestamp,
    }
}

/// What desktop apps can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
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
    /// A machine took a seat of the licence.
    MachineActivated,
    /// A machine gave its seat up.
    MachineDeactivated,
    /// The user, or one machine, tells machines something.
    Broadcast,
    /// Machines are to take over a state.
    StateSync,
}

impl EventType {
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
            Self::MachineActivated => "machine_activated",
            Self::MachineDeactivated => "machine_deactivated",
            Self::Broadcast => "broadcast",
            Self::StateSync => "state_sync",
        }
    }
}

/// What happened, before it has a number in a log.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingEvent {
    /// What happened.
    pub event_type: EventType,
    /// What it is about.
    pub data: Value,
}

/// What happened to a customer, whether or not it has a licence whose log says so.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerEvent {
    /// Whom it happened to.
    pub customer_id: String,
    /// What happened.
    pub event: PendingEvent,
}

impl Announcement for CustomerEvent {}

/// Appends to the log of the licence `license_id`, whose newest number so far is `last_seq`; gives the event's id.
pub fn append(work: &mut UnitOfWork, license_id: &str, last_seq: &mut i64, event: PendingEvent) -> String {
    *last_seq += 1;
    let id = work.new_id("sev");
    work.append(LicenseEvent {
        license_id: license_id.to_owned(),
        seq: *last_seq,
        id: id.clone(),
        r#type: event.event_type.name().to_owned(),
        data: Json(event.data),
        created_at: work.now(),
        stripe_event_id: None,
    });
    id
}

/// Notes that what was appended since the last savepoint tells of an event of Stripe's.
pub fn note_source(work: &mut UnitOfWork, stripe_event_id: &str) {
    work.amend_appended(|event: &mut LicenseEvent| event.stripe_event_id = Some(stripe_event_id.to_owned()));
}
