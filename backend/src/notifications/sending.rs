//! Messages that are due are sent: a queue for each provider, so that one which is slow or away holds up no other, and a
//! message at a time in whichever process took it.
//!
//! A message is taken by moving its next attempt to a moment at which it must have ended: should this process die, it is
//! due again then, for whoever comes. So only a crash between the provider's yes and our commit sends it twice.

use std::time::Duration as StdDuration;

use chrono::Duration;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tollgate_db::{DbError, Tx};
use tollgate_domain::dead_letters::{self, Failure, Subject};
use tollgate_domain::notifications::devices::Kind as DeviceKind;
use tollgate_domain::notifications::sending::{Queue, Skip, retry_delay};
use tollgate_domain::notifications::{self, Message};
use tollgate_shared::backoff::Backoff;
use tollgate_shared::{Timestamp, ids};
use tracing::{debug, info, warn};

use super::known::Known;
use super::letter::{self, Letter};
use crate::app::App;
use crate::channels::Outcome;

/// How many messages of a queue a process sends at a time.
const AT_A_TIME: i64 = 16;

/// How long a message is ours: longer than a provider may take, and than it takes to write what came of it.
const LEASE: Duration = Duration::minutes(5);

/// How long a job waits for a provider.
const JOB_TIMEOUT: StdDuration = StdDuration::from_secs(10);

/// What came of a message is written again until its lease is nearly over: else it would be sent twice.
const RECORD_BACKOFF: Backoff = Backoff { first: StdDuration::from_millis(250), longest: StdDuration::from_secs(15) };
const RECORD_ATTEMPTS_MAX: u32 = 15;

/// Sends all that is due of every queue; how many messages were taken. What is slow is left to go on by itself.
pub async fn send_all(app: &App) -> Result<usize, DbError> {
    // First, since what it finds is for two of the others.
    send_due(app, Queue::Push).await?;
    let others = [Queue::Email, Queue::WebPush, Queue::App].map(|queue| timeout(JOB_TIMEOUT, send_due(app, queue)));
    join_all(others).await.into_iter().filter_map(Result::ok).sum()
}

/// Sends all that is due of a queue; how many messages were taken.
pub async fn send_due(app: &App, queue: Queue) -> Result<usize, DbError> {
    let mut taken = 0;
    loop {
        let its = app.clone();
        match app.tasks.to_the_end(async move { send_some(&its, queue).await }).await? {
            0 => return Ok(taken),
            some => taken += some,
        }
    }
}

/// Takes some of what is due of a queue, and sends it; how many messages that were.
async fn send_some(app: &App, queue: Queue) -> Result<usize, DbError> {
    let messages = claim(app, queue).await?;
    let taken = messages.len();
    if taken > 0 {
        let known = Known::load(&mut app.read().await?, app.clock.now(), &messages).await?;
        if queue == Queue::Push {
            address(app, &known, &messages).await?;
        } else {
            send(app, known, messages).await?;
        }
    }
    Ok(taken)
}

async fn claim(app: &App, queue: Queue) -> Result<Vec<Message>, DbError> {
    let now = app.clock.now();
    let due = notifications::due(&mut app.read().await?, queue, now, AT_A_TIME).await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = app.begin_write().await?;
    let claimed = notifications::claim(&mut tx, &due, now, now + LEASE).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Finds the devices of pushes: each message goes on as one for each.
async fn address(app: &App, known: &Known, messages: &[Message]) -> Result<(), DbError> {
    let now = app.clock.now();
    let mut tx = app.begin_write().await?;
    for message in messages {
        let mut devices = known
            .devices(message)
            .filter_map(|device| Some((&*device.id, Queue::of_device(DeviceKind::named(&device.kind)?))));
        let (first, queue) = match (letter::why_no_push(app, known, message, now), devices.next()) {
            (None, Some(first)) => first,
            (why, _) => {
                skip(&mut tx, now, message, why.unwrap_or(Skip::NoDevice)).await?;
                count(message, "skipped");
                continue;
            }
        };
        if message.address(&mut tx, now, first, queue).await? {
            let copies: Vec<Message> =
                devices.map(|(device, queue)| message.copy_for(new_id(app), device, queue, now)).collect();
            tx.insert(&copies.iter().collect::<Vec<_>>()).await?;
        }
    }
    tx.commit().await
}

fn new_id(app: &App) -> String {
    ids::new_id("msg", app.clock.now(), &app.rng)
}

async fn send(app: &App, mut known: Known, messages: Vec<Message>) -> Result<(), DbError> {
    let now = app.clock.now();
    let letters: Vec<Letter> = messages.iter().map(|message| Letter::of(app, &mut known, message, now)).collect();
    let sent = messages.iter().zip(letters).map(|(message, letter)| async move {
        let outcome = match letter {
            Letter::Skip(why) => Ended::Skip(why),
            Letter::Unreadable(error) => Ended::Channel(Outcome::Refused { code: "template".to_owned(), error }),
            Letter::Send(outgoing) => Ended::Channel(app.channels.send(&outgoing).await),
        };
        record(app, message, &outcome).await
    });
    join_all(sent).await.into_iter().collect()
}

/// What came of a message.
enum Ended {
    Skip(Skip),
    Channel(Outcome),
}

/// Writes what came of a message, again while the database is away.
async fn record(app: &App, message: &Message, ended: &Ended) -> Result<(), DbError> {
    let mut attempts = 0;
    loop {
        match try_record(app, message, ended).await {
            Err(failure) if failure.is_transient() && attempts < RECORD_ATTEMPTS_MAX => {
                attempts += 1;
                debug!("could not write what came of message {}, retrying: {failure}", message.id);
                sleep(RECORD_BACKOFF.after(attempts, &app.rng)).await;
            }
            recorded => return recorded,
        }
    }
}

async fn try_record(app: &App, message: &Message, ended: &Ended) -> Result<(), DbError> {
    let now = app.clock.now();
    let (id, template) = (&*message.id, &*message.template);
    let mut tx = app.begin_write().await?;
    let result = match ended {
        Ended::Skip(why) => {
            skip(&mut tx, now, message, *why).await?;
            "skipped"
        }
        Ended::Channel(Outcome::Sent) => {
            message.note_sent(&mut tx, now).await?;
            dead_letters::end_of_message(&mut tx, now, id).await?;
            info!(message.id = id, template, "sent message {id}");
            "sent"
        }
        Ended::Channel(Outcome::Gone) => {
            if let Some(device) = &message.device_id {
                notifications::forget_device(&mut tx, device).await?;
            }
            skip(&mut tx, now, message, Skip::NoDevice).await?;
            "skipped"
        }
        Ended::Channel(Outcome::Refused { code, error }) => {
            give_up(&mut tx, app, message, code, error).await?;
            "dead_lettered"
        }
        Ended::Channel(Outcome::Later { error, after }) => {
            let asked_for = after.and_then(|after| Duration::from_std(after).ok());
            if let Some(delay) = retry_delay(message.attempts, asked_for) {
                message.put_off(&mut tx, now + delay, error).await?;
                debug!(message.id = id, template, "could not send message {id}, retrying later");
                "failed"
            } else {
                give_up(&mut tx, app, message, "retries_exhausted", error).await?;
                "dead_lettered"
            }
        }
    };
    tx.commit().await?;
    count(message, result);
    Ok(())
}

/// Skips a message; a dead letter of it that an operator had tried again has come to its end with that.
async fn skip(tx: &mut Tx, now: Timestamp, message: &Message, why: Skip) -> Result<(), DbError> {
    if message.skip(tx, why).await? {
        dead_letters::end_of_message(tx, now, &message.id).await?;
    }
    Ok(())
}

/// Makes a dead letter of a message, unless somebody else has taken it meanwhile.
async fn give_up(tx: &mut Tx, app: &App, message: &Message, reason: &str, error: &str) -> Result<(), DbError> {
    if !message.give_up(tx, reason, error).await? {
        return Ok(());
    }
    let (id, template) = (&*message.id, &*message.template);
    warn!(message.id = id, template, "could not send message {id}: it is a dead letter");
    let failure = Failure {
        subject: Subject::Notification(id),
        customer_id: message.customer_id.as_deref(),
        event_type: template,
        reason,
        attempts: message.attempts,
    };
    dead_letters::open(tx, app.clock.now(), &app.rng, &failure).await
}

fn count(message: &Message, result: &'static str) {
    let (channel, template) = (message.channel.clone(), message.template.clone());
    let labels = [("channel", channel), ("template", template), ("result", result.to_owned())];
    metrics::counter!("tollgate_backend_messages_total", &labels).increment(1);
}
