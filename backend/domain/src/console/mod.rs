//! Operators who signed in at the console.
//!
//! Life: begun by a key, a token or a link; good for twelve hours, and for one after it was last used; ended by signing out.
//! What is over is removed when the next one begins.

mod store;

use chrono::Duration;
use tollgate_db::{DbError, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

pub use self::store::{end, find, note_use};

/// How long a session is good: as long as a day's work.
pub const LASTS: Duration = Duration::hours(12);

/// How long it may be left unused.
pub const IDLE_MAX: Duration = Duration::hours(1);

/// How often it is written that it is used.
const SEEN_INTERVAL: Duration = Duration::minutes(1);

/// How many that are over are removed at once: more than begin between two sign-ins.
const REMOVED_AT_ONCE: i64 = 100;

record! {
    /// A row of `console_sessions`.
    pub struct ConsoleSession in "console_sessions" {
        /// `cse_…`
        pub id: String,
        /// What the cookie holds, hashed.
        pub token_hash: String,
        /// Whom the audit trail names: `console:{name}`.
        pub actor: String,
        /// When it began.
        pub begun_at: Timestamp,
        /// When it was last used, to a minute.
        pub seen_at: Timestamp,
    }
}

impl ConsoleSession {
    /// Whether it is good at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        now < self.begun_at + LASTS && now < self.seen_at + IDLE_MAX
    }

    /// Whether it is to be written that it is used at `now`.
    pub fn is_to_be_noted(&self, now: Timestamp) -> bool {
        now >= self.seen_at + SEEN_INTERVAL
    }
}

/// A session of `actor`, begun now by whoever is given what `token_hash` is the hash of; gives its id.
pub fn begin(work: &mut UnitOfWork, token_hash: String, actor: String) -> String {
    let (id, now) = (work.new_id("cse"), work.now());
    work.append(ConsoleSession { id: id.clone(), token_hash, actor, begun_at: now, seen_at: now });
    id
}

/// Removes sessions that are over at `now`.
pub async fn forget(tx: &mut Tx, now: Timestamp) -> Result<u64, DbError> {
    // Whatever began twelve hours ago and is used is over too; it goes with its last use.
    store::delete_unused_since(tx, now - IDLE_MAX, REMOVED_AT_ONCE).await
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    /// One that began at `begun_at`, and was last used at `seen_at`.
    fn session(begun_at: Timestamp, seen_at: Timestamp) -> ConsoleSession {
        let (id, actor) = ("cse_1".to_owned(), "console:ada".to_owned());
        ConsoleSession { id, token_hash: String::new(), actor, begun_at, seen_at }
    }

    #[test]
    fn a_session_is_over_after_twelve_hours_or_one_idle() {
        let start = from_unix(1_750_000_000).unwrap();
        let used = |hours: i64| session(start, start + Duration::hours(hours));
        let second = Duration::seconds(1);
        assert!(used(0).is_good(start + IDLE_MAX - second));
        assert!(!used(0).is_good(start + IDLE_MAX));
        assert!(used(11).is_good(start + LASTS - second));
        assert!(!used(11).is_good(start + LASTS));
        assert!(used(0).is_good(start - second), "a clock that was set back ends nothing");
    }

    #[test]
    fn that_a_session_is_used_is_written_once_a_minute() {
        let start = from_unix(1_750_000_000).unwrap();
        let session = session(start, start);
        assert!(!session.is_to_be_noted(start + Duration::seconds(59)));
        assert!(session.is_to_be_noted(start + Duration::seconds(60)));
    }
}
