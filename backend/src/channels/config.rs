//! What the process is told of its ways to users: the variables of e-mail, of pushes and of the gateway to apps.

use std::fmt;

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tollgate_shared::Secret;
use tollgate_shared::env::Env;

use super::push::PushConfig;
use super::push::hosts::PushHosts;
use super::push::vapid::VapidKey;
use super::webhook::{SigningKey, WebhookConfig};
use crate::http_client::{https_or_local_url, is_on_this_machine};

/// The ways that are set. One that is not set is not there.
#[derive(Clone, Debug)]
pub struct ChannelsConfig {
    /// `SMTP_URL`, `MAIL_FROM`, `MAIL_REPLY_TO`.
    pub mail: Option<MailConfig>,
    /// `VAPID_PRIVATE_KEY` and `VAPID_SUBJECT`.
    pub push: Option<PushConfig>,
    /// `PUSH_HOSTS`.
    pub push_hosts: PushHosts,
    /// `PUSH_WEBHOOK_URL` and `PUSH_WEBHOOK_SECRET`.
    pub gateway: Option<WebhookConfig>,
}

/// How e-mails are sent, and by whom. `Debug` shows no address.
#[derive(Clone)]
pub struct MailConfig {
    /// `SMTP_URL`.
    pub server: SmtpServer,
    /// `MAIL_FROM`.
    pub from: Mailbox,
    /// `MAIL_REPLY_TO`.
    pub reply_to: Option<Mailbox>,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// Its name or address; an address of IPv6 is without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How what is said is kept from others.
    pub encryption: Encryption,
    /// The user, who may be an e-mail address, and the password that it knows us by.
    pub credentials: Option<(Secret, Secret)>,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From its beginning.
    Implicit,
    /// Before anything is said on it.
    StartTls,
    /// Not at all: on this machine.
    None,
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailConfig").field("server", &self.server).finish_non_exhaustive()
    }
}

impl ChannelsConfig {
    /// Reads them; a value that cannot be used is noted in `env`.
    pub(crate) fn from_env(env: &Env) -> Self {
        Self {
            mail: mail(env),
            push: push(env),
            push_hosts: env
                .read("PUSH_HOSTS", "a comma-separated list of hosts such as push.example.com", PushHosts::parse)
                .unwrap_or_default(),
            gateway: gateway(env),
        }
    }
}

fn mail(env: &Env) -> Option<MailConfig> {
    let what =
        "smtp://user:password@host:port or smtps://…, with ?tls=none for one that speaks no TLS and wants no password";
    let server = env.read("SMTP_URL", what, SmtpServer::parse);
    let [from, reply_to] = ["MAIL_FROM", "MAIL_REPLY_TO"]
        .map(|name| env.parse::<Mailbox>(name, "an e-mail address, or a name with one: Acme <billing@example.com>"));
    // Both are looked at, so that both are named.
    env.pair("SMTP_URL", "MAIL_FROM")?;
    Some(MailConfig { server: server?, from: from?, reply_to })
}

fn push(env: &Env) -> Option<PushConfig> {
    let key = env.read("VAPID_PRIVATE_KEY", "a key as `tollgate-backend vapid-keys` prints it", VapidKey::parse);
    let subject = env.read("VAPID_SUBJECT", "mailto:… or https://…", |text| {
        let url = Url::parse(text).ok()?;
        let is_one = match url.scheme() {
            "mailto" => url.path().contains('@'),
            scheme => scheme == "https",
        };
        is_one.then(|| text.to_owned())
    });
    env.pair("VAPID_PRIVATE_KEY", "VAPID_SUBJECT")?;
    Some(PushConfig { key: key?, subject: subject? })
}

fn gateway(env: &Env) -> Option<WebhookConfig> {
    let url = env.read("PUSH_WEBHOOK_URL", "an https:// address, or http:// on this machine", https_or_local_url);
    let key = env.read("PUSH_WEBHOOK_SECRET", "whsec_ and base64", SigningKey::parse);
    env.pair("PUSH_WEBHOOK_URL", "PUSH_WEBHOOK_SECRET")?;
    Some(WebhookConfig { url: url?, key: key? })
}

impl SmtpServer {
    /// Reads `smtp://…` or `smtps://…`. What is said goes in plain only where that is asked for, and a password then only to
    /// this machine.
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let is_in_plain = match url.query() {
            None => false,
            Some("tls=none") => true,
            Some(_) => return None,
        };
        // The ports of RFC 8314 and, for a relay beside us, of RFC 5321.
        let (encryption, port) = match (url.scheme(), is_in_plain) {
            ("smtps", false) => (Encryption::Implicit, 465),
            ("smtp", false) => (Encryption::StartTls, 587),
            ("smtp", true) if url.password().is_none() || is_on_this_machine(&host) => (Encryption::None, 25),
            _ => return None,
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return None,
            (user, Some(password)) => Some((decoded(user)?, decoded(password)?)),
        };
        let is_bare = matches!(url.path(), "" | "/") && url.fragment().is_none() && !host.is_empty();
        is_bare.then_some(Self { host, port: url.port().unwrap_or(port), encryption, credentials })
    }
}

fn decoded(text: &str) -> Option<Secret> {
    Some(Secret::new(percent_decode_str(text).decode_utf8().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    const KEY: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";

    /// The variables that are refused.
    fn refused(variables: &[(&str, &str)]) -> Vec<String> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = Env::from_vars(owned);
        ChannelsConfig::from_env(&env);
        env.finish().err().map(|bad| bad.0.into_keys().collect()).unwrap_or_default()
    }

    #[test]
    fn a_channel_that_is_not_set_is_not_there() {
        let channels = config(&[]).channels;
        assert!(channels.mail.is_none() && channels.push.is_none() && channels.gateway.is_none());
        assert_eq!(channels.push_hosts, PushHosts::default());
        assert_eq!(refused(&[("MAIL_REPLY_TO", "help@example.com"), ("PUSH_HOSTS", "push.example.com")]).len(), 0);
    }

    #[test]
    fn what_belongs_together_is_set_together() {
        for (set, missing) in [
            (("SMTP_URL", "smtp://mail.example.com"), "MAIL_FROM"),
            (("MAIL_FROM", "billing@example.com"), "SMTP_URL"),
            (("VAPID_PRIVATE_KEY", KEY), "VAPID_SUBJECT"),
            (("VAPID_SUBJECT", "mailto:ops@example.com"), "VAPID_PRIVATE_KEY"),
            (("PUSH_WEBHOOK_URL", "https://push.example.com/"), "PUSH_WEBHOOK_SECRET"),
            (("PUSH_WEBHOOK_SECRET", "whsec_YWRh"), "PUSH_WEBHOOK_URL"),
        ] {
            assert_eq!(refused(&[set]), [missing], "{}", set.0);
        }
    }

    #[test]
    fn all_that_cannot_be_used_is_named_at_once() {
        let bad = [
            ("MAIL_FROM", "nobody"),
            ("MAIL_REPLY_TO", "Help <help>"),
            ("PUSH_HOSTS", "https://push.example.com"),
            ("PUSH_WEBHOOK_SECRET", "secret"),
            ("PUSH_WEBHOOK_URL", "http://push.example.com/"),
            ("SMTP_URL", "mail.example.com"),
            ("VAPID_PRIVATE_KEY", "secret"),
            ("VAPID_SUBJECT", "ops@example.com"),
        ];
        assert_eq!(refused(&bad), bad.map(|(name, _)| name));
        for subject in ["mailto:", "mailto:ops", "http://example.com", "tel:112"] {
            assert_eq!(
                refused(&[("VAPID_PRIVATE_KEY", KEY), ("VAPID_SUBJECT", subject)]),
                ["VAPID_SUBJECT"],
                "{subject}"
            );
        }
    }

    #[test]
    fn a_mail_server_is_spoken_to_by_tls_unless_it_is_beside_us() {
        let read = |text: &str| {
            let SmtpServer { host, port, encryption, credentials } = SmtpServer::parse(text)?;
            let credentials = credentials.map(|(user, password)| format!("{} {}", user.expose(), password.expose()));
            Some((host, port, encryption, credentials))
        };
        let known = Some("ada@example.com p:w?d".to_owned());
        for (text, host, port, encryption, credentials) in [
            ("smtp://mail.example.com", "mail.example.com", 587, Encryption::StartTls, None),
            ("smtp://mail.example.com:25/", "mail.example.com", 25, Encryption::StartTls, None),
            (
                "smtps://ada%40example.com:p%3Aw%3Fd@mail.example.com",
                "mail.example.com",
                465,
                Encryption::Implicit,
                known,
            ),
            ("smtps://[2001:db8::1]:4465", "2001:db8::1", 4465, Encryption::Implicit, None),
            ("smtp://127.0.0.1:2525?tls=none", "127.0.0.1", 2525, Encryption::None, None),
            ("smtp://localhost?tls=none", "localhost", 25, Encryption::None, None),
            ("smtp://[::1]/?tls=none", "::1", 25, Encryption::None, None),
            ("smtp://mailpit:1025?tls=none", "mailpit", 1025, Encryption::None, None),
        ] {
            assert_eq!(read(text), Some((host.to_owned(), port, encryption, credentials)), "{text}");
        }
        for bad in [
            "mail.example.com",
            "smtp://",
            "https://mail.example.com",
            "smtp://ada:secret@mail.example.com?tls=none",
            "smtp://ada:secret@127.0.0.1.example.com?tls=none",
            "smtps://localhost?tls=none",
            "smtp://localhost?tls=off",
            "smtp://localhost?tls=none&x=1",
            "smtp://ada@mail.example.com",
            "smtp://:secret@mail.example.com",
            "smtp://mail.example.com/inbox",
            "smtp://mail.example.com#x",
            "smtp://mail.example.com:99999",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_configuration_shows_neither_secrets_nor_addresses() {
        let shown = format!(
            "{:?}",
            config(&[
                ("SMTP_URL", "smtps://hunter2:hunter2@mail.example.com"),
                ("MAIL_FROM", "hunter2@example.com"),
                ("MAIL_REPLY_TO", "hunter2@example.com"),
                ("VAPID_PRIVATE_KEY", KEY),
                ("VAPID_SUBJECT", "mailto:ops@example.com"),
                ("PUSH_WEBHOOK_URL", "https://ada:hunter2@push.example.com/hunter2"),
                ("PUSH_WEBHOOK_SECRET", "whsec_aHVudGVyMg=="),
            ])
        );
        assert!(!shown.contains("hunter2") && !shown.contains(KEY) && !shown.contains("aHVudGVyMg"), "{shown}");
    }
}
