//! What operators did and looked at, as they look it up.

pub mod looks;
pub mod routes;
mod view;
