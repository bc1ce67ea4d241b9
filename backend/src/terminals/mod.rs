//! What the machines of a licence see of each other, and what they and their user tell them.
//!
//! All of it is for the user whose licences they are, and for each of the machines, which shows its licence's key instead of a
//! sign-in and then speaks of that licence alone.

mod broadcast;
mod caller;
mod lists;
mod sync;
#[cfg(test)]
mod tests;

use crate::http::endpoint::Endpoint;

pub use self::caller::TerminalLimits;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    [lists::routes(), broadcast::routes(), sync::routes()].concat()
}
