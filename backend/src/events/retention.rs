//! Which events of licences' logs may be removed when they are old, as of this moment.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::page::Position;
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::acknowledgements::{Acknowledgement, Status};
use tollgate_domain::events::{OldEvent, retention};
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_shared::Timestamp;

/// A page of old events, and those of them that may be removed.
pub struct Page {
    /// The last of the page; none if it is empty.
    pub last: Option<Position>,
    /// Up to which number the log of each licence may be cut.
    pub removable: BTreeMap<String, i64>,
}

/// The next `limit` events that were appended before `before`, after a position.
pub async fn page(tx: &mut Tx, before: Timestamp, after: &Position, limit: i64) -> Result<Page, DbError> {
    let old = retention::old(tx, before, after, limit).await?;
    let last = old.last().map(|event| Position { at: event.created_at, id: event.id.clone() });
    let licenses: BTreeSet<_> = old.iter().map(|event| event.license_id.clone()).collect();
    let oldest = retention::oldest(tx, &licenses).await?;
    let machines: Vec<Machine> = machines::in_seats_of(tx, &licenses, Lock::None).await?;
    let ids: BTreeSet<_> = old.iter().map(|event| event.id.clone()).collect();
    let said: Vec<Acknowledgement> = tx.load("event_id", &ids, Lock::None).await?;
    let processed = said.iter().filter(|said| said.status == Status::Processed.name());
    let processed: BTreeSet<_> =
        processed.filter_map(|said| Some((&*said.event_id, said.machine_id.as_deref()?))).collect();
    let awaits = |event: &OldEvent| {
        machines.iter().any(|machine| {
            let was_there = machine.license_id == event.license_id && machine.activated_at <= event.created_at;
            was_there && !processed.contains(&(&*event.id, &*machine.id))
        })
    };
    Ok(Page { last, removable: retention::removable(old, &oldest, awaits) })
}
