//! What operators did, as they look it up.

pub mod routes;
mod view;
