//! What signed-in users see of what they paid.

pub mod routes;
pub mod tried;
