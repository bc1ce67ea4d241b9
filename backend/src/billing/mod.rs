//! What users change at Stripe by themselves.
//!
//! Each route asks our rows whether it can be, makes its call outside of any transaction under the key of the user's own
//! action, and takes the answer in as an observation, by the same rules as an event (`desk`): rows, audit and events in
//! one transaction. Whatever then goes wrong here, Stripe's event brings us right, and the answer says so.

pub mod answers;
mod checkout;
mod desk;
mod ends;
mod payable;
mod plans;
mod press;
pub mod purchases;
mod session;
mod standing;
mod subscribe;
pub mod sync;
#[cfg(test)]
mod tests;
mod till;
mod turn;
mod view;

use crate::http::endpoint::Endpoint;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    [checkout::routes(), ends::routes(), plans::routes(), subscribe::routes(), sync::routes()].concat()
}
