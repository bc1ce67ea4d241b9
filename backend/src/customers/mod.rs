//! What internal services ask and say about customers.

pub mod routes;
