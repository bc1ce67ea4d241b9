//! What operators see of dead letters, and do with them.

mod acts;
pub mod retention;
pub mod routes;
mod view;

#[cfg(test)]
mod tests;
