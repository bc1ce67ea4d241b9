//! Live events: what happened to a licence, told to its desktop apps as it happens, and again to those who were away.
//!
//! The way of an event to an app: it is appended to its licence's log by whoever changes something
//! ([`tollgate_domain::events`]); once that is committed a bell rings ([`crate::bells`]), here and in the other processes;
//! each stream of that licence then reads its log from where it is, all that look at that moment in one transaction
//! (`reader`). A poll rings for whatever has grown and was not rung for, so that a bell that is lost costs two seconds
//! and never an event.

mod acknowledge;
mod batches;
mod body;
mod epochs;
mod frames;
mod poll;
pub mod presence;
mod reader;
pub mod retention;
pub mod routes;
mod session;
#[cfg(test)]
mod tests;
pub mod undelivered;

use std::sync::Arc;
use std::time::Duration;

use rocket::Request;
use tollgate_domain::acknowledgements::{Acknowledgement, Said};
use tollgate_shared::Rng;

use self::batches::Batches;
use self::epochs::Epochs;
use self::reader::Reader;
use crate::app::App;

pub use self::epochs::{begin_another, settle};

/// How long a stream may say nothing that its client sees: a client that hears nothing for longer can take it for dead.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// How many streams there may be, and when they say what.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Each stream takes some 15 KiB.
    streams_max: usize,
    /// How many of them may be of one licence, whose key may be in many hands.
    of_license: OfLicense,
    /// See [`HEARTBEAT`].
    heartbeat: Duration,
    /// How long a stream lives: not for ever, so that streams spread again over the processes that there are, and each for
    /// another time, so that those which began at one moment do not end at one.
    lifetime: (Duration, Duration),
    /// How often to look for what was not rung for: how long an event is late whose bell was lost.
    poll: Duration,
}

const LIMITS: Limits = Limits {
    streams_max: 25_000,
    of_license: OfLicense { at_least: 100, a_seat: 4, at_most: 5000 },
    heartbeat: HEARTBEAT,
    lifetime: (Duration::from_secs(30 * 60), Duration::from_secs(60 * 60)),
    poll: Duration::from_secs(2),
};

/// How many streams a licence may have in one process: a few for each seat.
#[derive(Clone, Copy, Debug)]
struct OfLicense {
    at_least: usize,
    a_seat: usize,
    at_most: usize,
}

impl OfLicense {
    /// That of a licence with so many seats.
    fn with_seats(self, seats: i64) -> usize {
        usize::try_from(seats).unwrap_or_default().saturating_mul(self.a_seat).clamp(self.at_least, self.at_most)
    }
}

/// The streams of a process. Clones are the same streams.
#[derive(Clone)]
pub struct Streams(Arc<Shared>);

struct Shared {
    app: App,
    epochs: Arc<Epochs>,
    reader: Reader,
    acknowledgements: Batches<Said, Option<Acknowledgement>>,
    limits: Limits,
}

impl Streams {
    /// Starts what streams are served by.
    pub fn start(app: &App) -> Self {
        Self::start_with(app, LIMITS)
    }

    fn start_with(app: &App, limits: Limits) -> Self {
        let epochs = Arc::new(Epochs::new(&app.db));
        let reader = Reader::start(app, &epochs);
        poll::start(app, &epochs, limits.poll);
        let acknowledgements = acknowledge::start(app);
        Self(Arc::new(Shared { app: app.clone(), epochs, reader, acknowledgements, limits }))
    }

    /// The streams of the server that `request` came to.
    pub fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.rocket().state().expect("`server::rocket` manages the streams of every Rocket that it makes")
    }

    /// Whether there is no room for another one.
    pub fn are_full(&self) -> bool {
        self.0.app.bells.count() >= self.0.limits.streams_max
    }

    /// Notes how far the logs have come: the process is at its end.
    pub async fn stopped(&self) {
        self.0.epochs.mark_for_good(&self.0.app.db).await;
    }
}

/// Counts a stream that could not be had, for this reason.
fn count_refused(reason: &'static str) {
    metrics::counter!("tollgate_backend_streams_refused_total", "reason" => reason).increment(1);
}

/// A time somewhere between two.
fn between((earliest, latest): (Duration, Duration), rng: &Rng) -> Duration {
    earliest + latest.saturating_sub(earliest).mul_f64(rng.unit())
}
