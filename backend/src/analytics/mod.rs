//! How things went, hour by hour and day by day; how licences are; what is out of the ordinary. For operators.

mod health;
pub mod job;
mod patterns;
mod sources;
#[cfg(test)]
mod tests;
mod trends;

use crate::http::endpoint::Endpoint;

/// The routes of this room.
pub fn routes() -> Vec<Endpoint> {
    [trends::routes(), health::routes(), patterns::routes()].concat()
}
