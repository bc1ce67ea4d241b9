//! The backend, as the relay sees it: where it is, how it is spoken to, and what its response to an event means.

pub mod address;
pub mod config;
pub mod delivery;
pub mod event;
mod tls;
