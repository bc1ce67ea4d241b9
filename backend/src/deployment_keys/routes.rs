//! What leases are checked with, for anybody.

use rocket::http::Header;
use rocket::response::Responder;
use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::deployment_keys::Jwk;

use crate::app::App;
use crate::http::endpoint::{Answers, Endpoint, Operation, endpoint};
use crate::http::error::ApiError;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![endpoint!(jwks, "The public half of each key that leases are signed with")]
}

/// How long the keys may be kept by whoever asked: they hardly ever change.
const CACHE_CONTROL: &str = "public, max-age=3600";

/// A JSON Web Key Set (RFC 7517).
#[derive(Serialize, JsonSchema)]
struct KeySet {
    keys: [Jwk; 1],
}

#[derive(Responder)]
struct Cached<T> {
    body: T,
    cache_control: Header<'static>,
}

impl<T: Answers> Answers for Cached<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

#[get("/.well-known/jwks.json")]
async fn jwks(app: &State<App>) -> Result<Cached<Json<KeySet>>, ApiError> {
    let keys = [app.deployment_keys().await?.lease.jwk().clone()];
    Ok(Cached { body: Json(KeySet { keys }), cache_control: Header::new("Cache-Control", CACHE_CONTROL) })
}
