//! Acknowledgements: what apps say of the events that they were told.
//!
//! One an event and machine. `failed` is a machine's word until it says `processed`, which is for good: an app that
//! repeats itself, or says both at once, ends with the same. A machine that nobody knows is taken at its word too, all of
//! them as one.
//!
//! What a machine failed at, or leaves without a word for a week ([`undelivered`]), becomes a dead letter; what it then
//! processes ends it.

mod letters;
mod store;
pub mod told;
pub mod undelivered;

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx, record, row};
use tollgate_shared::{Rng, Timestamp};

use crate::licenses::key::LicenseKey;

/// The longest reason of a failure that is kept, in characters.
const ERROR_CHARACTERS_MAX: usize = 500;

record! {
    /// A row of `acknowledgements`.
    pub struct Acknowledgement in "acknowledgements" references "license_events" {
        /// `<event_id>/<machine_id>`: what there is one of.
        pub id: String,
        /// `sev_…`
        pub event_id: String,
        /// The licence in whose log it is.
        pub license_id: String,
        /// The machine, where it is one that was activated at some time.
        pub machine_id: Option<String>,
        /// `processed` or `failed`.
        pub status: String,
        /// Why it failed, as the app says.
        pub error: Option<String>,
        /// When the app first said so.
        pub acknowledged_at: Timestamp,
    }
}

row! {
    /// What an app speaks of.
    pub struct Subject {
        /// The event: `sev_…`
        pub event_id: String,
        /// The licence in whose log it is.
        pub license_id: String,
        /// Whose licence that is.
        pub customer_id: String,
        /// The event's type.
        pub event_type: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// The app's machine, where it is one that was activated at some time.
        pub machine_id: Option<String>,
        /// Whether that holds a seat.
        pub has_seat: bool,
    }
}

row! {
    /// An event of a licence's log.
    struct LogEvent {
        id: String,
        license_id: String,
        r#type: String,
        created_at: Timestamp,
    }
}

row! {
    /// An event of a log, of which it is shown what was said.
    struct Told {
        id: String,
        license_id: String,
        seq: i64,
        r#type: String,
        stripe_event_id: Option<String>,
        created_at: Timestamp,
    }
}

/// What became of an event at a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The app took it.
    Processed,
    /// The app could not.
    Failed,
}

impl Status {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Failed => "failed",
        }
    }

    /// The status of a name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Processed, Self::Failed].into_iter().find(|status| status.name() == name)
    }
}

/// What an app says of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The event, and the app's machine.
    pub of: Subject,
    /// What became of it.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
}

/// How much of what an app says is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It says something for the first time.
    First,
    /// It says something else than before, which counts.
    Changed,
    /// It repeats itself, or says what no longer counts.
    Nothing,
}

impl Acknowledgement {
    /// What `said` is, said for the first time.
    fn new(now: Timestamp, said: &Said) -> Self {
        let of = &said.of;
        let is_failure = said.status == Status::Failed;
        Self {
            id: key(&of.event_id, of.machine_id.as_deref()),
            event_id: of.event_id.clone(),
            license_id: of.license_id.clone(),
            machine_id: of.machine_id.clone(),
            status: said.status.name().to_owned(),
            error: said.error.as_deref().filter(|_| is_failure).map(cut),
            acknowledged_at: now,
        }
    }

    /// Takes in what the app says after this; says whether that is anything new.
    fn follow(&mut self, next: &Self) -> bool {
        let is_new = self.status == Status::Failed.name() && next.status == Status::Processed.name();
        if is_new {
            *self = next.clone();
        }
        is_new
    }
}

/// The id of what a machine says of an event.
fn key(event_id: &str, machine_id: Option<&str>) -> String {
    format!("{event_id}/{}", machine_id.unwrap_or_default())
}

fn cut(error: &str) -> String {
    error.chars().take(ERROR_CHARACTERS_MAX).collect()
}

/// Takes in what apps say, in their order, and what follows for dead letters; gives for each what is known then, and how
/// much of it was new.
pub async fn take(
    tx: &mut Tx,
    now: Timestamp,
    rng: &Rng,
    said: &[Said],
) -> Result<Vec<(Acknowledgement, News)>, DbError> {
    let taken = take_alone(tx, now, said).await?;
    for (said, (_, news)) in said.iter().zip(&taken) {
        letters::follow(tx, now, rng, said, *news).await?;
    }
    Ok(taken)
}

async fn take_alone(tx: &mut Tx, now: Timestamp, said: &[Said]) -> Result<Vec<(Acknowledgement, News)>, DbError> {
    let said: Vec<_> = said.iter().map(|said| Acknowledgement::new(now, said)).collect();
    let mut first = BTreeMap::new();
    for acknowledgement in &said {
        first.entry(&*acknowledgement.id).or_insert(acknowledgement);
    }
    // In the order of their keys, as by everybody, so that nobody waits for somebody who waits for him.
    let inserted: BTreeSet<_> = tx.insert(&first.values().copied().collect::<Vec<_>>()).await?.into_iter().collect();
    let known = first.keys().filter(|id| !inserted.contains(**id)).map(|id| (*id).to_owned()).collect();
    let known: Vec<Acknowledgement> = tx.load("id", &known, Lock::ForUpdate).await?;
    let mut rows: BTreeMap<_, _> = known.into_iter().map(|row| (row.id.clone(), row)).collect();
    let (mut taken, mut changed) = (Vec::with_capacity(said.len()), BTreeSet::new());
    for next in &said {
        let news = match rows.get_mut(&next.id) {
            None => {
                rows.insert(next.id.clone(), next.clone());
                News::First
            }
            Some(row) => {
                let has_changed = row.follow(next);
                if has_changed {
                    changed.insert(next.id.clone());
                }
                if has_changed { News::Changed } else { News::Nothing }
            }
        };
        taken.push((rows[&next.id].clone(), news));
    }
    tx.upsert(&changed.iter().map(|id| &rows[id]).collect::<Vec<_>>()).await?;
    Ok(taken)
}

/// The licence of a key.
pub async fn license_of(tx: &mut Tx, key: &LicenseKey) -> Result<Option<String>, DbError> {
    store::license_of(tx, key.expose()).await
}

/// The event `event_id` of a licence's log, and the machine that has this fingerprint there; none where there is no such
/// event. A machine that has given its seat up is still known.
pub async fn subject(
    tx: &mut Tx,
    license_id: &str,
    event_id: &str,
    fingerprint_hash: Option<&str>,
) -> Result<Option<Subject>, DbError> {
    store::subject(tx, license_id, event_id, fingerprint_hash.unwrap_or_default()).await
}

/// What was said of an event of a licence, or of all of its events; the newest first.
pub async fn list(
    tx: &mut Tx,
    license_id: &str,
    event_id: Option<&str>,
    page: &Page,
) -> Result<List<Acknowledgement>, DbError> {
    let rows = store::newest(tx, license_id, event_id, page).await?;
    Ok(page.list(rows, |row| Position { at: row.acknowledged_at, id: row.id.clone() }))
}

#[cfg(test)]
mod tests;
