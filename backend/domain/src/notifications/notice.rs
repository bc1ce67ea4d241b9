//! Something that somebody is to be told, and how it is written: once, whoever comes to tell it again.

use tollgate_db::{Json, UnitOfWork};

use crate::notifications::facts::Facts;
use crate::notifications::messages::{Message, Notification};
use crate::notifications::sending::{Queue, Status};
use crate::notifications::template::{Channel, Template};

/// Something that somebody is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What of.
    pub template: Template,
    /// What it is told of once: an invoice, a date, a grace.
    pub subject: String,
    /// Whom.
    pub recipient: Recipient,
    /// What there is to say.
    pub facts: Facts,
}

/// Whom something is told: a user, by the user's own channels, else a customer of nobody, by e-mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// Our user's id.
    pub user_id: Option<String>,
    /// `cus_…` that it is about.
    pub customer_id: Option<String>,
}

impl Recipient {
    /// A user, of whose customer it is.
    pub fn user(user_id: &str, customer_id: Option<&str>) -> Self {
        Self { user_id: Some(user_id.to_owned()), customer_id: customer_id.map(str::to_owned) }
    }

    /// The user's id, else the customer's.
    pub fn id(&self) -> Option<&str> {
        self.user_id.as_deref().or(self.customer_id.as_deref())
    }
}

impl Notice {
    /// What there is one of.
    pub fn once_key(&self) -> String {
        format!("{}:{}:{}", self.template.name(), self.subject, self.recipient.id().unwrap_or_default())
    }

    /// What there would be one of, were its customer nobody's: the mail.
    pub(super) fn key_of_mail_to_customer(&self) -> Option<String> {
        let customer_id = self.recipient.customer_id.as_deref()?;
        let once_key = format!("{}:{}:{customer_id}", self.template.name(), self.subject);
        Some(message_key(&once_key, Channel::Email))
    }
}

fn message_key(once_key: &str, channel: Channel) -> String {
    format!("{once_key}:{}", channel.name())
}

/// Writes what is to be told, unless it is there already. `event_id` is what brought it about.
pub fn tell(work: &mut UnitOfWork, notice: &Notice, event_id: Option<&str>) {
    let Recipient { user_id, customer_id } = &notice.recipient;
    if user_id.is_none() && customer_id.is_none() {
        return;
    }
    let (now, once_key, data) = (work.now(), notice.once_key(), notice.facts.to_json());
    let notification_id = user_id.as_ref().map(|user_id| {
        let id = work.new_id("ntf");
        work.append_if_absent(Notification {
            id: id.clone(),
            once_key: once_key.clone(),
            user_id: user_id.clone(),
            template: notice.template.name().to_owned(),
            data: Json(data.clone()),
            created_at: now,
            read_at: None,
        });
        id
    });
    for channel in Channel::ALL.into_iter().filter(|channel| notice.template.may_go_by(*channel)) {
        if channel == Channel::Push && user_id.is_none() {
            continue;
        }
        work.append_if_absent(Message {
            id: work.new_id("msg"),
            once_key: message_key(&once_key, channel),
            template: notice.template.name().to_owned(),
            channel: channel.name().to_owned(),
            queue: Queue::first_of(channel).name().to_owned(),
            user_id: user_id.clone(),
            customer_id: customer_id.clone(),
            notification_id: notification_id.clone(),
            device_id: None,
            data: Json(data.clone()),
            status: Status::Queued.name().to_owned(),
            reason: None,
            attempts: 0,
            last_error: None,
            event_id: event_id.map(str::to_owned),
            created_at: now,
            next_attempt_at: Some(now),
            sent_at: None,
        });
    }
}

/// A customer is told that an operator has answered: the ticket, its number and subject, and the answer, each once.
pub fn support_reply(work: &mut UnitOfWork, user_id: &str, ticket: SupportReply<'_>) {
    let facts = Facts {
        ticket_id: Some(ticket.ticket_id.to_owned()),
        ticket_number: Some(ticket.number),
        ticket_subject: Some(ticket.subject.to_owned()),
        text: Some(ticket.text.to_owned()),
        ..Facts::default()
    };
    let recipient = Recipient::user(user_id, None);
    tell(
        work,
        &Notice { template: Template::SupportReply, subject: ticket.message_id.to_owned(), recipient, facts },
        None,
    );
}

/// An operator's answer to a ticket.
#[derive(Clone, Copy, Debug)]
pub struct SupportReply<'a> {
    /// `tkt_…`
    pub ticket_id: &'a str,
    /// The answer's own id, which it is told of once.
    pub message_id: &'a str,
    /// What the customer knows the ticket by.
    pub number: i64,
    /// What the ticket is about.
    pub subject: &'a str,
    /// The answer.
    pub text: &'a str,
}
