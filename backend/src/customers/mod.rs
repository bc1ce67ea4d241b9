//! What internal services ask about customers, and what the operator's files change for them.

pub mod replan;
pub mod routes;
