//! The page, its files, and signing in and out of it.

use super::{page, session};
use crate::http::endpoint::Endpoint;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    Endpoint::unlisted(page::routes()).chain(session::routes()).collect()
}
