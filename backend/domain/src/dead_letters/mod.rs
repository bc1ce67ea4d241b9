//! Dead letters: what a person should look at, because nothing tries it again by itself.
//!
//! Life: `open` when an event of Stripe's can never work or was tried too often, when a machine failed at an event or never
//! acknowledged it, when a message could not be sent. `retrying` once an operator had it tried again and that has not come
//! to an end. `resolved` when it worked, when its machine gave up its seat, or when an operator says so. What fails again is
//! `open` again. What has been resolved for long is removed, and the event with it that never went into effect.

mod store;

use tollgate_shared::Timestamp;

pub use self::store::{
    LetterState, end, end_acknowledged, end_of_machines, end_of_messages, forget, may_open, note_retry,
    note_retry_of_event, of_events, oldest_open, open, open_by_source, reasons_of_open, resolve, resolved_before,
    to_send_again,
};

/// Who ended a letter whose event a machine then acknowledged.
pub const BY_ACKNOWLEDGEMENT: &str = "acknowledgement";
/// Who ended one whose machine gave up its seat: nothing can be sent to it any more.
pub const BY_DEACTIVATION: &str = "deactivation";
/// Who ended one whose event went into effect without an operator.
pub const BY_SYSTEM: &str = "system";

/// The longest reason that is kept, in characters: it may be an app's own, and of any length.
const REASON_CHARACTERS_MAX: usize = 500;

/// Where a dead letter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An event of Stripe's that did not go into effect.
    Webhook,
    /// An event that a machine never acknowledged.
    Delivery,
    /// An event that a machine says it failed at.
    Desktop,
    /// A message that could not be sent.
    Notification,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 4] = [Self::Webhook, Self::Delivery, Self::Desktop, Self::Notification];

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Delivery => "delivery",
            Self::Desktop => "desktop",
            Self::Notification => "notification",
        }
    }

    /// The source of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// How far along a dead letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It waits for somebody to look at it.
    Open,
    /// It is being tried again.
    Retrying,
    /// It is done with.
    Resolved,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Open, Self::Retrying, Self::Resolved];

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Retrying => "retrying",
            Self::Resolved => "resolved",
        }
    }

    /// The status of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What failed for good, as far as can be known by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// What failed, and at what.
    pub subject: Subject<'a>,
    /// Whom it is about.
    pub customer_id: Option<&'a str>,
    /// The event's type, or the message's template.
    pub event_type: &'a str,
    /// Why; cut at 500 characters.
    pub reason: &'a str,
    /// How often it was tried since it was last open.
    pub attempts: i64,
}

/// What failed, and at what. There is one letter for each event of Stripe's and each message; of what machines did not take
/// one that is not resolved for each machine and type of event, which tells of the event that failed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// An event of Stripe's.
    Webhook(&'a str),
    /// A message.
    Notification(&'a str),
    /// An event that a machine never acknowledged.
    Delivery(Delivery<'a>),
    /// An event that a machine says it failed at.
    Desktop(Delivery<'a>),
}

/// An event of a licence's log, on its way to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// `sev_…`
    pub event_id: &'a str,
    /// The machine.
    pub machine_id: &'a str,
    /// Its licence.
    pub license_id: &'a str,
}

impl Subject<'_> {
    fn source(&self) -> Source {
        match self {
            Self::Webhook(_) => Source::Webhook,
            Self::Notification(_) => Source::Notification,
            Self::Delivery(_) => Source::Delivery,
            Self::Desktop(_) => Source::Desktop,
        }
    }
}

/// An event that an operator wants sent again to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSendAgain {
    /// The machine's licence.
    pub license_id: String,
    /// The machine.
    pub machine_id: String,
    /// `sev_…`, of that licence's log.
    pub event_id: String,
    /// When the operator asked for it: once more is another time.
    pub retried_at: Timestamp,
}

fn readable(reason: &str) -> String {
    reason.chars().take(REASON_CHARACTERS_MAX).collect()
}
