//! What operators do with dead letters: have them tried again, or resolve them. Each act is in the audit trail.

use rocket::http::Status as HttpStatus;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tollgate_db::{Tx, UnitOfWork};
use tollgate_domain::audit::acts::{self, Act, ActedBy};
use tollgate_domain::dead_letters::{self, Source, Status};
use tollgate_domain::notifications;
use tollgate_shared::RequestId;

use super::view::{self, DeadLetter};
use crate::app::App;
use crate::http::error::ApiError;
use crate::webhooks::inbox::{Inbox, Order};
use crate::webhooks::retry;

/// What became of a letter.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetterDone")]
pub(super) struct Done {
    pub(super) event_id: String,
    status: &'static str,
    /// What became of its event: as the intake says it, `failed` for one that waits for its next attempt, `sent` for one that
    /// is on its way to its machine again, `queued` for a message.
    pub(super) outcome: &'static str,
}

/// Has the event of a letter tried again at once. One of Stripe's goes the way of all its events; one for a machine is sent
/// again on its stream, and the machine's acknowledgement ends the letter; a message is queued again, and sent it ends its.
pub(super) async fn retry(inbox: &Inbox, id: &str, by: ActedBy, request_id: &RequestId) -> Result<Done, ApiError> {
    let app = inbox.app();
    let letter = unresolved(&mut app.read().await?, id).await?;
    if letter.source == Source::Webhook.name() {
        return retry_webhook(inbox, letter, by, request_id).await;
    }
    let is_message = letter.source == Source::Notification.name();
    let mut tx = app.begin_write().await?;
    if is_message && !notifications::requeue(&mut tx, app.clock.now(), &letter.event_id).await? {
        return Err(ApiError::not_found("such message any more"));
    }
    if !dead_letters::note_retry(&mut tx, app.clock.now(), &letter.id, &by.actor).await? {
        return Err(already_resolved());
    }
    record(&mut tx, app, &by, "dead_letter.retry", &letter, Status::Retrying).await?;
    tx.commit().await?;
    app.bells.ring(letter.license_id.as_deref());
    let outcome = if is_message { "queued" } else { "sent" };
    Ok(Done { event_id: letter.event_id, status: Status::Retrying.name(), outcome })
}

async fn retry_webhook(
    inbox: &Inbox,
    letter: DeadLetter,
    by: ActedBy,
    request_id: &RequestId,
) -> Result<Done, ApiError> {
    let order = Order { action: "dead_letter.retry", by };
    let retried = retry::retry_for_operator(inbox, &letter.event_id, order, request_id).await?;
    let outcome = retry::outcome(&retried.ok_or_else(|| ApiError::not_found("such event any more"))?)?;
    let mut tx = inbox.app().read().await?;
    let letter = view::find(&mut tx, &letter.id).await?.ok_or_else(unknown)?;
    Ok(Done { status: letter.status().name(), event_id: letter.event_id, outcome })
}

/// Resolves a letter without trying anything; the reason of `by` is its note.
pub(super) async fn resolve(app: &App, id: &str, by: ActedBy) -> Result<Done, ApiError> {
    let mut tx = app.begin_write().await?;
    let letter = unresolved(&mut tx, id).await?;
    let note = by.reason.as_deref();
    if !dead_letters::resolve(&mut tx, app.clock.now(), &letter.id, &by.actor, note).await? {
        return Err(already_resolved());
    }
    record(&mut tx, app, &by, "dead_letter.resolve", &letter, Status::Resolved).await?;
    tx.commit().await?;
    Ok(Done { event_id: letter.event_id, status: Status::Resolved.name(), outcome: "resolved" })
}

async fn unresolved(tx: &mut Tx, id: &str) -> Result<DeadLetter, ApiError> {
    let letter = view::find(tx, id).await?.ok_or_else(unknown)?;
    if letter.status() == Status::Resolved { Err(already_resolved()) } else { Ok(letter) }
}

async fn record(
    tx: &mut Tx,
    app: &App,
    by: &ActedBy,
    action: &'static str,
    letter: &DeadLetter,
    status: Status,
) -> Result<(), ApiError> {
    let mut work = UnitOfWork::new(app.clock.now(), app.rng.clone());
    let before = json!({ "status": letter.status, "eventId": letter.event_id });
    let after = json!({ "status": status.name(), "eventId": letter.event_id });
    let target = ("dead_letter", &*letter.id);
    acts::record(&mut work, by, Act { action, target, before: Some(before), after: Some(after) });
    work.release_savepoint();
    work.write(tx).await?;
    Ok(())
}

/// 404: no letter has that id, nor has its event.
pub(super) fn unknown() -> ApiError {
    ApiError::not_found("such dead letter")
}

/// 409: there is nothing left to do.
pub(super) fn already_resolved() -> ApiError {
    ApiError::new(HttpStatus::Conflict, "already_resolved", "the dead letter is resolved already")
}
