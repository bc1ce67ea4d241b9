//! Tollgate's private backend: turns each Stripe event, once in effect, into who may use what, and answers questions
//! about it.
//!
//! Each capability is a module with the same few files: rules and verbs in `mod.rs`, SQL in `store.rs`, HTTP in
//! `routes.rs`. Calls go one way: routes → verbs → store → [`db`].

pub mod api_keys;
pub mod app;
pub mod apply;
pub mod audit;
pub mod commands;
pub mod config;
pub mod customers;
pub mod entitlements;
pub mod events;
pub mod history;
pub mod http;
pub mod invoices;
pub mod licenses;
pub mod monitoring;
pub mod payment_methods;
pub mod payments;
pub mod plans;
pub mod schema;
pub mod sealer;
pub mod server;
pub mod settings;
pub mod stripe_api;
pub mod subscriptions;
#[cfg(test)]
pub(crate) mod testing;
pub mod webhooks;
pub mod widgets;

pub use tollgate_db as db;
