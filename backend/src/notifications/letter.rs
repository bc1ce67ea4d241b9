//! A message as it is handed to its channel; or why it is not.

use chrono_tz::Tz;
use tollgate_domain::notifications::devices::Kind as DeviceKind;
use tollgate_domain::notifications::sending::{IN_HOUR_MAX, Queue, Skip, why_not_now};
use tollgate_domain::notifications::{Channel, Facts, Message, Severity, Template};
use tollgate_shared::Timestamp;

use super::known::Known;
use super::{unsubscribe, url_of};
use crate::app::App;
use crate::channels::{Kind, Mail, Outcome, Outgoing, To};
use crate::templates::Reader;

/// The longest text of a push: a service takes some 4 KB in all, and a screen shows less.
const PUSH_CHARACTERS_MAX: usize = 600;

/// What is to be done with a message.
pub(super) enum Letter {
    /// It is sent.
    Send(Box<Outgoing>),
    /// It is not, and why.
    Skip(Skip),
    /// It cannot be made; what comes of it then.
    Not(Outcome),
}

/// What comes of a message of which no more is known: a panic's own text may quote anybody's.
pub(super) fn panicked() -> Outcome {
    Outcome::later("it panicked")
}

/// Why a push goes to no device, whichever there are.
pub(super) fn why_no_push(app: &App, known: &Known, message: &Message, now: Timestamp) -> Option<Skip> {
    let template = Template::named(&message.template)?;
    let is_configured = [Kind::WebPush, Kind::App].into_iter().any(|kind| app.channels.configured(kind));
    if !is_configured {
        return Some(Skip::NotConfigured);
    }
    if !known.preferences(message).want(template, Channel::Push) {
        return Some(Skip::Off);
    }
    let facts = Facts::of_json(&message.data);
    why_not_now(template, &facts, &known.standing(&facts), message.created_at, now)
}

impl Letter {
    /// Of a message that is due now.
    pub(super) fn of(app: &App, known: &mut Known, message: &Message, now: Timestamp) -> Self {
        let (Some(template), Some(queue)) = (Template::named(&message.template), Queue::named(&message.queue)) else {
            // One may run beside this that can send it.
            return Self::Not(Outcome::later("it was written by another release"));
        };
        let (kind, channel) = match queue {
            Queue::Email => (Kind::Email, Channel::Email),
            Queue::WebPush => (Kind::WebPush, Channel::Push),
            Queue::App | Queue::Push => (Kind::App, Channel::Push),
        };
        if !app.channels.configured(kind) {
            return Self::Skip(Skip::NotConfigured);
        }
        let preferences = known.preferences(message);
        if !preferences.want(template, channel) {
            return Self::Skip(Skip::Off);
        }
        let to = match channel {
            Channel::Email => known.address(message).map(|(address, name)| To::Email { address, name }),
            Channel::Push => known.device(message).and_then(|device| match DeviceKind::named(&device.kind)? {
                DeviceKind::WebPush => Some(To::WebPush {
                    endpoint: device.address.clone(),
                    p256dh: device.p256dh.clone()?,
                    auth: device.auth.clone()?,
                }),
                DeviceKind::App => Some(To::App { platform: device.platform.clone()?, token: device.address.clone() }),
            }),
        };
        let Some(to) = to else {
            return Self::Skip(if channel == Channel::Email { Skip::NoAddress } else { Skip::NoDevice });
        };
        let facts = Facts::of_json(&message.data);
        if let Some(why) = why_not_now(template, &facts, &known.standing(&facts), message.created_at, now) {
            return Self::Skip(why);
        }
        if known.count(message) > IN_HOUR_MAX && template.severity() != Severity::Urgent {
            return Self::Skip(Skip::TooMany);
        }
        let recipient = &*preferences.recipient_id;
        let can_be_ended = channel == Channel::Email && template.category().can_be_unsubscribed_by_link();
        let end = can_be_ended.then(|| unsubscribe::way(app, recipient, template.category())).flatten();
        let url = url_of(&app.config, template, &facts);
        let name = match &to {
            To::Email { name, .. } => name.clone(),
            _ => None,
        };
        let reader = Reader {
            locale: &preferences.locale,
            timezone: preferences.timezone.parse().unwrap_or(Tz::UTC),
            name: name.as_deref(),
            url: url.as_deref(),
            unsubscribe_url: end.as_deref(),
        };
        let mut data = (*message.data).clone();
        if let (Some(members), Some(days)) = (data.as_object_mut(), facts.days_left(now)) {
            members.insert("daysLeft".to_owned(), days.into());
        }
        let texts = &app.config.templates;
        let short = match texts.short(template, &data, &reader) {
            Ok(short) => short,
            Err(failure) => return Self::unreadable(failure.kind().to_string()),
        };
        let mail = match channel {
            Channel::Email => match texts.mail(template, &data, &reader) {
                Ok(mail) => Some(mail),
                Err(failure) => return Self::unreadable(failure.kind().to_string()),
            },
            Channel::Push => None,
        };
        if let Some(members) = data.as_object_mut() {
            members.insert("template".to_owned(), template.name().into());
            members.insert("notificationId".to_owned(), message.notification_id.clone().into());
        }
        Self::Send(Box::new(Outgoing {
            id: message.id.clone(),
            template: template.name().to_owned(),
            urgent: template.severity() == Severity::Urgent,
            title: short.title,
            body: cut(&short.body),
            data,
            notification_id: message.notification_id.clone(),
            to,
            mail: mail.map(|mail| Mail {
                subject: mail.subject,
                text: mail.text,
                html: mail.html,
                list_unsubscribe: end.clone(),
            }),
            topic: message.id.clone(),
            url,
        }))
    }

    /// Of a message whose text cannot be made.
    fn unreadable(error: String) -> Self {
        Self::Not(Outcome::Refused { code: "template".to_owned(), error })
    }

    /// Of a message whose making panics.
    pub(super) fn panicked() -> Self {
        Self::Not(panicked())
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(PUSH_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
