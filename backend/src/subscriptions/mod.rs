//! What signed-in users see of what they are subscribed to.

pub mod routes;
