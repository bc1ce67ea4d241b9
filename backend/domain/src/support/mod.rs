//! Support: what customers ask of the people behind the product, and what those answer.
//!
//! Life of a ticket: `open` when a customer asks, `answered` once an operator has, `closed` when either has closed it; whatever
//! the customer writes opens it again. Operators leave each other notes in it, of which the customer sees nothing, not even
//! that there are any. Nothing of it is ever removed.

pub mod search;
mod store;
pub mod view;

use std::collections::BTreeSet;

use chrono::Duration;
use serde_json::json;
use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

use crate::audit::acts::{self, Act, ActedBy};

/// How many tickets a user may open in [`COUNTED_FOR`].
pub const OPENED_MAX: usize = 20;

/// How long a ticket that was opened counts.
pub const COUNTED_FOR: Duration = Duration::days(1);

/// How many messages a ticket may hold before its customer has to open another one: whoever opens a ticket reads all of it.
pub const MESSAGES_MAX: i64 = 500;

record! {
    /// A row of `support_tickets`.
    pub struct Ticket in "support_tickets" {
        /// `tkt_…`
        pub id: String,
        /// What people call it: 1, 2, 3, …
        pub number: i64,
        /// Who asks.
        pub user_id: String,
        /// What it is about.
        pub subject: String,
        /// What kind of question it is, where the customer says so.
        pub category: Option<String>,
        /// How urgent it is to the customer.
        pub priority: String,
        /// `open`, `answered` or `closed`.
        pub status: String,
        /// The licence that it is about.
        pub license_id: Option<String>,
        /// The number of its newest message.
        pub last_message: i64,
        /// When it was opened.
        pub created_at: Timestamp,
        /// When anything of it changed that its customer sees.
        pub updated_at: Timestamp,
    }
}

record! {
    /// A row of `support_messages`.
    pub struct TicketMessage in "support_messages" references "support_tickets" {
        /// `tmg_…`
        pub id: String,
        /// The ticket that it is in.
        pub ticket_id: String,
        /// 1, 2, 3, … in that.
        pub number: i64,
        /// When it was written.
        pub at: Timestamp,
        /// `customer` or `operator`.
        pub author: String,
        /// What was written.
        pub text: String,
        /// Whether it is a note of operators to each other.
        pub is_internal: bool,
    }
}

record! {
    /// The one row of `support_desks`.
    struct Desk in "support_desks" {
        /// `tickets`
        pub id: String,
        /// The number of the newest ticket.
        pub last_number: i64,
    }
}

/// How a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketStatus {
    /// The customer waits for an answer.
    Open,
    /// An operator has answered.
    Answered,
    /// Nobody waits.
    Closed,
}

impl TicketStatus {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Open, Self::Answered, Self::Closed];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Closed => "closed",
        }
    }

    /// The status of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What a ticket may be about.
pub const CATEGORIES: [&str; 4] = ["billing", "technical", "account", "other"];

/// How urgent it may be.
pub const PRIORITIES: [&str; 3] = ["low", "normal", "high"];

/// What a customer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the rows")]
pub struct NewTicket {
    pub user_id: String,
    pub subject: String,
    pub text: String,
    pub category: Option<String>,
    pub priority: String,
    pub license_id: Option<String>,
}

/// What an operator writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The text.
    pub text: String,
    /// How the ticket stands from then on; where nothing is said, an answer makes it `answered` and a note changes nothing.
    pub status: Option<TicketStatus>,
    /// Whether it is a note.
    pub is_internal: bool,
}

/// Why nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupportError {
    /// There is no such ticket.
    #[error("there is no such ticket")]
    Unknown,
    /// The user has opened as many as one may; another one from then on.
    #[error("too many tickets were opened")]
    TooMany {
        /// When the oldest of them no longer counts.
        until: Timestamp,
    },
    /// The ticket holds as much as one may.
    #[error("the ticket is full")]
    Full,
}

/// What a unit of work needs of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Tickets, each with its messages.
    pub tickets: BTreeSet<String>,
    /// Who is about to open one.
    pub opened_by: Option<String>,
}

/// Loads what is wanted, for writing. Tickets are opened one after the other, so that each gets its number and nobody opens
/// more of them than one may.
pub async fn load(tx: &mut Tx, work: &mut UnitOfWork, wanted: &Wanted) -> Result<(), DbError> {
    if let Some(user_id) = &wanted.opened_by {
        let none_yet = Desk { id: DESK.to_owned(), last_number: 0 };
        work.add_loaded(tx.load_or_insert(&[&none_yet]).await?);
        work.add_loaded(store::newest_of_user(tx, user_id, OPENED_MAX as i64).await?);
    }
    if !wanted.tickets.is_empty() {
        work.add_loaded::<Ticket>(tx.load("id", &wanted.tickets, Lock::ForUpdate).await?);
        work.add_loaded::<TicketMessage>(tx.load("ticket_id", &wanted.tickets, Lock::None).await?);
    }
    Ok(())
}

/// The key of the one row.
const DESK: &str = "tickets";

/// Opens a ticket.
pub fn open(work: &mut UnitOfWork, new: NewTicket) -> Result<Ticket, SupportError> {
    let now = work.now();
    let mut counted: Vec<_> = work
        .all::<Ticket>()
        .filter(|ticket| ticket.user_id == new.user_id && now - ticket.created_at < COUNTED_FOR)
        .map(|ticket| ticket.created_at)
        .collect();
    counted.sort();
    if let Some(oldest) = counted.len().checked_sub(OPENED_MAX) {
        return Err(SupportError::TooMany { until: counted[oldest] + COUNTED_FOR });
    }
    let mut desk = work.get_cloned(DESK).unwrap_or(Desk { id: DESK.to_owned(), last_number: 0 });
    desk.last_number += 1;
    let ticket = Ticket {
        id: work.new_id("tkt"),
        number: desk.last_number,
        user_id: new.user_id,
        subject: new.subject,
        category: new.category,
        priority: new.priority,
        status: TicketStatus::Open.name().to_owned(),
        license_id: new.license_id,
        last_message: 0,
        created_at: now,
        updated_at: now,
    };
    work.insert(desk);
    Ok(write(work, ticket, Author::Customer, new.text, false).0)
}

/// Adds what the customer writes, which opens the ticket again.
pub fn add(work: &mut UnitOfWork, user_id: &str, id: &str, text: String) -> Result<Ticket, SupportError> {
    let mut ticket = of_user(work, user_id, id)?;
    if ticket.last_message >= MESSAGES_MAX {
        return Err(SupportError::Full);
    }
    TicketStatus::Open.name().clone_into(&mut ticket.status);
    ticket.updated_at = work.now();
    Ok(write(work, ticket, Author::Customer, text, false).0)
}

/// Closes a ticket for its customer; one that is closed stays as it is.
pub fn close(work: &mut UnitOfWork, user_id: &str, id: &str) -> Result<Ticket, SupportError> {
    let mut ticket = of_user(work, user_id, id)?;
    if ticket.status != TicketStatus::Closed.name() {
        TicketStatus::Closed.name().clone_into(&mut ticket.status);
        ticket.updated_at = work.now();
        work.insert(ticket.clone());
    }
    Ok(ticket)
}

/// Adds what an operator writes, which is on record as an act of theirs. Gives the ticket and the message.
pub fn respond(
    work: &mut UnitOfWork,
    by: &ActedBy,
    id: &str,
    response: Response,
) -> Result<(Ticket, TicketMessage), SupportError> {
    let mut ticket: Ticket = work.get_cloned(id).ok_or(SupportError::Unknown)?;
    let Response { text, status, is_internal } = response;
    let status = status.or((!is_internal).then_some(TicketStatus::Answered));
    let was = ticket.status.clone();
    if let Some(status) = status {
        status.name().clone_into(&mut ticket.status);
    }
    if !is_internal || ticket.status != was {
        ticket.updated_at = work.now();
    }
    let (ticket, message) = write(work, ticket, Author::Operator, text, is_internal);
    let after = json!({ "status": ticket.status, "messageId": message.id, "internal": is_internal });
    let before = json!({ "status": was });
    let target = ("ticket", &*ticket.id);
    acts::record(work, by, Act { action: "ticket.respond", target, before: Some(before), after: Some(after) });
    Ok((ticket, message))
}

#[derive(Clone, Copy)]
enum Author {
    Customer,
    Operator,
}

impl Author {
    fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
        }
    }
}

/// Puts a message into a ticket; gives the ticket as it is then, and the message.
fn write(
    work: &mut UnitOfWork,
    mut ticket: Ticket,
    author: Author,
    text: String,
    is_internal: bool,
) -> (Ticket, TicketMessage) {
    ticket.last_message += 1;
    let message = TicketMessage {
        id: work.new_id("tmg"),
        ticket_id: ticket.id.clone(),
        number: ticket.last_message,
        at: work.now(),
        author: author.name().to_owned(),
        text,
        is_internal,
    };
    work.insert(message.clone());
    work.insert(ticket.clone());
    (ticket, message)
}

fn of_user(work: &UnitOfWork, user_id: &str, id: &str) -> Result<Ticket, SupportError> {
    let ticket: Option<Ticket> = work.get_cloned(id);
    ticket.filter(|ticket| ticket.user_id == user_id).ok_or(SupportError::Unknown)
}

/// The messages of a ticket that is in `work`, in order.
pub fn messages_in(work: &UnitOfWork, ticket_id: &str) -> Vec<TicketMessage> {
    let mut messages: Vec<TicketMessage> =
        work.all().filter(|message: &&TicketMessage| message.ticket_id == ticket_id).cloned().collect();
    messages.sort_by_key(|message| message.number);
    messages
}

/// A ticket with its messages, in order.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<(Ticket, Vec<TicketMessage>)>, DbError> {
    let ids = BTreeSet::from([id.to_owned()]);
    let Some(ticket) = tx.load::<Ticket>("id", &ids, Lock::None).await?.pop() else { return Ok(None) };
    let mut messages: Vec<TicketMessage> = tx.load("ticket_id", &ids, Lock::None).await?;
    messages.sort_by_key(|message| message.number);
    Ok(Some((ticket, messages)))
}

#[cfg(test)]
mod tests;
