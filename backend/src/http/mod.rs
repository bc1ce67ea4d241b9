//! What every route shares: who may call, how bodies and pages are read, how errors look, how the server starts and
//! ends.

pub mod auth;
pub mod body;
pub mod catchers;
pub mod context;
pub mod health;
pub mod in_flight;
pub mod metrics;
pub mod page;
pub mod query;
pub mod server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod trail;
