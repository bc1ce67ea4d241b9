//! Intervals that grow and are jittered, so that many who wait for the same thing do not all come back at once.

use std::time::Duration;

use crate::rng::Rng;

/// Doubling intervals from `first` to `longest`, each shortened by up to half.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The interval after the first failure, before jitter.
    pub first: Duration,
    /// No interval is longer.
    pub longest: Duration,
}

impl Backoff {
    /// How long to wait after `failures` failures in a row (1 for the first): between half of the interval and the whole.
    pub fn after(&self, failures: u32, rng: &Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole.mul_f64(0.5 + rng.unit() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_up_to_the_longest_and_keep_at_least_half() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
        let rng = Rng::seeded(1);
        for (failures, whole) in [(0, 1), (1, 1), (2, 2), (4, 8), (7, 60), (u32::MAX, 60)] {
            let whole = Duration::from_secs(whole);
            for _ in 0..100 {
                let wait = backoff.after(failures, &rng);
                assert!(wait >= whole / 2 && wait <= whole, "{failures}: {wait:?}");
            }
        }
    }
}
