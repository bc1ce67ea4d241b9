//! `tollgate-backend serve`: listens at once, with or without the database, and keeps trying to reach it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{sleep, timeout};
use tollgate_shared::backoff::Backoff;
use tollgate_shared::process::Signals;
use tollgate_shared::{Clock, Rng};
use tracing::{debug, error, info, warn};

use crate::app::App;
use crate::bells::exchange;
use crate::config::Config;
use crate::deployment_keys::KeysError;
use crate::events;
use crate::licenses::last_seen;
use crate::monitoring::metrics;
use crate::schema::MIGRATIONS;
use crate::server;
use crate::webhooks::inbox::Inbox;
use tollgate_db::Db;

/// How often a database that is away is tried: soon, since it may be starting beside us.
const PREPARE_BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) };

/// How long it may take to write what is in memory alone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long may be waited for what came of messages that are on their way: would it not be noted, they were sent again.
const MESSAGES_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connections to the database may take to be closed in order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let clock = Clock::system();
    let rng = Rng::system();
    // Before anything is listening, so that a signal which comes early is not lost.
    let mut signals = Signals::listen().context("could not listen for signals")?;
    metrics::start();
    for warning in config.warnings() {
        warn!("{warning}");
    }

    let db = Db::open(&config.database_url, &MIGRATIONS).context("could not open DATABASE_URL")?;
    let app = App::new(Arc::new(config), db.clone(), clock, rng);
    let inbox = Inbox::open(app.clone());
    let (listen_url, redis_url) = (&app.config.database_listen_url, app.config.redis_url.as_ref());
    exchange::start(&app.bells, &app.tasks, &app.rng, &app.db, listen_url, redis_url);
    let preparing = app.clone();
    app.tasks.keep("prepare", move || prepare(preparing.clone()));
    let served = server::serve(app.clone(), inbox, signals.stop(|| reload_tls(&app.config))).await;
    app.tasks.stop();
    if timeout(MESSAGES_TIMEOUT, app.tasks.ended()).await.is_err() {
        warn!("messages were on their way at the stop: what has not come of them by now is tried again");
    }
    // What is in memory alone.
    if !matches!(timeout(WRITE_TIMEOUT, last_seen::write(&app)).await, Ok(Ok(()))) {
        warn!("could not write when machines were last heard of: the last seconds' worth is lost");
    }
    // Everything that was answered is committed; a connection that hangs must not hold up the exit.
    let _ = timeout(CLOSE_TIMEOUT, db.close()).await;
    Ok(served?)
}

fn reload_tls(config: &Config) {
    if let Some(tls) = &config.tls {
        tls.reload();
    } else {
        info!("nothing to reload: BACKEND_TLS_CERT is not set");
    }
}

/// As soon as the database can be reached: brings its tables up to date, or waits until somebody did, and opens the keys
/// that are in it, or makes them.
async fn prepare(app: App) {
    let mut failures = 0;
    let mut said = None;
    loop {
        match try_to_prepare(&app).await {
            Ok(()) => {
                info!("the database is up to date");
                // What cannot be opened now is opened when it is wanted.
                return app.db.warm_up().await.unwrap_or_else(|failure| debug!("no connections beforehand: {failure}"));
            }
            // Said once for each reason, not at each attempt.
            Err(failure) if said == Some(failure.class()) => debug!(reason = failure.class(), "still: {failure}"),
            // What passes by itself is no matter for a person; a migration that cannot work is.
            Err(failure) => {
                said = Some(failure.class());
                if failure.is_transient() || !app.config.migrates {
                    warn!(reason = failure.class(), "database not ready, retrying: {failure}");
                } else {
                    error!(reason = failure.class(), "could not prepare the database: {failure}; trying again");
                }
            }
        }
        failures += 1;
        sleep(PREPARE_BACKOFF.after(failures, &app.rng)).await;
    }
}

async fn try_to_prepare(app: &App) -> Result<(), KeysError> {
    if app.config.migrates {
        app.db.migrate().await?;
    }
    events::settle(&app.db, &app.rng).await?;
    app.db.ready().await?;
    app.deployment_keys().await?;
    Ok(())
}
