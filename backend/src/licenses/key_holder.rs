//! Whoever shows a licence key. No other sign-in: the key is one. So it is counted how often each is asked about.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;

use rocket::Request;
use rocket::request::{self, FromRequest};
use tokio::sync::{Semaphore, SemaphorePermit};
use tollgate_domain::licenses::key::LicenseKey;
use tollgate_domain::licenses::verdict::Verdict;

use crate::app::App;
use crate::http::client_network::ClientNetwork;
use crate::http::endpoint::{Argument, Operation};
use crate::http::error::ApiError;
use crate::http::rate_limit::RateLimit;

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
}

/// Whoever shows a licence key, wherever the request has it, and from where.
pub(crate) struct KeyHolder<'r> {
    pub(crate) app: &'r App,
    pub(super) limits: &'r LicenseLimits,
    pub(super) network: ClientNetwork,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for KeyHolder<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        let network = request.guard().await.succeeded().expect("wherever a request comes from, that is somewhere");
        let limits =
            request.rocket().state().expect("`server::rocket` manages the limits of every Rocket that it makes");
        request::Outcome::Success(Self { app: App::of(request), limits, network })
    }
}

impl Argument for KeyHolder<'_> {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::rate_limited(1));
        operation.refuse(ApiError::database_unavailable());
    }
}

impl KeyHolder<'_> {
    /// Counts a request about `key`, before anything is looked up: 429 when it was one too many.
    pub(crate) fn count(&self, key: &LicenseKey) -> Result<(), ApiError> {
        self.limits.limit.check(&(Some(self.limits.hashes.hash_one(key.expose())), self.network))
    }

    /// Counts what an app says of one event; 429 when that was one too many.
    pub(crate) fn count_acknowledgement(&self, key: &LicenseKey) -> Result<(), ApiError> {
        self.limits.acknowledgements.check(&(self.limits.hashes.hash_one(key.expose()), self.network))
    }

    /// Counts a request about a key that is nobody's, and gives the verdict on it; 429 when it was one too many.
    pub(crate) fn count_nobodys(&self, key: Option<&LicenseKey>) -> Result<Verdict, ApiError> {
        self.limits.limit.check(&(None, self.network))?;
        Ok(if key.is_some() { Verdict::Unknown } else { Verdict::Mistyped })
    }

    /// Waits for a turn to write.
    pub(super) async fn turn_to_write(&self) -> SemaphorePermit<'_> {
        self.limits.writes.acquire().await.expect("nobody closes it")
    }
}
