//! What an internal service may ask about a customer.

use rocket::serde::json::Json;
use rocket::{Route, State, get, routes};

use super::view::{self, CustomerView};
use crate::app::App;
use crate::http::auth::Internal;
use crate::http::error::ApiError;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    routes![show]
}

/// Everything about one customer, by its Stripe id.
#[get("/v1/customers/<id>")]
async fn show(_caller: Internal, id: &str, app: &State<App>) -> Result<Json<CustomerView>, ApiError> {
    let mut tx = app.read().await?;
    let view = view::load(&mut tx, id).await?;
    view.map(Json).ok_or_else(|| ApiError::not_found("such customer"))
}
