//! The page, its files, and signing in and out of it.

use rocket::Route;

use super::{page, session};

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    [page::routes(), session::routes()].concat()
}
