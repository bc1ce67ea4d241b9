//! How much memory all bodies together may take. Without that, forty bodies of the largest size are a gigabyte and more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rocket::Request;
use rocket::http::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::http::error::ApiError;

/// What all large bodies together may take: three of the largest.
const BUDGET_BYTES: usize = 96 << 20;

/// A body up to this size is not counted, so that an ordinary event waits for nobody's upload.
const SMALL_BYTES: usize = 64 << 10;

/// How long a body that says its size waits for room: less than its sender waits for an answer.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds after which a refused sender should try again.
const RETRY_SECONDS: u32 = 1;

/// What the budget is counted in: a semaphore counts less than there may be bytes.
const UNIT_BYTES: usize = 1 << 10;

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    room: Arc<Semaphore>,
    /// How long a body that says its size waits for room.
    room_timeout: Duration,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::of_bytes(BUDGET_BYTES, ROOM_TIMEOUT)
    }
}

/// A body's share of the budget, until it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: BodyBudget,
    permit: Option<OwnedSemaphorePermit>,
}

impl BodyBudget {
    /// A budget of so many bytes, in which a body that says its size waits for room for so long.
    pub fn of_bytes(bytes: usize, room_timeout: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes / UNIT_BYTES)), room_timeout }
    }

    /// The budget of the server that `request` came to.
    pub fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.rocket().state().expect("`server::rocket` manages the budget of every Rocket that it makes")
    }

    /// A share for a body of `bytes` bytes, as soon as there is room; 503 if there is none for too long.
    pub async fn share(&self, bytes: usize) -> Result<Share, ApiError> {
        let mut share = Share { budget: self.clone(), permit: None };
        if let Some(units) = units(bytes) {
            // Those who wait are served in turn, so a large one is not passed by again and again.
            let permit = timeout(self.room_timeout, self.room.clone().acquire_many_owned(units)).await;
            share.permit = Some(permit.ok().and_then(Result::ok).ok_or_else(refused)?);
        }
        Ok(share)
    }
}

impl Share {
    /// Makes it a share for `bytes` bytes; 503 if there is no room at once, since two that wait while each holds a part
    /// might wait for each other.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = units(bytes).unwrap_or(0).saturating_sub(held as u32);
        if missing == 0 {
            return Ok(());
        }
        let more = self.budget.room.clone().try_acquire_many_owned(missing).map_err(|_| refused())?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            permit @ None => *permit = Some(more),
        }
        Ok(())
    }

    /// Keeps the share until `request` has been answered: its body is in memory for as long.
    pub fn keep_with(self, request: &Request<'_>) {
        let kept = request.local_cache(|| Mutex::new(None::<Share>));
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
    }
}

/// How much a body of `bytes` bytes counts for; none if it is small.
fn units(bytes: usize) -> Option<u32> {
    (bytes > SMALL_BYTES).then(|| u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX))
}

fn refused() -> ApiError {
    metrics::counter!("tollgate_backend_bodies_refused_total").increment(1);
    no_room()
}

/// 503: what bodies may take together is taken.
pub fn no_room() -> ApiError {
    let message = "other requests' bodies take up all the memory there is for them; try again shortly";
    ApiError {
        retry_after_seconds: Some(RETRY_SECONDS),
        ..ApiError::new(Status::ServiceUnavailable, "overloaded", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn large_bodies_wait_for_room_and_are_refused_when_there_is_none() {
        let budget = BodyBudget::of_bytes(96 * MIB, Duration::from_secs(60));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(budget.share(32 * MIB).await.unwrap());
        }
        let impatient = BodyBudget { room_timeout: Duration::ZERO, ..budget.clone() };
        assert_eq!(impatient.share(MIB).await.unwrap_err().code, "overloaded");
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.share(32 * MIB).await.is_ok() }
        });
        tokio::task::yield_now().await;
        held.pop();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn an_ordinary_event_waits_for_no_upload() {
        let budget = BodyBudget::of_bytes(MIB, Duration::ZERO);
        let _all = budget.share(MIB).await.unwrap();
        assert!(budget.share(64 << 10).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_its_size_is_counted_as_it_grows() {
        let budget = BodyBudget::of_bytes(MIB, Duration::ZERO);
        let mut first = budget.share(0).await.unwrap();
        let mut second = budget.share(0).await.unwrap();
        first.grow_to(MIB / 2).unwrap();
        assert_eq!(second.grow_to(MIB).unwrap_err().code, "overloaded");
        second.grow_to(MIB / 2).unwrap();
        assert_eq!(first.grow_to(MIB).unwrap_err().code, "overloaded");
        drop(second);
        first.grow_to(MIB).unwrap();
    }
}
