//! The devices that a user's pushes go to.

use rocket::http::Status;
use rocket::response::status::NoContent;
use rocket::serde::json::Json;
use rocket::{State, delete, get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_db::page::{List, Position};
use tollgate_db::{DbError, Lock, UnitOfWork};
use tollgate_domain::notifications;
use tollgate_domain::notifications::devices::{self, Device, DeviceView, Kind, NewDevice, TooMany};
use tollgate_domain::users::User as UserRow;

use crate::app::App;
use crate::channels::push::are_keys;
use crate::http::auth::User;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::http::idempotency::{Answer, IdempotentBody};
use crate::http::page::Paged;

/// Longer than any service's, and shorter than what would be abuse.
const ADDRESS_CHARACTERS_MAX: usize = 4096;
const NAME_CHARACTERS_MAX: usize = 100;
const PLATFORM_CHARACTERS_MAX: usize = 32;

/// When a user with too many devices may register another, in seconds: when one was removed, which nobody knows.
const RETRY_SECONDS: u32 = 3600;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(push_key, "What browsers subscribe to pushes with: their `applicationServerKey`")
            .refuses([push_not_configured()]),
        endpoint!(list, "The user's devices, the newest first"),
        endpoint!(register, "Registers a browser or an app for pushes; the same again is 200")
            .answers(&[Status::Ok, Status::Created])
            .refuses([ApiError::rate_limited(RETRY_SECONDS)]),
        endpoint!(remove, "Removes a device; again the same"),
    ]
}

/// The public half of `VAPID_PRIVATE_KEY`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PushKey")]
struct PushKey {
    public_key: String,
}

#[get("/api/notifications/push-key")]
async fn push_key(_user: User, app: &State<App>) -> Result<Json<PushKey>, ApiError> {
    let public_key = app.channels.public_key().ok_or_else(push_not_configured)?.to_owned();
    Ok(Json(PushKey { public_key }))
}

#[get("/api/notifications/devices")]
async fn list(user: User, page: Paged, app: &State<App>) -> Result<Json<List<DeviceView>>, ApiError> {
    let mut tx = app.read_list().await?;
    let rows = notifications::devices_of(&mut tx, &user.id, &page).await?;
    Ok(Json(page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() }).map(DeviceView::from)))
}

/// A body of `POST /api/notifications/devices`: as `PushSubscription.toJSON()` gives it with `kind` beside, or an app's.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewDevice")]
struct Register {
    /// `webpush` or `app`.
    kind: String,
    /// Of a browser.
    endpoint: Option<String>,
    /// Of a browser.
    keys: Option<Keys>,
    /// Of an app.
    platform: Option<String>,
    /// Of an app.
    token: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PushKeys")]
struct Keys {
    p256dh: String,
    auth: String,
}

#[post("/api/notifications/devices", data = "<request>")]
async fn register(
    user: User,
    request: IdempotentBody<Register>,
    app: &State<App>,
) -> Result<Answer<DeviceView>, ApiError> {
    let user = &user;
    let done = request.once(app, user, |body, _| async move {
        let new = body.readable(app)?;
        let registered = match write(app, &user.id, &new).await {
            // Another user registered the same browser at the same moment: now it is there.
            Err(DbError::Constraint { .. } | DbError::Conflict { .. }) => write(app, &user.id, &new).await,
            registered => registered,
        };
        let (row, is_new) = registered??;
        Ok(Answer::new(if is_new { Status::Created } else { Status::Ok }, &DeviceView::from(row)))
    });
    done.await
}

/// Registers a device under its user's row lock, so that one of a user's does not become two.
async fn write(app: &App, user_id: &str, new: &NewDevice) -> Result<Result<(Device, bool), TooMany>, DbError> {
    let mut tx = app.begin_write().await?;
    tx.load::<UserRow>("id", &[user_id.to_owned()].into(), Lock::ForUpdate).await?;
    let (users, hashes) = ([user_id.to_owned()].into(), new.known_hashes());
    let by = [("user_id", &users), ("address_hash", &hashes)];
    let known: Vec<Device> = tx.load_by_either(by, Lock::ForUpdate).await?;
    let mut work = UnitOfWork::new(app.clock.now(), app.rng.clone());
    work.add_loaded(known);
    let registered = devices::register(&mut work, user_id, new.clone());
    work.release_savepoint();
    work.write(&mut tx).await?;
    tx.commit().await?;
    Ok(registered)
}

#[delete("/api/notifications/devices/<id>")]
async fn remove(user: User, id: &str, app: &State<App>) -> Result<NoContent, ApiError> {
    let mut tx = app.begin_write().await?;
    notifications::remove_device(&mut tx, &user.id, id).await?;
    tx.commit().await?;
    Ok(NoContent)
}

impl Register {
    fn readable(self, app: &App) -> Result<NewDevice, ApiError> {
        let wrong = |param: &'static str, message: &'static str| ApiError::invalid_parameter(param, message);
        let name = self.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARACTERS_MAX) {
            return Err(wrong("name", "`name` has at most 100 characters"));
        }
        match Kind::named(&self.kind) {
            Some(Kind::WebPush) => {
                let endpoint = self.endpoint.and_then(|endpoint| {
                    let normal = app.config.channels.push_hosts.normal(&endpoint)?;
                    Some((endpoint, normal))
                });
                let not_allowed = "`endpoint` has to be what a browser's push service gave, at one of PUSH_HOSTS";
                let Some((address, normal_address)) = endpoint else { return Err(wrong("endpoint", not_allowed)) };
                let keys = self.keys.filter(|keys| are_keys(&keys.p256dh, &keys.auth));
                let Some(Keys { p256dh, auth }) = keys else {
                    return Err(wrong("keys", "`keys` has to have the browser's `p256dh` and `auth`, base64url"));
                };
                let (p256dh, auth) = (Some(p256dh), Some(auth));
                Ok(NewDevice { kind: Kind::WebPush, platform: None, name, address, normal_address, p256dh, auth })
            }
            Some(Kind::App) => {
                let text = |text: Option<String>, most: usize| {
                    text.filter(|text| {
                        (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
                    })
                };
                let Some(platform) = text(self.platform, PLATFORM_CHARACTERS_MAX) else {
                    return Err(wrong("platform", "`platform` has to be what your gateway knows, such as `ios`"));
                };
                let Some(address) = text(self.token, ADDRESS_CHARACTERS_MAX) else {
                    return Err(wrong("token", "`token` has to be what your gateway knows the app by"));
                };
                let (platform, normal_address) = (Some(platform), address.clone());
                Ok(NewDevice { kind: Kind::App, platform, name, address, normal_address, p256dh: None, auth: None })
            }
            None => Err(wrong("kind", "`kind` has to be `webpush` or `app`")),
        }
    }
}

impl From<TooMany> for ApiError {
    fn from(_: TooMany) -> Self {
        Self::rate_limited(RETRY_SECONDS)
    }
}

/// 503: there is no key to subscribe with.
fn push_not_configured() -> ApiError {
    ApiError::new(
        Status::ServiceUnavailable,
        "push_not_configured",
        "pushes to browsers are not configured: VAPID_PRIVATE_KEY is not set",
    )
}
