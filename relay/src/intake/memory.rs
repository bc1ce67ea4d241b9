//! The memory of bodies that are being read or worked on: who holds how much of it, and who may have more.
//!
//! Strangers can send bodies too, and what they hold must not be what a good event waits for. So nobody ever waits here:
//! whoever may not have more is refused at once. The first [`SMALL_BYTES`] of each body, which is all of nearly every event,
//! come from another pool than the rest, so that long bodies take nothing from usual ones; there each network has a floor
//! that nobody else can take from it. Of the pool for the rest no network has more than its share.
//!
//! Only what has come is counted, not what was announced: it costs as much to fill a pool up as it does to be filled up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;

use crate::public_proxy::Network;

/// How much of each body comes from the pool for small ones: a usual event has 2 to 20 KiB.
const SMALL_BYTES: usize = 64 * 1024;
/// Bodies take memory in steps, so that one that comes in many small pieces asks seldom.
const STEP_BYTES: usize = 4 * 1024;

/// How much memory there is for bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyMemory {
    /// For the first 64 KiB of each body, unless the network is within its floor.
    pub small_bytes_max: usize,
    /// So much of that any network may have, whatever the others hold.
    pub small_bytes_floor: usize,
    /// For all beyond the first 64 KiB of each body.
    pub large_bytes_max: usize,
    /// No network has more of that.
    pub large_bytes_share: usize,
}

impl Default for BodyMemory {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            small_bytes_max: 256 * MIB,
            small_bytes_floor: MIB,
            large_bytes_max: 256 * MIB,
            large_bytes_share: 64 * MIB,
        }
    }
}

/// The memory of all bodies.
pub(super) struct Memory {
    bounds: BodyMemory,
    held: Mutex<Held>,
    bytes: Gauge,
}

#[derive(Default)]
struct Held {
    all: Amount,
    networks: HashMap<Network, Amount>,
}

/// Bytes of either pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    small: usize,
    large: usize,
}

/// There is no more memory for this body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Memory {
    /// `bytes` shows how much is held.
    pub(super) fn new(bounds: BodyMemory, bytes: Gauge) -> Self {
        Self { bounds, held: Mutex::default(), bytes }
    }

    /// The memory of a body that comes from `network`: none so far.
    pub(super) fn body(self: &Arc<Self>, network: Network) -> Share {
        Share { memory: Arc::clone(self), network, amount: Amount::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one body holds; given back when it is dropped.
pub(super) struct Share {
    memory: Arc<Memory>,
    network: Network,
    amount: Amount,
}

impl Share {
    /// Takes what is missing for a body of `bytes`.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = Amount {
            small: bytes.min(SMALL_BYTES).next_multiple_of(STEP_BYTES),
            large: bytes.saturating_sub(SMALL_BYTES).next_multiple_of(STEP_BYTES),
        };
        let small = wanted.small.saturating_sub(self.amount.small);
        let large = wanted.large.saturating_sub(self.amount.large);
        if small == 0 && large == 0 {
            return Ok(());
        }
        let bounds = &self.memory.bounds;
        let mut held = self.memory.lock();
        let all = held.all;
        let network = held.networks.entry(self.network).or_default();
        let has_small =
            network.small + small <= bounds.small_bytes_floor || all.small + small <= bounds.small_bytes_max;
        let has_large = large == 0
            || (network.large + large <= bounds.large_bytes_share && all.large + large <= bounds.large_bytes_max);
        if !has_small || !has_large {
            if *network == Amount::default() {
                held.networks.remove(&self.network);
            }
            return Err(Exhausted);
        }
        network.add(small, large);
        held.all.add(small, large);
        drop(held);
        self.amount.add(small, large);
        self.memory.bytes.increment((small + large) as f64);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Amount { small, large } = self.amount;
        if small == 0 {
            return;
        }
        let mut held = self.memory.lock();
        held.all.subtract(small, large);
        if let Some(network) = held.networks.get_mut(&self.network) {
            network.subtract(small, large);
            if *network == Amount::default() {
                held.networks.remove(&self.network);
            }
        }
        drop(held);
        self.memory.bytes.decrement((small + large) as f64);
    }
}

impl Amount {
    fn add(&mut self, small: usize, large: usize) {
        self.small += small;
        self.large += large;
    }

    fn subtract(&mut self, small: usize, large: usize) {
        self.small -= small;
        self.large -= large;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const KIB: usize = 1024;

    fn memory() -> Arc<Memory> {
        let bounds = BodyMemory {
            small_bytes_max: 256 * KIB,
            small_bytes_floor: 64 * KIB,
            large_bytes_max: 400 * KIB,
            large_bytes_share: 200 * KIB,
        };
        Arc::new(Memory::new(bounds, Gauge::noop()))
    }

    fn network(address: &str) -> Network {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_body_counts_by_its_total_however_it_comes() {
        let memory = memory();
        let mut body = memory.body(network("192.0.2.1"));
        (1..=5000).for_each(|bytes| body.grow_to(bytes).unwrap());
        assert_eq!(memory.lock().all, Amount { small: 8 * KIB, large: 0 });
        drop(body);
        assert_eq!(memory.lock().all, Amount::default());
        assert!(memory.lock().networks.is_empty());
    }

    #[test]
    fn long_bodies_take_nothing_from_usual_ones() {
        let memory = memory();
        let (mut first, mut second) = (memory.body(network("192.0.2.1")), memory.body(network("192.0.2.2")));
        assert!(first.grow_to(264 * KIB).is_ok() && second.grow_to(264 * KIB).is_ok());
        let mut third = memory.body(network("192.0.2.3"));
        assert_eq!(third.grow_to(64 * KIB), Ok(()));
        assert_eq!(third.grow_to(65 * KIB), Err(Exhausted));
        // What was refused holds nothing more than before.
        drop((first, second));
        assert_eq!(memory.lock().all, Amount { small: 64 * KIB, large: 0 });
    }

    #[test]
    fn a_network_has_its_share_and_no_more_and_the_64_of_ipv6_is_one() {
        let memory = memory();
        let mut first = memory.body(network("2001:db8::1"));
        assert_eq!(first.grow_to(264 * KIB), Ok(()));
        assert_eq!(memory.body(network("2001:db8::ffff:1")).grow_to(65 * KIB), Err(Exhausted));
        assert_eq!(memory.body(network("2001:db8:0:1::1")).grow_to(65 * KIB), Ok(()));
    }

    #[test]
    fn what_others_hold_leaves_every_network_its_floor() {
        let memory = memory();
        let mut strangers: Vec<_> = (0..8).map(|_| memory.body(network("192.0.2.1"))).collect();
        let taken = strangers.iter_mut().filter_map(|body| body.grow_to(64 * KIB).ok()).count();
        assert_eq!(taken, 4);
        for n in 0..10 {
            assert_eq!(memory.body(network(&format!("198.51.100.{n}"))).grow_to(20 * KIB), Ok(()));
        }
    }
}
