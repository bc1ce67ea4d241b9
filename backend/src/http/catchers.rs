//! Every answer that no route gave: a guard's refusal, an unknown path, a panic, all in the one form of an error.

use rocket::http::Status;
use rocket::{Catcher, Request, catch, catchers};

use crate::http::error::ApiError;

/// One catcher for every status.
pub fn catchers() -> Vec<Catcher> {
    catchers![refused]
}

#[catch(default)]
fn refused(status: Status, request: &Request<'_>) -> ApiError {
    let refusal = ApiError::refusal(request).filter(|refusal| refusal.status == status);
    refusal.cloned().unwrap_or_else(|| match status {
        // The panic's own line says where, and not for whom.
        Status::InternalServerError => ApiError::internal_because("panicked", "request handler panicked"),
        status => ApiError::of_status(status),
    })
}
