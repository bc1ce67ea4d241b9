//! What signed-in users see of what they pay by.

pub mod routes;
