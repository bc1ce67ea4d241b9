//! What a user pays by.

use rocket::serde::json::Json;
use rocket::{State, get};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::payment_methods::view::PaymentMethodView;
use tollgate_domain::user_state;

use crate::app::App;
use crate::http::auth::User;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![endpoint!(default, "What is charged next for what the user has")]
}

/// What is charged next.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DefaultPaymentMethod")]
struct DefaultMethod {
    default_payment_method: Option<PaymentMethodView>,
}

#[get("/api/stripe/billing/payment-method")]
async fn default(user: User, app: &State<App>) -> Result<Json<DefaultMethod>, ApiError> {
    let mut tx = app.read().await?;
    let state = user_state::load(&mut tx, &app.settings, app.clock.now(), &user.id).await?;
    Ok(Json(DefaultMethod { default_payment_method: state.default_payment_method(&mut tx).await? }))
}
