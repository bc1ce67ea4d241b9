//! Writes down when machines were last heard of, and renews their sessions: all of them together, every few seconds, and
//! never an older time over a newer one.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::{DbError, Lock, UnitOfWork};
use tollgate_domain::licenses::machines::Machine;
use tollgate_domain::sessions;

use crate::app::App;
use crate::last_seen::Seen;

/// Machines in one transaction: on SQLite events wait for as long as it takes.
const MACHINES_AT_ONCE: usize = 300;

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
    let mut work = UnitOfWork::new(app.clock.now(), app.rng.clone());
    let mut machines: Vec<Machine> = tx.load("id", &ids, Lock::ForUpdate).await?;
    // One that gave its seat up meanwhile is no longer heard of.
    machines.retain(|machine| machine.seat_of.is_some());
    work.add_loaded(machines.clone());
    let is_there = |machine: &&Machine| seen.get(&machine.id).is_some_and(|seen| seen.session.is_some());
    let with_session = machines.iter().filter(is_there).map(|machine| machine.id.clone()).collect();
    sessions::load(&mut tx, &mut work, &with_session).await?;
    for mut machine in machines {
        let Some(Seen { at, app_version, session }) = seen.get(&machine.id) else { continue };
        machine.see(*at, app_version.as_deref());
        if let Some((transport, since)) = session {
            sessions::renew(&mut work, &machine.id, *transport, *since, *at);
        }
        work.insert(machine);
    }
    work.release_savepoint();
    work.write(&mut tx).await?;
    tx.commit().await
}
