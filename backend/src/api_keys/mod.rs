//! What services ask about API keys.

pub mod routes;
