//! What a user wants to be told, by which channels.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rocket::serde::json::Json;
use rocket::{State, get, put};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::notifications::preferences::{Preferences, PreferencesView};
use tollgate_domain::notifications::{Category, Channel};

use crate::app::App;
use crate::http::auth::User;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::templates::is_locale;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(show, "What the user wants to be told, by which channels, in which language and time zone"),
        endpoint!(change, "Changes what the user wants to be told; what is left out stays"),
    ]
}

/// A body of `PUT /api/notifications/preferences`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NotificationPreferencesChanges")]
struct Change {
    /// A language tag such as `en` or `pt-BR`.
    locale: Option<String>,
    /// A name of the IANA's time zones, such as `Africa/Lagos`.
    timezone: Option<String>,
    channels: Option<Switches>,
    categories: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NotificationChannelsChanges")]
struct Switches {
    email: Option<bool>,
    push: Option<bool>,
}

#[get("/api/notifications/preferences")]
async fn show(user: User, app: &State<App>) -> Result<Json<PreferencesView>, ApiError> {
    let preferences = preferences_of(&mut app.read().await?, &user.id).await?;
    Ok(Json((&preferences).into()))
}

#[put("/api/notifications/preferences", data = "<body>")]
async fn change(user: User, body: JsonBody<Change>, app: &State<App>) -> Result<Json<PreferencesView>, ApiError> {
    let change = body.0.readable()?;
    let changed = change_preferences(app, &user.id, |row| change.make(row)).await?;
    Ok(Json((&changed).into()))
}

/// The preferences of a recipient, by default where nothing was said.
pub(super) async fn preferences_of(tx: &mut Tx, recipient_id: &str) -> Result<Preferences, DbError> {
    let mut rows: Vec<Preferences> = tx.load("recipient_id", &[recipient_id.to_owned()].into(), Lock::None).await?;
    Ok(rows.pop().unwrap_or_else(|| Preferences::by_default(recipient_id)))
}

/// Changes the preferences of a recipient.
pub(super) async fn change_preferences(
    app: &App,
    recipient_id: &str,
    change: impl FnOnce(&mut Preferences) + Send,
) -> Result<Preferences, DbError> {
    let mut tx = app.begin_write().await?;
    let default = Preferences::by_default(recipient_id);
    let known = tx.load_or_insert(&[&default]).await?.pop();
    let mut row = known.unwrap_or(default);
    change(&mut row);
    tx.upsert(&[&row]).await?;
    tx.commit().await?;
    Ok(row)
}

/// What was read of a [`Change`].
struct Wanted {
    locale: Option<String>,
    timezone: Option<Tz>,
    email: Option<bool>,
    push: Option<bool>,
    categories: Vec<(Category, Vec<Channel>)>,
}

impl Change {
    fn readable(self) -> Result<Wanted, ApiError> {
        let locale = self.locale.map(|text| {
            let message = "`locale` has to be the tag of a language, such as `en` or `pt-BR`";
            if is_locale(&text) { Ok(text) } else { Err(ApiError::invalid_parameter("locale", message)) }
        });
        let timezone = self.timezone.map(|text| {
            let message = "`timezone` has to be a name of the IANA's time zones, such as `Africa/Lagos`";
            text.parse::<Tz>().map_err(|_| ApiError::invalid_parameter("timezone", message))
        });
        let categories = self.categories.unwrap_or_default().into_iter().map(|(category, channels)| {
            let message = "`categories` has to have lists of `email` and `push` for `payments`, `reminders`, `pods` \
                           and `support`";
            let wrong = || ApiError::invalid_parameter("categories", message);
            let category = Category::named(&category).ok_or_else(wrong)?;
            let channels = channels.iter().map(|name| Channel::named(name).ok_or_else(wrong));
            Ok((category, channels.collect::<Result<_, _>>()?))
        });
        let Switches { email, push } = self.channels.unwrap_or(Switches { email: None, push: None });
        Ok(Wanted {
            locale: locale.transpose()?,
            timezone: timezone.transpose()?,
            email,
            push,
            categories: categories.collect::<Result<_, ApiError>>()?,
        })
    }
}

impl Wanted {
    fn make(self, row: &mut Preferences) {
        if let Some(locale) = self.locale {
            row.locale = locale;
        }
        if let Some(timezone) = self.timezone {
            timezone.name().clone_into(&mut row.timezone);
        }
        row.email_is_on = self.email.unwrap_or(row.email_is_on);
        row.push_is_on = self.push.unwrap_or(row.push_is_on);
        for (category, channels) in &self.categories {
            row.set(*category, channels);
        }
    }
}
