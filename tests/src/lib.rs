//! The whole system from outside: real processes on free ports, a stateful Stripe that signs its webhooks, databases
//! that are stopped and restored, and load that is bounded.
//!
//! Nothing in here knows the inside of either tier: what it asserts is what `GET` says, what the commands print, what
//! the logs hold. The binaries come from the folder that this one was built into; see [`process::binary`].

#![recursion_limit = "256"] // an invoice as one `json!`

pub mod engines;
pub mod event_source;
pub mod holder;
pub mod http;
pub mod imports;
pub mod line;
pub mod load;
pub mod node;
pub mod process;
pub mod python;
pub mod redis;
pub mod script;
pub mod stack;
pub mod stripe;
pub mod wait;

pub use engines::{Database, Engine};
pub use event_source::EventSource;
pub use holder::Holder;
pub use line::Line;
pub use stack::{Stack, StackConfig};
pub use stripe::Stripe;
pub use wait::wait_until;
