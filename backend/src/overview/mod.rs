//! What operators see of several capabilities at once: whatever is looked for, customers with all that is theirs, events
//! from end to end, numbers, and whether all is well.
//! What is of one capability alone, and what operators do with it, stands with that capability.

mod customer_list;
mod customers;
mod durability;
mod events;
pub mod health;
mod one_customer;
mod one_event;
mod search;
mod stats;
#[cfg(test)]
mod tests;

use crate::http::endpoint::Endpoint;

/// The routes of this room.
pub fn routes() -> Vec<Endpoint> {
    [search::routes(), customers::routes(), events::routes(), stats::routes(), durability::routes(), health::routes()]
        .concat()
}
