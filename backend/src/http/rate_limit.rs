//! How often somebody may ask: so many times at once, and so many a minute from then on.
//!
//! By the generic cell rate algorithm, of the crate `governor`. It is in memory: each replica counts for itself, and what
//! has not been heard of for a while is forgotten.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock as LimiterClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tollgate_shared::Clock;

use crate::http::error::ApiError;

/// How often what is as if it had never asked is forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often each of `K` may ask.
pub struct RateLimit<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, HashMapStateStore<K>, Monotonic, NoOpMiddleware<Nanos>>,
    clock: Monotonic,
    /// Milliseconds of the clock.
    swept_at: AtomicU64,
}

/// Our clock, as `governor` reads it.
#[derive(Clone)]
struct Monotonic(Clock);

impl LimiterClock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    /// `times` at once, and as many a minute.
    pub fn per_minute(times: NonZeroU32, clock: Clock) -> Self {
        let clock = Monotonic(clock);
        let limiter = RateLimiter::new(Quota::per_minute(times), HashMapStateStore::default(), clock.clone());
        Self { limiter, clock, swept_at: AtomicU64::new(0) }
    }

    /// Counts one request of `key`; 429 when it was one too many, which is then not counted.
    pub fn check(&self, key: &K) -> Result<(), ApiError> {
        self.sweep();
        self.limiter.check_key(key).map_err(|refused| {
            metrics::counter!("tollgate_backend_rate_limited_total").increment(1);
            let wait = refused.wait_time_from(self.clock.now());
            // A caller that comes back within the last second would be refused again.
            ApiError::rate_limited(u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1))
        })
    }

    fn sweep(&self) {
        let now = u64::from(self.clock.now().duration_since(Nanos::from(0))) / 1_000_000;
        let swept_at = self.swept_at.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(swept_at) >= SWEEP_INTERVAL.as_millis() as u64;
        if is_due && self.swept_at.compare_exchange(swept_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn limit() -> (RateLimit<u32>, Clock) {
        let clock = Clock::manual(from_unix(1_750_000_000).unwrap());
        (RateLimit::per_minute(NonZeroU32::new(60).unwrap(), clock.clone()), clock)
    }

    #[test]
    fn sixty_come_at_once_and_then_one_a_second() {
        let (limit, clock) = limit();
        for _ in 0..60 {
            limit.check(&1).unwrap();
        }
        let refusal = limit.check(&1).unwrap_err();
        assert_eq!((refusal.status.code, refusal.code, refusal.retry_after_seconds), (429, "rate_limited", Some(1)));
        limit.check(&2).unwrap();
        clock.advance(Duration::from_secs(1));
        limit.check(&1).unwrap();
        limit.check(&1).unwrap_err();
        clock.advance(Duration::from_secs(60));
        for _ in 0..60 {
            limit.check(&1).unwrap();
        }
        limit.check(&1).unwrap_err();
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let (limit, clock) = limit();
        for key in 0..10_000 {
            limit.check(&key).unwrap();
        }
        for _ in 0..59 {
            limit.check(&7).unwrap();
        }
        clock.advance(SWEEP_INTERVAL);
        limit.check(&10_000).unwrap();
        assert_eq!(limit.limiter.len(), 2, "who still may ask less often, and who just asked");
    }
}
