//! How a message leaves here: as an e-mail, as a push to a browser, as a call of the company's own gateway to apps.
//!
//! What is to be said to whom, and when it is tried again, is for the caller to know; here a message is handed over once, and
//! what came of it is told. Neither an address nor a text nor a token is in a log, in what `Debug` shows, or in an error: those
//! hold the other side's code and what of its words names nobody.

mod answer;
pub mod config;
mod gateway;
mod mail;
pub mod pager;
pub mod push;
#[cfg(test)]
mod tests;
pub mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tollgate_shared::{Clock, Rng};

use self::config::ChannelsConfig;
use self::gateway::Gateway;
use self::mail::Mailer;
use self::push::WebPush;

/// The longest that [`Channels::send`] takes: what a mail server is given, which may look at a message for a while before it
/// takes it.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An e-mail, by SMTP.
    Email,
    /// A push to a browser, by its maker's service.
    WebPush,
    /// A push to an app, by the company's gateway.
    App,
}

/// What came of handing a message over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took it.
    Sent,
    /// It will never be taken: it is not to be tried again.
    Refused {
        /// The other side's code (`550`, `413`), or a word of ours.
        code: String,
        /// Why, for an operator.
        error: String,
    },
    /// The device is not there any more, and is to be removed.
    Gone,
    /// It was not taken, or nobody knows: it is to be tried again.
    Later {
        /// Why, for an operator.
        error: String,
        /// How long the other side asks to be left alone.
        after: Option<Duration>,
    },
}

/// A message on its way.
#[derive(Clone)]
pub struct Outgoing {
    /// `msg_…`: the same for each try.
    pub id: String,
    /// What it is made from: `grace_ending`.
    pub template: String,
    /// Whether it is worth waking a device for.
    pub urgent: bool,
    /// In one line, for a push.
    pub title: String,
    /// In a sentence or two, for a push.
    pub body: String,
    /// Where it leads.
    pub url: Option<String>,
    /// What an app may want to know besides.
    pub data: Value,
    /// `ntf_…`: the notification of which this tells.
    pub notification_id: Option<String>,
    /// Whom to.
    pub to: To,
    /// What an e-mail says; without it the title and the body are all of it.
    pub mail: Option<Mail>,
    /// Of several pushes of one topic that wait for a device, the last one replaces the others. Any text.
    pub topic: String,
}

/// Whom a message goes to.
#[derive(Clone)]
pub enum To {
    /// Somebody with an e-mail address.
    Email {
        /// The address.
        address: String,
        /// Whose it is.
        name: Option<String>,
    },
    /// A browser that subscribed to pushes.
    WebPush {
        /// Where its maker's service takes them.
        endpoint: String,
        /// Its public key, base64url.
        p256dh: String,
        /// The secret that it shares with us, base64url.
        auth: String,
    },
    /// An app that the gateway knows.
    App {
        /// `ios`, `android`, …: a word between app and gateway.
        platform: String,
        /// What the gateway knows it by.
        token: String,
    },
}

/// What an e-mail says.
#[derive(Clone)]
pub struct Mail {
    /// Its subject.
    pub subject: String,
    /// As plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// Where mail of this kind is ended: by a `POST` alone (RFC 8058), or by writing to a `mailto:` address.
    pub list_unsubscribe: Option<String>,
}

impl To {
    /// The way that leads there.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Email { .. } => Kind::Email,
            Self::WebPush { .. } => Kind::WebPush,
            Self::App { .. } => Kind::App,
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, template, to, .. } = self;
        f.debug_struct("Outgoing").field("id", id).field("template", template).field("to", to).finish_non_exhaustive()
    }
}

impl fmt::Debug for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(…)", self.kind())
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mail(…)")
    }
}

impl Outcome {
    fn refused(code: impl Into<String>, error: impl Into<String>) -> Self {
        Self::Refused { code: code.into(), error: error.into() }
    }

    /// It is tried again, for this reason.
    pub fn later(error: impl Into<String>) -> Self {
        Self::Later { error: error.into(), after: None }
    }
}

/// The ways that are configured. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channels(Arc<Ways>);

#[derive(Debug)]
struct Ways {
    mail: Option<Mailer>,
    push: Option<WebPush>,
    gateway: Option<Gateway>,
}

impl Channels {
    /// The ways of a configuration. Connects to nobody. `public_url`, where the relay is for everybody, is what e-mails are
    /// named after.
    pub fn new(config: &ChannelsConfig, public_url: Option<&Url>, clock: &Clock, rng: &Rng) -> Self {
        let host = public_url.and_then(Url::host_str);
        Self(Arc::new(Ways {
            mail: config.mail.as_ref().map(|mail| Mailer::new(mail, host, SEND_TIMEOUT)),
            push: config.push.as_ref().map(|push| WebPush::new(push, &config.push_hosts, clock, rng)),
            gateway: config.gateway.as_ref().map(|gateway| Gateway::new(gateway, clock)),
        }))
    }

    /// Whether there is such a way.
    pub fn configured(&self, kind: Kind) -> bool {
        match kind {
            Kind::Email => self.0.mail.is_some(),
            Kind::WebPush => self.0.push.is_some(),
            Kind::App => self.0.gateway.is_some(),
        }
    }

    /// The `applicationServerKey` that browsers subscribe with, base64url.
    pub fn public_key(&self) -> Option<&str> {
        self.0.push.as_ref().map(WebPush::public_key)
    }

    /// Hands `message` over, once, in [`SEND_TIMEOUT`] at most. May be dropped at any moment: then nobody knows whether it was
    /// taken.
    pub async fn send(&self, message: &Outgoing) -> Outcome {
        let Ways { mail, push, gateway } = &*self.0;
        let sent = match &message.to {
            To::Email { address, name } => match mail {
                Some(mail) => Some(mail.send(message, address, name.as_deref()).await),
                None => None,
            },
            To::WebPush { endpoint, p256dh, auth } => match push {
                Some(push) => Some(push.send(message, endpoint, p256dh, auth).await),
                None => None,
            },
            To::App { platform, token } => match gateway {
                Some(gateway) => Some(gateway.send(message, platform, token).await),
                None => None,
            },
        };
        sent.unwrap_or_else(|| Outcome::refused("not_configured", "this channel is not configured any more"))
    }
}
