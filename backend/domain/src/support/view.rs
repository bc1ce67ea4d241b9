//! Tickets as their customers see them, and as operators do. What was written is text, and is shown as such.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::clock::rfc3339;

use super::{Ticket, TicketMessage};

/// A ticket without what was written in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TicketHead")]
pub struct TicketHeadView {
    id: String,
    number: i64,
    subject: String,
    category: Option<String>,
    priority: String,
    status: String,
    license_id: Option<String>,
    created_at: String,
    updated_at: String,
}

/// A ticket as its customer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Ticket")]
pub struct TicketView {
    #[serde(flatten)]
    head: TicketHeadView,
    messages: Vec<MessageView>,
}

/// A ticket without what was written in it, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OperatorTicketHead")]
pub struct OperatorTicketHeadView {
    user_id: String,
    #[serde(flatten)]
    head: TicketHeadView,
}

/// A ticket as operators see it: with their notes, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OperatorTicket")]
pub struct OperatorTicketView {
    user_id: String,
    #[serde(flatten)]
    ticket: TicketView,
}

/// What was written in a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "TicketMessage")]
pub struct MessageView {
    id: String,
    at: String,
    from: String,
    text: String,
    internal: bool,
}

impl From<Ticket> for TicketHeadView {
    fn from(row: Ticket) -> Self {
        Self {
            id: row.id,
            number: row.number,
            subject: row.subject,
            category: row.category,
            priority: row.priority,
            status: row.status,
            license_id: row.license_id,
            created_at: rfc3339(row.created_at),
            updated_at: rfc3339(row.updated_at),
        }
    }
}

impl TicketView {
    /// What its customer sees of a ticket: no notes.
    pub fn of(ticket: Ticket, messages: Vec<TicketMessage>) -> Self {
        let seen = messages.into_iter().filter(|message| !message.is_internal);
        Self { head: ticket.into(), messages: seen.map(MessageView::from).collect() }
    }
}

impl From<Ticket> for OperatorTicketHeadView {
    fn from(row: Ticket) -> Self {
        Self { user_id: row.user_id.clone(), head: row.into() }
    }
}

impl OperatorTicketView {
    /// What operators see of a ticket.
    pub fn of(ticket: Ticket, messages: Vec<TicketMessage>) -> Self {
        let messages = messages.into_iter().map(MessageView::from).collect();
        Self { user_id: ticket.user_id.clone(), ticket: TicketView { head: ticket.into(), messages } }
    }
}

impl From<TicketMessage> for MessageView {
    fn from(row: TicketMessage) -> Self {
        Self { id: row.id, at: rfc3339(row.at), from: row.author, text: row.text, internal: row.is_internal }
    }
}
