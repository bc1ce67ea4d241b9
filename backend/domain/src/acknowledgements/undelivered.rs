//! Events that a machine which was there has said nothing of.
//!
//! Each event is judged once, when it is a week old: by then whoever was there has had time enough.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use tollgate_db::page::Position;
use tollgate_db::{DbError, Lock, Tx, record};
use tollgate_shared::{Rng, Timestamp};

use super::letters::{self, DEAD_LETTER_AFTER, Letter};
use super::{LogEvent, key, store};
use crate::dead_letters::Source;
use crate::sessions::Session;

/// The reason of a letter of this kind.
const REASON: &str = "not acknowledged for 7 days";

/// The name of the row that says how far the events were judged.
const PLACE: &str = "undelivered_events_judged_to";

/// How long ago machines that are looked at gave up their seats. What was missed by then is ended when the machine is
/// removed.
const LOOK_BACK: Duration = Duration::days(1);

record! {
    /// A machine that holds a seat.
    struct Holder in "machines" {
        /// `mac_…`
        pub id: String,
        /// The licence whose seat it holds.
        pub seat_of: Option<String>,
    }
}

record! {
    /// That there is an acknowledgement.
    struct Known in "acknowledgements" {
        /// Of what.
        pub id: String,
    }
}

record! {
    /// Whose a licence is.
    struct Owner in "licenses" {
        /// `lic_…`
        pub id: String,
        /// The customer.
        pub customer_id: String,
    }
}

/// How many acknowledgements are owed: one an event and machine that was there for it and has said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of events made within the last hour.
    pub within_an_hour: usize,
    /// Of those before, made within the last day.
    pub within_a_day: usize,
    /// Of those before.
    pub older: usize,
    /// When the oldest of each licence's was made.
    pub oldest_of: BTreeMap<String, Timestamp>,
}

impl Counts {
    /// When the oldest of all of them was made.
    pub fn oldest_at(&self) -> Option<Timestamp> {
        self.oldest_of.values().min().copied()
    }

    fn add(&mut self, now: Timestamp, event: &LogEvent) {
        let age = now - event.created_at;
        let count = if age < Duration::hours(1) {
            &mut self.within_an_hour
        } else if age < Duration::days(1) {
            &mut self.within_a_day
        } else {
            &mut self.older
        };
        *count += 1;
        // They come in the order in which they were made.
        self.oldest_of.entry(event.license_id.clone()).or_insert(event.created_at);
    }
}

/// Judges the next events that have come to be a week old, `limit` at most, and opens dead letters; says how many events
/// it judged. Whoever does so at the same moment waits, and then judges those after.
pub async fn judge(tx: &mut Tx, now: Timestamp, rng: &Rng, limit: i64) -> Result<usize, DbError> {
    let place = store::lock_place(tx, PLACE).await?;
    let after = Position::from_cursor(&place).unwrap_or_else(begin);
    let events = store::events_until(tx, &after, now - DEAD_LETTER_AFTER, limit).await?;
    let Some(last) = events.last() else { return Ok(0) };
    // One letter a machine and type: it tells of the newest event.
    let mut letters: BTreeMap<_, (&LogEvent, i64)> = BTreeMap::new();
    for (event, machine_id) in owed(tx, &events).await? {
        let (newest, count) = letters.entry((machine_id, &event.r#type)).or_insert((event, 0));
        (*newest, *count) = (event, *count + 1);
    }
    let licenses = letters.values().map(|(event, _)| event.license_id.clone()).collect();
    let owners: Vec<Owner> = tx.load("id", &licenses, Lock::None).await?;
    let owners: BTreeMap<_, _> = owners.iter().map(|owner| (&owner.id, &*owner.customer_id)).collect();
    for ((machine_id, event_type), (event, count)) in &letters {
        let letter = Letter {
            source: Source::Delivery,
            event_id: &event.id,
            machine_id,
            license_id: &event.license_id,
            customer_id: owners.get(&event.license_id).copied(),
            event_type,
            reason: REASON,
            attempts: *count,
        };
        letters::open(tx, now, rng, &letter).await?;
    }
    store::move_place(tx, PLACE, &last.position().to_cursor()).await?;
    Ok(events.len())
}

/// Ends the letters of machines that have given up their seats of late, `limit` machines at most; says of how many. What
/// cannot be sent any more is nothing that a person could do something about.
pub async fn end_of_who_left(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<usize, DbError> {
    letters::end_of_who_left(tx, now, now - LOOK_BACK, limit).await
}

/// Counts what is owed of events that are not a week old yet: adds a page of them to `counts`, that after `after`. Gives
/// the place of its end, or none where there is no more.
pub async fn count(
    tx: &mut Tx,
    now: Timestamp,
    after: Option<Position>,
    limit: i64,
    counts: &mut Counts,
) -> Result<Option<Position>, DbError> {
    let from = || Position { at: now - DEAD_LETTER_AFTER, id: String::new() };
    let events = store::events_until(tx, &after.unwrap_or_else(from), now, limit).await?;
    for (event, _) in owed(tx, &events).await? {
        counts.add(now, event);
    }
    let is_all = (events.len() as i64) < limit;
    Ok(events.last().filter(|_| !is_all).map(LogEvent::position))
}

/// Who owes a word of which of `events`, in their order: each machine that holds a seat of the licence, was there for the
/// event and has said nothing of it.
async fn owed<'e>(tx: &mut Tx, events: &'e [LogEvent]) -> Result<Vec<(&'e LogEvent, String)>, DbError> {
    let licenses = events.iter().map(|event| event.license_id.clone()).collect();
    let holders: Vec<Holder> = tx.load("seat_of", &licenses, Lock::None).await?;
    let machines = holders.iter().map(|holder| holder.id.clone()).collect();
    let sessions: Vec<Session> = tx.load("machine_id", &machines, Lock::None).await?;
    let license_of: BTreeMap<_, _> = holders.iter().map(|holder| (&holder.id, holder.seat_of.as_ref())).collect();
    let mut by_license: BTreeMap<_, Vec<&Session>> = BTreeMap::new();
    for session in &sessions {
        by_license.entry(license_of.get(&session.machine_id).copied().flatten()).or_default().push(session);
    }
    let there_for = |event: &LogEvent| {
        let sessions = by_license.get(&Some(&event.license_id)).into_iter().flatten();
        sessions
            .filter(|session| session.was_there_for(event.created_at))
            .map(|session| session.machine_id.clone())
            .collect::<Vec<_>>()
    };
    let told: Vec<_> = events
        .iter()
        .flat_map(|event| there_for(event).into_iter().map(move |machine_id| (event, machine_id)))
        .collect();
    let keys = told.iter().map(|(event, machine_id)| key(&event.id, Some(machine_id))).collect();
    let known: Vec<Known> = tx.load("id", &keys, Lock::None).await?;
    let known: BTreeSet<_> = known.into_iter().map(|known| known.id).collect();
    Ok(told.into_iter().filter(|(event, machine_id)| !known.contains(&key(&event.id, Some(machine_id)))).collect())
}

impl LogEvent {
    fn position(&self) -> Position {
        Position { at: self.created_at, id: self.id.clone() }
    }
}

/// Before the first event.
fn begin() -> Position {
    Position { at: Timestamp::UNIX_EPOCH, id: String::new() }
}
