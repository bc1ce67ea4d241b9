//! `POST /api/license/…`: whoever holds a key says which machine it is on.
//!
//! `validate` and `heartbeat` write nothing on their way; see [`last_seen`](crate::last_seen).

use std::collections::BTreeSet;

use rocket::http::Status;
use rocket::post;
use rocket::serde::json::Json;
use tollgate_db::{DbError, Lock};
use tollgate_domain::apply::Touched;
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::licenses::seats::{self, ActivateError, DeactivationReason, MachineInfo};
use tollgate_domain::licenses::verdict::Verdict;
use tollgate_domain::licenses::view::MachineView;
use tollgate_domain::sessions::Transport;
use tracing::info;

use crate::app::App;
use crate::http::body::JsonBody;
use crate::http::endpoint::{Endpoint, endpoint};
use crate::http::error::ApiError;
use crate::licenses::key_holder::KeyHolder;
use crate::licenses::request::{MachineBody, MachineRequest};
use crate::licenses::view::{DeactivatedView, Held, VerdictView};
use crate::write::WriteError;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let held = || [Verdict::Unknown, Verdict::Expired, Verdict::Revoked, Verdict::Suspended].map(refusal);
    vec![
        endpoint!(activate, "Gives the machine a seat of the licence; 200 where it has one already")
            .answers(&[Status::Ok, Status::Created])
            .refuses(held())
            .refuses([limit_reached(&[])]),
        endpoint!(deactivate, "Takes the machine's seat back").refuses([refusal(Verdict::Unknown)]),
        endpoint!(validate, "Says whether the machine may work; 200 also when it may not"),
        endpoint!(
            heartbeat,
            "Says that the app runs, and whether its machine may work: a licence that does not let it is an error"
        )
        .refuses(held())
        .refuses([refusal(Verdict::NotActivated)]),
    ]
}

/// Who asks about what.
struct Asked<'r> {
    holder: KeyHolder<'r>,
    app: &'r App,
    request: MachineRequest,
}

#[post("/api/license/activate", data = "<body>")]
async fn activate(holder: KeyHolder<'_>, body: JsonBody<MachineBody>) -> Result<(Status, Json<VerdictView>), ApiError> {
    let asked = Asked::of(holder, body)?;
    let app = asked.app;
    let Held { license, machines } = asked.held().await?.map_err(refusal)?;
    let license_id = license.id.clone();
    let info = asked.machine_info(&license_id).await?;
    let stale_after = app.settings.machines_stale_after;
    let hash = &info.fingerprint_hash;
    if let Some(error) = seats::refusal(app.clock.now(), stale_after, &license, &machines, hash) {
        return Err(asked.no_seat(&license_id, error));
    }
    let touched = Touched::license(&license_id);
    let _turn = asked.holder.turn_to_write().await;
    let activated = app.write(&touched, |work| {
        let activation = seats::activate(work, stale_after, &license_id, &info)?;
        let license: License = work.get_cloned(&license_id).ok_or(ActivateError::Unknown)?;
        let machines = machines::of_license(work, &license_id).into_iter().cloned().collect();
        Ok((activation, Held { license, machines }))
    });
    let (activation, held) = match activated.await {
        Ok((done, _)) => done,
        Err(WriteError::Refused(error)) => return Err(asked.no_seat(&license_id, error)),
        Err(WriteError::Panicked) => return Err(ApiError::from(WriteError::<ApiError>::Panicked)),
        Err(WriteError::Database(failure)) => return Err(failure.into()),
    };
    let id = &activation.machine.id;
    if activation.is_new {
        info!(license.id = %license_id, machine.id = %id, "activated machine {id} of licence {license_id}");
    }
    let status = if activation.is_new { Status::Created } else { Status::Ok };
    Ok((status, Json(asked.answer(&held, &info.fingerprint_hash).await?)))
}

#[post("/api/license/deactivate", data = "<body>")]
async fn deactivate(holder: KeyHolder<'_>, body: JsonBody<MachineBody>) -> Result<Json<DeactivatedView>, ApiError> {
    let asked = Asked::of(holder, body)?;
    let app = asked.app;
    let license_id = asked.held().await?.map_err(refusal)?.license.id;
    let info = asked.machine_info(&license_id).await?;
    let stale_after = app.settings.machines_stale_after;
    let touched = Touched::license(&license_id);
    let _turn = asked.holder.turn_to_write().await;
    let deactivated = app.write(&touched, |work| {
        let holders = machines::of_license(work, &license_id).into_iter();
        let mut machine = holders.filter(|machine| machine.fingerprint_hash == info.fingerprint_hash);
        let machine_id = machine.next().map(|machine| machine.id.clone());
        if let Some(machine_id) = &machine_id {
            seats::deactivate(work, stale_after, machine_id, DeactivationReason::App);
        }
        Ok::<_, ApiError>((machine_id, machines::of_license(work, &license_id).len()))
    });
    let ((machine_id, machines_left), _) = deactivated.await?;
    if let Some(id) = machine_id {
        info!(license.id = %license_id, machine.id = %id, "deactivated machine {id} of licence {license_id}");
    }
    Ok(Json(DeactivatedView { deactivated: true, machines_left }))
}

#[post("/api/license/validate", data = "<body>")]
async fn validate(holder: KeyHolder<'_>, body: JsonBody<MachineBody>) -> Result<Json<VerdictView>, ApiError> {
    let asked = Asked::of(holder, body)?;
    let app = asked.app;
    match asked.held().await? {
        Err(verdict) => Ok(Json(VerdictView::of_none(app, verdict))),
        Ok(held) => asked.sign_of_life(held, None).await.map(|(view, _)| Json(view)),
    }
}

#[post("/api/license/heartbeat", data = "<body>")]
async fn heartbeat(holder: KeyHolder<'_>, body: JsonBody<MachineBody>) -> Result<Json<VerdictView>, ApiError> {
    let asked = Asked::of(holder, body)?;
    let held = asked.held().await?.map_err(refusal)?;
    match asked.sign_of_life(held, Some(Transport::Heartbeat)).await? {
        (view, Verdict::Valid | Verdict::TooManyMachines) => Ok(Json(view)),
        (_, verdict) => Err(refusal(verdict)),
    }
}

impl<'r> Asked<'r> {
    fn of(holder: KeyHolder<'r>, body: JsonBody<MachineBody>) -> Result<Self, ApiError> {
        Ok(Self { app: holder.app, holder, request: body.0.try_into()? })
    }

    /// The licence with that key and the machines that hold its seats, or the verdict where there is none. 429 where it was
    /// asked too often: before anything is looked up, or once it is known that the key is nobody's.
    async fn held(&self) -> Result<Result<Held, Verdict>, ApiError> {
        if let Some(key) = &self.request.key {
            self.holder.count(key)?;
            if let Some(held) = find(self.app, key).await? {
                return Ok(Ok(held));
            }
        }
        self.holder.count_nobodys(self.request.key.as_ref()).map(Err)
    }

    async fn machine_info(&self, license_id: &str) -> Result<MachineInfo, ApiError> {
        let keys = self.app.deployment_keys().await?;
        Ok(MachineInfo {
            fingerprint_hash: keys.fingerprint.hash(license_id, &self.request.machine_id),
            name: self.request.name.clone(),
            platform: self.request.platform.clone(),
            app_version: self.request.app_version.clone(),
        })
    }

    /// Takes in that the machine is alive, for now in memory alone, and says whether it may work.
    async fn sign_of_life(&self, mut held: Held, by: Option<Transport>) -> Result<(VerdictView, Verdict), ApiError> {
        let info = self.machine_info(&held.license.id).await?;
        let now = self.app.clock.now();
        let app_version = info.app_version.as_deref();
        if let Some(machine) =
            held.machines.iter_mut().find(|machine| machine.fingerprint_hash == info.fingerprint_hash)
        {
            machine.see(now, app_version);
            self.app.last_seen.note(&machine.id, now, app_version, by);
        }
        let verdict = Verdict::of(&held.license, &held.machines, &info.fingerprint_hash);
        Ok((self.answer(&held, &info.fingerprint_hash).await?, verdict))
    }

    async fn answer(&self, held: &Held, fingerprint_hash: &str) -> Result<VerdictView, ApiError> {
        let keys = self.app.deployment_keys().await?;
        Ok(VerdictView::of(self.app, keys, held, fingerprint_hash, &self.request.machine_id))
    }

    fn no_seat(&self, license_id: &str, error: ActivateError) -> ApiError {
        match error {
            ActivateError::Unknown => refusal(Verdict::Unknown),
            ActivateError::Unusable(verdict) => refusal(verdict),
            ActivateError::NoSeatLeft { machines } => {
                let taken = machines.len();
                info!(license.id = %license_id, taken, "no seat is left of licence {license_id}");
                metrics::counter!("tollgate_backend_activations_refused_total").increment(1);
                let (now, stale_after) = (self.app.clock.now(), self.app.settings.machines_stale_after);
                let machines: Vec<_> =
                    machines.iter().map(|machine| MachineView::of(machine, now, stale_after)).collect();
                limit_reached(&machines)
            }
        }
    }
}

/// 409: each seat of the licence is held by one of `machines`.
fn limit_reached(machines: &[MachineView]) -> ApiError {
    let message = "every seat of the licence is taken; deactivate one of these machines, or take a larger plan";
    ApiError::new(Status::Conflict, "activation_limit_reached", message).with_more("machines", machines)
}

/// The licence with that key, and the machines that hold its seats.
pub(crate) async fn find(app: &App, key: &LicenseKey) -> Result<Option<Held>, DbError> {
    let mut tx = app.read().await?;
    let keys = BTreeSet::from([key.expose().to_owned()]);
    let Some(license) = tx.load::<License>("key", &keys, Lock::None).await?.pop() else { return Ok(None) };
    let ids = BTreeSet::from([license.id.clone()]);
    let machines: Vec<Machine> = machines::in_seats_of(&mut tx, &ids, Lock::None).await?;
    Ok(Some(Held { license, machines }))
}

/// The error of a verdict, for the routes to which it is one.
pub(crate) fn refusal(verdict: Verdict) -> ApiError {
    let code = match verdict {
        Verdict::Mistyped | Verdict::Unknown => "license_not_found",
        Verdict::Revoked => "license_revoked",
        Verdict::Suspended => "license_suspended",
        Verdict::Expired => "license_expired",
        Verdict::NotActivated | Verdict::TooManyMachines | Verdict::Valid => "not_activated",
    };
    let status = if code == "license_not_found" { Status::NotFound } else { Status::Forbidden };
    ApiError::new(status, code, verdict.message())
}
