//! Start and end of the HTTP server: HTTP/1.1 and HTTP/2, the latter without TLS by prior knowledge.
//!
//! Rocket is told everything here: `Rocket.toml`, `ROCKET_*`, its signals and its log are not used. It listens on the
//! loopback interface alone, behind a `listener` of ours.

mod listener;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::future::ready;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rocket::config::{Ident, LogLevel, Shutdown, TlsConfig};
use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use rocket::{Build, Ignite, Rocket};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tollgate_shared::process::descriptors_max;
use tracing::{info, warn};

use self::listener::Limits;
use crate::app::App;
use crate::events::Streams;
use crate::http::access_log::AccessLog;
use crate::http::body_budget::BodyBudget;
use crate::http::catchers;
use crate::http::in_flight::InFlight;
use crate::licenses::routes::LicenseLimits;
use crate::monitoring;
use crate::webhooks::inbox::Inbox;
use crate::{api_keys, audit, customers, deployment_keys, events, licenses, webhooks};

/// How long requests in flight may take after a stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long connections may take to close once the last answer has been handed to them: the last bytes to be written,
/// and HTTP/2's farewell to be answered.
const SETTLE: Duration = Duration::from_millis(250);

/// How long streams of events may take to end.
const STREAMS_END: Duration = Duration::from_secs(1);

/// How many file descriptors are thought to be there where the system does not say.
const DESCRIPTORS_MAX_BY_DEFAULT: usize = 1024;

/// How often an HTTP/2 connection is asked whether the other side is still there.
const PING_SECONDS: u32 = 15;

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
    let streams = Streams::start(&app);
    rocket::custom(config(&app))
        .manage(LicenseLimits::new(&app))
        .manage(app)
        .manage(streams)
        .manage(inbox)
        .manage(InFlight::default())
        .manage(BodyBudget::default())
        .attach(AccessLog)
        .attach(webhooks::routes::AcceptPost)
        .register("/", catchers::catchers())
        .mount("/", monitoring::health::routes())
        .mount("/", webhooks::routes::routes())
        .mount("/", customers::routes::routes())
        .mount("/", api_keys::routes::routes())
        .mount("/", audit::routes::routes())
        .mount("/", deployment_keys::routes::routes())
        .mount("/", events::routes::routes())
        .mount("/", licenses::admin::routes())
        .mount("/", licenses::mine::routes())
        .mount("/", licenses::routes::routes())
}

fn config(app: &App) -> rocket::Config {
    rocket::Config {
        // Our own listener is the one that others see.
        address: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        tls: app.config.tls.as_ref().map(|files| TlsConfig::from_paths(&files.cert, &files.key)),
        keep_alive: PING_SECONDS,
        log_level: LogLevel::Off,
        cli_colors: false,
        ident: Ident::none(),
        ip_header: None,
        shutdown: Shutdown {
            ctrlc: false,
            signals: HashSet::new(),
            grace: DRAIN.as_secs() as u32,
            mercy: 1,
            ..Shutdown::default()
        },
        ..rocket::Config::release_default()
    }
}

/// Serves until `stop` resolves; then takes no new connections, and returns when the requests in flight are answered
/// and their connections are closed, at the latest after ten seconds.
pub async fn serve(app: App, inbox: Inbox, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let listener = TcpListener::bind(app.config.addr).await.map_err(ServeError::Listen)?;
    let (launched_at, rocket_is_at) = oneshot::channel();
    let bells = app.bells.clone();
    let rocket = rocket(app, inbox).attach(say_where(launched_at));
    let in_flight = rocket.state::<InFlight>().expect("`rocket` manages one").clone();
    let streams = rocket.state::<Streams>().expect("`rocket` manages them").clone();
    let rocket = rocket.ignite().await.map_err(|error| ServeError::Ended(error.kind().to_string()))?;
    let shutdown = rocket.shutdown();
    let mut launched = tokio::spawn(launch(rocket));
    let listening = tokio::spawn(async move {
        // Where Rocket does not launch, nothing has to be handed on.
        if let Ok(rocket) = rocket_is_at.await {
            info!(addr = %listener.local_addr()?, "listening on {}", listener.local_addr()?);
            let descriptors = descriptors_max().map_or(DESCRIPTORS_MAX_BY_DEFAULT, |descriptors| descriptors as usize);
            listener::run(listener, rocket, Limits::of_descriptors(descriptors)).await;
        }
        Ok::<_, io::Error>(())
    });
    tokio::select! {
        ended = &mut launched => return Err(match ended {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => ServeError::Ended("without having been told to".to_owned()),
            Err(_) => ServeError::Ended("its task panicked".to_owned()),
        }),
        () = stop => {}
    }

    info!(
        in_flight = in_flight.count(),
        streams = bells.count(),
        "stopping: taking no new connections, ending streams of events"
    );
    listening.abort();
    bells.close();
    shutdown.notify();
    let drained = timeout(DRAIN, async {
        let mut launched = Some(launched);
        loop {
            in_flight.none_left().await;
            // One whose client takes nothing cannot be ended; nobody waits for it for long.
            let _ = timeout(STREAMS_END, bells.none_left()).await;
            // Rocket returns when every connection has ended; or gives up at once, now and then, under load; or waits
            // for the whole of its grace period because one was still closing. The connections go on in all cases.
            let ended = if let Some(running) = launched.as_mut() {
                timeout(SETTLE, running).await.ok()
            } else {
                sleep(SETTLE).await;
                None
            };
            match ended {
                Some(Ok(Ok(Launched::ConnectionsEnded))) => return,
                Some(_) => launched = None,
                None if in_flight.count() == 0 => return,
                None => {}
            }
        }
    });
    if drained.await.is_ok() {
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

/// Tells where Rocket listens, as soon as it does.
fn say_where(launched_at: oneshot::Sender<SocketAddr>) -> AdHoc {
    let launched_at = Mutex::new(Some(launched_at));
    AdHoc::on_liftoff("Say where", move |rocket| {
        let config = rocket.config();
        let addr = SocketAddr::new(config.address, config.port);
        let launched_at = launched_at.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever asked may have stopped meanwhile.
        let _ = launched_at.map(|launched_at| launched_at.send(addr));
        Box::pin(ready(()))
    })
}

/// How Rocket's launch ended after a stop.
enum Launched {
    ConnectionsEnded,
    ConnectionsLeft,
}

async fn launch(rocket: Rocket<Ignite>) -> Result<Launched, ServeError> {
    let Err(error) = rocket.launch().await else { return Ok(Launched::ConnectionsEnded) };
    // Reading the kind also marks the error as seen; dropping it unseen would panic.
    match error.kind() {
        ErrorKind::Shutdown(..) => Ok(Launched::ConnectionsLeft),
        ErrorKind::Bind(why) | ErrorKind::Io(why) => {
            Err(ServeError::Listen(io::Error::new(why.kind(), why.to_string())))
        }
        other => Err(ServeError::Ended(other.to_string())),
    }
}
