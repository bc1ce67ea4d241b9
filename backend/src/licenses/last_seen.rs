//! Writes down when machines were last heard of: all of them together, every few seconds, and never an older time over a
//! newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tollgate_db::{DbError, Lock};
use tollgate_domain::licenses::machines::Machine;

use crate::app::App;
use crate::last_seen::Seen;

/// How long a sign of life is in memory alone.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// Machines in one transaction: on SQLite events wait for as long as it takes.
const MACHINES_AT_ONCE: usize = 1000;

/// Starts the job.
pub fn start(app: &App) {
    let (tasks, app) = (app.tasks.clone(), app.clone());
    tasks.every("last-seen", WRITE_INTERVAL, move || {
        let app = app.clone();
        async move { write(&app).await }
    });
}

/// Writes what waits.
pub async fn write(app: &App) -> Result<(), DbError> {
    let mut waiting = app.last_seen.waiting();
    while !waiting.is_empty() {
        let rest = waiting.keys().nth(MACHINES_AT_ONCE).cloned();
        let rest = rest.map_or_else(BTreeMap::new, |first| waiting.split_off(&first));
        write_together(app, &waiting).await?;
        app.last_seen.forget(&waiting);
        waiting = rest;
    }
    Ok(())
}

/// The rows are locked in the order of their keys, as by whoever counts the seats of a licence.
async fn write_together(app: &App, seen: &BTreeMap<String, Seen>) -> Result<(), DbError> {
    let ids: BTreeSet<_> = seen.keys().cloned().collect();
    let mut tx = app.begin_write().await?;
    let mut machines: Vec<Machine> = tx.load("id", &ids, Lock::ForUpdate).await?;
    // One that gave its seat up meanwhile is no longer heard of.
    machines.retain_mut(|machine| {
        let Some(Seen { at, app_version }) = seen.get(&machine.id) else { return false };
        machine.see(*at, app_version.as_deref());
        machine.seat_of.is_some()
    });
    tx.upsert(&machines.iter().collect::<Vec<_>>()).await?;
    tx.commit().await
}
