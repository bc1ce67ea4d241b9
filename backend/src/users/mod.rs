//! What signed-in users see and say of themselves.

pub mod routes;
