//! Webhook events: taken once, in effect once, kept with their exact bytes.
//!
//! The way of an event: [`inbox::Inbox::take`] parses it and hands it to a writer; the writer takes all that
//! wait, claims their ids, loads what they touch, applies each ([`tollgate_domain::apply`]) and writes what changed, in one
//! transaction. What fails in a way that may pass is stored as `failed` and tried again by [`retry`].

pub mod attempts;
pub mod batches;
pub mod inbox;
pub mod ordering;
pub mod replay;
pub mod retention;
pub mod retry;
pub mod routes;
pub mod store;
pub mod view;

use tollgate_shared::Timestamp;

use tollgate_db::record;

record! {
    /// A row of `webhook_events`.
    pub struct WebhookEvent in "webhook_events" {
        /// `evt_…`
        pub id: String,
        /// For example `invoice.paid`.
        pub r#type: String,
        /// The version that the payload is shaped by.
        pub api_version: Option<String>,
        /// Whether real money moved.
        pub livemode: Option<bool>,
        /// The connected account, if it is one's.
        pub account: Option<String>,
        /// The id of its object.
        pub object_id: Option<String>,
        /// The customer whom its object names.
        pub customer_id: Option<String>,
        /// A [`Status`].
        pub status: String,
        /// Why it was ignored or dead-lettered.
        pub reason: Option<String>,
        /// How often it was tried.
        pub attempts: i64,
        /// The class of the last failure, never its text.
        pub last_error: Option<String>,
        /// When Stripe made it.
        pub created_at: Option<Timestamp>,
        /// When it was first taken.
        pub received_at: Timestamp,
        /// When it ended.
        pub processed_at: Option<Timestamp>,
        /// When a failed one is tried again.
        pub next_attempt_at: Option<Timestamp>,
        /// The transaction in which it was last tried: see [`batches`].
        pub batch_id: Option<String>,
        /// The request that brought it.
        pub request_id: Option<String>,
        /// The event as it was signed.
        pub payload: bytes::Bytes,
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is in effect.
    Processed,
    /// It failed in a way that may pass and waits for its next attempt.
    Failed,
    /// It will never work, or was tried too often.
    DeadLettered,
    /// It has no effect here.
    Ignored,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Processed, Self::Failed, Self::DeadLettered, Self::Ignored];

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Failed => "failed",
            Self::DeadLettered => "dead_lettered",
            Self::Ignored => "ignored",
        }
    }

    /// The status of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}
