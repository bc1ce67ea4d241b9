//! Things that wait, each for its own time.

use std::collections::BTreeMap;

use tokio::time::{Instant, sleep_until};

/// What waits, by when it is due. Of what is due at the same time, the first that was pushed comes first.
#[derive(Debug)]
pub struct DelayQueue<T> {
    waiting: BTreeMap<(Instant, u64), T>,
    pushed: u64,
}

impl<T> Default for DelayQueue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), pushed: 0 }
    }
}

impl<T> DelayQueue<T> {
    /// Adds an item that is due at `at`.
    pub fn push(&mut self, at: Instant, item: T) {
        self.waiting.insert((at, self.pushed), item);
        self.pushed += 1;
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits until the first item is due and takes it out; without end while there is none. Whoever stops
    /// waiting loses no item.
    pub async fn pop(&mut self) -> T {
        let Some(((at, _), _)) = self.waiting.first_key_value() else { return std::future::pending().await };
        sleep_until(*at).await;
        let (_, item) = self.waiting.pop_first().expect("it was there before we slept, and nobody else has the queue");
        item
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn items_come_when_they_are_due_whatever_their_order() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut queue = DelayQueue::default();
        for (at, item) in [(9, "last"), (0, "first"), (5, "second"), (5, "third")] {
            queue.push(after(at), item);
        }
        for (at, item) in [(0, "first"), (5, "second"), (5, "third"), (9, "last")] {
            assert_eq!(queue.pop().await, item);
            assert!(Instant::now() >= after(at));
        }
        assert!(queue.is_empty());
    }
}
