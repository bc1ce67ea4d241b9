//! Tollgate's private backend: turns each Stripe event, once in effect, into who may use what, and answers questions
//! about it.
//!
//! Each capability is a module with the same few files: rules and verbs in `mod.rs`, SQL in `store.rs`, HTTP in
//! `routes.rs`. Calls go one way: routes → verbs → store → [`db`].

