//! What an internal service may ask and say about a customer.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::Cause;
use tollgate_domain::customer_state::{self, CustomerState};
use tollgate_domain::customers::{self, AlreadyLinked};
use tollgate_domain::entitlements;

use crate::app::App;
use crate::http::auth::Internal;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(show, "Everything about one customer, by its Stripe id").refuses([no_such_customer()]),
        endpoint!(link, "Says whose customer one is, against whatever its objects at Stripe say, and for good")
            .refuses([no_such_customer(), AlreadyLinked.into()]),
    ]
}

#[get("/v1/customers/<id>")]
async fn show(_caller: Internal, id: &str, app: &State<App>) -> Result<Json<CustomerState>, ApiError> {
    state(app, id).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CustomerLink")]
struct Link {
    user_id: String,
}

/// The longest id of a user: more than any that a sign-in library makes.
const USER_ID_CHARACTERS_MAX: usize = 255;

#[post("/v1/customers/<id>/link", data = "<body>")]
async fn link(
    _caller: Internal,
    id: &str,
    body: JsonBody<Link>,
    app: &State<App>,
) -> Result<Json<CustomerState>, ApiError> {
    let user_id = readable_user_id(&body.0.user_id)?;
    state(app, id).await?;
    app.write(&Touched::customer(id), |work| {
        customers::link(work, &app.settings.plans, id, user_id)?;
        entitlements::follow(work, &app.settings, Cause::system(), id);
        Ok::<_, AlreadyLinked>(())
    })
    .await?;
    state(app, id).await
}

async fn state(app: &App, id: &str) -> Result<Json<CustomerState>, ApiError> {
    let state = customer_state::load(&mut app.read().await?, id).await?;
    state.map(Json).ok_or_else(no_such_customer)
}

/// 404: nothing was heard of a customer of that id.
pub fn no_such_customer() -> ApiError {
    ApiError::not_found("such customer")
}

/// The id of a user, if it can be one.
pub fn readable_user_id(user_id: &str) -> Result<&str, ApiError> {
    let is_readable = (1..=USER_ID_CHARACTERS_MAX).contains(&user_id.chars().count())
        && !user_id.chars().any(char::is_control)
        && user_id.trim() == user_id;
    let message = "`userId` has to be the id of a user: 1 to 255 characters, without control characters";
    is_readable.then_some(user_id).ok_or_else(|| ApiError::invalid_parameter("userId", message))
}

impl From<AlreadyLinked> for ApiError {
    fn from(_: AlreadyLinked) -> Self {
        Self::new(Status::Conflict, "already_linked", "the customer is linked to another user, which is for good")
    }
}
