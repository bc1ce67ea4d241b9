//! Where the relay is in its life, and how its parts wait for the next step of it.

use tokio::sync::watch;

/// Where a listener is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes connections.
    Serving,
    /// It takes none, and finishes the requests in flight.
    Draining,
    /// It no longer waits for anybody.
    Aborting,
}

/// Returns when the listener drains, or has ended.
pub async fn left_serving(phase: &mut watch::Receiver<Phase>) {
    // An error means that the relay is gone.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// Returns when the listener no longer waits for requests in flight, or has ended.
pub async fn aborting(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Aborting).await;
}
