//! Events that failed in a way that may pass are tried again here, on the same way as a delivery.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tollgate_db::DbError;
use tollgate_shared::RequestId;
use tracing::info;

use crate::app::App;
use crate::http::error::ApiError;
use crate::webhooks::Status;
use crate::webhooks::inbox::{BATCH_MAX, Delivery, Inbox, IntakeError, Mode, Order};
use crate::webhooks::store;

/// How long an event is ours that we took for an attempt: longer than any attempt, and short enough that one which was
/// lost with its process is soon made by another.
const LEASE: chrono::Duration = chrono::Duration::seconds(30);

/// How many bytes of payloads are tried together, unless the first alone has more.
const TOGETHER_BYTES_MAX: i64 = 8 << 20;

/// Tries everything that is due now; says how many events.
pub async fn run(inbox: &Inbox) -> Result<usize, DbError> {
    make_outage_failures_due(inbox).await?;
    let mut tried = 0;
    loop {
        let due = take_due(inbox.app()).await?;
        if due.is_empty() {
            return Ok(tried);
        }
        tried += due.len();
        let request_id = RequestId::new(inbox.app().clock.now(), &inbox.app().rng);
        metrics::counter!("tollgate_backend_retries_total").increment(due.len() as u64);
        inbox.process(due, Mode::Retry, &request_id).await;
    }
}

/// Tries one event at an operator's word, at once. None if there is no such event.
pub async fn retry_for_operator(
    inbox: &Inbox,
    id: &str,
    order: Order,
    request_id: &RequestId,
) -> Result<Option<Delivery>, DbError> {
    let mut tx = inbox.app().read().await?;
    let Some(payload) = store::payload(&mut tx, id).await? else { return Ok(None) };
    drop(tx);
    Ok(inbox.process(vec![payload], Mode::Operator(Arc::new(order)), request_id).await.pop())
}

/// What an operator is told of an attempt: the outcome, or `failed` when it is tried again later. 503 where nothing could be
/// written.
pub fn outcome(delivery: &Delivery) -> Result<&'static str, ApiError> {
    match delivery {
        Ok((_, outcome)) => Ok(outcome.name()),
        Err((_, IntakeError::RetryScheduled)) => Ok(Status::Failed.name()),
        Err((_, error)) => Err((*error).into()),
    }
}

/// Once an outage, what failed for want of the database need not wait for its time.
async fn make_outage_failures_due(inbox: &Inbox) -> Result<(), DbError> {
    let (app, database_was_away) = (inbox.app(), inbox.database_was_away());
    // Before we begin: it may go away again meanwhile.
    if !database_was_away.swap(false, Ordering::AcqRel) {
        return Ok(());
    }
    let made_due = async {
        let mut tx = app.begin_write().await?;
        let made_due = store::make_due_now(&mut tx, app.clock.now()).await?;
        tx.commit().await?;
        Ok(made_due)
    };
    let made_due = made_due.await.inspect_err(|_: &DbError| database_was_away.store(true, Ordering::Release))?;
    if made_due > 0 {
        info!(events = made_due, "database is available again: retrying {made_due} failed events now");
    }
    Ok(())
}

/// Takes what is due, as much as is tried together; other replicas take what is left.
pub(super) async fn take_due(app: &App) -> Result<Vec<Bytes>, DbError> {
    let now = app.clock.now();
    let mut tx = app.read().await?;
    let due = store::due(&mut tx, now, BATCH_MAX as i64).await?;
    drop(tx);
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = app.begin_write().await?;
    let (mut payloads, mut bytes) = (Vec::new(), 0);
    for (id, payload_bytes) in due {
        if bytes > 0 && bytes + payload_bytes > TOGETHER_BYTES_MAX {
            break;
        }
        if let Some(payload) = store::lease(&mut tx, now, &id, now + LEASE).await? {
            bytes += payload_bytes;
            payloads.push(payload);
        }
    }
    tx.commit().await?;
    Ok(payloads)
}
