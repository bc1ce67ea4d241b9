//! Releases of the product's app: operators publish them, installed apps look for the newest that is theirs and fetch its files.
//!
//! Files lie in one folder ([`shelf`]); what they are called, for whom they are, and whether they are still to be had is in the
//! database.

mod access;
mod admin;
mod feed;
mod files;
mod request;
pub mod retention;
pub mod shelf;
#[cfg(test)]
mod tests;

use crate::http::endpoint::Endpoint;
use crate::http::error::ApiError;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    [feed::routes(), files::routes(), admin::routes()].concat()
}

fn no_release() -> ApiError {
    ApiError { code: "no_release", message: "there is no release for you yet".into(), ..ApiError::not_found("") }
}
