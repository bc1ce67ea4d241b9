//! E-mail, by SMTP, through the company's mail server.
//!
//! Connections are kept for a while and used again. They are ours to keep, not lettre's own pool: that gives a connection back
//! whatever it is in the middle of, so that after a time-out the answer to one message would be read as that to the next.

mod letter;
mod refusal;

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::{ClientId, Extension};
use tokio::time::{Instant, timeout};

use self::letter::letter;
use super::config::{Encryption, MailConfig};
use super::{Outcome, Outgoing};

/// How long a connection is kept that nothing is sent on; servers close them after some minutes.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How many are kept.
const IDLE_CONNECTIONS_MAX: usize = 4;
/// After how many messages a connection is replaced: some servers take a hundred, then none.
const MESSAGES_MAX: u32 = 50;
/// How long a kept connection may take to show that it is still one.
const NOOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The mail server.
pub(super) struct Mailer {
    config: MailConfig,
    credentials: Option<Credentials>,
    /// What our mail is named after, and how we introduce ourselves.
    host: String,
    timeout: Duration,
    tls: OnceLock<TlsParameters>,
    /// Trusted besides this machine's authorities; none but in tests.
    authorities: Vec<Certificate>,
    idle: Mutex<Vec<Line>>,
}

/// A connection on which nothing is under way.
struct Line {
    connection: AsyncSmtpConnection,
    since: Instant,
    messages: u32,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    /// The server's refusal, or none at all.
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    /// The same before any message was spoken of.
    #[error(transparent)]
    NotLetIn(SmtpError),
    #[error("the mail server offers no STARTTLS")]
    NoStartTls,
    #[error("the mail server takes no address beyond ASCII")]
    AsciiAlone,
}

impl Mailer {
    /// The server of a configuration. `host` is ours in the eyes of others; without it the sender's domain is. A message is
    /// given `timeout`.
    pub(super) fn new(config: &MailConfig, host: Option<&str>, timeout: Duration) -> Self {
        let server = &config.server;
        let credentials = server.credentials.as_ref();
        Self {
            credentials: credentials
                .map(|(user, password)| Credentials::new(user.expose().to_owned(), password.expose().to_owned())),
            host: host.unwrap_or_else(|| config.from.email.domain()).to_owned(),
            config: config.clone(),
            timeout,
            tls: OnceLock::new(),
            authorities: Vec::new(),
            idle: Mutex::default(),
        }
    }

    /// The same, trusting somebody besides this machine's authorities.
    #[cfg(test)]
    pub(super) fn trusting(self, authority: Certificate) -> Self {
        Self { authorities: vec![authority], tls: OnceLock::new(), ..self }
    }

    /// The same, giving a message `timeout`.
    #[cfg(test)]
    pub(super) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Hands a message over that is for `address`.
    pub(super) async fn send(&self, message: &Outgoing, address: &str, name: Option<&str>) -> Outcome {
        let Ok(recipient) = address.parse() else {
            return Outcome::refused("invalid_address", "the e-mail address is none");
        };
        let recipient = Mailbox::new(name.map(str::to_owned), recipient);
        let Ok(letter) = letter(&self.config, &self.host, message, recipient) else {
            return Outcome::refused("invalid_message", "no e-mail can be made of the message");
        };
        match timeout(self.timeout, self.deliver(&letter)).await {
            Ok(Ok(())) => Outcome::Sent,
            Ok(Err(DeliveryError::Smtp(error))) => refusal::outcome(&error, &[address, name.unwrap_or_default()]),
            Ok(Err(DeliveryError::NotLetIn(error))) => refusal::of_no_message(&error),
            Ok(Err(error @ DeliveryError::AsciiAlone)) => Outcome::refused("ascii_alone", error.to_string()),
            Ok(Err(error @ DeliveryError::NoStartTls)) => Outcome::later(error.to_string()),
            Err(_) => Outcome::later("the mail server did not answer in time"),
        }
    }

    async fn deliver(&self, letter: &Message) -> Result<(), DeliveryError> {
        let mut line = if let Some(line) = self.idle_line().await {
            line
        } else {
            let connection = self.connect().await.map_err(|error| match error {
                DeliveryError::Smtp(error) => DeliveryError::NotLetIn(error),
                other => other,
            })?;
            Line { connection, since: Instant::now(), messages: 0 }
        };
        let envelope = letter.envelope();
        let speaks_unicode = line.connection.server_info().supports_feature(Extension::SmtpUtfEight);
        if is_beyond_ascii(envelope) && !speaks_unicode {
            self.keep(line);
            return Err(DeliveryError::AsciiAlone);
        }
        line.connection.send(envelope, &letter.formatted()).await?;
        line.messages += 1;
        self.keep(line);
        Ok(())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let server = &self.config.server;
        let hello = ClientId::Domain(self.host.clone());
        let wrapped = match server.encryption {
            Encryption::Implicit => Some(self.tls()?),
            Encryption::StartTls | Encryption::None => None,
        };
        let at = (server.host.as_str(), server.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(at, Some(self.timeout), &hello, wrapped, None).await?;
        if server.encryption == Encryption::StartTls {
            // It is asked for whatever is offered: nothing goes out in plain because somebody on the way left the offer out.
            if !connection.can_starttls() {
                return Err(DeliveryError::NoStartTls);
            }
            connection.starttls(self.tls()?, &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }

    /// How to speak TLS; reading this machine's authorities takes a moment, and is done once.
    fn tls(&self) -> Result<TlsParameters, SmtpError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let mut tls = TlsParameters::builder(self.config.server.host.clone());
        for authority in &self.authorities {
            tls = tls.add_root_certificate(authority.clone());
        }
        let tls = tls.build_rustls()?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }

    /// A connection that was kept and still is one.
    async fn idle_line(&self) -> Option<Line> {
        loop {
            let mut line = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            let is_fresh = line.since.elapsed() < IDLE_MAX;
            if is_fresh && timeout(NOOP_TIMEOUT, line.connection.test_connected()).await == Ok(true) {
                return Some(line);
            }
        }
    }

    fn keep(&self, line: Line) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if line.messages < MESSAGES_MAX && idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(Line { since: Instant::now(), ..line });
        }
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("config", &self.config).finish_non_exhaustive()
    }
}

fn is_beyond_ascii(envelope: &Envelope) -> bool {
    let addresses = envelope.from().into_iter().chain(envelope.to());
    addresses.map(AsRef::<str>::as_ref).any(|address| !address.is_ascii())
}
