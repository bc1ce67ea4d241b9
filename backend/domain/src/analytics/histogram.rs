//! How often something took how long, in a form that can be added up over hours and processes.
//!
//! Times that differ by less than a sixteenth share a bucket: each doubling of time has sixteen, as in HdrHistogram
//! (<https://hdrhistogram.github.io/HdrHistogram/>). What is not there costs nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets a doubling, as a power of two.
const PRECISION: u32 = 4;

/// Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// All of them together.
    sum: u64,
    /// How many are in each bucket.
    counts: BTreeMap<u32, u64>,
}

impl Histogram {
    /// Adds one time.
    pub fn record(&mut self, micros: u64) {
        self.sum = self.sum.saturating_add(micros);
        *self.counts.entry(bucket(micros)).or_default() += 1;
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
    }

    /// All times together, in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The time that so many of a hundred are no longer than, in microseconds and at most a sixteenth too long; 0 where there
    /// is none.
    pub fn percentile(&self, of_hundred: u64) -> u64 {
        let rank = (self.count() * of_hundred).div_ceil(100);
        let mut counted = 0;
        for (bucket, count) in &self.counts {
            counted += count;
            if counted >= rank {
                return longest_of(*bucket);
            }
        }
        0
    }
}

/// The bucket of a time.
fn bucket(micros: u64) -> u32 {
    let doublings = (micros >> PRECISION).checked_ilog2().map_or(0, |log| log + 1);
    let within = if doublings == 0 { micros } else { (micros >> (doublings - 1)) - (1 << PRECISION) };
    (doublings << PRECISION) + within as u32
}

/// The longest time that is in a bucket.
fn longest_of(bucket: u32) -> u64 {
    let (doublings, within) = (bucket >> PRECISION, u64::from(bucket & ((1 << PRECISION) - 1)));
    match doublings {
        0 => within,
        // What is read from a table may be no bucket of ours.
        65.. => u64::MAX,
        _ => u64::try_from((u128::from((1 << PRECISION) + within + 1) << (doublings - 1)) - 1).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for micros in times {
            histogram.record(*micros);
        }
        histogram
    }

    #[test]
    fn of_nothing_every_percentile_is_zero() {
        assert_eq!((of(&[]).percentile(95), of(&[]).count(), of(&[]).sum()), (0, 0, 0));
        assert_eq!(of(&[0]).percentile(95), 0);
    }

    #[test]
    fn short_times_are_told_apart_exactly() {
        assert_eq!(of(&(1..=20).collect::<Vec<_>>()).percentile(50), 10);
        assert_eq!(of(&[7]).percentile(95), 7);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let histogram = of(&[3, 40_000, 40_000, u64::MAX]);
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
    }

    proptest! {
        #[test]
        fn a_percentile_is_at_most_a_sixteenth_too_long(
            mut times in proptest::collection::vec(0..10_000_000_000_u64, 1..200),
            of_hundred in 1..=100_u64,
        ) {
            let found = of(&times).percentile(of_hundred);
            times.sort_unstable();
            let exact = times[(times.len() * of_hundred as usize).div_ceil(100) - 1];
            prop_assert!(exact <= found && found <= exact + exact / 16 + 1, "{exact} {found}");
        }

        #[test]
        fn parts_that_are_merged_are_the_whole(times in proptest::collection::vec(any::<u32>(), 0..100), at in 0..100_usize) {
            let times: Vec<_> = times.into_iter().map(u64::from).collect();
            let (one, other) = times.split_at(at.min(times.len()));
            let mut merged = of(one);
            merged.merge(&of(other));
            prop_assert_eq!(merged, of(&times));
        }

        #[test]
        fn every_time_is_in_a_bucket_that_reaches_to_it(micros: u64) {
            let found = bucket(micros);
            prop_assert!(longest_of(found) >= micros);
            prop_assert!(found == 0 || longest_of(found - 1) < micros);
        }
    }
}
