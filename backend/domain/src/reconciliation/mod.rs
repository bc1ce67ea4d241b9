//! What of Stripe's is read to find what its webhooks did not bring, and what of that is still to be read.
//!
//! Stripe lists things by when they were made, the newest first, a hundred a call. What is to be read is cut into
//! *stretches* of that time, which are read side by side. A run's row holds those that are left, so that one which was
//! stopped goes on where it was; what is read twice is the same as once.

mod store;
#[cfg(test)]
mod tests;

use chrono::Duration;
use serde::{Deserialize, Serialize};
use tollgate_db::{DbError, Json, Tx, row};
use tollgate_shared::Timestamp;

/// For how long Stripe lists an event: <https://docs.stripe.com/api/events/list>.
const EVENTS_LISTED: Duration = Duration::days(30);

/// Before this nothing was made at Stripe, which opened in 2011: 2010-01-01, Unix time.
const STRIPES_BEGINNING: i64 = 1_262_304_000;

/// How long an event may be on its way to us before it counts as missed: what is delivered comes within seconds.
const ON_THE_WAY: Duration = Duration::minutes(5);

/// Events that a clean-up is about to remove here are not missed.
const CLEAN_UP_MARGIN: Duration = Duration::hours(1);

/// How long after its begin a run that was stopped goes on. Later the events that it has still to read begin to be
/// listed no more.
const GOES_ON_WITHIN: Duration = Duration::days(1);

/// How many things a stretch is to have. Ten calls: few enough that others have something to do, and enough that the calls
/// which find the last page are few.
const STRETCH_OBJECTS: f64 = 1000.0;

/// How many stretches one is cut into at most: how full its older part is, is a guess.
const PIECES_MAX: i64 = 8;

/// How many stretches may wait. They stand in the run's row, which is written after each page.
const STRETCHES_MAX: usize = 32;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What happened: brings what the lists of objects do not have, and what changed in which order.
    Events,
    /// How each subscription is now.
    Subscriptions,
    /// How each invoice is now.
    Invoices,
}

/// A time at Stripe. Of the things of a kind that were made in it, those are still to be read that are older than one of
/// them, or all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// What is read.
    pub kind: Kind,
    /// In which connected account; none for our own.
    pub account: Option<String>,
    /// The first second, Unix time.
    pub from: i64,
    /// The second after the last one.
    pub to: i64,
    /// Those before this one in the list were read.
    pub after: Option<String>,
}

row! {
    /// A row of `reconciliations`.
    pub struct Run {
        /// What kind of run.
        pub name: String,
        /// Since when what it reads was made; all that there is, if that is not said.
        pub since: Option<Timestamp>,
        /// When it began.
        pub began_at: Timestamp,
        /// When it had read everything.
        pub ended_at: Option<Timestamp>,
        /// What it has still to read.
        pub remaining: Json<Vec<Stretch>>,
        /// How much it has read.
        pub objects: i64,
        /// How many differences it has found.
        pub found: i64,
        /// Those that it could not mend.
        pub unmended: i64,
    }
}

impl Run {
    /// A run that begins at `now` and reads all of our own account and of `accounts` that was made from `since` on. Events
    /// are kept here for `events_kept`.
    pub fn new(
        name: &str,
        now: Timestamp,
        since: Option<Timestamp>,
        events_kept: Duration,
        accounts: &[String],
    ) -> Self {
        let listed = now - EVENTS_LISTED.min(events_kept - CLEAN_UP_MARGIN);
        let [listed, now_second] = [listed, now].map(|at| at.timestamp());
        let from = since.map_or(STRIPES_BEGINNING, |since| since.timestamp());
        let mut remaining = Vec::new();
        // The last is read first: what happened, which leaves little to be found in the lists of objects.
        let kinds = [
            (Kind::Invoices, from, now_second),
            (Kind::Subscriptions, from, now_second),
            (Kind::Events, from.max(listed), now_second - ON_THE_WAY.num_seconds()),
        ];
        for (kind, from, to) in kinds {
            for account in accounts.iter().map(Some).chain([None]) {
                if from < to {
                    remaining.push(Stretch { kind, account: account.cloned(), from, to, after: None });
                }
            }
        }
        Self {
            name: name.to_owned(),
            since,
            began_at: now,
            ended_at: None,
            remaining: Json(remaining),
            objects: 0,
            found: 0,
            unmended: 0,
        }
    }

    /// Whether a run of what was made from `since` on is to go on with this one, instead of beginning anew at `now`.
    pub fn goes_on(&self, now: Timestamp, since: Option<Timestamp>) -> bool {
        let age = now - self.began_at;
        self.ended_at.is_none() && self.since == since && age >= Duration::zero() && age < GOES_ON_WITHIN
    }
}

/// Which share of the time in `whole` was read, if `left` is what was not: the mean of the kinds', since nobody knows how
/// much there is of each.
pub fn share_read(whole: &[Stretch], left: &[Stretch]) -> f64 {
    let seconds = |stretches: &[Stretch], kind| {
        let of_kind = stretches.iter().filter(|stretch| stretch.kind == kind);
        of_kind.map(|stretch| (stretch.to - stretch.from) as f64).sum::<f64>()
    };
    let kinds = [Kind::Events, Kind::Subscriptions, Kind::Invoices];
    let shares = kinds.map(|kind| 1.0 - seconds(left, kind) / seconds(whole, kind).max(1.0));
    shares.iter().sum::<f64>() / shares.len() as f64
}

impl Stretch {
    /// What is left of it when a page of `objects` was read, whose last one has this id and was made at this second.
    /// `waiting`: how many other stretches are left.
    pub fn rest(&self, objects: usize, (id, made_at): (&str, i64), waiting: usize) -> Vec<Self> {
        // Of the last one's second there may be more.
        let to = (made_at + 1).min(self.to);
        let whole = Self { to, after: Some(id.to_owned()), ..self.clone() };
        let room = i64::try_from(STRETCHES_MAX.saturating_sub(waiting)).unwrap_or(PIECES_MAX);
        let pieces = self.pieces(objects, made_at).min(room).min(to - self.from);
        if pieces <= 1 {
            return vec![whole];
        }
        let bound = |piece: i64| self.from + (to - self.from) * piece / pieces;
        let mut rest: Vec<_> = (0..pieces)
            .map(|piece| Self { from: bound(piece), to: bound(piece + 1), after: None, ..self.clone() })
            .collect();
        if let Some(newest) = rest.last_mut() {
            newest.after = whole.after;
        }
        rest
    }

    /// How many pieces what is older than the page should be, if it is as full as the page.
    fn pieces(&self, objects: usize, made_at: i64) -> i64 {
        let (read, left) = ((self.to - made_at).max(1), (made_at - self.from).max(0));
        let expected = objects as f64 * left as f64 / read as f64;
        ((expected / STRETCH_OBJECTS) as i64).clamp(1, PIECES_MAX)
    }
}

/// The newest run of a name.
pub async fn newest(tx: &mut Tx, name: &str) -> Result<Option<Run>, DbError> {
    store::newest(tx, name).await
}

/// Keeps how far a run has come, in place of the run of its name that there was.
pub async fn keep(tx: &mut Tx, run: &Run) -> Result<(), DbError> {
    store::keep(tx, run).await
}
