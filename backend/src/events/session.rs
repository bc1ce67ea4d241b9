//! One stream: reads its licence's log from where it is whenever its bell rings, and says something now and then.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tollgate_db::DbError;
use tollgate_domain::events::Look;
use tollgate_domain::events::cursor::{Cursor, Epoch, Resume, Start};
use tollgate_domain::events::log::{Found, LOOK_EVENTS_MAX};
use tollgate_domain::sessions::Transport;
use tollgate_shared::Timestamp;
use tollgate_shared::backoff::Backoff;
use tracing::debug;

use super::frames::Frames;
use super::reader::Opening;
use super::{Shared, Streams, between, count_refused};
use crate::bells::{End, NotNow, Subscription};

/// When a client that was cut off comes back: soon, and not all at one moment.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// When one comes back whose machine has opened another stream: two apps of one machine would end each other's in turn.
const RETRY_REPLACED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(120));

/// When one comes back of whose licence there were too many.
const RETRY_TOO_MANY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

/// How often a database that is away is looked at by one stream.
const LOOK_BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(4) };

/// A stream that has begun.
pub(super) struct Session {
    streams: Streams,
    subscription: Subscription,
    epoch: Epoch,
    /// The number up to which the client was told.
    after: i64,
    begun_at: Timestamp,
    /// When the log is to be looked at; none while nothing says that it has grown.
    look_at: Option<Instant>,
    failures: u32,
    heartbeat_at: Instant,
    ends_at: Instant,
    is_over: bool,
}

impl Session {
    /// Begins a stream, and gives what it says first; no session where that is all. None while the process stops.
    pub(super) fn begin(streams: Streams, opening: &Opening, start: Start) -> Option<(Bytes, Option<Self>)> {
        let Shared { app, limits, .. } = &*streams.0;
        let (now, begun_at) = (Instant::now(), app.clock.now());
        let machine_id = opening.machine_id.as_deref();
        let of_license_max = limits.of_license.with_seats(opening.seats);
        let subscription = match app.bells.subscribe(begun_at, &opening.license_id, machine_id, of_license_max) {
            Ok(subscription) => subscription,
            Err(NotNow::Stopping) => return None,
            Err(NotNow::TooMany) => {
                count_refused("license");
                let retry = between(RETRY_TOO_MANY, &app.rng);
                return Some((Frames::default().retry(retry).into_text().into(), None));
            }
        };
        if let Some(machine_id) = machine_id {
            app.last_seen.note(machine_id, begun_at, None, Some(Transport::Stream));
        }
        let kept = &opening.kept;
        let (after, is_gap) = match kept.resume(start) {
            Resume::After(after) => (after, false),
            Resume::Gap { after } => (after, true),
        };
        subscription.has_read_to(after);
        // In one piece: who has seen the one has seen the other.
        let retry = between(RETRY, &app.rng);
        let mut frames = Frames::default().retry(retry).connected(
            kept.at(after),
            &opening.license_status,
            limits.heartbeat,
            begun_at,
        );
        if is_gap {
            frames = frames.gap(kept);
        }
        let session = Self {
            epoch: kept.epoch,
            after,
            begun_at,
            // It may have grown before the bell was listened to.
            look_at: Some(now),
            failures: 0,
            heartbeat_at: now + limits.heartbeat,
            ends_at: now + between(limits.lifetime, &app.rng),
            is_over: false,
            subscription,
            streams,
        };
        Some((frames.into_text().into(), Some(session)))
    }

    /// Waits for what is to be said next. None at the end.
    pub(super) async fn next(mut self) -> Option<(Bytes, Self)> {
        let said = self.say().await?;
        self.heartbeat_at = Instant::now() + self.streams.0.limits.heartbeat;
        Some((said, self))
    }

    /// Notes that something is handed to the client, whose time to take it begins.
    pub(super) fn hand_over(&self) {
        self.subscription.hand_over();
    }

    /// Notes that the client has taken what it was handed.
    pub(super) fn is_taken(&self) {
        self.subscription.is_taken();
    }

    async fn say(&mut self) -> Option<Bytes> {
        loop {
            let now = Instant::now();
            match self.subscription.end() {
                _ if self.is_over || self.ends_at <= now => return None,
                None => {}
                Some(End::Replaced) => {
                    self.is_over = true;
                    let retry = between(RETRY_REPLACED, &self.streams.0.app.rng);
                    return Some(Frames::default().retry(retry).into_text().into());
                }
                Some(End::Stopping | End::Stuck) => return None,
            }
            if let Some(said) = self.send_again().await {
                return Some(said);
            }
            if self.look_at.is_some_and(|at| at <= now) {
                match self.look().await {
                    Ok(Some(said)) => return Some(said),
                    Ok(None) => {}
                    // The client is not sent away: nothing can happen either while the database is away.
                    Err(failure) => {
                        debug!(reason = failure.class(), "could not read a stream's events, retrying: {failure}");
                        self.failures += 1;
                        self.look_at = Some(now + LOOK_BACKOFF.after(self.failures, &self.streams.0.app.rng));
                    }
                }
                continue;
            }
            if self.heartbeat_at <= now {
                return Some(Frames::default().heartbeat(self.streams.0.app.clock.now()).into_text().into());
            }
            let wake_at = [self.heartbeat_at, self.ends_at].into_iter().chain(self.look_at).min();
            tokio::select! {
                () = self.subscription.rung() => self.look_at = Some(now),
                () = sleep_until(wake_at.expect("there are some")) => {}
            }
        }
    }

    /// What somebody wants sent again, if it is still kept.
    async fn send_again(&self) -> Option<Bytes> {
        while let Some(event_id) = self.subscription.wanted_again() {
            match self.streams.0.reader.event(self.subscription.license_id(), &event_id).await {
                Ok(Some(event)) => return Some(Frames::default().again(event).into_text().into()),
                Ok(None) => {}
                Err(failure) => {
                    debug!(reason = failure.class(), "could not read an event to send it again: {failure}");
                    self.subscription.could_not_send_again(&event_id);
                }
            }
        }
        None
    }

    /// Reads on. Gives what there is to say.
    async fn look(&mut self) -> Result<Option<Bytes>, DbError> {
        let (epoch, look) = self.streams.0.reader.look(self.subscription.license_id(), self.after).await?;
        self.failures = 0;
        if epoch != self.epoch {
            return self.look_for_gap().await;
        }
        match look.found(self.after) {
            Found::Nothing => {
                self.look_at = None;
                Ok(None)
            }
            Found::Events(count) => Ok(Some(self.events(look, count))),
            Found::Lost => self.look_for_gap().await,
        }
    }

    fn events(&mut self, look: Look, count: usize) -> Bytes {
        let now = self.streams.0.app.clock.now();
        let is_all = count < LOOK_EVENTS_MAX && self.after + count as i64 == look.newest;
        let mut frames = Frames::default();
        for event in look.events.into_iter().take(count) {
            self.after = event.seq;
            // What was missed was not late: nobody was there.
            if event.created_at >= self.begun_at {
                let lag = (now - event.created_at).as_seconds_f64();
                metrics::histogram!("tollgate_backend_stream_lag_seconds").record(lag.max(0.0));
            }
            let cursor = Cursor { epoch: self.epoch, seq: event.seq };
            frames = frames.event(cursor, event);
        }
        self.subscription.has_read_to(self.after);
        if is_all {
            self.look_at = None;
        }
        frames.into_text().into()
    }

    /// Finds out what of the log can be had, where what follows is not there or the log is another one.
    async fn look_for_gap(&mut self) -> Result<Option<Bytes>, DbError> {
        let (reader, license_id) = (&self.streams.0.reader, self.subscription.license_id());
        let mut kept = reader.kept_after(license_id, self.after).await?;
        let is_another = kept.epoch != self.epoch || kept.newest < self.after;
        if !is_another && kept.resume(Start::Oldest) == Resume::After(self.after) {
            // It was looked at while it changed.
            return Ok(None);
        }
        if is_another {
            kept = reader.kept_after(license_id, 0).await?;
        }
        let (Resume::After(after) | Resume::Gap { after }) = kept.resume(Start::Oldest);
        (self.epoch, self.after) = (kept.epoch, after);
        self.subscription.has_read_to(after);
        Ok(Some(Frames::default().gap(&kept).into_text().into()))
    }
}
