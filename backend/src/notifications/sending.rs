//! Messages that are due are sent: a queue for each provider, so that one which is slow or away holds up no other. Of a queue
//! some are under way at a time, and when one has ended another begins: one that stalls holds up none of the others.
//!
//! A message is taken by moving its next attempt to a moment at which it must have ended: should this process die, or the
//! database be away until then, it is due again, for whoever comes. Else nothing that a provider has taken is sent twice.

use std::slice;
use std::time::Duration as StdDuration;

use chrono::Duration;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::select;
use tokio::task::JoinHandle;
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
use crate::tasks::Tasks;

/// How many messages a process has under way at a time: mail servers take few connections from one sender.
const MAILS_AT_A_TIME: usize = 4;
const PUSHES_AT_A_TIME: usize = 16;

/// How many pushes are given their devices at a time.
const ADDRESSED_AT_A_TIME: usize = 16;

/// How soon it is looked for more while some are under way.
const LOOK_INTERVAL: StdDuration = StdDuration::from_secs(1);

/// So much room is waited for until more are taken up, as a part of all there is.
const ROOM_PART: usize = 4;

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
    let addressed = send_due(app, Queue::Push).await;
    let others = [Queue::Email, Queue::WebPush, Queue::App].map(|queue| timeout(JOB_TIMEOUT, send_due(app, queue)));
    let taken = join_all(others).await.into_iter().filter_map(Result::ok).sum();
    addressed.and(taken)
}

/// Sends all that is due of a queue; how many messages were taken.
pub async fn send_due(app: &App, queue: Queue) -> Result<usize, DbError> {
    let at_a_time = match queue {
        Queue::Email => MAILS_AT_A_TIME,
        Queue::WebPush | Queue::App => PUSHES_AT_A_TIME,
        Queue::Push => ADDRESSED_AT_A_TIME,
    };
    let (mut taken, mut under_way) = (0, FuturesUnordered::new());
    loop {
        let room = at_a_time - under_way.len();
        if room * ROOM_PART >= at_a_time {
            let its = app.clone();
            let (some, begun) = app.tasks.to_the_end(async move { take_some(&its, queue, room).await }).await?;
            taken += some;
            under_way.extend(begun.into_iter().map(Tasks::end_of));
            if some > 0 && under_way.is_empty() {
                continue;
            }
        }
        // What has come since is taken up beside those that are slow.
        select! {
            ended = under_way.next() => match ended {
                Some(ended) => ended?,
                None => return Ok(taken),
            },
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Messages that were taken, and what was begun for them.
type Taken = (usize, Vec<JoinHandle<Result<(), DbError>>>);

/// Takes some of what is due of a queue, `room` at most, and begins to send it.
async fn take_some(app: &App, queue: Queue, room: usize) -> Result<Taken, DbError> {
    let messages = claim(app, queue, room).await?;
    let mut begun = Vec::new();
    match see_to(app, queue, &messages, &mut begun).await {
        Err(failure) if !failure.is_transient() => {
            // Something that one of them is about cannot be read. Each alone, so that it harms no other.
            for message in &messages {
                if let Err(failure) = see_to(app, queue, slice::from_ref(message), &mut begun).await {
                    let error = format!("could not be read: {}", failure.class());
                    record(app, message, &Ended::Channel(Outcome::later(error))).await?;
                }
            }
        }
        seen_to => seen_to?,
    }
    Ok((messages.len(), begun))
}

async fn see_to(
    app: &App,
    queue: Queue,
    messages: &[Message],
    begun: &mut Vec<JoinHandle<Result<(), DbError>>>,
) -> Result<(), DbError> {
    if messages.is_empty() {
        return Ok(());
    }
    let now = app.clock.now();
    let mut known = Known::load(&mut app.read().await?, now, messages).await?;
    if queue == Queue::Push {
        return address(app, &known, messages).await;
    }
    begun.extend(messages.iter().map(|message| {
        let letter = Letter::of(app, &mut known, message, now);
        let (app, message) = (app.clone(), message.clone());
        app.tasks.clone().begin(async move { send(&app, &message, letter).await })
    }));
    Ok(())
}

async fn claim(app: &App, queue: Queue, room: usize) -> Result<Vec<Message>, DbError> {
    let now = app.clock.now();
    let due = notifications::due(&mut app.read().await?, queue, now, room as i64).await?;
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

async fn send(app: &App, message: &Message, letter: Letter) -> Result<(), DbError> {
    let ended = match letter {
        Letter::Skip(why) => Ended::Skip(why),
        Letter::Unreadable(error) => Ended::Channel(Outcome::Refused { code: "template".to_owned(), error }),
        Letter::OfAnotherRelease => Ended::Channel(Outcome::later("it was written by another release")),
        Letter::Send(outgoing) => Ended::Channel(app.channels.send(&outgoing).await),
    };
    record(app, message, &ended).await
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
