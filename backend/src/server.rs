//! Start and end of the HTTP server: HTTP/1.1 and HTTP/2, the latter without TLS by prior knowledge.
//!
//! hyper serves the connections, Rocket has the routes. Rocket is told everything here: `Rocket.toml`, `ROCKET_*`, its
//! signals and its log are not used, and it listens nowhere.

mod connections;
mod exchange;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use rocket::config::{Ident, LogLevel, Shutdown};
use rocket::local::asynchronous::Client;
use rocket::{Build, Rocket};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tollgate_shared::process::descriptors_max;
use tracing::{info, warn};

use self::connections::Limits;
use crate::app::App;
use crate::billing;
use crate::console::SignInLimit;
use crate::cron::runner::Runner;
use crate::cron::timetable;
use crate::events::Streams;
use crate::http::access_log::AccessLog;
use crate::http::auth::Authenticator;
use crate::http::body_budget::BodyBudget;
use crate::http::catchers;
use crate::http::endpoint::Endpoint;
use crate::http::in_flight::InFlight;
use crate::licenses::key_holder::LicenseLimits;
use crate::monitoring;
use crate::openapi::routes::Published;
use crate::overview::health::Since;
use crate::releases::shelf::Shelf;
use crate::terminals::TerminalLimits;
use crate::webhooks::inbox::Inbox;
use crate::webhooks::replay::routes::ReplayLimit;
use crate::{
    account, alerts, analytics, api_keys, audit, console, cron, customers, dead_letters, deployment_keys, events,
    invoices, licenses, notifications, openapi, overview, payment_methods, payments, pods, releases, subscriptions,
    support, terminals, users, webhooks, widgets,
};

/// How long requests in flight may take after a stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How many file descriptors are thought to be there where the system does not say.
const DESCRIPTORS_MAX_BY_DEFAULT: usize = 1024;

/// Why the server did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("could not listen on BACKEND_ADDR: {0}")]
    Listen(io::Error),
    /// Anything else; our own fault.
    #[error("the server ended by itself: {0}")]
    Ended(String),
}

/// The server with all of its routes, not yet listening.
pub fn rocket(app: App, inbox: Inbox) -> Rocket<Build> {
    let (streams, runner) = (Streams::start(&app), Runner::new(&app, &inbox));
    let endpoints = endpoints();
    rocket::custom(config())
        .manage(Authenticator::start(&app))
        .manage(LicenseLimits::new(&app))
        .manage(ReplayLimit::new(app.clock.clone()))
        .manage(SignInLimit::new(app.clock.clone()))
        .manage(TerminalLimits::new(&app.clock))
        .manage(Shelf::new(&app.config.releases_dir))
        .manage(Since::default())
        .manage(app)
        .manage(streams)
        .manage(runner)
        .manage(inbox)
        .manage(InFlight::default())
        .manage(BodyBudget::default())
        .attach(AccessLog)
        .attach(webhooks::routes::AcceptPost)
        .register("/", catchers::catchers())
        .manage(Published::of(endpoints.clone()))
        .mount("/", endpoints.into_iter().map(|endpoint| endpoint.route).collect::<Vec<_>>())
}

/// Every endpoint. All that is here is mounted, and nothing else.
pub fn endpoints() -> Vec<Endpoint> {
    [
        openapi::routes::routes(),
        monitoring::health::routes(),
        alerts::routes(),
        webhooks::replay::routes::routes(),
        webhooks::routes::routes(),
        account::routes::routes(),
        analytics::routes(),
        billing::routes(),
        customers::routes::routes(),
        api_keys::routes::routes(),
        api_keys::mine::routes(),
        audit::routes::routes(),
        console::routes::routes(),
        cron::routes::routes(),
        dead_letters::routes::routes(),
        deployment_keys::routes::routes(),
        events::routes::routes(),
        licenses::admin::routes(),
        licenses::mine::routes(),
        licenses::routes::routes(),
        notifications::routes(),
        invoices::routes::routes(),
        payments::routes::routes(),
        pods::routes(),
        overview::routes(),
        payment_methods::routes::routes(),
        subscriptions::routes::routes(),
        releases::routes(),
        support::routes(),
        terminals::routes(),
        widgets::routes::routes(),
        users::routes::routes(),
    ]
    .concat()
}

fn config() -> rocket::Config {
    rocket::Config {
        log_level: LogLevel::Off,
        cli_colors: false,
        ident: Ident::none(),
        ip_header: None,
        shutdown: Shutdown { ctrlc: false, signals: HashSet::new(), ..Shutdown::default() },
        ..rocket::Config::release_default()
    }
}

/// Serves, and keeps the timetable, until `stop` resolves; then takes no new connections, and returns when the requests in
/// flight are answered and their connections are closed, at the latest after ten seconds.
pub async fn serve(app: App, inbox: Inbox, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let listener = TcpListener::bind(app.config.addr).await.map_err(ServeError::Listen)?;
    let addr = listener.local_addr().map_err(ServeError::Listen)?;
    let (bells, tls) = (app.bells.clone(), app.config.tls.clone());
    let client = Client::untracked(rocket(app, inbox)).await;
    let client = client.map_err(|error| ServeError::Ended(error.kind().to_string()))?;
    // There is one for as long as the process lives; a response may outlast the connection that asked for it.
    let client: &'static Client = Box::leak(Box::new(client));
    let in_flight = client.rocket().state::<InFlight>().expect("`rocket` manages one");
    let streams = client.rocket().state::<Streams>().expect("`rocket` manages them");
    timetable::start(client.rocket().state::<Runner>().expect("`rocket` manages one"));

    let descriptors = descriptors_max().map_or(DESCRIPTORS_MAX_BY_DEFAULT, |descriptors| descriptors as usize);
    let stopping = CancellationToken::new();
    let serving = connections::serve(listener, client, tls, Limits::of_descriptors(descriptors), stopping.clone());
    let mut serving = tokio::spawn(serving);
    info!(%addr, "listening on {addr}");
    tokio::select! {
        _ = &mut serving => return Err(ServeError::Ended("its task panicked".to_owned())),
        () = stop => {}
    }

    info!(
        in_flight = in_flight.count(),
        streams = bells.count(),
        "stopping: taking no new connections, ending streams of events"
    );
    stopping.cancel();
    bells.close();
    if timeout(DRAIN, serving).await.is_ok() {
        info!("stopped: every request was answered");
    } else {
        warn!(
            in_flight = in_flight.count(),
            "shutdown timed out after {DRAIN:?} with {} requests in flight",
            in_flight.count()
        );
    }
    streams.stopped().await;
    Ok(())
}
