//! The relay as a whole: starts its parts, listens on both addresses, and shuts down gracefully.

mod client_io;
mod connections;
mod places;
mod streams;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tollgate_journal::{Journal, OpenError, Options};
use tollgate_shared::process::descriptors_max;
use tollgate_shared::signing::Verifier;
use tollgate_shared::tls::Tls;
use tollgate_shared::{Clock, RequestId, Rng};
use tracing::{info, warn};

use crate::backend::config::BackendError;
use crate::backend::delivery::Backend;
use crate::config::Config;
use crate::forwarder::{self, Forwarder};
use crate::intake::{self, Intake, RESPONSE_CODES};
use crate::lifecycle::Phase;
use crate::metrics::{Fault, Metrics, Refusals, UPKEEP_INTERVAL};
use crate::public_proxy::{NoRootCertificates, PublicProxy, TrustedProxies};
use crate::routes::admin::Admin;
use crate::routes::{Public, unreadable};
use client_io::{HeadBudget, Unreadable};
use connections::{Connections, Responding};
use places::{ConnectionMetrics, Places};

/// No network has more than one in so many of the public listener's places.
const CONNECTIONS_SHARE: usize = 4;
/// Connections to the private listener: a scraper, an orchestrator, an operator or two.
const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Descriptors that are not for connections of clients: the journal, the backend, listeners, the runtime.
const DESCRIPTORS_KEPT: u64 = 256;
/// How long the journal may take to write what is left when the relay ends. A disk that hangs must not hold up the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// No machine that this is made for has the memory for more.
const CONNECTIONS_MAX: u64 = 100_000;

/// The relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened: above all, another relay has it.
    #[error("could not open the journal")]
    Journal(#[from] OpenError),
    /// Commands could not reach the journal while it is open.
    #[error("could not open the journal's socket for commands")]
    Control(#[source] std::io::Error),
    /// The backend cannot be spoken to as configured.
    #[error("could not prepare deliveries to the backend")]
    Backend(#[from] BackendError),
    /// The backend's certificate could not be checked.
    #[error("could not prepare the pass-through")]
    Proxy(#[from] NoRootCertificates),
    /// An address cannot be listened on.
    #[error("could not listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// A relay that runs.
pub struct Relay {
    /// Where the public listener is.
    pub addr: SocketAddr,
    /// Where the private one is.
    pub admin_addr: SocketAddr,
    public: Listener,
    admin: Listener,
    upkeep: JoinHandle<()>,
    proxy: PublicProxy,
    forwarder: Forwarder,
    journal: Journal,
    tls: Option<Arc<Tls>>,
    drain_timeout: Duration,
}

impl Relay {
    /// Starts a relay. Has to be called on a Tokio runtime.
    pub async fn start(config: Config, clock: Clock, rng: Rng) -> Result<Self, StartError> {
        // The addresses first: a start that fails on one leaves no trace in the journal.
        let public_socket = listen(config.addr).await?;
        let admin_socket = listen(config.admin_addr).await?;
        let metrics = Arc::new(Metrics::new(config.webhook_secrets.iter().len(), &RESPONSE_CODES));
        let backend = Backend::new(&config.backend, clock.clone(), rng.clone())?;
        let dir = config.journal.dir.clone();
        let trusted = config.proxy.trusted.clone();
        let proxy = {
            let refusals = Arc::clone(&metrics.refusals);
            metrics.with_recorder(|| {
                PublicProxy::new(&config.proxy, &config.backend.key, refusals, clock.clone(), rng.clone())
            })?
        };
        // Its recovery reads files.
        let opening = {
            let clock = clock.clone();
            let options = Options { commit_seconds: metrics.journal_commit_seconds.clone(), ..config.journal };
            move || Journal::open(options, clock)
        };
        let journal = tokio::task::spawn_blocking(opening).await.expect("opening the journal does not panic")?;
        journal.serve_control().map_err(StartError::Control)?;

        let forwarder = Forwarder::start(forwarder::Deps {
            backend: backend.clone(),
            journal: journal.clone(),
            clock: clock.clone(),
            rng: rng.clone(),
            metrics: Arc::clone(&metrics),
            bounds: config.bounds,
        });
        let (public_phase, admin_phase) = (watch::Sender::new(Phase::Serving), watch::Sender::new(Phase::Serving));
        let public = Arc::new(Public {
            intake: Intake::new(intake::Deps {
                verifier: Verifier::new(&config.webhook_secrets),
                journal: journal.clone(),
                forwarder: forwarder.clone(),
                metrics: Arc::clone(&metrics),
                clock: clock.clone(),
                ack: config.ack,
                deadline: config.forward_deadline,
                body_bytes_max: config.body_bytes_max,
                body_timeouts: config.limits.body,
                body_memory: config.limits.body_memory,
            }),
            proxy: proxy.clone(),
            trusted: trusted.clone(),
            require_https: config.require_https,
            refusals: Arc::clone(&metrics.refusals),
            clock: clock.clone(),
            rng: rng.clone(),
        });
        let admin = Arc::new(Admin {
            id: config.id,
            keys: config.internal_keys,
            journal: journal.clone(),
            dir,
            backend,
            metrics: Arc::clone(&metrics),
            phase: public_phase.subscribe(),
            clock: clock.clone(),
            rng: rng.clone(),
            looks: Admin::looks(),
        });

        let (addr, admin_addr) = (bound(&public_socket), bound(&admin_socket));
        let unreadable = |refusals: Option<Arc<Refusals>>| -> Unreadable {
            let (clock, rng) = (clock.clone(), rng.clone());
            Arc::new(move |status| {
                let request_id = RequestId::new(clock.now(), &rng);
                if let Some(refusals) = &refusals {
                    let (code, message) = unreadable::error(status);
                    refusals.refused(Fault::Client, code, &request_id, &message);
                }
                unreadable::response(status, &request_id)
            })
        };
        let places_max = config.limits.connections_max.unwrap_or_else(connections_max);
        let share = places_max.div_ceil(CONNECTIONS_SHARE);
        let connection_metrics = metrics.with_recorder(|| ConnectionMetrics::public(places_max));
        let heads = HeadBudget::new(connection_metrics.heads_refused.clone());
        let places = Places::new(places_max, share, connection_metrics);
        let public_connections = Connections {
            tls: config.tls.clone(),
            limits: config.limits,
            places: Arc::new(places),
            trusted,
            handler: move |request, peer| -> Responding { Box::pin(Arc::clone(&public).answer(request, peer)) },
            unreadable: unreadable(Some(Arc::clone(&metrics.refusals))),
            phase: public_phase.subscribe(),
            heads: Arc::new(heads),
        };
        let places = Places::new(ADMIN_CONNECTIONS_MAX, ADMIN_CONNECTIONS_MAX, ConnectionMetrics::none());
        let admin_connections = Connections {
            tls: None,
            limits: config.limits,
            places: Arc::new(places),
            trusted: TrustedProxies::default(),
            handler: move |request, _| -> Responding { Box::pin(Arc::clone(&admin).answer(request)) },
            unreadable: unreadable(None),
            phase: admin_phase.subscribe(),
            heads: Arc::new(HeadBudget::new(Counter::noop())),
        };
        let public = Listener { phase: public_phase, serving: tokio::spawn(public_connections.serve(public_socket)) };
        let admin = Listener { phase: admin_phase, serving: tokio::spawn(admin_connections.serve(admin_socket)) };
        info!("listening on {addr}, and privately on {admin_addr}");
        let upkeep = tokio::spawn(upkeep(metrics));
        let drain_timeout = config.limits.drain_timeout;
        Ok(Self { addr, admin_addr, public, admin, upkeep, proxy, forwarder, journal, tls: config.tls, drain_timeout })
    }

    /// Reads the certificate and its key again, for connections from now on; when they cannot be used, the old ones stay.
    pub fn reload_tls(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        } else {
            info!("nothing to reload: RELAY_TLS_CERT is not set");
        }
    }

    /// Ends the relay: no new connections; requests in flight are finished, up to a limit; the journal is closed.
    pub async fn drain(self) {
        info!("stopping: finishing requests in flight");
        let by = Instant::now() + self.drain_timeout;
        self.forwarder.stop_redelivering();
        // Streams end by themselves as soon as they are told.
        self.proxy.drain();
        self.public.drain(by).await;
        self.forwarder.drain(by).await;
        if timeout(CLOSE_TIMEOUT, self.journal.close()).await.is_err() {
            warn!("could not flush the last confirmations: those events will be redelivered on restart");
        }
        // Up to here it says that the relay is not ready, and how far it is.
        self.admin.drain(by).await;
        self.upkeep.abort();
        info!("stopped");
    }
}

/// A listener that serves.
struct Listener {
    phase: watch::Sender<Phase>,
    serving: JoinHandle<()>,
}

impl Listener {
    /// Takes no more connections, and waits until `by` for those that there are.
    async fn drain(mut self, by: Instant) {
        self.phase.send_replace(Phase::Draining);
        if timeout_at(by, &mut self.serving).await.is_err() {
            warn!("aborting requests that did not finish in time");
            self.phase.send_replace(Phase::Aborting);
            // An error means that it panicked; there is nothing to wait for then.
            let _ = self.serving.await;
        }
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })
}

fn bound(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a socket that was bound has an address")
}

/// As many as the process may have descriptors for, some kept back. Behind a backend that speaks HTTP/1.1 each stream
/// takes a second one, so that half of that is the limit in effect; accepting copes with it.
fn connections_max() -> usize {
    let descriptors = descriptors_max().unwrap_or(CONNECTIONS_MAX);
    descriptors.saturating_sub(DESCRIPTORS_KEPT).clamp(64, CONNECTIONS_MAX) as usize
}

async fn upkeep(metrics: Arc<Metrics>) {
    let mut every = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}
