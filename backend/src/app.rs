//! The one piece of state that routes and jobs share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::Request;
use tollgate_shared::{Clock, Rng};
use tracing::error;

use crate::config::Config;
use crate::db::{Db, Tx};
use crate::http::error::ApiError;
use crate::http::in_flight::InFlight;
use crate::sealer::Sealer;
use crate::stripe_api::Client;
use crate::webhooks::inbox::{Inbox, Ours, Parts};

/// Everything a route or a job works with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// What the environment said: plans, keys, addresses.
    pub config: Arc<Config>,
    /// The database, which may be away.
    pub db: Db,
    /// The present.
    pub clock: Clock,
    /// Random bytes fit for keys.
    pub rng: Rng,
    /// The door for events.
    pub inbox: Inbox,
    /// The requests that are under way.
    pub in_flight: InFlight,
    /// Whether the tables were seen to be there.
    is_migrated: Arc<AtomicBool>,
}

impl App {
    /// The app of a configuration. Opens the inbox, whose writer ends with the last clone of the app; so it has to be
    /// called within a runtime.
    pub fn new(config: Arc<Config>, db: Db, clock: Clock, rng: Rng) -> Self {
        let stripe = Client::open(&config.stripe).unwrap_or_else(|error| {
            error!("Stripe cannot be asked: {error}");
            None
        });
        let inbox = Inbox::open(Parts {
            db: db.clone(),
            clock: clock.clone(),
            rng: rng.clone(),
            plans: config.plans.clone(),
            widgets: config.widgets.clone(),
            sealer: Arc::new(Sealer::new(&config.encryption_keys)),
            ours: Ours { livemode: config.stripe.livemode, accounts: config.stripe.accounts.clone() },
            stripe,
        });
        Self { config, db, clock, rng, inbox, in_flight: InFlight::default(), is_migrated: Arc::default() }
    }

    /// The app that `request` came to.
    pub fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.rocket().state().expect("`http::server::rocket` manages the app of every Rocket that it makes")
    }

    /// A transaction for a route that only reads; 503 while the database is away or has not been migrated.
    pub async fn read(&self) -> Result<Tx, ApiError> {
        if !self.is_migrated.load(Ordering::Relaxed) {
            self.db.ready().await.map_err(|_| ApiError::database_unavailable())?;
            self.is_migrated.store(true, Ordering::Relaxed);
        }
        Ok(self.db.read().await?)
    }
}
