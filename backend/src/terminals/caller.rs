//! Who speaks to the terminals of a licence, and to which.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use rocket::Request;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::customers;
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::machines::{self, Machine};
use tollgate_domain::licenses::verdict::Verdict;
use tollgate_domain::terminals::view::is_connected;
use tollgate_domain::terminals::{self, Teller};
use tollgate_shared::Clock;

use crate::app::App;
use crate::http::auth::{MaybeUser, User};
use crate::http::endpoint::{Argument, Operation};
use crate::http::error::ApiError;
use crate::http::rate_limit::RateLimit;
use crate::licenses::key_holder::KeyHolder;
use crate::licenses::request::{MACHINE_ID_CHARACTERS_MAX, text};
use crate::licenses::routes::{find, refusal};

/// How often the terminals of one licence may be told something, and as often be made to take something over: each wakes up
/// all of them.
const TOLD_A_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("it is not 0");

/// The most machines that may be named.
const NAMED_MAX: usize = 1000;

/// How often the terminals of a licence are told something, by the licence.
pub struct TerminalLimits {
    pub(super) broadcasts: RateLimit<String>,
    pub(super) syncs: RateLimit<String>,
}

impl TerminalLimits {
    /// Nothing was said yet.
    pub fn new(clock: &Clock) -> Self {
        let limit = || RateLimit::per_minute(TOLD_A_MINUTE, clock.clone());
        Self { broadcasts: limit(), syncs: limit() }
    }
}

/// Whoever asks, before it is known who that is.
pub(super) struct Asking<'r> {
    holder: KeyHolder<'r>,
    user: Result<User, ApiError>,
    pub(super) limits: &'r TerminalLimits,
}

/// Whoever asks.
pub(super) enum Caller {
    /// A signed-in user.
    User(String),
    /// A machine that holds a seat, with its licence.
    Machine { id: String, license_id: String },
}

/// A licence, and the machines that hold its seats.
pub(super) struct Addressed {
    pub(super) license_id: String,
    pub(super) machines: Vec<Machine>,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Asking<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        let holder = request.guard().await.succeeded().expect("whoever asks may hold a key");
        let MaybeUser(user) = request.guard().await.succeeded().expect("whoever asks is a user or is none");
        let limits =
            request.rocket().state().expect("`server::rocket` manages the limits of every Rocket that it makes");
        Outcome::Success(Self { holder, user, limits })
    }
}

impl Argument for Asking<'_> {
    fn describe(operation: &mut Operation) {
        KeyHolder::describe(operation);
        MaybeUser::describe(operation);
        let verdicts =
            [Verdict::Unknown, Verdict::Expired, Verdict::Revoked, Verdict::Suspended, Verdict::NotActivated];
        for verdict in verdicts {
            operation.refuse(refusal(verdict));
        }
        operation.refuse(no_license());
    }
}

impl Asking<'_> {
    /// Who asks: the machine that the key and the fingerprint are of, or without a key whoever signed in.
    pub(super) async fn caller(self, key: Option<&str>, machine_id: Option<&str>) -> Result<Caller, ApiError> {
        let Some(key) = key else { return Ok(Caller::User(self.user?.id)) };
        let app = self.holder.app;
        let key = LicenseKey::parse(key);
        let held = match &key {
            Some(key) => {
                self.holder.count(key)?;
                find(app, key).await?
            }
            None => None,
        };
        let Some(held) = held else { return Err(refusal(self.holder.count_nobodys(key.as_ref())?)) };
        let machine_id = text("machineId", machine_id.map(str::to_owned), MACHINE_ID_CHARACTERS_MAX)?
            .ok_or_else(|| ApiError::invalid_parameter("machineId", "`machineId` goes with `licenseKey`"))?;
        let hash = app.deployment_keys().await?.fingerprint.hash(&held.license.id, &machine_id);
        let machine = held.machines.iter().find(|machine| machine.fingerprint_hash == hash);
        match (Verdict::of(&held.license, &held.machines, &hash), machine) {
            (Verdict::Valid | Verdict::TooManyMachines, Some(machine)) => {
                Ok(Caller::Machine { id: machine.id.clone(), license_id: held.license.id })
            }
            (verdict, _) => Err(refusal(verdict)),
        }
    }
}

impl Caller {
    /// Who tells others something.
    pub(super) fn teller(&self) -> Teller {
        match self {
            Self::User(_) => Teller::User,
            Self::Machine { id, .. } => Teller::Machine(id.clone()),
        }
    }

    /// What its requests are remembered under: no user is called as a machine is, by a text of two lines.
    pub(super) fn name(&self) -> String {
        match self {
            Self::User(id) => id.clone(),
            Self::Machine { id, .. } => format!("machine\n{id}"),
        }
    }

    /// The licences that it may speak of: all, or the one that it names.
    pub(super) async fn licenses(&self, tx: &mut Tx, named: Option<&str>) -> Result<Vec<String>, ApiError> {
        match self {
            Self::Machine { license_id, .. } => match named {
                Some(named) if named != license_id => Err(refusal(Verdict::NotActivated)),
                _ => Ok(vec![license_id.clone()]),
            },
            Self::User(id) => {
                let customers = customers::of_user(tx, id).await?.into_iter().collect();
                let licenses: Vec<License> = tx.load("customer_id", &customers, Lock::None).await?;
                let mut ids: Vec<_> = licenses.into_iter().map(|license| license.id).collect();
                if let Some(named) = named {
                    ids.retain(|id| id == named);
                    return if ids.is_empty() { Err(no_license()) } else { Ok(ids) };
                }
                Ok(ids)
            }
        }
    }

    /// The licences whose machines are spoken to: those that it may speak of and, where machines are named, that these are of.
    pub(super) async fn addressed(
        &self,
        tx: &mut Tx,
        named_license: Option<&str>,
        named_machines: Option<&[String]>,
    ) -> Result<Vec<Addressed>, ApiError> {
        let licenses = self.licenses(tx, named_license).await?;
        if licenses.is_empty() {
            return Err(ApiError::no_customer());
        }
        let ids = licenses.iter().cloned().collect();
        let mut machines: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for machine in machines::in_seats_of(tx, &ids, Lock::None).await? {
            machines.entry(machine.license_id.clone()).or_default().push(machine);
        }
        let of_license = |license_id: String| {
            let machines = machines.remove(&license_id).unwrap_or_default();
            Addressed { license_id, machines }
        };
        let mut addressed: Vec<_> = licenses.into_iter().map(of_license).collect();
        if let Some(named) = named_machines {
            let known: BTreeSet<_> = addressed.iter().flat_map(|one| &one.machines).map(|one| &*one.id).collect();
            if named.is_empty() || named.len() > NAMED_MAX || !named.iter().all(|id| known.contains(&**id)) {
                return Err(not_these_machines());
            }
            addressed.retain(|one| one.machines.iter().any(|machine| named.contains(&machine.id)));
        }
        Ok(addressed)
    }
}

impl Addressed {
    /// Those of its machines that are meant: the named ones, else all.
    pub(super) fn meant<'a>(&'a self, named: Option<&'a [String]>) -> impl Iterator<Item = &'a Machine> {
        self.machines.iter().filter(move |machine| named.is_none_or(|named| named.contains(&machine.id)))
    }
}

/// How many of these machines' apps are there.
pub(super) async fn connected(app: &App, tx: &mut Tx, machines: &BTreeSet<String>) -> Result<usize, DbError> {
    let sessions = terminals::sessions_of(tx, machines).await?;
    let now = app.clock.now();
    let is_there = |id: &&String| is_connected(sessions.get(*id), app.last_seen.of(id), now);
    Ok(machines.iter().filter(is_there).count())
}

/// 404: there is no such licence, or it is somebody else's.
pub(super) fn no_license() -> ApiError {
    ApiError::not_found("such licence")
}

/// 422: not all that are named are machines of the caller's.
fn not_these_machines() -> ApiError {
    let message = "`machineIds` has to name machines (`mac_…`) that are activated on the licence, a thousand at most";
    ApiError::invalid_parameter("machineIds", message)
}
