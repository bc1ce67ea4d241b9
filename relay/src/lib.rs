//! The public edge of Tollgate: no Stripe event gets past it unverified, and none that it answered for is lost.

pub mod backend;
pub mod body;
pub mod commands;
pub mod config;
pub mod forwarder;
pub mod intake;
pub mod lifecycle;
pub mod limits;
pub mod metrics;
pub mod public_proxy;
pub mod routes;
pub mod server;
