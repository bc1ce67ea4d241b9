//! What every route shares: who may call, how bodies and pages are read, how errors look.

pub mod access_log;
pub mod assets;
pub mod auth;
pub mod body;
pub mod body_budget;
pub mod catchers;
pub mod client_network;
pub mod context;
pub mod endpoint;
pub mod error;
pub mod idempotency;
pub mod in_flight;
pub mod page;
pub mod query;
pub mod rate_limit;
pub mod reason;
pub mod stripe;
