//! Terminals: the machines of a licence as they see each other, and what one of them tells the others.
//!
//! A broadcast is told and forgotten. A sync ([`sync`]) is told, and each machine that it is for says by an acknowledgement
//! what became of it there. Both are events of the licence's log, so that whoever is away is told when it is back.

mod store;
pub mod sync;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use serde_json::{Map, Value, json};
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Tx, UnitOfWork, row};
use tollgate_shared::Timestamp;

use crate::events::{EventType, PendingEvent};
use crate::licenses;
use crate::licenses::machines::Machine;
use crate::sessions::{Presence, STALE_AFTER, SUSPECT_AFTER, Session};

/// How long a session is shown whose machine gave its seat up.
const ENDED_SHOWN_FOR: Duration = Duration::days(30);

row! {
    /// The session of a machine, with what is known of that.
    pub struct TerminalSession {
        /// `ses_…`
        pub id: String,
        /// `mac_…`
        pub machine_id: String,
        /// The licence that the machine was activated for.
        pub license_id: String,
        /// By what it was last heard of.
        pub transport: String,
        /// When it was opened.
        pub connected_at: Timestamp,
        /// When it was last heard of.
        pub last_seen_at: Timestamp,
        /// When the machine gave its seat up.
        pub ended_at: Option<Timestamp>,
        /// When the machine took its seat: the order of sessions.
        pub activated_at: Timestamp,
        /// The app's version.
        pub app_version: Option<String>,
        /// The machine's operating system.
        pub platform: Option<String>,
    }
}

impl TerminalSession {
    /// Of a machine and its session.
    pub fn of(machine: &Machine, session: Session) -> Self {
        Self {
            id: session.id,
            machine_id: session.machine_id,
            license_id: machine.license_id.clone(),
            transport: session.transport,
            connected_at: session.connected_at,
            last_seen_at: session.last_seen_at,
            ended_at: machine.deactivated_at,
            activated_at: machine.activated_at,
            app_version: machine.app_version.clone(),
            platform: machine.platform.clone(),
        }
    }

    /// Whether its app is there.
    pub fn presence(&self, now: Timestamp) -> Presence {
        Presence::at(now, self.last_seen_at, self.ended_at)
    }
}

/// Who tells the others something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The user whose licence it is.
    User,
    /// One of the machines, by its id.
    Machine(String),
}

impl Teller {
    /// Its name on the wire: the machine's id, or `user`.
    pub fn name(&self) -> &str {
        match self {
            Self::User => "user",
            Self::Machine(id) => id,
        }
    }
}

/// What is told to the terminals of one licence or several.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// `brd_…`
    pub id: String,
    /// What the apps know it by.
    pub event: String,
    /// What it says.
    pub payload: Map<String, Value>,
    /// The machines that it is for; none where it is for all.
    pub machine_ids: Option<Vec<String>>,
    /// Who says it.
    pub from: Teller,
}

/// Appends `broadcast` to the log of a licence; gives the event's id. None where there is no such licence.
pub fn broadcast(work: &mut UnitOfWork, license_id: &str, broadcast: &Broadcast) -> Option<String> {
    let Broadcast { id, event, payload, machine_ids, from } = broadcast;
    let data = json!({ "broadcast": {
        "id": id, "event": event, "payload": payload, "machineIds": machine_ids, "from": from.name(),
    }});
    licenses::append_to_log(work, license_id, PendingEvent { event_type: EventType::Broadcast, data })
}

/// A page of the machines that hold seats of `licenses`, those that took them last first, each with its session.
pub async fn list(tx: &mut Tx, licenses: &[String], page: &Page) -> Result<List<(Machine, Option<Session>)>, DbError> {
    let mut machines = Vec::new();
    for license_id in licenses {
        machines.extend(store::in_seats(tx, license_id, page).await?);
    }
    let machines = page.merge(machines, |row| Position { at: row.activated_at, id: row.id.clone() });
    let ids = machines.data.iter().map(|machine| machine.id.clone()).collect();
    let mut sessions = sessions_of(tx, &ids).await?;
    Ok(machines.map(|machine| {
        let session = sessions.remove(&machine.id);
        (machine, session)
    }))
}

/// The sessions of machines, by those.
pub async fn sessions_of(tx: &mut Tx, machines: &BTreeSet<String>) -> Result<BTreeMap<String, Session>, DbError> {
    let sessions: Vec<Session> = tx.load("machine_id", machines, Lock::None).await?;
    Ok(sessions.into_iter().map(|session| (session.machine_id.clone(), session)).collect())
}

/// A page of the sessions of `licenses`, in the same order; those of one status, or of any.
pub async fn sessions(
    tx: &mut Tx,
    now: Timestamp,
    licenses: &[String],
    status: Option<Presence>,
    page: &Page,
) -> Result<List<TerminalSession>, DbError> {
    let wanted = Wanted::of(status, now);
    let mut rows = Vec::new();
    for license_id in licenses {
        rows.extend(store::sessions(tx, license_id, &wanted, page).await?);
    }
    Ok(page.merge(rows, |row| Position { at: row.activated_at, id: row.machine_id.clone() }))
}

/// Which sessions are wanted, as bounds of their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    /// They were last heard of after this…
    seen_after: Timestamp,
    /// …and up to this.
    seen_until: Timestamp,
    /// When those count as ended that have not.
    open_end_at: Timestamp,
    /// They ended after this.
    ended_after: Timestamp,
}

impl Wanted {
    /// Those that [`Presence::at`] gives this status, where it is given.
    fn of(status: Option<Presence>, now: Timestamp) -> Self {
        let (begin, end) = (Timestamp::UNIX_EPOCH, Position::end().at);
        let all = Self { seen_after: begin, seen_until: end, open_end_at: end, ended_after: now - ENDED_SHOWN_FOR };
        let open = Self { ended_after: end - Duration::days(1), ..all };
        match status {
            None => all,
            Some(Presence::Connected) => Self { seen_after: now - SUSPECT_AFTER, ..open },
            Some(Presence::Suspect) => Self { seen_after: now - STALE_AFTER, seen_until: now - SUSPECT_AFTER, ..open },
            Some(Presence::Stale) => Self { seen_until: now - STALE_AFTER, ..open },
            Some(Presence::Ended) => Self { open_end_at: begin, ..all },
        }
    }
}

/// How many machines with a seat are there, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Machines by status: none is ended.
    pub by_status: BTreeMap<String, i64>,
    /// By the version of the app.
    pub by_version: BTreeMap<String, i64>,
    /// By the operating system.
    pub by_platform: BTreeMap<String, i64>,
}

/// What a machine is counted under that does not say its version, or its operating system.
const UNKNOWN: &str = "unknown";

/// Counts the sessions of the machines that hold seats of `licenses`.
pub async fn count(tx: &mut Tx, now: Timestamp, licenses: &[String]) -> Result<SessionCounts, DbError> {
    let mut counts = SessionCounts::default();
    for license_id in licenses {
        for (version, platform, status, machines) in store::count(tx, now, license_id).await? {
            let [version, platform] = [version, platform].map(|name| name.unwrap_or_else(|| UNKNOWN.to_owned()));
            *counts.by_status.entry(status).or_default() += machines;
            *counts.by_version.entry(version).or_default() += machines;
            *counts.by_platform.entry(platform).or_default() += machines;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn now() -> Timestamp {
        from_unix(1_750_000_000).unwrap()
    }

    /// What the statement of the list decides by these bounds.
    fn is_wanted(wanted: Wanted, last_seen_at: Timestamp, ended_at: Option<Timestamp>) -> bool {
        last_seen_at > wanted.seen_after
            && last_seen_at <= wanted.seen_until
            && ended_at.unwrap_or(wanted.open_end_at) > wanted.ended_after
    }

    #[test]
    fn a_list_of_one_status_has_what_is_shown_with_that_status() {
        let statuses = [Presence::Connected, Presence::Suspect, Presence::Stale, Presence::Ended];
        for silence in [-5, 0, 59, 60, 61, 299, 300, 301, 86_400] {
            let last_seen_at = now() - Duration::seconds(silence);
            for ended_at in [None, Some(now()), Some(now() - Duration::days(29))] {
                let is = Presence::at(now(), last_seen_at, ended_at);
                for status in statuses {
                    let wanted = is_wanted(Wanted::of(Some(status), now()), last_seen_at, ended_at);
                    assert_eq!(wanted, status == is, "{silence} {ended_at:?} {status:?}");
                }
                assert!(is_wanted(Wanted::of(None, now()), last_seen_at, ended_at));
            }
        }
    }

    #[test]
    fn what_ended_a_month_ago_is_not_shown() {
        let ended_at = Some(now() - Duration::days(30));
        for status in [None, Some(Presence::Ended)] {
            assert!(!is_wanted(Wanted::of(status, now()), now() - Duration::days(31), ended_at));
        }
    }
}
