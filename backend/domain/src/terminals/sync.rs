//! Syncs: one machine's state, or the user's, that other machines take over.
//!
//! Life: `pending` from when it is told until every machine that it is for has said what became of it, `completed` then;
//! `expired` while a day is over and one has not. Whoever answers later is heard all the same, so that what is `expired` may
//! yet come to be `completed`, and never the other way.

use std::collections::BTreeSet;

use chrono::Duration;
use serde_json::{Value, json};
use tollgate_db::{DbError, Json, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

use super::Teller;
use crate::acknowledgements::Acknowledgement;
use crate::events::{EventType, PendingEvent};
use crate::licenses;

/// How long machines have to answer.
pub const ANSWERED_WITHIN: Duration = Duration::hours(24);

record! {
    /// A row of `syncs`.
    pub struct Sync in "syncs" references "license_events" {
        /// `syn_…`
        pub id: String,
        /// The event that tells of it.
        pub event_id: String,
        /// The licence in whose log that is.
        pub license_id: String,
        /// The machines that have to answer.
        pub machine_ids: Json<Vec<String>>,
        /// When it was asked for.
        pub created_at: Timestamp,
    }
}

/// What is to be taken over.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSync {
    /// `syn_…`
    pub id: String,
    /// What the apps know it by.
    pub sync_type: String,
    /// What it is.
    pub payload: Value,
    /// The machines that it is for; none where it is for all others.
    pub named: Option<Vec<String>>,
    /// The machines that have to answer.
    pub machine_ids: Vec<String>,
    /// Whose state it is.
    pub from: Teller,
}

/// How a sync stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncStatus {
    /// Somebody has still to answer.
    Pending,
    /// All have answered.
    Completed,
    /// Somebody has not, for a day.
    Expired,
}

impl SyncStatus {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Expired => "expired",
        }
    }
}

/// Tells the machines of a licence of a sync. None where there is no such licence.
pub fn begin(work: &mut UnitOfWork, license_id: &str, new: &NewSync) -> Option<Sync> {
    let NewSync { id, sync_type, payload, named, machine_ids, from } = new;
    let data = json!({ "sync": {
        "id": id, "syncType": sync_type, "payload": payload, "machineIds": named, "from": from.name(),
    }});
    let event = PendingEvent { event_type: EventType::StateSync, data };
    let sync = Sync {
        id: id.clone(),
        event_id: licenses::append_to_log(work, license_id, event)?,
        license_id: license_id.to_owned(),
        machine_ids: Json(machine_ids.clone()),
        created_at: work.now(),
    };
    work.append(sync.clone());
    Some(sync)
}

/// A sync, with what was said of it.
pub async fn load(tx: &mut Tx, id: &str) -> Result<Option<(Sync, Vec<Acknowledgement>)>, DbError> {
    let Some(sync) = tx.load::<Sync>("id", &BTreeSet::from([id.to_owned()]), Lock::None).await?.pop() else {
        return Ok(None);
    };
    let said = tx.load("event_id", &BTreeSet::from([sync.event_id.clone()]), Lock::None).await?;
    Ok(Some((sync, said)))
}

impl Sync {
    /// Each machine that has to answer, with what it said.
    pub fn targets<'s>(
        &'s self,
        said: &'s [Acknowledgement],
    ) -> impl Iterator<Item = (&'s str, Option<&'s Acknowledgement>)> {
        self.machine_ids.0.iter().map(|machine_id| {
            let answer = said.iter().find(|said| said.machine_id.as_ref() == Some(machine_id));
            (&**machine_id, answer)
        })
    }

    /// How it stands at `now`.
    pub fn status(&self, said: &[Acknowledgement], now: Timestamp) -> SyncStatus {
        if self.targets(said).all(|(_, answer)| answer.is_some()) {
            SyncStatus::Completed
        } else if now - self.created_at >= ANSWERED_WITHIN {
            SyncStatus::Expired
        } else {
            SyncStatus::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        from_unix(1_750_000_000).unwrap() + Duration::hours(hours)
    }

    fn sync(machines: &[&str]) -> Sync {
        Sync {
            id: "syn_1".to_owned(),
            event_id: "sev_1".to_owned(),
            license_id: "lic_1".to_owned(),
            machine_ids: Json(machines.iter().map(|id| (*id).to_owned()).collect()),
            created_at: at(0),
        }
    }

    fn said(machine: &str, status: &str) -> Acknowledgement {
        Acknowledgement {
            id: format!("sev_1/{machine}"),
            event_id: "sev_1".to_owned(),
            license_id: "lic_1".to_owned(),
            machine_id: Some(machine.to_owned()),
            status: status.to_owned(),
            error: None,
            acknowledged_at: at(1),
        }
    }

    #[test]
    fn a_sync_is_completed_when_all_have_answered() {
        let sync = sync(&["mac_1", "mac_2"]);
        let one = [said("mac_1", "processed"), said("mac_3", "processed")];
        assert_eq!(sync.status(&one, at(23)), SyncStatus::Pending);
        let both = [said("mac_1", "processed"), said("mac_2", "failed")];
        assert_eq!(sync.status(&both, at(23)), SyncStatus::Completed);
    }

    #[test]
    fn a_sync_expires_after_a_day_until_the_last_has_answered() {
        let sync = sync(&["mac_1", "mac_2"]);
        let one = [said("mac_1", "processed")];
        assert_eq!(sync.status(&one, at(24)), SyncStatus::Expired);
        assert_eq!(
            sync.status(&[said("mac_1", "processed"), said("mac_2", "processed")], at(30)),
            SyncStatus::Completed
        );
    }

    #[test]
    fn a_sync_for_nobody_is_completed_at_once() {
        assert_eq!(sync(&[]).status(&[], at(0)), SyncStatus::Completed);
    }
}
