//! What services ask about API keys, and what users do with theirs.

pub mod mine;
pub mod routes;
