//! The console: the page on which operators see what happened and do something about it.
//!
//! It does nothing that operators' routes of other modules do not: only who is signed in is asked and said here.

mod page;
pub mod routes;
mod session;
#[cfg(test)]
mod tests;

pub use self::session::SignInLimit;
