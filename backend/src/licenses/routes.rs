//! `POST /api/license/…`: whoever holds a key says which machine it is on. No other sign-in: the key is one.
//!
//! `validate` and `heartbeat` write nothing on their way; see [`last_seen`](crate::last_seen).

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{Route, State, post, routes};
use tokio::sync::{Semaphore, SemaphorePermit};
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
use crate::http::client_network::ClientNetwork;
use crate::http::error::ApiError;
use crate::http::rate_limit::RateLimit;
use crate::licenses::request::{MachineBody, MachineRequest};
use crate::licenses::view::{DeactivatedView, Held, VerdictView};
use crate::write::WriteError;

#[cfg(test)]
mod tests;

/// The routes of this module.
pub fn routes() -> Vec<Route> {
    routes![activate, deactivate, validate, heartbeat]
}

/// How often one key may be asked about from one address, at once and a minute.
const REQUESTS_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("it is not 0");

/// How often of one key it may be said from one address what became of an event: an app that was away for long says so of
/// all that it missed, of which `missed` gives it as many at once.
const ACKNOWLEDGEMENTS_A_MINUTE: NonZeroU32 = NonZeroU32::new(1000).expect("it is not 0");

/// How many machines take or give up seats at one moment. Those of one licence wait for each other in any case: here, and
/// not with a connection to the database each, which others need.
const WRITES_AT_ONCE: usize = 2;

/// How often these routes may be asked, and how many of them write: a key and an address are counted together, and all keys
/// of nobody from one address.
pub struct LicenseLimits {
    /// Of a key only its hash is in here.
    limit: RateLimit<(Option<u64>, ClientNetwork)>,
    acknowledgements: RateLimit<(u64, ClientNetwork)>,
    hashes: RandomState,
    writes: Semaphore,
}

impl LicenseLimits {
    /// Nobody has asked yet.
    pub fn new(app: &App) -> Self {
        Self {
            limit: RateLimit::per_minute(REQUESTS_A_MINUTE, app.clock.clone()),
            acknowledgements: RateLimit::per_minute(ACKNOWLEDGEMENTS_A_MINUTE, app.clock.clone()),
            hashes: RandomState::new(),
            writes: Semaphore::new(WRITES_AT_ONCE),
        }
    }

    async fn turn_to_write(&self) -> SemaphorePermit<'_> {
        self.writes.acquire().await.expect("nobody closes it")
    }

    /// Counts a request of one address about a key; 429 when it was one too many.
    pub(crate) fn check_key(&self, key: &LicenseKey, network: ClientNetwork) -> Result<(), ApiError> {
        self.limit.check(&(Some(self.hashes.hash_one(key.expose())), network))
    }

    /// Counts what an app says of one event; 429 when that was one too many.
    pub(crate) fn check_acknowledgement(&self, key: &LicenseKey, network: ClientNetwork) -> Result<(), ApiError> {
        self.acknowledgements.check(&(self.hashes.hash_one(key.expose()), network))
    }

    /// The same about keys of nobody.
    pub(crate) fn check_without_key(&self, network: ClientNetwork) -> Result<(), ApiError> {
        self.limit.check(&(None, network))
    }
}

/// Who asks about what.
struct Asked<'a> {
    app: &'a App,
    limits: &'a LicenseLimits,
    network: ClientNetwork,
    request: MachineRequest,
}

/// Gives the machine a seat of the licence.
#[post("/api/license/activate", data = "<body>")]
async fn activate(
    network: ClientNetwork,
    body: JsonBody<MachineBody>,
    app: &State<App>,
    limits: &State<LicenseLimits>,
) -> Result<(Status, Json<VerdictView>), ApiError> {
    let asked = Asked { app, limits, network, request: body.0.try_into()? };
    let Held { license, machines } = asked.held().await?.map_err(refusal)?;
    let license_id = license.id.clone();
    let info = asked.machine_info(&license_id).await?;
    let stale_after = app.settings.machines_stale_after;
    let hash = &info.fingerprint_hash;
    if let Some(error) = seats::refusal(app.clock.now(), stale_after, &license, &machines, hash) {
        return Err(asked.no_seat(&license_id, error));
    }
    let touched = Touched::license(&license_id);
    let _turn = limits.turn_to_write().await;
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

/// Takes the machine's seat back.
#[post("/api/license/deactivate", data = "<body>")]
async fn deactivate(
    network: ClientNetwork,
    body: JsonBody<MachineBody>,
    app: &State<App>,
    limits: &State<LicenseLimits>,
) -> Result<Json<DeactivatedView>, ApiError> {
    let asked = Asked { app, limits, network, request: body.0.try_into()? };
    let license_id = asked.held().await?.map_err(refusal)?.license.id;
    let info = asked.machine_info(&license_id).await?;
    let stale_after = app.settings.machines_stale_after;
    let touched = Touched::license(&license_id);
    let _turn = limits.turn_to_write().await;
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

/// Says whether the machine may work; 200 also when it may not.
#[post("/api/license/validate", data = "<body>")]
async fn validate(
    network: ClientNetwork,
    body: JsonBody<MachineBody>,
    app: &State<App>,
    limits: &State<LicenseLimits>,
) -> Result<Json<VerdictView>, ApiError> {
    let asked = Asked { app, limits, network, request: body.0.try_into()? };
    match asked.held().await? {
        Err(verdict) => Ok(Json(VerdictView::of_none(app, verdict))),
        Ok(held) => asked.sign_of_life(held, None).await.map(|(view, _)| Json(view)),
    }
}

/// The same for an app that runs: a licence that lets no machine work, or not this one, is an error.
#[post("/api/license/heartbeat", data = "<body>")]
async fn heartbeat(
    network: ClientNetwork,
    body: JsonBody<MachineBody>,
    app: &State<App>,
    limits: &State<LicenseLimits>,
) -> Result<Json<VerdictView>, ApiError> {
    let asked = Asked { app, limits, network, request: body.0.try_into()? };
    let held = asked.held().await?.map_err(refusal)?;
    match asked.sign_of_life(held, Some(Transport::Heartbeat)).await? {
        (view, Verdict::Valid | Verdict::TooManyMachines) => Ok(Json(view)),
        (_, verdict) => Err(refusal(verdict)),
    }
}

impl Asked<'_> {
    /// The licence with that key and the machines that hold its seats, or the verdict where there is none. 429 where it was
    /// asked too often: before anything is looked up, or once it is known that the key is nobody's.
    async fn held(&self) -> Result<Result<Held, Verdict>, ApiError> {
        let of_nobody = |verdict| self.limits.check_without_key(self.network).map(|()| Err(verdict));
        let Some(key) = &self.request.key else { return of_nobody(Verdict::Mistyped) };
        self.limits.check_key(key, self.network)?;
        match find(self.app, key).await? {
            Some(held) => Ok(Ok(held)),
            None => of_nobody(Verdict::Unknown),
        }
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
                let message =
                    "every seat of the licence is taken; deactivate one of these machines, or take a larger plan";
                ApiError::new(Status::Conflict, "activation_limit_reached", message).with_more("machines", machines)
            }
        }
    }
}

/// The licence with that key, and the machines that hold its seats.
async fn find(app: &App, key: &LicenseKey) -> Result<Option<Held>, DbError> {
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
