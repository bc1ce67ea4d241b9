//! Terminals, their sessions and their syncs, as those see them whose they are.

use std::collections::BTreeMap;

use chrono::Duration;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use super::sync::Sync;
use super::{SessionCounts, TerminalSession};
use crate::acknowledgements::Acknowledgement;
use crate::licenses::machines::Machine;
use crate::licenses::view::MachineView;
use crate::sessions::{Presence, Session};

/// A machine that holds a seat, with its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Terminal")]
pub struct TerminalView {
    #[serde(flatten)]
    machine: MachineView,
    license_id: String,
    connected: bool,
    session: Option<SessionView>,
}

/// Whether the app of a machine is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TerminalSession")]
pub struct SessionView {
    id: String,
    machine_id: String,
    license_id: String,
    status: String,
    transport: String,
    connected_at: String,
    last_seen_at: String,
    ended_at: Option<String>,
    app_version: Option<String>,
    platform: Option<String>,
}

/// How many machines are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TerminalStats")]
pub struct StatsView {
    connected: i64,
    suspect: i64,
    stale: i64,
    by_version: BTreeMap<String, i64>,
    by_platform: BTreeMap<String, i64>,
}

/// A sync, and what became of it at each machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Sync")]
pub struct SyncView {
    id: String,
    event_id: String,
    status: String,
    targets: Vec<TargetView>,
    created_at: String,
}

/// What became of a sync at one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SyncTarget")]
pub struct TargetView {
    machine_id: String,
    status: String,
    at: Option<String>,
    error: Option<String>,
}

impl TerminalView {
    /// What is shown of a machine and its session; `heard_at` is when its app showed that it is there, where that is not
    /// written yet.
    pub fn of(
        machine: &Machine,
        session: Option<Session>,
        heard_at: Option<Timestamp>,
        now: Timestamp,
        stale_after: Duration,
    ) -> Self {
        let connected = is_connected(session.as_ref(), heard_at, now);
        let session = session.map(|session| SessionView::of(TerminalSession::of(machine, session), now));
        let license_id = machine.license_id.clone();
        Self { machine: MachineView::of(machine, now, stale_after), license_id, connected, session }
    }
}

/// Whether an app was heard of just now, by its session or by what is not written yet.
pub fn is_connected(session: Option<&Session>, heard_at: Option<Timestamp>, now: Timestamp) -> bool {
    let heard = session.map(|session| session.last_seen_at).into_iter().chain(heard_at);
    heard.max().is_some_and(|at| Presence::at(now, at, None) == Presence::Connected)
}

impl SessionView {
    /// What is shown of a session.
    pub fn of(row: TerminalSession, now: Timestamp) -> Self {
        Self {
            status: row.presence(now).name().to_owned(),
            id: row.id,
            machine_id: row.machine_id,
            license_id: row.license_id,
            transport: row.transport,
            connected_at: rfc3339(row.connected_at),
            last_seen_at: rfc3339(row.last_seen_at),
            ended_at: row.ended_at.map(rfc3339),
            app_version: row.app_version,
            platform: row.platform,
        }
    }
}

impl From<SessionCounts> for StatsView {
    fn from(counts: SessionCounts) -> Self {
        let of = |status: Presence| counts.by_status.get(status.name()).copied().unwrap_or_default();
        Self {
            connected: of(Presence::Connected),
            suspect: of(Presence::Suspect),
            stale: of(Presence::Stale),
            by_version: counts.by_version,
            by_platform: counts.by_platform,
        }
    }
}

impl SyncView {
    /// What is shown of a sync of which `said` was said.
    pub fn of(sync: &Sync, said: &[Acknowledgement], now: Timestamp) -> Self {
        let target = |(machine_id, answer): (&str, Option<&Acknowledgement>)| TargetView {
            machine_id: machine_id.to_owned(),
            status: answer.map_or("pending", |answer| &*answer.status).to_owned(),
            at: answer.map(|answer| rfc3339(answer.acknowledged_at)),
            error: answer.and_then(|answer| answer.error.clone()),
        };
        Self {
            id: sync.id.clone(),
            event_id: sync.event_id.clone(),
            status: sync.status(said, now).name().to_owned(),
            targets: sync.targets(said).map(target).collect(),
            created_at: rfc3339(sync.created_at),
        }
    }
}
