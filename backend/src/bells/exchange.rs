//! Bells between processes: tells what rang here, and rings here for what is told by others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tollgate_db::{DatabaseUrl, Db};
use tollgate_shared::backoff::Backoff;
use tollgate_shared::{Rng, Secret};
use tracing::{debug, error, info, warn};

use super::Bells;
use super::line::{Line, LineError};
use super::message::Message;
use crate::tasks::Tasks;

/// How long what rings is gathered after something was told: PostgreSQL lets those that notify commit one by one.
const TELL_INTERVAL: Duration = Duration::from_millis(10);

/// How often a process makes sure that it hears what it says. A connection that is dead says nothing of that, and a pooler
/// takes a `LISTEN` and never passes anything on.
const TEST_INTERVAL: Duration = Duration::from_secs(10);

/// How long to wait before it is tried again.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(15) };

/// Whether this process hears the others.
#[derive(Default)]
pub(super) struct Hearing(AtomicBool);

/// Starts to ring across processes, where there may be several. `listen` is PostgreSQL's address for that, `redis` a server
/// that does it instead.
pub fn start(bells: &Bells, tasks: &Tasks, rng: &Rng, db: &Db, listen: &DatabaseUrl, redis: Option<&Secret>) {
    let line = match Line::open(db, listen, redis) {
        Ok(Some(line)) => Arc::new(line),
        Ok(None) => return,
        Err(failure) => return error!("bells ring in this process alone: {failure}"),
    };
    bells.0.outgoing.begin();
    let _ = bells.0.line.set(line.name());
    let (listening, telling) = ((bells.clone(), line.clone(), rng.clone()), (bells.clone(), line, rng.clone()));
    tasks.keep("bells-listen", move || {
        let (bells, line, rng) = listening.clone();
        async move { listen_for_ever(&bells, &line, &rng).await }
    });
    tasks.keep("bells-tell", move || {
        let (bells, line, rng) = telling.clone();
        async move { tell_for_ever(&bells, &line, &rng).await }
    });
}

async fn listen_for_ever(bells: &Bells, line: &Line, rng: &Rng) {
    let mut failures = 0;
    loop {
        let failure = match listen(bells, line, &mut failures).await {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        bells.0.hearing.0.store(false, Ordering::Release);
        failures += 1;
        let name = line.name();
        if failures == 1 {
            warn!(bell = name, "streams hear of events late, by up to two seconds: {failure}; trying again");
        } else {
            debug!(bell = name, "still: {failure}");
        }
        sleep(BACKOFF.after(failures, rng)).await;
    }
}

enum Never {}

/// Listens until it fails.
async fn listen(bells: &Bells, line: &Line, failures: &mut u32) -> Result<Never, LineError> {
    let mut ear = line.listen().await?;
    // What was told before is not heard any more.
    bells.ring_all_here();
    let mut tests = interval(TEST_INTERVAL);
    tests.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut tested, mut heard) = (0, 0);
    loop {
        tokio::select! {
            text = ear.next() => {
                let Some((origin, message)) = Message::parse(&text?) else { continue };
                let is_own = origin == bells.0.origin;
                match message {
                    Message::Test(number) if is_own => {
                        heard = number;
                        if !bells.0.hearing.0.swap(true, Ordering::AcqRel) {
                            info!(bell = line.name(), "bells ring across processes");
                        }
                        *failures = 0;
                    }
                    // What rang here was heard here already.
                    _ if is_own => {}
                    Message::Rung(licenses) => bells.ring_here(licenses.iter().map(String::as_str)),
                    Message::AllRung => bells.ring_all_here(),
                    Message::Opened { license_id, machine_id, at } => bells.end_older(&license_id, &machine_id, at),
                    Message::Test(_) => {}
                }
            }
            _ = tests.tick() => {
                if heard != tested {
                    return Err(LineError::Deaf);
                }
                tested += 1;
                bells.0.outgoing.say(Message::Test(tested));
            }
        }
    }
}

async fn tell_for_ever(bells: &Bells, line: &Line, rng: &Rng) {
    let mut failures = 0;
    loop {
        let messages = bells.0.outgoing.next().await;
        match line.tell(&bells.0.origin, messages).await {
            Ok(()) => {
                failures = 0;
                sleep(TELL_INTERVAL).await;
            }
            Err(failure) => {
                failures += 1;
                debug!(bell = line.name(), "could not tell other processes of events: {failure}; trying again");
                // Whoever was not told looks at all that it has, once it can be told.
                bells.0.outgoing.ring_all();
                sleep(BACKOFF.after(failures, rng)).await;
            }
        }
    }
}

impl Hearing {
    pub(super) fn is_good(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
