//! Who may have a release.

use std::collections::BTreeSet;

use rocket::Request;
use rocket::http::Status;
use rocket::request::{self, FromRequest};
use tollgate_db::{Lock, Tx};
use tollgate_domain::customers;
use tollgate_domain::licenses::License;
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::verdict::Verdict;
use tollgate_domain::releases::Release;

use crate::app::App;
use crate::http::auth::{Authenticator, MaybeUser, User};
use crate::http::endpoint::{Argument, Operation, Parameter, Place, Scheme, query};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::licenses::key_holder::KeyHolder;
use crate::licenses::routes::refusal;

/// The scheme of `Authorization` by which an app shows its licence's key: `addAuthHeader("License <key>")`.
const SCHEME: &str = "License ";

/// The longest header of that kind that is looked at.
const HEADER_CHARACTERS_MAX: usize = 200;

/// Whoever asks, before it is known what they may have.
pub(super) struct Asking<'r> {
    holder: KeyHolder<'r>,
    user: Result<User, ApiError>,
    key: Option<&'r str>,
    token: Option<String>,
    authenticator: &'r Authenticator,
}

/// Who gets what.
pub(super) enum Access {
    /// Everybody gets everything.
    Public,
    /// Each of these licences gets what is its own.
    Licensed {
        /// They.
        licenses: Vec<License>,
        /// The token that was shown for the one.
        token: Option<String>,
    },
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Asking<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        let holder = request.guard().await.succeeded().expect("whoever asks may hold a key");
        let MaybeUser(user) = request.guard().await.succeeded().expect("whoever asks is a user or is none");
        let mut shown = request.headers().get("authorization");
        let key = shown.next().filter(|header| header.len() <= HEADER_CHARACTERS_MAX);
        let key = key.filter(|_| shown.next().is_none()).and_then(|header| header.strip_prefix(SCHEME));
        let token = Query::of(request).text("token").map(str::to_owned);
        let authenticator = request.rocket().state().expect("`server::rocket` manages one");
        request::Outcome::Success(Self { holder, user, key, token, authenticator })
    }
}

/// The licence's key in the header that electron-updater sends along.
const LICENSE: &[Scheme] = &[Scheme {
    name: "licenseKey",
    place: Place::Header("Authorization"),
    description: "`License <key>`, where RELEASES_ACCESS is `licensed`.",
}];

impl Argument for Asking<'_> {
    fn describe(operation: &mut Operation) {
        KeyHolder::describe(operation);
        operation.access.extend(LICENSE);
        MaybeUser::describe(operation);
        operation.parameters.push(token_parameter());
        operation.refusals.retain(|refused| refused.code != "unauthorized");
        operation.refuse(license_required());
        for verdict in [Verdict::Expired, Verdict::Revoked, Verdict::Suspended] {
            operation.refuse(refusal(verdict));
        }
        operation.refuse(not_entitled());
    }
}

fn token_parameter() -> Parameter {
    query("token", "A token of `GET /api/releases/latest`, instead of a key or a sign-in.")
}

impl Asking<'_> {
    /// What they may have.
    pub(super) async fn access(self, tx: &mut Tx) -> Result<Access, ApiError> {
        let app = self.holder.app;
        if !app.config.releases_are_licensed {
            return Ok(Access::Public);
        }
        let licenses: Vec<License> = if let Some(token) = &self.token {
            let now = app.clock.now();
            let license_id = self.authenticator.open_download(token, now).await.ok_or_else(license_required)?;
            tx.load("id", &BTreeSet::from([license_id]), Lock::None).await?
        } else if let Some(shown) = self.key {
            let key = LicenseKey::parse(shown);
            let keys = key.iter().map(|key| key.expose().to_owned()).collect();
            let licenses = tx.load("key", &keys, Lock::None).await?;
            if licenses.is_empty() {
                self.holder.count_nobodys(key.as_ref())?;
            }
            licenses
        } else {
            let user = self.user.map_err(|_| license_required())?;
            let customers = customers::of_user(tx, &user.id).await?.into_iter().collect();
            let licenses: Vec<License> = tx.load("customer_id", &customers, Lock::None).await?;
            if licenses.is_empty() {
                return Err(not_entitled());
            }
            licenses
        };
        let first = licenses.first().ok_or_else(license_required)?;
        match Verdict::against(first) {
            Some(verdict) if licenses.iter().all(|license| Verdict::against(license).is_some()) => {
                Err(refusal(verdict))
            }
            _ => Ok(Access::Licensed { licenses, token: self.token }),
        }
    }
}

impl Access {
    /// Whether they get a release.
    pub(super) fn includes(&self, app: &App, release: &Release) -> bool {
        match self {
            Self::Public => true,
            Self::Licensed { licenses, .. } => {
                licenses.iter().any(|license| release.is_for(license, &app.settings.plans))
            }
        }
    }

    /// What opens the files of a release for them, where that takes anything: a new token, or the one that they have shown.
    /// Nobody has one that goes on for ever by asking again.
    pub(super) fn token(&self, app: &App, authenticator: &Authenticator, release: &Release) -> Option<String> {
        let Self::Licensed { licenses, token } = self else { return None };
        let license = licenses.iter().find(|license| release.is_for(license, &app.settings.plans))?;
        Some(token.clone().unwrap_or_else(|| authenticator.download_token(&license.id, app.clock.now())))
    }

    /// What caches on the way may do with a file.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Public)
    }
}

/// 401: whoever asks shows no licence.
fn license_required() -> ApiError {
    let message = "releases are for who has a licence: send `Authorization: License <key>`, sign in, or take a link that is \
                   not older than 10 minutes";
    ApiError::new(Status::Unauthorized, "license_required", message)
}

/// 403: it is for others.
pub(super) fn not_entitled() -> ApiError {
    ApiError::new(Status::Forbidden, "not_entitled", "your licence does not include this release")
}
