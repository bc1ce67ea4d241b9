//! The relay as a whole: it starts its parts, listens on both addresses, and ends in good order.

mod connections;
mod stall;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tollgate_journal::{Journal, OpenError, Options};
use tollgate_shared::signing::Verifier;
use tollgate_shared::{Clock, Rng};
use tracing::{info, warn};

use crate::backend::config::BackendError;
use crate::backend::delivery::Backend;
use crate::config::Config;
use crate::forwarder::{self, Forwarder};
use crate::intake::{self, ANSWER_CODES, BodyWaits, Intake};
use crate::metrics::{FOLD_EVERY, Metrics};
use crate::public_proxy::{NoRootCertificates, PublicProxy};
use crate::routes::Public;
use crate::routes::admin::Admin;
use connections::Connections;

/// Connections to the private listener: a scraper, an orchestrator, an operator or two.
const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Descriptors that are not for connections of clients: the journal, the backend, listeners, the runtime.
const DESCRIPTORS_KEPT: u64 = 256;
/// How long the journal may take to write what is left when the relay ends. A disk that hangs must not hold up the end.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// No machine that this is made for has the memory for more.
const CONNECTIONS_MOST: u64 = 100_000;

/// How long clients may take, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a TLS handshake, and for a request's head; also between two requests of an HTTP/1 connection.
    pub head_wait: Duration,
    /// For a webhook's body.
    pub body: BodyWaits,
    /// An HTTP/2 connection without a request ends after this.
    pub idle_wait: Duration,
    /// A client that takes none of its answer for so long loses its connection. As long as the backend waits for a stream.
    pub write_wait: Duration,
    /// How long what is under way may take when the relay ends.
    pub drain_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_wait: Duration::from_secs(20),
            body: BodyWaits { piece: Duration::from_secs(10), whole: Duration::from_secs(30) },
            idle_wait: Duration::from_secs(60),
            write_wait: Duration::from_secs(300),
            drain_wait: Duration::from_secs(10),
        }
    }
}

/// Where the relay is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes connections.
    Serving,
    /// It takes none, and finishes what is under way.
    Draining,
    /// It waits for nobody any more.
    Cut,
}

/// The relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened: above all, another relay has it.
    #[error("could not open the journal")]
    Journal(#[from] OpenError),
    /// Commands could not reach the journal while it is open.
    #[error("could not open the journal's door for commands")]
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
    folding: JoinHandle<()>,
    proxy: PublicProxy,
    forwarder: Forwarder,
    journal: Journal,
    drain_wait: Duration,
}

impl Relay {
    /// Starts a relay. Has to be called on a Tokio runtime.
    pub async fn start(config: Config, clock: Clock, rng: Rng) -> Result<Self, StartError> {
        // The addresses first: a start that fails on one leaves no trace in the journal.
        let public_socket = listen(config.addr).await?;
        let admin_socket = listen(config.admin_addr).await?;
        let metrics = Arc::new(Metrics::new(config.webhook_secrets.iter().len(), &ANSWER_CODES));
        let backend = Backend::new(&config.backend, clock.clone(), rng.clone())?;
        let trusted = config.proxy.trusted.clone();
        let proxy = metrics.within(|| PublicProxy::new(&config.proxy, clock.clone(), rng.clone()))?;
        // Its recovery reads files.
        let opening = {
            let clock = clock.clone();
            let options = Options { commit_seconds: metrics.journal_commit_seconds.clone(), ..config.journal };
            move || Journal::open(options, clock)
        };
        let journal = tokio::task::spawn_blocking(opening).await.expect("opening the journal does not panic")?;
        journal.serve_control().map_err(StartError::Control)?;

        let forwarder = Forwarder::start(forwarder::Deps {
            backend,
            journal: journal.clone(),
            clock: clock.clone(),
            rng: rng.clone(),
            metrics: Arc::clone(&metrics),
            bounds: config.bounds,
        });
        let (public_phase, admin_phase) = (watch::Sender::new(Phase::Serving), watch::Sender::new(Phase::Serving));
        let public = Arc::new(Public {
            intake: Intake::new(intake::Means {
                verifier: Verifier::new(&config.webhook_secrets),
                journal: journal.clone(),
                forwarder: forwarder.clone(),
                metrics: Arc::clone(&metrics),
                clock: clock.clone(),
                ack: config.ack,
                deadline: config.forward_deadline,
                body_bytes_max: config.body_bytes_max,
                body_waits: config.limits.body,
            }),
            proxy: proxy.clone(),
            trusted,
            require_https: config.require_https,
            clock: clock.clone(),
            rng: rng.clone(),
        });
        let admin = Arc::new(Admin {
            journal: journal.clone(),
            metrics: Arc::clone(&metrics),
            phase: public_phase.subscribe(),
            clock,
            rng,
        });

        let (addr, admin_addr) = (bound(&public_socket), bound(&admin_socket));
        let public_connections = Connections {
            tls: config.tls.map(TlsAcceptor::from),
            limits: config.limits,
            connections_max: connections_max(),
            handler: move |request, peer| -> connections::Answering {
                Box::pin(Arc::clone(&public).answer(request, peer))
            },
            phase: public_phase.subscribe(),
            open: metrics.connections.clone(),
        };
        let admin_connections = Connections {
            tls: None,
            limits: config.limits,
            connections_max: ADMIN_CONNECTIONS_MAX,
            handler: move |request, _| -> connections::Answering {
                let response = admin.answer(&request);
                Box::pin(std::future::ready(response))
            },
            phase: admin_phase.subscribe(),
            open: metrics::Gauge::noop(),
        };
        let public = Listener { phase: public_phase, serving: tokio::spawn(public_connections.serve(public_socket)) };
        let admin = Listener { phase: admin_phase, serving: tokio::spawn(admin_connections.serve(admin_socket)) };
        info!("Relay listens on {addr}, and privately on {admin_addr}");
        let folding = tokio::spawn(fold(metrics));
        let drain_wait = config.limits.drain_wait;
        Ok(Self { addr, admin_addr, public, admin, folding, proxy, forwarder, journal, drain_wait })
    }

    /// Ends the relay: no new connections; what is under way is finished, up to a limit; the journal is closed.
    pub async fn drain(self) {
        info!("Relay is stopping: it finishes what is under way");
        let by = Instant::now() + self.drain_wait;
        self.forwarder.stop_redelivering();
        // Streams end by themselves as soon as they are told.
        self.proxy.drain();
        self.public.drain(by).await;
        self.forwarder.drain(by).await;
        if timeout(CLOSE_WAIT, self.journal.close()).await.is_err() {
            warn!("The disk did not take the last confirmations: those events go again at the next start");
        }
        // Up to here it says that the relay is not ready, and how far it is.
        self.admin.drain(by).await;
        self.folding.abort();
        info!("Relay has stopped");
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
            warn!("Some requests did not end in time and are cut off");
            self.phase.send_replace(Phase::Cut);
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
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(CONNECTIONS_MOST);
    descriptors.saturating_sub(DESCRIPTORS_KEPT).clamp(64, CONNECTIONS_MOST) as usize
}

async fn fold(metrics: Arc<Metrics>) {
    let mut every = tokio::time::interval(FOLD_EVERY);
    loop {
        every.tick().await;
        metrics.fold();
    }
}
