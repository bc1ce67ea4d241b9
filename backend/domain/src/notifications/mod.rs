//! Notifications: what people are told of their payments and pods, each thing once, by which channels.
//!
//! Life of a message: written, *queued*, in the transaction of what it tells of ([`follow`](follow())), or by a job where the clock
//! alone brings it about ([`timed`]); *sent*, *skipped* for a reason, or *dead-lettered* when it was tried too often or
//! refused for good ([`sending`]). What it is once per is a unique constraint, so that no replay and no second replica
//! writes it twice. Its text is made when it is sent or shown: rows hold facts.
//!
//! What a user sees in the application is a row of its own, which is there whatever becomes of the messages.

pub mod devices;
pub mod facts;
mod follow;
mod messages;
mod notice;
mod of_plans;
mod of_pods;
pub mod preferences;
pub mod sending;
mod store;
pub mod template;
#[cfg(test)]
mod tests;
pub mod timed;
pub mod view;

pub use self::facts::Facts;
pub use self::follow::{follow, note_trial_ending};
pub use self::messages::{Message, Notification};
pub use self::notice::{Notice, Recipient, SupportReply, support_reply, tell};
pub use self::store::{
    Claimed, Filter, claim, devices_of, forget, forget_device, is_any_due, keys_known, note_read, note_read_all,
    note_sent, of_user, queued, remove_device, requeue, sent_in_hour, unread,
};
pub use self::template::{Category, Channel, Severity, Template};
