//! What came of messages is written: in one transaction of all that have ended while the one before was being written, and
//! again while the database is away. Until then they are whoever's who has them.

use std::collections::BTreeSet;
use std::mem;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration as StdDuration;

use chrono::Duration;
use tokio::sync::Mutex as Turn;
use tokio::time::sleep;
use tollgate_db::{DbError, Tx};
use tollgate_domain::dead_letters::{self, Failure, Subject};
use tollgate_domain::notifications::sending::{Skip, retry_delay};
use tollgate_domain::notifications::{self, Message};
use tollgate_shared::Timestamp;
use tollgate_shared::backoff::Backoff;
use tracing::{debug, error, info, warn};

use crate::app::App;
use crate::channels::Outcome;

/// What came of a message is written again until its lease is nearly over: else it would be sent twice.
const BACKOFF: Backoff = Backoff { first: StdDuration::from_millis(250), longest: StdDuration::from_secs(15) };
const ATTEMPTS_MAX: u32 = 15;

/// What came of a message.
#[derive(Debug)]
pub(super) enum Ended {
    /// It is not sent.
    Skip(Skip),
    /// It was handed to its channel.
    Channel(Outcome),
}

/// What came of the messages that are under way.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    waiting: Mutex<Vec<(Message, Ended)>>,
    writing: Turn<()>,
}

impl Outcomes {
    /// Writes what came of a message, with whatever else waits for that.
    pub(super) async fn note(&self, app: &App, message: Message, ended: Ended) -> Result<(), DbError> {
        self.waiting().push((message, ended));
        let _turn = self.writing.lock().await;
        let all = mem::take(&mut *self.waiting());
        match write(app, &all).await {
            // One of them cannot be written. Each alone, so that it harms no other.
            Err(failure) if !failure.is_transient() && all.len() > 1 => {
                for one in &all {
                    if let Err(failure) = write(app, slice::from_ref(one)).await {
                        error!(message.id = one.0.id, "could not write what came of message {}: {failure}", one.0.id);
                    }
                }
                Ok(())
            }
            written => written,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Message, Ended)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what came of some messages, again while the database is away.
async fn write(app: &App, all: &[(Message, Ended)]) -> Result<(), DbError> {
    let mut attempts = 0;
    loop {
        match try_write(app, all).await {
            Err(failure) if failure.is_transient() && attempts < ATTEMPTS_MAX => {
                attempts += 1;
                debug!("could not write what came of {} messages, retrying: {failure}", all.len());
                sleep(BACKOFF.after(attempts, &app.rng)).await;
            }
            written => return written,
        }
    }
}

async fn try_write(app: &App, all: &[(Message, Ended)]) -> Result<(), DbError> {
    if all.is_empty() {
        // Somebody else has written it by now.
        return Ok(());
    }
    let now = app.clock.now();
    let mut tx = app.begin_write().await?;
    let sent = all.iter().filter(|(_, ended)| matches!(ended, Ended::Channel(Outcome::Sent)));
    let sent: Vec<&Message> = sent.map(|(message, _)| message).collect();
    if !sent.is_empty() {
        notifications::note_sent(&mut tx, now, &sent).await?;
        let ids: BTreeSet<_> = sent.iter().map(|message| message.id.clone()).collect();
        dead_letters::end_of_messages(&mut tx, now, &ids).await?;
    }
    let mut results = Vec::new();
    for (message, ended) in all {
        results.push(write_one(&mut tx, app, now, message, ended).await?);
    }
    tx.commit().await?;
    for ((message, _), result) in all.iter().zip(results) {
        let (id, template) = (&*message.id, &*message.template);
        match result {
            "sent" => info!(message.id = id, template, "sent message {id}"),
            "failed" => debug!(message.id = id, template, "could not send message {id}, retrying later"),
            "dead_lettered" => warn!(message.id = id, template, "could not send message {id}: it is a dead letter"),
            _ => {}
        }
        count(message, result);
    }
    Ok(())
}

/// What one has come to, in a word for the metrics. That it was sent is written with all others that were.
async fn write_one(
    tx: &mut Tx,
    app: &App,
    now: Timestamp,
    message: &Message,
    ended: &Ended,
) -> Result<&'static str, DbError> {
    match ended {
        Ended::Skip(why) => skip(tx, now, message, *why).await,
        Ended::Channel(Outcome::Sent) => Ok("sent"),
        Ended::Channel(Outcome::Gone) => {
            if let Some(device) = &message.device_id {
                notifications::forget_device(tx, device).await?;
            }
            skip(tx, now, message, Skip::NoDevice).await
        }
        Ended::Channel(Outcome::Refused { code, error }) => give_up(tx, app, message, code, error).await,
        Ended::Channel(Outcome::Later { error, after }) => {
            let asked_for = after.and_then(|after| Duration::from_std(after).ok());
            match retry_delay(message.attempts, asked_for) {
                Some(delay) => {
                    message.put_off(tx, now + delay, error).await?;
                    Ok("failed")
                }
                None => give_up(tx, app, message, RETRIES_EXHAUSTED, error).await,
            }
        }
    }
}

/// Why a message is a dead letter that was tried too often.
pub(super) const RETRIES_EXHAUSTED: &str = "retries_exhausted";

/// Skips a message; a dead letter of it that an operator had tried again has come to its end with that.
pub(super) async fn skip(tx: &mut Tx, now: Timestamp, message: &Message, why: Skip) -> Result<&'static str, DbError> {
    if message.skip(tx, why).await? {
        dead_letters::end_of_messages(tx, now, &[message.id.clone()].into()).await?;
    }
    Ok("skipped")
}

/// Makes a dead letter of a message, unless somebody else has taken it meanwhile.
async fn give_up(
    tx: &mut Tx,
    app: &App,
    message: &Message,
    reason: &str,
    error: &str,
) -> Result<&'static str, DbError> {
    if message.give_up(tx, reason, error).await? {
        let failure = Failure {
            subject: Subject::Notification(&message.id),
            customer_id: message.customer_id.as_deref(),
            event_type: &message.template,
            reason,
            attempts: message.attempts,
        };
        dead_letters::open(tx, app.clock.now(), &app.rng, &failure).await?;
    }
    Ok("dead_lettered")
}

/// Counts what a message has come to.
pub(super) fn count(message: &Message, result: &'static str) {
    let (channel, template) = (message.channel.clone(), message.template.clone());
    let labels = [("channel", channel), ("template", template), ("result", result.to_owned())];
    metrics::counter!("tollgate_backend_messages_total", &labels).increment(1);
}
