//! Alerts: what is amiss is found every five minutes, by whichever process gets to it, and operators are told.
//!
//! What rules say is in [`tollgate_domain::alerts`]. Here is what they go by gathered (`numbers`, the relays' own word), judged
//! (`judging`), and told (`telling`) by e-mail and webhook; a heartbeat outward says that all of this works.

pub mod counted;
pub mod judging;
mod numbers;
mod routes;
pub mod telling;
#[cfg(test)]
mod tests;

pub use self::numbers::messages;
pub use self::routes::routes;
