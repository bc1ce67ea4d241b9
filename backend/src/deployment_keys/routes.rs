//! What leases are checked with, for anybody.

use rocket::http::Header;
use rocket::response::Responder;
use rocket::serde::json::Json;
use rocket::{Route, State, get, routes};
use serde::Serialize;
use tollgate_domain::deployment_keys::Jwk;

use crate::app::App;
use crate::http::error::ApiError;

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    routes![jwks]
}

/// How long the keys may be kept by whoever asked: they hardly ever change.
const CACHE_CONTROL: &str = "public, max-age=3600";

/// A JSON Web Key Set (RFC 7517).
#[derive(Serialize)]
struct KeySet {
    keys: [Jwk; 1],
}

#[derive(Responder)]
struct Cached<T> {
    body: T,
    cache_control: Header<'static>,
}

/// The public half of each key that leases are signed with.
#[get("/.well-known/jwks.json")]
async fn jwks(app: &State<App>) -> Result<Cached<Json<KeySet>>, ApiError> {
    let keys = [app.deployment_keys().await?.lease.jwk().clone()];
    Ok(Cached { body: Json(KeySet { keys }), cache_control: Header::new("Cache-Control", CACHE_CONTROL) })
}
