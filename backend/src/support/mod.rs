//! Support: what customers ask of the people behind the product, and what those answer.

mod admin;
mod routes;
#[cfg(test)]
mod tests;

use crate::http::endpoint::Endpoint;
use crate::http::error::ApiError;

/// How long a message may be.
const MESSAGE_CHARACTERS_MAX: usize = 10_000;

/// The largest body: each character of the longest message may be sent as two escapes.
const BODY_BYTES_MAX: usize = 160 << 10;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    [routes::routes(), admin::routes()].concat()
}

/// What is written into a ticket: text, which is kept as it is.
fn readable_message(text: &str) -> Result<String, ApiError> {
    let is_readable = text.chars().count() <= MESSAGE_CHARACTERS_MAX && !text.trim().is_empty();
    let message = "`message` has to have 1 to 10000 characters, not all of them blank";
    is_readable.then(|| text.to_owned()).ok_or_else(|| ApiError::invalid_parameter("message", message))
}

fn no_ticket() -> ApiError {
    ApiError::not_found("such ticket")
}
