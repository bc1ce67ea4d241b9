//! Sessions: whether the app of a machine is there.
//!
//! Life: one a machine, opened by its first stream or heartbeat. Whoever comes back renews the same, however long it was
//! away. It is suspect once a heartbeat was missed and stale when nothing was heard for five minutes, which a job marks.
//! It ends with its machine's seat.

mod store;

use std::collections::BTreeSet;

use chrono::Duration;
use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

/// How long a session is good after the last sign of life. Apps show one every 30 seconds, and it may take five seconds
/// until that is written: at twice as much one is missed for certain.
pub const SUSPECT_AFTER: Duration = Duration::seconds(60);

/// How long nothing may be heard before a session is stale.
pub const STALE_AFTER: Duration = Duration::minutes(5);

/// How far the clocks of several backends may be apart. What was seen later than that was seen by a clock that has been
/// set back since, and is not believed.
const CLOCKS_APART_MAX: Duration = STALE_AFTER;

record! {
    /// A row of `sessions`.
    pub struct Session in "sessions" references "machines" {
        /// The machine.
        pub machine_id: String,
        /// `ses_…`
        pub id: String,
        /// By what it was last heard of: `stream` or `heartbeat`.
        pub transport: String,
        /// When it was opened.
        pub connected_at: Timestamp,
        /// When it was last heard of; behind the present by the seconds for which that is only in memory.
        pub last_seen_at: Timestamp,
        /// When it was found to be stale; none again once something is heard.
        pub stale_at: Option<Timestamp>,
    }
}

/// How an app shows that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By a stream of events that is open.
    Stream,
    /// By `POST /api/license/heartbeat`.
    Heartbeat,
}

impl Transport {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// Whether an app is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It was heard of just now.
    Connected,
    /// A sign of life is missing.
    Suspect,
    /// Several are.
    Stale,
    /// Its machine gave up its seat.
    Ended,
}

impl Presence {
    /// What of a session follows from times alone. A time that is yet to come is no long silence: clocks are set back.
    pub fn at(now: Timestamp, last_seen_at: Timestamp, ended_at: Option<Timestamp>) -> Self {
        let silence = now - last_seen_at;
        match ended_at {
            Some(_) => Self::Ended,
            None if silence >= STALE_AFTER => Self::Stale,
            None if silence >= SUSPECT_AFTER => Self::Suspect,
            None => Self::Connected,
        }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Suspect => "suspect",
            Self::Stale => "stale",
            Self::Ended => "ended",
        }
    }
}

impl Session {
    /// Whether its app was there before something that happened at `at`, and at that time or after.
    pub fn was_there_for(&self, at: Timestamp) -> bool {
        self.connected_at < at && at <= self.last_seen_at
    }

    /// Takes in that its app was there at `at`. What is older than what is known changes nothing.
    fn renew(&mut self, at: Timestamp, transport: Transport) {
        if at >= self.last_seen_at || self.last_seen_at - at > CLOCKS_APART_MAX {
            self.last_seen_at = at;
            self.stale_at = None;
            transport.name().clone_into(&mut self.transport);
        }
    }

    /// Notes that nothing was heard for too long, if so. Says whether that is new.
    fn find_stale(&mut self, now: Timestamp) -> bool {
        let is_found = self.stale_at.is_none() && Presence::at(now, self.last_seen_at, None) == Presence::Stale;
        if is_found {
            self.stale_at = Some(now);
        }
        is_found
    }
}

/// Loads the sessions of machines for writing. Whoever opens one holds the machine's row: what is not there cannot be
/// locked.
pub async fn load(tx: &mut Tx, work: &mut UnitOfWork, machines: &BTreeSet<String>) -> Result<(), DbError> {
    work.add_loaded::<Session>(tx.load("machine_id", machines, Lock::ForUpdate).await?);
    Ok(())
}

/// Renews the session of a machine whose app was there from `since` to `at`, or opens one.
pub fn renew(work: &mut UnitOfWork, machine_id: &str, transport: Transport, since: Timestamp, at: Timestamp) {
    let opened = || Session {
        machine_id: machine_id.to_owned(),
        id: work.new_id("ses"),
        transport: transport.name().to_owned(),
        connected_at: since,
        last_seen_at: at,
        stale_at: None,
    };
    let mut session = work.get_cloned(machine_id).unwrap_or_else(opened);
    session.renew(at, transport);
    work.insert(session);
}

/// Marks the sessions of which nothing was heard for too long, `limit` at most, the longest silent first; gives how many
/// it looked at, and how many it marked.
pub async fn mark_stale(tx: &mut Tx, work: &mut UnitOfWork, limit: i64) -> Result<(usize, usize), DbError> {
    let silent = store::silent_since(tx, work.now() - STALE_AFTER, limit).await?;
    load(tx, work, &silent).await?;
    let mut marked = 0;
    for machine_id in &silent {
        // Something may have been heard before its row was locked.
        let Some(mut session) = work.get_cloned::<Session>(machine_id) else { continue };
        if session.find_stale(work.now()) {
            marked += 1;
            work.insert(session);
        }
    }
    Ok((silent.len(), marked))
}

/// Forgets sessions that have been stale since before a time, `limit` at most; says how many.
pub async fn forget(tx: &mut Tx, stale_before: Timestamp, limit: i64) -> Result<u64, DbError> {
    store::delete(tx, stale_before, limit).await
}

/// Forgets the sessions of machines that are to be forgotten themselves.
pub async fn forget_of(tx: &mut Tx, machine_ids: &BTreeSet<String>) -> Result<u64, DbError> {
    store::delete_of(tx, machine_ids).await
}

#[cfg(test)]
mod tests;
