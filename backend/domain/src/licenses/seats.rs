//! Who holds the seats of a licence. All of it under the licence's row lock: seats are counted in rows that nobody else
//! can add to meanwhile, so that two machines cannot take the last one.

use chrono::Duration;
use serde_json::json;
use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;

use crate::events::{EventType, PendingEvent};
use crate::licenses::machines::{self, Machine};
use crate::licenses::verdict::Verdict;
use crate::licenses::view::MachineView;
use crate::licenses::{License, append_to_log};

/// What an app says of the machine that it runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineInfo {
    /// The keyed hash of what it knows the machine by.
    pub fingerprint_hash: String,
    /// What its user calls it.
    pub name: Option<String>,
    /// Its operating system.
    pub platform: Option<String>,
    /// The app's version.
    pub app_version: Option<String>,
}

/// A machine that holds a seat.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// The machine.
    pub machine: Machine,
    /// Whether it took the seat only now.
    pub is_new: bool,
}

/// Why a machine gets no seat.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ActivateError {
    /// There is no such licence.
    #[error("there is no such licence")]
    Unknown,
    /// The licence lets no machine work.
    #[error("{}", .0.message())]
    Unusable(Verdict),
    /// Others hold every seat.
    #[error("every seat of the licence is taken")]
    NoSeatLeft {
        /// Those others, the first one first.
        machines: Vec<Machine>,
    },
}

/// Why a machine gave its seat up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeactivationReason {
    /// The app on the machine itself gave it up.
    App,
    /// The customer freed it.
    User,
    /// An operator freed it.
    Operator,
    /// It had been silent for long, and another machine needed the seat.
    Stale,
}

impl DeactivationReason {
    /// The reason's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::User => "user",
            Self::Operator => "operator",
            Self::Stale => "stale",
        }
    }
}

/// Gives the machine a seat of the licence, or says which one it has there already.
///
/// Where no seat is left, machines that have been silent for `stale_after` give up theirs, the longest silent first, as
/// many as are needed and only if that is enough. Where the licence has come to have fewer seats than machines, one that
/// came too late gets back to work in the same way.
pub fn activate(
    work: &mut UnitOfWork,
    stale_after: Duration,
    license_id: &str,
    info: &MachineInfo,
) -> Result<Activation, ActivateError> {
    let license: License = work.get_cloned(license_id).ok_or(ActivateError::Unknown)?;
    // Before anything is returned: a revoked licence must not come alive on its old machine.
    if let Some(verdict) = Verdict::against(&license) {
        return Err(ActivateError::Unusable(verdict));
    }
    let holders: Vec<Machine> = machines::of_license(work, license_id).into_iter().cloned().collect();
    let place = holders.iter().position(|machine| machine.fingerprint_hash == info.fingerprint_hash);
    let before = &holders[..place.unwrap_or(holders.len())];
    let freed = freed_for_one_more(work.now(), stale_after, before, license.max_activations);
    if freed.is_none() && place.is_none() {
        return Err(ActivateError::NoSeatLeft { machines: holders });
    }
    for id in freed.unwrap_or_default() {
        deactivate(work, stale_after, &id, DeactivationReason::Stale);
    }
    Ok(match place {
        Some(place) => {
            let mut machine = holders[place].clone();
            machine.describe(work, info);
            work.insert(machine.clone());
            Activation { machine, is_new: false }
        }
        None => Activation { machine: take_seat(work, stale_after, &license, info), is_new: true },
    })
}

/// What keeps the machine from a seat, by rows that nobody has locked: whoever sees that there is no seat need not wait for
/// those who take one.
pub fn refusal(
    now: Timestamp,
    stale_after: Duration,
    license: &License,
    holders: &[Machine],
    fingerprint_hash: &str,
) -> Option<ActivateError> {
    if let Some(verdict) = Verdict::against(license) {
        return Some(ActivateError::Unusable(verdict));
    }
    let has_seat = holders.iter().any(|machine| machine.fingerprint_hash == fingerprint_hash);
    let is_full = || freed_for_one_more(now, stale_after, holders, license.max_activations).is_none();
    (!has_seat && is_full()).then(|| ActivateError::NoSeatLeft { machines: holders.to_vec() })
}

/// Ends the activation of a machine. One that holds no seat stays as it is.
pub fn deactivate(work: &mut UnitOfWork, stale_after: Duration, machine_id: &str, reason: DeactivationReason) {
    let Some(mut machine) = work.get_cloned::<Machine>(machine_id) else { return };
    if machine.seat_of.take().is_none() {
        return;
    }
    machine.deactivated_at = Some(work.now());
    let view = MachineView::of(&machine, work.now(), stale_after);
    let data = json!({ "machine": view, "reason": reason.name() });
    let event = PendingEvent { event_type: EventType::MachineDeactivated, data };
    append_to_log(work, &machine.license_id, event);
    work.insert(machine);
}

/// The machines of `before`, which hold seats and came first, that have to give up theirs so that there is one for
/// another machine: none where there is one, and `None` where there cannot be.
fn freed_for_one_more(
    now: Timestamp,
    stale_after: Duration,
    before: &[Machine],
    max_activations: i64,
) -> Option<Vec<String>> {
    let needed = usize::try_from(before.len() as i64 + 1 - max_activations).unwrap_or_default();
    if max_activations < 1 {
        return None;
    }
    let mut stale: Vec<_> = before.iter().filter(|machine| machine.is_stale(now, stale_after)).collect();
    if stale.len() < needed {
        return None;
    }
    stale.sort_by(|a, b| (a.last_seen_at, &a.id).cmp(&(b.last_seen_at, &b.id)));
    Some(stale.into_iter().take(needed).map(|machine| machine.id.clone()).collect())
}

fn take_seat(work: &mut UnitOfWork, stale_after: Duration, license: &License, info: &MachineInfo) -> Machine {
    let mut machine = Machine {
        id: work.new_id("mac"),
        license_id: license.id.clone(),
        fingerprint_hash: info.fingerprint_hash.clone(),
        name: None,
        platform: None,
        app_version: None,
        activated_at: work.now(),
        last_seen_at: work.now(),
        deactivated_at: None,
        seat_of: Some(license.id.clone()),
    };
    machine.describe(work, info);
    let data = json!({ "machine": MachineView::of(&machine, work.now(), stale_after) });
    append_to_log(work, &license.id, PendingEvent { event_type: EventType::MachineActivated, data });
    work.insert(machine.clone());
    machine
}

impl Machine {
    /// Takes in what its app says of it now. What the app leaves out stays as it was.
    fn describe(&mut self, work: &UnitOfWork, info: &MachineInfo) {
        self.see(work.now(), info.app_version.as_deref());
        self.name = info.name.clone().or(self.name.take());
        self.platform = info.platform.clone().or(self.platform.take());
    }
}

#[cfg(test)]
mod tests;
