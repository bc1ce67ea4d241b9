//! The customer's page: what a user has, costs and can do about it, for companies that have no dashboard of their own.
//!
//! It does nothing that the routes of other modules do not: only who is signed in is asked and said here.

mod page;
pub mod routes;
mod session;
#[cfg(test)]
mod tests;
