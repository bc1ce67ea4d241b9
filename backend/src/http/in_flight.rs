//! How many requests are in flight, so that a stop can wait for them.
//!
//! Rocket's own shutdown waits either for nothing or for the whole of its grace period, and may give up at once under
//! load; this gauge says when there is nothing left to wait for.

use std::sync::Arc;

use rocket::Request;
use tokio::sync::watch;

/// The gauge. Clones count the same requests.
#[derive(Clone, Debug)]
pub struct InFlight(Arc<watch::Sender<usize>>);

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl InFlight {
    /// The gauge of the server that `request` came to.
    pub fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.rocket().state().expect("`server::rocket` manages the gauge of every Rocket that it makes")
    }

    /// Counts one request until the answer is dropped.
    pub fn enter(&self) -> Flight {
        self.0.send_modify(|count| *count += 1);
        Flight(self.clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Returns when there are none, at once if there are none now.
    pub async fn none_left(&self) {
        // The sender lives in `self`, so the channel cannot be closed.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One request in flight.
#[derive(Debug)]
pub struct Flight(InFlight);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_last_one_lands() {
        let in_flight = InFlight::default();
        in_flight.none_left().await;
        let (first, second) = (in_flight.enter(), in_flight.enter());
        assert_eq!(in_flight.count(), 2);
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.none_left().await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
    }
}
