//! Tollgate's private backend: turns each Stripe event, once in effect, into who may use what, and answers questions
//! about it.
//!
//! Each capability is a module with the same few files: rules and verbs in `mod.rs`, SQL in `store.rs`, HTTP in
//! `routes.rs`. Calls go one way: routes → verbs → store → [`db`].

pub mod api_keys;
pub mod app;
pub mod commands;
pub mod config;
pub mod customers;
pub mod http;
pub mod monitoring;
pub mod schema;
pub mod server;
pub mod stripe_api;
pub mod tasks;
#[cfg(test)]
pub(crate) mod testing;
pub mod webhooks;

pub use tollgate_db as db;
