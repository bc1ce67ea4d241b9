//! How operators are told that something is amiss: e-mails, a call of their own server, and a heartbeat whose absence is noticed
//! elsewhere.

use std::fmt;
use std::sync::Arc;

use lettre::message::{Mailbox, Mailboxes};
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tollgate_shared::Timestamp;
use tollgate_shared::env::Env;

use super::answer::why_none;
use super::webhook::{NoClient, SigningKey, Webhook, WebhookConfig, client};
use super::{Channels, Outcome, Outgoing, To};
use crate::http_client::https_or_local_url;

/// Whom and where. What is not set is not there. `Debug` shows no address.
#[derive(Clone, Default)]
pub struct PagerConfig {
    /// `ALERT_EMAIL_TO`.
    pub mail_to: Vec<Mailbox>,
    /// `ALERT_WEBHOOK_URL` and `ALERT_WEBHOOK_SECRET`.
    pub webhook: Option<WebhookConfig>,
    /// `HEARTBEAT_URL`, which is a secret.
    pub heartbeat: Option<Url>,
}

impl fmt::Debug for PagerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagerConfig").field("webhook", &self.webhook).finish_non_exhaustive()
    }
}

impl PagerConfig {
    /// Reads them; a value that cannot be used is noted in `env`. Without a mail server no e-mail can be sent.
    pub(crate) fn from_env(env: &Env) -> Self {
        let what = "one e-mail address, or several, comma-separated";
        let mail_to = env.read("ALERT_EMAIL_TO", what, |text| {
            let all: Vec<Mailbox> = text.parse::<Mailboxes>().ok()?.into_iter().collect();
            (!all.is_empty()).then_some(all)
        });
        if mail_to.is_some() && env.text("SMTP_URL").is_none() {
            env.refuse("SMTP_URL", "is missing: ALERT_EMAIL_TO is set");
        }
        let what = "an https:// address, or http:// on this machine";
        let [url, heartbeat] =
            ["ALERT_WEBHOOK_URL", "HEARTBEAT_URL"].map(|name| env.read(name, what, https_or_local_url));
        let key = env.read("ALERT_WEBHOOK_SECRET", "whsec_ and base64", SigningKey::parse);
        let is_whole = env.pair("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET").is_some();
        let webhook = url.zip(key).filter(|_| is_whole).map(|(url, key)| WebhookConfig { url, key });
        Self { mail_to: mail_to.unwrap_or_default(), webhook, heartbeat }
    }
}

/// The ways to operators. Cheap to clone.
#[derive(Clone)]
pub struct Pager(Arc<Ways>);

struct Ways {
    mail_to: Vec<Mailbox>,
    webhook: Option<Webhook>,
    heartbeat: Option<Heartbeat>,
}

struct Heartbeat {
    url: Url,
    http: Result<reqwest::Client, NoClient>,
}

/// What operators are told.
#[derive(Clone, Debug)]
pub struct Page {
    /// The same for each try.
    pub id: String,
    /// In a line.
    pub title: String,
    /// As a text.
    pub text: String,
    /// As JSON, for the webhook.
    pub json: Vec<u8>,
}

/// The destination that is no e-mail address.
pub const WEBHOOK: &str = "webhook";

impl Pager {
    /// The ways of a configuration. Connects to nobody.
    pub fn new(config: &PagerConfig) -> Self {
        let heartbeat = config.heartbeat.as_ref();
        Self(Arc::new(Ways {
            mail_to: config.mail_to.clone(),
            webhook: config.webhook.as_ref().map(Webhook::new),
            heartbeat: heartbeat.map(|url| Heartbeat { url: url.clone(), http: client(url) }),
        }))
    }

    /// Every destination: [`WEBHOOK`], and e-mail addresses.
    pub fn destinations(&self) -> Vec<String> {
        let Ways { mail_to, webhook, .. } = &*self.0;
        let webhook = webhook.iter().map(|_| WEBHOOK.to_owned());
        webhook.chain(mail_to.iter().map(|mailbox| mailbox.email.to_string())).collect()
    }

    /// Tells one destination, once.
    pub async fn tell(&self, channels: &Channels, destination: &str, page: &Page, now: Timestamp) -> Outcome {
        let Ways { mail_to, webhook, .. } = &*self.0;
        let gone = || Outcome::refused("not_configured", "this destination is not configured any more");
        if destination == WEBHOOK {
            let Some(webhook) = webhook else { return gone() };
            return match webhook.post(&page.id, now, page.json.clone()).await {
                Ok(answer) if answer.status.is_success() => Outcome::Sent,
                Ok(answer) if answer.status == StatusCode::GONE => {
                    Outcome::refused("410", "it takes no alerts any more")
                }
                Ok(answer) => Outcome::Later {
                    error: format!("it answered {}", answer.status.as_u16()),
                    after: answer.retry_after,
                },
                Err(why) => Outcome::later(why),
            };
        }
        let Some(mailbox) = mail_to.iter().find(|mailbox| mailbox.email.to_string() == destination) else {
            return gone();
        };
        let message = Outgoing {
            id: page.id.clone(),
            template: "alert".to_owned(),
            urgent: true,
            title: page.title.clone(),
            body: page.text.clone(),
            url: None,
            data: Value::Null,
            notification_id: None,
            to: To::Email { address: destination.to_owned(), name: mailbox.name.clone() },
            mail: None,
            topic: page.id.clone(),
        };
        channels.send(&message).await
    }

    /// Says that all is judged and told; an error says why that was not heard. Nothing where no heartbeat is wanted.
    pub async fn beat(&self) -> Result<(), String> {
        let Some(Heartbeat { url, http }) = &self.0.heartbeat else { return Ok(()) };
        let http = http.as_ref().map_err(ToString::to_string)?;
        let response = http.get(url.clone()).send().await.map_err(|error| why_none(&error).to_owned())?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    const MAIL: [(&str, &str); 2] = [("SMTP_URL", "smtp://mail.example.com"), ("MAIL_FROM", "billing@example.com")];

    /// The variables that are refused.
    fn refused(variables: &[(&str, &str)]) -> Vec<String> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = Env::from_vars(owned);
        PagerConfig::from_env(&env);
        env.finish().err().map(|bad| bad.0.into_keys().collect()).unwrap_or_default()
    }

    #[test]
    fn operators_are_told_where_it_is_said() {
        assert!(Pager::new(&config(&[]).pager).destinations().is_empty());
        let all = [
            MAIL[0],
            MAIL[1],
            ("ALERT_EMAIL_TO", "Ops <ops@example.com>, night@example.com"),
            ("ALERT_WEBHOOK_URL", "https://ops.example.com/hunter2"),
            ("ALERT_WEBHOOK_SECRET", "whsec_aHVudGVyMg=="),
            ("HEARTBEAT_URL", "https://hc.example.com/hunter2"),
        ];
        let config = config(&all).pager;
        assert_eq!(Pager::new(&config).destinations(), ["webhook", "ops@example.com", "night@example.com"]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
    }

    #[test]
    fn what_operators_cannot_be_told_by_is_refused() {
        assert_eq!(refused(&[("ALERT_EMAIL_TO", "ops@example.com")]), ["SMTP_URL"]);
        assert_eq!(refused(&[MAIL[0], ("ALERT_EMAIL_TO", "ops@example.com, nobody")]), ["ALERT_EMAIL_TO"]);
        assert_eq!(refused(&[("ALERT_WEBHOOK_URL", "https://ops.example.com")]), ["ALERT_WEBHOOK_SECRET"]);
        assert_eq!(refused(&[("ALERT_WEBHOOK_SECRET", "whsec_YWRh")]), ["ALERT_WEBHOOK_URL"]);
        let bad = [
            ("ALERT_EMAIL_TO", "ops"),
            ("ALERT_WEBHOOK_SECRET", "secret"),
            ("ALERT_WEBHOOK_URL", "http://ops.example.com"),
            ("HEARTBEAT_URL", "http://10.0.0.1/"),
        ];
        assert_eq!(refused(&bad), bad.map(|(name, _)| name));
    }
}
