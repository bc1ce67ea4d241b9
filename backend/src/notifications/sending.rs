//! Messages that are due are sent: a queue for each provider, so that one which is slow or away holds up no other. Of a queue
//! some are under way at a time, and when one has ended another begins: one that stalls holds up none of the others.
//!
//! A message is taken by moving its next attempt to a moment at which it must have ended: should this process die, or the
//! database be away until then, it is due again, for whoever comes. Else nothing that a provider has taken is sent twice.
//! An attempt is counted when it begins, once all that it takes is known: what fails before that costs none, and what ends its
//! process each time is given up as what fails each time is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration as StdDuration;

use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::select;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tollgate_db::{DbError, Tx};
use tollgate_domain::notifications::devices::Kind as DeviceKind;
use tollgate_domain::notifications::sending::{Queue, Skip};
use tollgate_domain::notifications::{self, Message};
use tollgate_shared::{Timestamp, ids};

use super::known::Known;
use super::letter::{self, Letter};
use super::outcomes::{Ended, Outcomes, RETRIES_EXHAUSTED, count, skip};
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

/// How long a job waits for a provider.
const JOB_TIMEOUT: StdDuration = StdDuration::from_secs(10);

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
    let outcomes = Arc::<Outcomes>::default();
    let (mut taken, mut under_way) = (0, FuturesUnordered::new());
    loop {
        let room = at_a_time - under_way.len();
        if room * ROOM_PART >= at_a_time {
            let (its, noted) = (app.clone(), outcomes.clone());
            let (some, begun) = app.tasks.to_the_end(async move { take_some(&its, queue, room, &noted).await }).await?;
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

/// How many messages were taken, and what was begun for them.
type Begun = (usize, Vec<JoinHandle<Result<(), DbError>>>);

/// Takes some of what is due of a queue, `room` at most, and begins to send it.
async fn take_some(app: &App, queue: Queue, room: usize, outcomes: &Arc<Outcomes>) -> Result<Begun, DbError> {
    let (count, letters) = match take(app, queue, room).await {
        Err(failure) if !failure.is_transient() => take_each_alone(app, queue, room).await?,
        taken => taken?,
    };
    let begin = |(message, letter)| {
        let (app, outcomes) = (app.clone(), outcomes.clone());
        app.tasks.clone().begin(async move { send(&app, message, letter, &outcomes).await })
    };
    Ok((count, letters.into_iter().map(begin).collect()))
}

/// How many messages were taken, and what is to be handed over of them.
type Taken = (usize, Vec<(Message, Letter)>);

/// Takes some messages with all that has to be known of them, or none.
async fn take(app: &App, queue: Queue, room: usize) -> Result<Taken, DbError> {
    let now = app.clock.now();
    if !notifications::is_any_due(&mut app.read().await?, queue, now).await? {
        return Ok((0, Vec::new()));
    }
    let mut tx = app.begin_write().await?;
    let claimed = notifications::claim(&mut tx, queue, now, room as i64).await?;
    let count = claimed.to_try.len() + claimed.tried_out.len();
    let mut known = Known::load(&mut tx, now, &claimed.to_try).await?;
    let mut letters: Vec<_> = claimed.tried_out.into_iter().map(tried_out).collect();
    if queue == Queue::Push {
        // Those go on in another queue.
        for message in claimed.to_try {
            match caught(|| Addresses::of(app, &known, &message, now)) {
                Some(addresses) => addresses.write(&mut tx, app, &message, now).await?,
                None => letters.push((message, Letter::panicked())),
            }
        }
        tx.commit().await?;
    } else {
        tx.commit().await?;
        letters.extend(claimed.to_try.into_iter().map(|message| {
            let letter = caught(|| Letter::of(app, &mut known, &message, now));
            (message, letter.unwrap_or_else(Letter::panicked))
        }));
    }
    Ok((count, letters))
}

/// The same where something that one of them is about cannot be read or written: each alone, so that it harms no other.
async fn take_each_alone(app: &App, queue: Queue, room: usize) -> Result<Taken, DbError> {
    let mut all = (0, Vec::new());
    for _ in 0..room {
        let taken = match take(app, queue, 1).await {
            Err(failure) if !failure.is_transient() => take_unread(app, queue, &failure).await,
            taken => taken,
        };
        match taken {
            Ok((0, _)) => break,
            Ok((count, letters)) => {
                all.0 += count;
                all.1.extend(letters);
            }
            // Those that were taken are sent.
            Err(_) if all.0 > 0 => break,
            Err(failure) => return Err(failure),
        }
    }
    Ok(all)
}

/// Takes the next message, to put it off.
async fn take_unread(app: &App, queue: Queue, failure: &DbError) -> Result<Taken, DbError> {
    let mut tx = app.begin_write().await?;
    let claimed = notifications::claim(&mut tx, queue, app.clock.now(), 1).await?;
    tx.commit().await?;
    let put_off = |message| {
        (message, Letter::Not(Outcome::later(format!("what it is about could not be read: {}", failure.class()))))
    };
    let tried_out = claimed.tried_out.into_iter().map(tried_out);
    let letters: Vec<_> = claimed.to_try.into_iter().map(put_off).chain(tried_out).collect();
    Ok((letters.len(), letters))
}

fn tried_out(message: Message) -> (Message, Letter) {
    let error = "nobody lived to say what came of the last attempt".to_owned();
    (message, Letter::Not(Outcome::Refused { code: RETRIES_EXHAUSTED.to_owned(), error }))
}

/// What `make` makes, unless it panics, which is logged where it does.
fn caught<T>(make: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(make)).ok()
}

/// Where a push goes.
enum Addresses {
    /// To these devices, by the queue of each.
    Devices(Vec<(String, Queue)>),
    /// Nowhere.
    Skip(Skip),
}

impl Addresses {
    fn of(app: &App, known: &Known, message: &Message, now: Timestamp) -> Self {
        if let Some(why) = letter::why_no_push(app, known, message, now) {
            return Self::Skip(why);
        }
        let devices = known.devices(message);
        let devices: Vec<_> = devices
            .filter_map(|device| Some((device.id.clone(), Queue::of_device(DeviceKind::named(&device.kind)?))))
            .collect();
        if devices.is_empty() { Self::Skip(Skip::NoDevice) } else { Self::Devices(devices) }
    }

    /// The message goes on as one for each device.
    async fn write(&self, tx: &mut Tx, app: &App, message: &Message, now: Timestamp) -> Result<(), DbError> {
        match self {
            Self::Skip(why) => count(message, skip(tx, now, message, *why).await?),
            Self::Devices(devices) => {
                let mut devices = devices.iter();
                let Some((first, queue)) = devices.next() else { return Ok(()) };
                message.address(tx, now, first, *queue).await?;
                let copies: Vec<Message> =
                    devices.map(|(device, queue)| message.copy_for(new_id(app), device, *queue, now)).collect();
                tx.insert(&copies.iter().collect::<Vec<_>>()).await?;
            }
        }
        Ok(())
    }
}

fn new_id(app: &App) -> String {
    ids::new_id("msg", app.clock.now(), &app.rng)
}

async fn send(app: &App, message: Message, letter: Letter, outcomes: &Outcomes) -> Result<(), DbError> {
    let ended = match letter {
        Letter::Skip(why) => Ended::Skip(why),
        Letter::Not(outcome) => Ended::Channel(outcome),
        Letter::Send(outgoing) => {
            let sent = AssertUnwindSafe(app.channels.send(&outgoing)).catch_unwind().await;
            Ended::Channel(sent.unwrap_or_else(|_| letter::panicked()))
        }
    };
    outcomes.note(app, message, ended).await
}
