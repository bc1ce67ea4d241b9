//! The places that a listener has for connections, and who gets one.
//!
//! There are as many as the process has descriptors for, and strangers can take them. So no network has more than its
//! share, and when all are taken the connection that has been idle for longest makes room: one without a request, or with
//! only the beginning of one. Which that is, is found out when a place is needed and not kept up to date meanwhile: a
//! request costs a number, and no lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::Notify;
use tokio::time::Instant;
use tollgate_shared::telemetry::Seldom;
use tracing::warn;

use crate::public_proxy::Network;

/// That the limit is in effect is logged once in this time.
pub(super) const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// A connection that was told to make room may have been given a request in the same moment and stay: then another one is
/// looked for after this.
const EVICTION_TIMEOUT: Duration = Duration::from_millis(100);

/// Metrics of a listener's connections.
pub(super) struct ConnectionMetrics {
    open: Gauge,
    evicted: Counter,
    refused: Counter,
    pub(super) heads_refused: Counter,
}

impl ConnectionMetrics {
    /// Those of the public listener, in the recorder that is in place now.
    pub(super) fn public(connections_max: usize) -> Self {
        describe_gauge!("tollgate_relay_connections", "Connections to the public listener.");
        describe_gauge!("tollgate_relay_connections_max", "How many connections the public listener takes.");
        describe_counter!(
            "tollgate_relay_connections_evicted_total",
            "Idle connections that were closed to make room."
        );
        describe_counter!(
            "tollgate_relay_connections_refused_total",
            "Connections that were closed because their network has its share, or because unfinished heads take too much."
        );
        gauge!("tollgate_relay_connections_max").set(connections_max as f64);
        let refused = |reason| counter!("tollgate_relay_connections_refused_total", "reason" => reason);
        Self {
            open: gauge!("tollgate_relay_connections"),
            evicted: counter!("tollgate_relay_connections_evicted_total"),
            refused: refused("network"),
            heads_refused: refused("heads"),
        }
    }

    /// None are kept.
    pub(super) fn none() -> Self {
        let noop = Counter::noop;
        Self { open: Gauge::noop(), evicted: noop(), refused: noop(), heads_refused: noop() }
    }
}

/// A listener's places.
pub(super) struct Places {
    max: usize,
    /// How many any one network may have.
    share: usize,
    taken: Mutex<Taken>,
    /// Rung when a place may have become free.
    freed: Notify,
    is_waited_for: AtomicBool,
    /// Each number is given out once: the larger, the later.
    stamps: AtomicU64,
    metrics: ConnectionMetrics,
    warned: Seldom,
}

/// The connections that have a place, each filed under a stamp that is at most as late as when it was last used.
#[derive(Default)]
struct Taken {
    oldest: BTreeMap<u64, Arc<Connection>>,
    networks: HashMap<Network, BTreeMap<u64, Arc<Connection>>>,
}

/// One connection, as far as its place is concerned.
pub(super) struct Connection {
    network: Network,
    /// Under which stamp it is filed. Changed only with [`Places::taken`] locked.
    filed: AtomicU64,
    /// The stamp of its last request's end; at first that of its beginning.
    used: AtomicU64,
    /// Requests so far.
    begun: AtomicUsize,
    /// Requests that have begun and not ended.
    open: AtomicUsize,
    /// Rung when it has to make room.
    evicted: Notify,
    /// The first line of the request that is next had a fragment.
    has_fragment: AtomicBool,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoPlace {
    /// The network has its share, and none of its connections is idle.
    ShareTaken,
    /// All are taken, and none is idle.
    AllTaken,
}

impl Places {
    /// `max` places, of which any one network may have `share`.
    pub(super) fn new(max: usize, share: usize, metrics: ConnectionMetrics) -> Self {
        Self {
            max,
            share,
            taken: Mutex::default(),
            freed: Notify::new(),
            is_waited_for: AtomicBool::new(false),
            stamps: AtomicU64::new(0),
            metrics,
            warned: Seldom::new(WARN_INTERVAL),
        }
    }

    /// Waits for a place for a connection from `network`; `None` when its share is taken. One that `has_no_share` is
    /// everybody's: a proxy of ours.
    pub(super) async fn take(self: &Arc<Self>, network: Network, has_no_share: bool) -> Option<Place> {
        loop {
            let freed = self.freed.notified();
            match self.try_take(network, has_no_share) {
                Ok(place) => return Some(place),
                Err(NoPlace::ShareTaken) => {
                    self.metrics.refused.increment(1);
                    self.warn("a network has its share of connections, and none of them is idle");
                    return None;
                }
                Err(NoPlace::AllTaken) => self.warn("all connections are in use"),
            }
            self.is_waited_for.store(true, Ordering::Relaxed);
            // The time is for what has become idle in the very moment before.
            let _ = tokio::time::timeout(EVICTION_TIMEOUT, freed).await;
            self.is_waited_for.store(false, Ordering::Relaxed);
        }
    }

    fn try_take(self: &Arc<Self>, network: Network, has_no_share: bool) -> Result<Place, NoPlace> {
        let mut taken = self.lock();
        let of_network = taken.networks.get(&network).map_or(0, BTreeMap::len);
        if of_network >= self.share && !has_no_share && !self.evict(&mut taken, Some(network)) {
            return Err(NoPlace::ShareTaken);
        }
        if taken.oldest.len() >= self.max && !self.evict(&mut taken, None) {
            return Err(NoPlace::AllTaken);
        }
        let stamp = self.stamp();
        let connection = Arc::new(Connection {
            network,
            filed: AtomicU64::new(stamp),
            used: AtomicU64::new(stamp),
            begun: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            evicted: Notify::new(),
            has_fragment: AtomicBool::new(false),
        });
        taken.file(&connection);
        drop(taken);
        self.metrics.open.increment(1);
        Ok(Place { places: Arc::clone(self), connection })
    }

    /// Takes the place of the connection that has been idle for longest, of all or of one network's, and tells it to end.
    fn evict(&self, taken: &mut Taken, of: Option<Network>) -> bool {
        let candidates = of.map_or(taken.oldest.len(), |network| taken.networks.get(&network).map_or(0, BTreeMap::len));
        // Each is filed anew once at most, unless it is used meanwhile.
        for _ in 0..2 * candidates {
            let Some(connection) = taken.first(of) else { return false };
            let (used, is_idle) = (connection.used.load(Ordering::Acquire), !connection.is_in_use());
            taken.remove(&connection);
            if is_idle && used == connection.filed.load(Ordering::Relaxed) {
                connection.evicted.notify_one();
                self.metrics.evicted.increment(1);
                self.warn("idle connections are closed to make room");
                return true;
            }
            // It was used since: filed anew, until the first is really the oldest.
            connection.filed.store(if is_idle { used } else { self.stamp() }, Ordering::Relaxed);
            taken.file(&connection);
        }
        false
    }

    fn warn(&self, what: &str) {
        if let Some(held_back) = self.warned.again(Instant::now().into_std()) {
            let (max, share) = (self.max, self.share);
            warn!(max, share, held_back, "connection limit reached: {what}");
        }
    }

    fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn file(&mut self, connection: &Arc<Connection>) {
        let stamp = connection.filed.load(Ordering::Relaxed);
        self.oldest.insert(stamp, Arc::clone(connection));
        self.networks.entry(connection.network).or_default().insert(stamp, Arc::clone(connection));
    }

    /// Whether it was there.
    fn remove(&mut self, connection: &Connection) -> bool {
        let stamp = connection.filed.load(Ordering::Relaxed);
        // Another one is never filed under the same stamp while this one is.
        if self.oldest.get(&stamp).is_none_or(|filed| !std::ptr::eq(&raw const **filed, connection)) {
            return false;
        }
        self.oldest.remove(&stamp);
        if let Some(network) = self.networks.get_mut(&connection.network) {
            network.remove(&stamp);
            if network.is_empty() {
                self.networks.remove(&connection.network);
            }
        }
        true
    }

    fn first(&self, of: Option<Network>) -> Option<Arc<Connection>> {
        let connections = match of {
            Some(network) => self.networks.get(&network)?,
            None => &self.oldest,
        };
        connections.first_key_value().map(|(_, connection)| Arc::clone(connection))
    }
}

/// A place, for as long as its connection lasts.
pub(super) struct Place {
    places: Arc<Places>,
    pub(super) connection: Arc<Connection>,
}

impl Place {
    /// A request begins.
    pub(super) fn begin(&self) -> Open {
        self.connection.begun.fetch_add(1, Ordering::Relaxed);
        self.connection.open.fetch_add(1, Ordering::Relaxed);
        Open { places: Arc::clone(&self.places), connection: Arc::clone(&self.connection) }
    }

    /// Returns when the connection has to make room for another one.
    pub(super) async fn evicted(&self) {
        loop {
            self.connection.evicted.notified().await;
            // A request that came in the very moment is not cut off.
            if !self.connection.is_in_use() {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.connection);
        self.places.metrics.open.decrement(1);
        self.places.freed.notify_one();
    }
}

impl Connection {
    /// Requests so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether a request has begun and not ended.
    pub(super) fn is_in_use(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Notes that the target of the next request has a fragment.
    pub(super) fn note_fragment(&self) {
        self.has_fragment.store(true, Ordering::Relaxed);
    }

    /// Whether that was noted since it was asked last.
    pub(super) fn take_fragment(&self) -> bool {
        self.has_fragment.swap(false, Ordering::Relaxed)
    }
}

/// A request that has begun and not ended.
pub(super) struct Open {
    places: Arc<Places>,
    connection: Arc<Connection>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // The stamp first: who sees no request open also sees when the last one ended.
        self.connection.used.store(self.places.stamp(), Ordering::Release);
        let is_last = self.connection.open.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last && self.places.is_waited_for.load(Ordering::Relaxed) {
            self.places.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn places(max: usize, share: usize) -> Arc<Places> {
        Arc::new(Places::new(max, share, ConnectionMetrics::none()))
    }

    fn network(n: usize) -> Network {
        IpAddr::from([192, 0, 2, n as u8]).into()
    }

    /// Whether it was told to make room.
    fn is_evicted(place: &Place) -> bool {
        place.places.lock().oldest.values().all(|connection| !Arc::ptr_eq(connection, &place.connection))
    }

    #[test]
    fn when_all_are_taken_the_one_that_was_idle_for_longest_makes_room() {
        let places = places(4, 4);
        let [first, second, third, fourth] = [1, 2, 3, 4].map(|n| places.try_take(network(n), false).ok().unwrap());
        // The first is in use, the second was used after the third.
        let _request = first.begin();
        drop(second.begin());
        let _fifth = places.try_take(network(5), false).ok().unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(is_evicted), [false, false, true, false]);
        let _sixth = places.try_take(network(6), false).ok().unwrap();
        assert_eq!([&first, &second, &fourth].map(is_evicted), [false, false, true]);
    }

    #[test]
    fn where_none_is_idle_there_is_no_place_until_one_is_given_back() {
        let places = places(2, 2);
        let [first, second] = [1, 2].map(|n| places.try_take(network(n), false).ok().unwrap());
        let requests = [first.begin(), second.begin()];
        assert_eq!(places.try_take(network(3), false).err(), Some(NoPlace::AllTaken));
        drop(first);
        assert!(places.try_take(network(3), false).is_ok());
        drop(requests);
        assert!(places.try_take(network(3), false).is_ok());
    }

    #[test]
    fn no_network_has_more_than_its_share_unless_it_is_a_proxy_of_ours() {
        let places = places(10, 3);
        let busy: Vec<_> = (0..3).map(|_| places.try_take(network(1), false).ok().unwrap()).collect();
        let requests: Vec<_> = busy.iter().map(Place::begin).collect();
        assert_eq!(places.try_take(network(1), false).err(), Some(NoPlace::ShareTaken));
        assert!(places.try_take(network(1), true).is_ok() && places.try_take(network(2), false).is_ok());
        drop(requests);
        let _fourth = places.try_take(network(1), false).ok().unwrap();
        assert_eq!(busy.iter().map(is_evicted).collect::<Vec<_>>(), [true, false, false]);
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_of_the_first_that_becomes_idle() {
        let places = places(1, 1);
        let first = places.try_take(network(1), false).ok().unwrap();
        let request = first.begin();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(network(2), false).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(request);
        assert!(waiting.await.unwrap());
        first.evicted().await;
    }
}
