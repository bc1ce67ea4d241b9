//! Waiting for a condition, never for a time.

use std::future::Future;
use std::time::Duration;

/// How long anything may take that happens at once on an idle machine. Generous: a busy machine is no failure.
pub const SOON: Duration = Duration::from_secs(30);

/// How long something may take that waits for a retry or a lock's end on the way.
pub const LONG: Duration = Duration::from_secs(120);

/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `holds`; panics with `what` when it does not within `limit`.
pub async fn wait_until<Fut>(what: &str, limit: Duration, mut holds: impl FnMut() -> Fut)
where
    Fut: Future<Output = bool>,
{
    wait_for(what, limit, async || holds().await.then_some(())).await;
}

/// Waits until `look` finds something and returns it; panics with `what` when it does not within `limit`.
pub async fn wait_for<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
}
