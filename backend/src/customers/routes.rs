//! What an internal service may ask about a customer.

use rocket::serde::json::Json;
use rocket::{Route, State, get, routes};

use crate::app::App;
use crate::http::auth::Internal;
use crate::http::error::ApiError;
use tollgate_domain::customer_state::{self, CustomerState};

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    routes![show]
}

/// Everything about one customer, by its Stripe id.
#[get("/v1/customers/<id>")]
async fn show(_caller: Internal, id: &str, app: &State<App>) -> Result<Json<CustomerState>, ApiError> {
    let mut tx = app.read().await?;
    let view = customer_state::load(&mut tx, id).await?;
    view.map(Json).ok_or_else(|| ApiError::not_found("such customer"))
}
