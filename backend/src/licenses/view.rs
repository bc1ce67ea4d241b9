//! What apps are answered.

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::deployment_keys::DeploymentKeys;
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::lease::{self, Lease, Leased};
use tollgate_domain::licenses::machines::Machine;
use tollgate_domain::licenses::verdict::Verdict;
use tollgate_domain::licenses::view::{HeldLicenseView, MachineView};
use tollgate_shared::clock::rfc3339;

use crate::app::App;

/// Whether the machine may work, why not, and by which licence.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LicenseVerdict")]
pub(super) struct VerdictView {
    valid: bool,
    code: &'static str,
    message: &'static str,
    license: Option<HeldLicenseView>,
    machine: Option<MachineView>,
    lease: Option<Lease>,
    server_time: String,
}

/// A machine's seat is free.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Deactivated")]
pub(super) struct DeactivatedView {
    pub(super) deactivated: bool,
    /// The machines that still hold a seat of the licence.
    pub(super) machines_left: usize,
}

/// A licence with those who hold its seats, the first one first.
pub(crate) struct Held {
    pub(crate) license: License,
    pub(crate) machines: Vec<Machine>,
}

impl VerdictView {
    /// Without a licence.
    pub(super) fn of_none(app: &App, verdict: Verdict) -> Self {
        Self {
            valid: false,
            code: verdict.code(),
            message: verdict.message(),
            license: None,
            machine: None,
            lease: None,
            server_time: rfc3339(app.clock.now()),
        }
    }

    /// Of the machine that its app calls `machine_id`, and that has that hash here. Where it may work it gets a lease.
    pub(super) fn of(app: &App, keys: &DeploymentKeys, held: &Held, fingerprint_hash: &str, machine_id: &str) -> Self {
        let (now, stale_after) = (app.clock.now(), app.settings.machines_stale_after);
        let verdict = Verdict::of(&held.license, &held.machines, fingerprint_hash);
        let machine = held.machines.iter().find(|machine| machine.fingerprint_hash == fingerprint_hash);
        let leased = machine.filter(|_| verdict == Verdict::Valid).map(|machine| Leased {
            license: &held.license,
            plans: &app.settings.plans,
            machine_id: &machine.id,
            fingerprint: machine_id,
            ends_at: held.license.ends_at(),
        });
        Self {
            valid: verdict == Verdict::Valid,
            lease: leased.and_then(|leased| lease::issue(now, &keys.lease, app.config.lease_length, leased)),
            license: Some(HeldLicenseView::of(&held.license, &app.settings.plans, &held.machines, now, stale_after)),
            machine: machine.map(|machine| MachineView::of(machine, now, stale_after)),
            ..Self::of_none(app, verdict)
        }
    }
}
