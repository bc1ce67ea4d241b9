//! How many requests to the backend are under way at a time.
//!
//! Few, so that what waits meanwhile goes together. But a request that takes long stops counting: an event that makes
//! the backend hang holds up no other.

/// How many requests may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotLimits {
    /// Of those that may still be answered in the usual time.
    pub(super) prompt_max: usize,
    /// In all.
    pub(super) all_max: usize,
}

/// Counts the requests under way.
#[derive(Debug, Default)]
pub(super) struct Slots {
    prompt: usize,
    all: usize,
}

impl Slots {
    /// Takes a slot for a new request, if one is free.
    pub(super) fn start(&mut self, limits: SlotLimits) -> bool {
        let free = self.prompt < limits.prompt_max && self.all < limits.all_max;
        if free {
            self.prompt += 1;
            self.all += 1;
        }
        free
    }

    /// A request takes long: it is not counted with the prompt ones any more.
    pub(super) fn drags(&mut self) {
        self.prompt -= 1;
    }

    /// A request is over, and did or did not drag.
    pub(super) fn end(&mut self, dragged: bool) {
        self.prompt -= usize::from(!dragged);
        self.all -= 1;
    }

    /// How many are under way and may still be answered in the usual time.
    pub(super) fn prompt(&self) -> usize {
        self.prompt
    }

    /// How many are under way.
    pub(super) fn all(&self) -> usize {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SlotLimits = SlotLimits { prompt_max: 1, all_max: 2 };

    #[test]
    fn one_that_drags_makes_room_for_another_up_to_the_limit_of_all() {
        let mut slots = Slots::default();
        assert!(slots.start(LIMITS) && !slots.start(LIMITS));
        slots.drags();
        assert!(slots.start(LIMITS));
        slots.drags();
        assert!(!slots.start(LIMITS));
        slots.end(true);
        assert!(slots.start(LIMITS));
    }

    #[test]
    fn what_has_ended_leaves_nothing_behind() {
        let mut slots = Slots::default();
        slots.start(LIMITS);
        slots.end(false);
        slots.start(LIMITS);
        slots.drags();
        slots.end(true);
        assert_eq!(slots.all(), 0);
        assert!(slots.start(LIMITS));
    }
}
