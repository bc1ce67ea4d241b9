//! Alerts: what somebody should hear of now, and not when a customer asks.
//!
//! Every five minutes what is known is gathered in numbers ([`snapshot`]), and rules say of them what is amiss ([`rules`]),
//! by thresholds that an operator may set ([`thresholds`]). An alert is one by its name and labels, whichever process
//! judges. Life: `firing` when it is found, of which people are told, and again as long as it lasts; `resolved` once it was
//! not found twice running, of which they are told once ([`follow`](follow())). What is found again later fires again. What cannot be
//! judged, because whoever knows it is silent, is left as it is.
//!
//! What is to be told is written with the change of the alert, in one transaction, and then delivered ([`messages`]).

mod fingerprint;
mod follow;
pub mod messages;
pub mod rules;
pub mod snapshot;
mod store;
#[cfg(test)]
mod tests;
pub mod thresholds;
pub mod view;
pub mod watch;

use std::collections::BTreeMap;

use tollgate_db::{Json, record};
use tollgate_shared::Timestamp;

pub use self::fingerprint::fingerprint;
pub use self::follow::{Step, follow};
pub use self::store::{firing_by_case, known, list, newest_firing};

record! {
    /// A row of `alerts`.
    pub struct Alert in "alerts" {
        /// Of its name and labels.
        pub fingerprint: String,
        /// An [`AlertName`].
        pub alert: String,
        /// A [`Severity`].
        pub severity: String,
        /// What tells it from others of its name.
        pub labels: Json<Labels>,
        /// What is amiss, in a sentence.
        pub summary: String,
        /// `firing` or `resolved`.
        pub status: String,
        /// Since when it fires, or fired the last time.
        pub starts_at: Timestamp,
        /// When it was resolved.
        pub ends_at: Option<Timestamp>,
        /// How often in a row it was not found any more.
        pub good_judgements: i64,
        /// When people were last told that it fires.
        pub told_at: Option<Timestamp>,
        /// Until when nobody is told.
        pub silenced_until: Option<Timestamp>,
    }
}

/// What tells an alert from others of its name.
pub type Labels = BTreeMap<String, String>;

/// How an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is so.
    Firing,
    /// It was so.
    Resolved,
}

impl State {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Firing, Self::Resolved];

    /// Its name in rows and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// The state of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How soon somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Today.
    Warning,
    /// Now.
    Critical,
}

impl Severity {
    /// Its name in rows and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What can be amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each has its rule in `rules`, which says what it is")]
pub enum AlertName {
    NotDurable,
    WebhookDeliveryFailing,
    RelayUnreachable,
    ReplicaDown,
    SignatureFailures,
    NoWebhooks,
    DeadLetters,
    CronFailing,
    PaymentFailureSpike,
    GraceEnding,
    StripeErrors,
    MessagesFailing,
    UnknownPrice,
    UnknownVersion,
    SyncDrift,
}

impl AlertName {
    /// Each of them, with how soon somebody should look.
    pub const CASES: [(Self, Severity); 16] = [
        (Self::NotDurable, Severity::Critical),
        (Self::WebhookDeliveryFailing, Severity::Critical),
        (Self::RelayUnreachable, Severity::Critical),
        (Self::ReplicaDown, Severity::Warning),
        (Self::SignatureFailures, Severity::Warning),
        (Self::NoWebhooks, Severity::Warning),
        (Self::DeadLetters, Severity::Warning),
        (Self::DeadLetters, Severity::Critical),
        (Self::CronFailing, Severity::Critical),
        (Self::PaymentFailureSpike, Severity::Warning),
        (Self::GraceEnding, Severity::Warning),
        (Self::StripeErrors, Severity::Warning),
        (Self::MessagesFailing, Severity::Warning),
        (Self::UnknownPrice, Severity::Warning),
        (Self::UnknownVersion, Severity::Warning),
        (Self::SyncDrift, Severity::Warning),
    ];

    /// Its name in rows, on the wire and in `ALERTS_FILE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotDurable => "NotDurable",
            Self::WebhookDeliveryFailing => "WebhookDeliveryFailing",
            Self::RelayUnreachable => "RelayUnreachable",
            Self::ReplicaDown => "ReplicaDown",
            Self::SignatureFailures => "SignatureFailures",
            Self::NoWebhooks => "NoWebhooks",
            Self::DeadLetters => "DeadLetters",
            Self::CronFailing => "CronFailing",
            Self::PaymentFailureSpike => "PaymentFailureSpike",
            Self::GraceEnding => "GraceEnding",
            Self::StripeErrors => "StripeErrors",
            Self::MessagesFailing => "MessagesFailing",
            Self::UnknownPrice => "UnknownPrice",
            Self::UnknownVersion => "UnknownVersion",
            Self::SyncDrift => "SyncDrift",
        }
    }

    /// The alert of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::CASES.into_iter().map(|(alert, _)| alert).find(|alert| alert.name() == name)
    }
}

/// Something that is amiss at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub alert: AlertName,
    /// How soon somebody should look.
    pub severity: Severity,
    /// What it is about, where there may be several: a label and its value.
    pub about: Option<(&'static str, String)>,
    /// What is amiss, in a sentence.
    pub summary: String,
}

impl Finding {
    /// What tells it from others of its name.
    pub fn labels(&self) -> Labels {
        self.about.iter().map(|(label, value)| ((*label).to_owned(), value.clone())).collect()
    }

    /// That of the alert that it is.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.alert.name(), self.severity.name(), &self.labels())
    }
}
