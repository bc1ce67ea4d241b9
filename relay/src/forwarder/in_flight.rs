//! How many requests to the backend are in flight at a time.
//!
//! Few, so that what waits meanwhile goes together. But a request that takes long stops counting: an event that makes
//! the backend hang holds up no other.

/// How many requests may be in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of those that may still be answered in the usual time.
    pub(super) fast_max: usize,
    /// In all.
    pub(super) total_max: usize,
}

/// Counts the requests in flight.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    fast: usize,
    total: usize,
}

impl InFlight {
    /// Takes a slot for a new request, if one is free.
    pub(super) fn try_start(&mut self, limits: Limits) -> bool {
        let free = self.fast < limits.fast_max && self.total < limits.total_max;
        if free {
            self.fast += 1;
            self.total += 1;
        }
        free
    }

    /// A request takes long: it no longer counts as a fast one.
    pub(super) fn mark_slow(&mut self) {
        self.fast -= 1;
    }

    /// A request is over, and was or was not slow.
    pub(super) fn end(&mut self, slow: bool) {
        self.fast -= usize::from(!slow);
        self.total -= 1;
    }

    /// How many are in flight and may still be answered in the usual time.
    pub(super) fn fast(&self) -> usize {
        self.fast
    }

    /// How many are in flight.
    pub(super) fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { fast_max: 1, total_max: 2 };

    #[test]
    fn a_slow_one_makes_room_for_another_up_to_the_limit_of_all() {
        let mut in_flight = InFlight::default();
        assert!(in_flight.try_start(LIMITS) && !in_flight.try_start(LIMITS));
        in_flight.mark_slow();
        assert!(in_flight.try_start(LIMITS));
        in_flight.mark_slow();
        assert!(!in_flight.try_start(LIMITS));
        in_flight.end(true);
        assert!(in_flight.try_start(LIMITS));
    }

    #[test]
    fn what_has_ended_leaves_nothing_behind() {
        let mut in_flight = InFlight::default();
        in_flight.try_start(LIMITS);
        in_flight.end(false);
        in_flight.try_start(LIMITS);
        in_flight.mark_slow();
        in_flight.end(true);
        assert_eq!(in_flight.total(), 0);
        assert!(in_flight.try_start(LIMITS));
    }
}
