//! The API keys of signed-in users.

use chrono::Duration;
use rocket::http::Status;
use rocket::response::status::NoContent;
use rocket::serde::json::Json;
use rocket::{State, delete, get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_db::page::List;
use tollgate_domain::api_keys;
use tollgate_domain::api_keys::holder::{self, KeyError};
use tollgate_domain::api_keys::view::{self, ApiKeyView, ShownKeyView};
use tollgate_domain::apply::Touched;
use tollgate_domain::customers;
use tollgate_domain::user_state;
use tracing::info;

use crate::app::App;
use crate::http::auth::User;
use crate::http::body::Nothing;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::http::page::Paged;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let unknown = [KeyError::Unknown];
    vec![
        endpoint!(list, "The API keys of all customers of the user, the newest first"),
        endpoint!(show, "An API key, without what it is").refuses(unknown),
        endpoint!(make, "Makes an API key, and shows it this once")
            .answers(&[Status::Created])
            .refuses([ApiError::no_customer()]),
        endpoint!(reveal, "Shows the API key that a subscription gave, once").refuses([
            KeyError::Unknown,
            KeyError::AlreadyRevealed,
            KeyError::AlreadyRevoked,
        ]),
        endpoint!(roll, "Makes an API key that takes the place of another, which works for a while yet")
            .answers(&[Status::Created])
            .refuses([KeyError::Unknown, KeyError::AlreadyRevoked]),
        endpoint!(revoke, "Ends an API key at once; one that has ended stays as it is").refuses(unknown),
    ]
}

/// How long a key's name may be.
const NAME_CHARACTERS_MAX: usize = 100;

/// How long a rolled key may go on: a month, for who has it in places that are seldom changed.
const GRACE_SECONDS_MAX: i64 = 30 * 24 * 3600;

#[get("/api/api-keys")]
async fn list(user: User, page: Paged, app: &State<App>) -> Result<Json<List<ApiKeyView>>, ApiError> {
    let mut tx = app.read_list().await?;
    let customers = customers::of_user(&mut tx, &user.id).await?;
    Ok(Json(view::list(&mut tx, &customers, &page).await?))
}

#[get("/api/api-keys/<id>")]
async fn show(user: User, id: &str, app: &State<App>) -> Result<Json<ApiKeyView>, ApiError> {
    let key = api_keys::of_user(&mut app.read().await?, &user.id, id).await?;
    Ok(Json(ApiKeyView::of(&key.ok_or(KeyError::Unknown)?)))
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewApiKey")]
struct NewKey {
    name: Option<String>,
}

#[post("/api/api-keys", data = "<request>")]
async fn make(user: User, request: IdempotentBody<NewKey>, app: &State<App>) -> Result<Answer<ShownKeyView>, ApiError> {
    let name = readable(request.body().name.as_deref())?;
    let (settings, user_id) = (&app.settings, &user.id);
    let answer = request.once(app, &user, |_, attempt| async move {
        let state = user_state::load(&mut app.read().await?, settings, app.clock.now(), user_id).await?;
        let customer = state.customer().ok_or_else(ApiError::no_customer)?;
        let touched = attempt.touching(Touched::customer(&customer.id));
        let made = app.write(&touched, |work| {
            let made = holder::make(work, settings.livemode, user_id, &customer.id, name.clone())?;
            attempt.answer(work, settings, Status::Created, &made)
        });
        Ok(made.await?.0)
    });
    answer.await
}

#[post("/api/api-keys/<id>/reveal", data = "<request>")]
async fn reveal(
    user: User,
    id: &str,
    request: IdempotentBody<Nothing>,
    app: &State<App>,
) -> Result<Answer<ShownKeyView>, ApiError> {
    let (settings, user_id) = (&app.settings, &user.id);
    let answer = request.once(app, &user, |_, attempt| async move {
        let touched = attempt.touching(touched(app, user_id, id).await?);
        let revealed = app.write(&touched, |work| {
            let shown = holder::reveal(work, &settings.sealer, user_id, id)?;
            attempt.answer(work, settings, Status::Ok, &shown)
        });
        Ok(revealed.await?.0)
    });
    answer.await
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ApiKeyRoll")]
struct Roll {
    grace_seconds: Option<i64>,
}

#[post("/api/api-keys/<id>/roll", data = "<request>")]
async fn roll(
    user: User,
    id: &str,
    request: IdempotentBody<Roll>,
    app: &State<App>,
) -> Result<Answer<ShownKeyView>, ApiError> {
    let grace = request.body().grace()?;
    let (settings, user_id) = (&app.settings, &user.id);
    let answer = request.once(app, &user, |_, attempt| async move {
        let touched = attempt.touching(touched(app, user_id, id).await?);
        let rolled = app.write(&touched, |work| {
            let made = holder::roll(work, user_id, id, grace)?;
            attempt.answer(work, settings, Status::Created, &made)
        });
        Ok(rolled.await?.0)
    });
    answer.await
}

#[delete("/api/api-keys/<id>")]
async fn revoke(user: User, id: &str, app: &State<App>) -> Result<NoContent, ApiError> {
    let touched = touched(app, &user.id, id).await?;
    app.write(&touched, |work| holder::revoke(work, &user.id, id)).await?;
    info!("revoked API key {id}");
    Ok(NoContent)
}

/// What an act on a key of the user's touches.
async fn touched(app: &App, user_id: &str, id: &str) -> Result<Touched, ApiError> {
    let key = api_keys::of_user(&mut app.read().await?, user_id, id).await?.ok_or(KeyError::Unknown)?;
    Ok(Touched::api_key(&key.customer_id, id))
}

fn readable(name: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(name) = name.map(str::trim) else { return Ok(None) };
    if (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(Some(name.to_owned()));
    }
    let message = format!("`name` has to be 1 to {NAME_CHARACTERS_MAX} characters, or left out");
    Err(ApiError::invalid_parameter("name", message))
}

impl Roll {
    fn grace(&self) -> Result<Duration, ApiError> {
        let seconds = self.grace_seconds.unwrap_or_default();
        if (0..=GRACE_SECONDS_MAX).contains(&seconds) {
            return Ok(Duration::seconds(seconds));
        }
        let message = format!("`graceSeconds` has to be a number from 0 to {GRACE_SECONDS_MAX}");
        Err(ApiError::invalid_parameter("graceSeconds", message))
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::not_found("such API key"),
            KeyError::AlreadyRevealed => Self::new(
                Status::Conflict,
                "already_revealed",
                "the key was shown before and is kept nowhere; roll it to get another one",
            ),
            KeyError::AlreadyRevoked => {
                Self::new(Status::Conflict, "already_revoked", "the key was revoked or rolled before; make another one")
            }
            KeyError::Sealed => Self::internal_because("sealed", "the copy of an API key cannot be decrypted"),
        }
    }
}
