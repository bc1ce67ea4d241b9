//! A notification as its user sees it: its text is made when it is looked at, in the user's language as it is then.

use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::List;
use tollgate_domain::notifications::preferences::Preferences;
use tollgate_domain::notifications::{Category, Facts, Notification, Severity, Template};
use tollgate_shared::clock::rfc3339;
use tracing::error;

use super::url_of;
use crate::config::Config;
use crate::templates::{Reader, Short};

/// What a user was told.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Notification")]
pub(super) struct NotificationView {
    id: String,
    template: String,
    category: Category,
    severity: Severity,
    title: String,
    body: String,
    url: Option<String>,
    data: Facts,
    created_at: String,
    read_at: Option<String>,
}

/// A page of what a user was told, and how much of all of it has not been read.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Notifications")]
pub(super) struct NotificationsView {
    #[serde(flatten)]
    pub(super) list: List<NotificationView>,
    pub(super) unread: i64,
}

/// How many were marked as read.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "NotificationsRead")]
pub(super) struct ReadView {
    pub(super) read: u64,
}

impl NotificationView {
    /// Of a row; none of a template that this release does not know.
    pub(super) fn of(row: Notification, config: &Config, preferences: &Preferences) -> Option<Self> {
        let template = Template::named(&row.template)?;
        let facts = Facts::of_json(&row.data);
        let url = url_of(config, template, &facts);
        let reader = Reader {
            locale: &preferences.locale,
            timezone: preferences.timezone.parse().unwrap_or(Tz::UTC),
            name: None,
            url: url.as_deref(),
            unsubscribe_url: None,
        };
        let short = config.templates.short(template, &row.data, &reader).unwrap_or_else(|failure| {
            error!(template = template.name(), "could not make the text of a notification: {}", failure.kind());
            Short { title: template.name().to_owned(), body: String::new() }
        });
        Some(Self {
            id: row.id,
            template: row.template,
            category: template.category(),
            severity: template.severity(),
            title: short.title,
            body: short.body,
            url,
            data: facts,
            created_at: rfc3339(row.created_at),
            read_at: row.read_at.map(rfc3339),
        })
    }
}
