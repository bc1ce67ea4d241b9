//! Notifications as their user sees them, and messages as operators do.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx};
use tollgate_shared::clock::rfc3339;

use crate::notifications::messages::Message;
use crate::notifications::store::{self, Filter};

/// A message as operators see it: neither to whom it went nor what it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Message")]
pub struct MessageView {
    id: String,
    user_id: Option<String>,
    channel: String,
    template: String,
    status: String,
    /// Why it was skipped, or is a dead letter.
    reason: Option<String>,
    attempts: i64,
    last_error: Option<String>,
    event_id: Option<String>,
    created_at: String,
    sent_at: Option<String>,
}

impl MessageView {
    /// `msg_…`
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl From<Message> for MessageView {
    fn from(row: Message) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            channel: row.channel,
            template: row.template,
            status: row.status,
            reason: row.reason,
            attempts: row.attempts,
            last_error: row.last_error,
            event_id: row.event_id,
            created_at: rfc3339(row.created_at),
            sent_at: row.sent_at.map(rfc3339),
        }
    }
}

/// A page of the messages that `filter` asks for, the newest first.
pub async fn messages(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<List<MessageView>, DbError> {
    let rows = store::newest(tx, filter, page).await?;
    let list = page.merge(rows, |row| Position { at: row.created_at, id: row.id.clone() });
    Ok(list.map(MessageView::from))
}

/// The newest messages about a customer, and about nobody's customer to its user, at most `limit`.
pub async fn of_customer(
    tx: &mut Tx,
    customer_id: &str,
    user_id: Option<&str>,
    limit: i64,
) -> Result<Vec<MessageView>, DbError> {
    Ok(store::of_customer(tx, customer_id, user_id, limit).await?.into_iter().map(MessageView::from).collect())
}

/// What an event has brought about.
pub async fn of_event(tx: &mut Tx, event_id: &str) -> Result<Vec<MessageView>, DbError> {
    Ok(store::of_event(tx, event_id).await?.into_iter().map(MessageView::from).collect())
}
