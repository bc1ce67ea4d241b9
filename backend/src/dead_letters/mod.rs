//! What operators see of dead letters, and do with them.

mod acts;
pub mod retention;
pub mod routes;
pub mod view;

#[cfg(test)]
mod tests;
