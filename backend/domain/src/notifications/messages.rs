//! The rows: what a user sees in the application, and each message.

use serde_json::Value;
use tollgate_db::{Json, record};
use tollgate_shared::Timestamp;

record! {
    /// A row of `notifications`: what a user sees in the application.
    pub struct Notification in "notifications" {
        /// `ntf_…`
        pub id: String,
        /// What there is one of; see [`once_key`](super::Notice::once_key).
        pub once_key: String,
        /// Who sees it.
        pub user_id: String,
        /// A [`Template`](super::Template).
        pub template: String,
        /// [`Facts`](super::Facts).
        pub data: Json<Value>,
        /// When it was written.
        pub created_at: Timestamp,
        /// When its user has read it.
        pub read_at: Option<Timestamp>,
    }
}

record! {
    /// A row of `messages`: one thing that somebody is told by one channel.
    pub struct Message in "messages" {
        /// `msg_…`
        pub id: String,
        /// What there is one of: [`once_key`](super::Notice::once_key), the channel, and the device where there are several.
        pub once_key: String,
        /// A [`Template`](super::Template).
        pub template: String,
        /// A [`Channel`](super::Channel).
        pub channel: String,
        /// The [`Queue`](super::sending::Queue) that it waits in.
        pub queue: String,
        /// Who is told; none for a customer of nobody.
        pub user_id: Option<String>,
        /// Whose customer it is about.
        pub customer_id: Option<String>,
        /// What its user sees of the same in the application.
        pub notification_id: Option<String>,
        /// Where it goes, once a push has found its device.
        pub device_id: Option<String>,
        /// [`Facts`](super::Facts).
        pub data: Json<Value>,
        /// A [`Status`](super::sending::Status).
        pub status: String,
        /// Why it was skipped.
        pub reason: Option<String>,
        /// How often it was tried since it was last queued, an attempt that is under way, or of which nobody knows, included.
        pub attempts: i64,
        /// What the last attempt failed with.
        pub last_error: Option<String>,
        /// `evt_…` that brought it about.
        pub event_id: Option<String>,
        /// When it was written.
        pub created_at: Timestamp,
        /// When it is tried next; while somebody tries, when another one may. None once it has ended.
        pub next_attempt_at: Option<Timestamp>,
        /// When it was sent.
        pub sent_at: Option<Timestamp>,
    }
}
