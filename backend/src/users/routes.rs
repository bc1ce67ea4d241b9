//! Who a user is, and what they are called.

use rocket::serde::json::Json;
use rocket::{State, get, patch};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use tollgate_domain::apply::Touched;
use tollgate_domain::users::view::UserView;
use tollgate_domain::{user_state, users};

use crate::app::App;
use crate::http::auth::User;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(me, "Who the user is"),
        endpoint!(profile, "Who the user is, by another name"),
        endpoint!(change_profile, "Changes what the user is called here, whatever their tokens call them"),
    ]
}

#[get("/api/user/me")]
async fn me(user: User, app: &State<App>) -> Result<Json<UserView>, ApiError> {
    shown(&user, app).await
}

#[get("/api/profile")]
async fn profile(user: User, app: &State<App>) -> Result<Json<UserView>, ApiError> {
    shown(&user, app).await
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UserChanges")]
struct Changes {
    /// Null is no name; left out it stays.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    name: Change,
}

#[derive(Default)]
enum Change {
    /// It was left out.
    #[default]
    None,
    /// Null is no name.
    To(Option<String>),
}

/// The longest name: more than anybody has.
const NAME_CHARACTERS_MAX: usize = 200;

#[patch("/api/profile", data = "<body>")]
async fn change_profile(user: User, body: JsonBody<Changes>, app: &State<App>) -> Result<Json<UserView>, ApiError> {
    if let Change::To(name) = body.0.name {
        let name = name.map(readable_name).transpose()?;
        let touched = Touched::user(&user.id);
        let renamed = app.write(&touched, |work| {
            users::rename(work, &user.id, name.clone());
            Ok::<_, ApiError>(())
        });
        renamed.await?;
    }
    shown(&user, app).await
}

async fn shown(user: &User, app: &App) -> Result<Json<UserView>, ApiError> {
    let mut tx = app.read().await?;
    // The guard has put it there, unless the database was away at that moment.
    let row = users::load(&mut tx, &user.id).await?.ok_or_else(ApiError::database_unavailable)?;
    let state = user_state::load(&mut tx, &app.settings, app.clock.now(), &user.id).await?;
    let customer = state.customer().map(|customer| customer.id.clone());
    Ok(Json(UserView::of(row, state.tier, customer)))
}

fn readable_name(name: String) -> Result<String, ApiError> {
    let trimmed = name.trim();
    let is_readable =
        (1..=NAME_CHARACTERS_MAX).contains(&trimmed.chars().count()) && !trimmed.chars().any(char::is_control);
    let message = "`name` has to be null or 1 to 200 characters, without control characters";
    is_readable.then(|| trimmed.to_owned()).ok_or_else(|| ApiError::invalid_parameter("name", message))
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Change, D::Error> {
    Option::deserialize(deserializer).map(Change::To)
}
