//! The one piece of state that routes and background tasks share.

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use chrono::Duration;
use rocket::Request;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tollgate_shared::{Clock, Rng, Timestamp};
use tracing::error;

use crate::bells::Bells;
use crate::channels::Channels;
use crate::channels::pager::Pager;
use crate::config::Config;
use crate::last_seen::LastSeen;
use crate::measured::Measured;
use crate::relays::Relays;
use crate::stripe_api::Client;
use crate::tasks::Tasks;
use tollgate_db::{Db, DbError, Tx};
use tollgate_domain::acknowledgements::undelivered::Counts;
use tollgate_domain::analytics::health::Ranking;
use tollgate_domain::deployment_keys::DeploymentKeys;
use tollgate_domain::sealer::Sealer;
use tollgate_domain::settings::Settings;

/// Everything a route or a background task works with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// What the environment said: plans, keys, addresses.
    pub config: Arc<Config>,
    /// The database, which may be away.
    pub db: Db,
    /// Source of the current time.
    pub clock: Clock,
    /// Random bytes fit for keys.
    pub rng: Rng,
    /// What the rules go by.
    pub settings: Settings,
    /// Stripe's API, where there is a key for it.
    pub stripe: Option<Client>,
    /// The relays' private listeners, as far as they are known.
    pub relays: Relays,
    /// How users are told things.
    pub channels: Channels,
    /// How operators are told what is amiss.
    pub pager: Pager,
    /// What runs beside the requests.
    pub tasks: Tasks,
    /// What streams of events listen to; they end when it is closed.
    pub bells: Bells,
    /// The deployment's keys, once they were needed: [`App::deployment_keys`] gives them.
    pub(crate) keys: Arc<OnceCell<DeploymentKeys>>,
    /// What was heard of machines and is not written yet.
    pub last_seen: LastSeen,
    /// How much is owed by apps, as it was counted last.
    pub(crate) unacknowledged: Arc<CountedLately<Counts>>,
    /// How well the apps of licences take what they are told, as it was counted last.
    pub(crate) ranking: Arc<CountedLately<Ranking>>,
    /// What this process measures of itself.
    pub measured: Measured,
}

/// What takes long to count, for whoever asks within the next minute: pages ask every few seconds.
#[derive(Default)]
pub(crate) struct CountedLately<T> {
    counted: SyncMutex<Option<(Timestamp, Arc<T>)>>,
    turn: Mutex<()>,
}

const COUNT_KEPT: Duration = Duration::minutes(1);

impl<T> CountedLately<T> {
    /// What was counted within the last minute, if it is kept.
    pub(crate) fn known(&self, now: Timestamp) -> Option<Arc<T>> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |at: Timestamp| at <= now && now - at < COUNT_KEPT;
        counted.as_ref().filter(|(at, _)| is_good(*at)).map(|(_, counted)| Arc::clone(counted))
    }

    /// The turn to count, of one at a time: whoever waited for it looks first whether it is known now.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Keeps what was counted at `now`.
    pub(crate) fn keep(&self, now: Timestamp, counted: &Arc<T>) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(counted)));
    }
}

impl App {
    /// The app of a configuration. Starts nothing.
    pub fn new(config: Arc<Config>, db: Db, clock: Clock, rng: Rng) -> Self {
        let stripe = Client::open(&config.stripe, &rng).unwrap_or_else(|error| {
            error!("Stripe client disabled: {error}");
            None
        });
        let key = config.internal_keys.first();
        let relays = Relays::open(&config.relay_admin_urls, key).unwrap_or_else(|error| {
            error!("relays cannot be asked: {error}");
            Relays::none(key)
        });
        let channels = Channels::new(&config.channels, config.public_url.as_ref(), &clock, &rng);
        let pager = Pager::new(&config.pager);
        let settings = Settings {
            plans: config.plans.clone(),
            widgets: config.widgets.clone(),
            sealer: Arc::new(Sealer::new(&config.encryption_keys)),
            pod_retries: config.pod_retries,
            rng: rng.clone(),
            livemode: config.stripe.livemode,
            machines_stale_after: config.machines_stale_after,
            alert_attempts: config.alert_attempts,
        };
        let tasks = Tasks::new(clock.clone(), rng.clone());
        let bells = Bells::new(&rng);
        let (keys, last_seen) = (Arc::default(), LastSeen::default());
        let (unacknowledged, ranking) = (Arc::default(), Arc::default());
        let measured = Measured::new(&rng);
        Self {
            config,
            db,
            clock,
            rng,
            settings,
            stripe,
            relays,
            channels,
            pager,
            tasks,
            bells,
            keys,
            last_seen,
            unacknowledged,
            ranking,
            measured,
        }
    }

    /// The app that `request` came to.
    pub fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.rocket().state().expect("`server::rocket` manages the app of every Rocket that it makes")
    }

    /// A transaction for a route that only reads. [`DbError::Schema`] while the database has not been migrated.
    pub async fn read(&self) -> Result<Tx, DbError> {
        self.db.read().await
    }

    /// A transaction that writes, outside of the inbox. [`DbError::Schema`] while the database has not been migrated.
    pub async fn begin_write(&self) -> Result<Tx, DbError> {
        self.db.write().await
    }

    /// The same for a route that reads a page of a list: it keeps no look-up waiting.
    pub async fn read_list(&self) -> Result<Tx, DbError> {
        self.db.read_list().await
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    #[test]
    fn a_count_is_kept_for_a_minute_alone() {
        let (lately, counts) = (CountedLately::default(), Arc::new(7));
        let at = |seconds| from_unix(seconds).unwrap();
        assert_eq!(lately.known(at(100)), None);
        lately.keep(at(100), &counts);
        assert_eq!(lately.known(at(159)).as_deref(), Some(&7));
        assert_eq!((lately.known(at(160)), lately.known(at(99))), (None, None), "nor when the clock was set back");
    }
}
