//! What a user wants to be told, by which channels, in which language and zone.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{Json, record};

use crate::notifications::template::{Category, Channel, Template};

/// The language of whoever has said nothing else.
pub const LOCALE: &str = "en";
/// The zone of whoever has said nothing else.
pub const TIMEZONE: &str = "UTC";

record! {
    /// A row of `notification_preferences`.
    pub struct Preferences in "notification_preferences" {
        /// Whose they are: a user's id, or that of a customer of nobody.
        pub recipient_id: String,
        /// A language tag.
        pub locale: String,
        /// A name of the IANA's database of time zones.
        pub timezone: String,
        /// Whether any e-mail is sent.
        pub email_is_on: bool,
        /// Whether any push is.
        pub push_is_on: bool,
        /// The names of channels by those of categories; a category that is not there has its default.
        pub categories: Json<BTreeMap<String, Vec<String>>>,
    }
}

impl Preferences {
    /// Those of whoever has said nothing.
    pub fn by_default(recipient_id: &str) -> Self {
        Self {
            recipient_id: recipient_id.to_owned(),
            locale: LOCALE.to_owned(),
            timezone: TIMEZONE.to_owned(),
            email_is_on: true,
            push_is_on: true,
            categories: Json(BTreeMap::new()),
        }
    }

    /// By which channels a category goes.
    pub fn channels_of(&self, category: Category) -> Vec<Channel> {
        match self.categories.get(category.name()) {
            Some(names) => names.iter().filter_map(|name| Channel::named(name)).collect(),
            None => category.by_default().to_vec(),
        }
    }

    /// Sets by which channels a category goes.
    pub fn set(&mut self, category: Category, channels: &[Channel]) {
        let names = Channel::ALL.into_iter().filter(|channel| channels.contains(channel));
        self.categories.insert(category.name().to_owned(), names.map(|channel| channel.name().to_owned()).collect());
    }

    /// Takes a channel out of a category.
    pub fn turn_off(&mut self, category: Category, channel: Channel) {
        let left: Vec<_> = self.channels_of(category).into_iter().filter(|one| *one != channel).collect();
        self.set(category, &left);
    }

    /// Whether what `template` says is wanted by `channel`.
    pub fn want(&self, template: Template, channel: Channel) -> bool {
        let is_on = match channel {
            Channel::Email => self.email_is_on,
            Channel::Push => self.push_is_on,
        };
        is_on && template.may_go_by(channel) && self.channels_of(template.category()).contains(&channel)
    }
}

/// Preferences as their user sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NotificationPreferences")]
pub struct PreferencesView {
    locale: String,
    timezone: String,
    channels: ChannelsView,
    categories: BTreeMap<Category, Vec<Channel>>,
}

/// Which channels are on at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NotificationChannels")]
pub struct ChannelsView {
    email: bool,
    push: bool,
}

impl From<&Preferences> for PreferencesView {
    fn from(row: &Preferences) -> Self {
        Self {
            locale: row.locale.clone(),
            timezone: row.timezone.clone(),
            channels: ChannelsView { email: row.email_is_on, push: row.push_is_on },
            categories: Category::ALL.into_iter().map(|category| (category, row.channels_of(category))).collect(),
        }
    }
}
