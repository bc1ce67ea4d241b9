//! How many calls a second: `STRIPE_RATE_LIMIT` in all, and fewer for one kind of object. A user's call never waits behind a
//! job's, and of what is saved up a part is kept for users.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Queue;
use tokio::time::{Instant, sleep};

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody at a screen.
    User,
    /// A job.
    Background,
}

/// The share of what can be saved up that is kept for users.
const KEPT_FOR_USERS: f64 = 0.25;

/// How many calls a second Stripe takes of one kind of object, of an account that may make 100 in all; where it takes more in
/// all, so many of these in proportion: <https://docs.stripe.com/rate-limits>.
const PER_ENDPOINT: u32 = 25;
const OF_ALL: u32 = 100;

/// What may be called in all, and of each kind of object.
#[derive(Debug)]
pub(super) struct Budgets {
    all: Budget,
    /// What may be called of one; none where that is no less than in all.
    of_one: Option<u32>,
    /// By the first part of a path: `subscriptions`.
    endpoints: Mutex<BTreeMap<String, Arc<Budget>>>,
}

impl Budgets {
    /// Of so many calls a second in all.
    pub(super) fn new(per_second: u32) -> Self {
        let of_one = PER_ENDPOINT.max(per_second * PER_ENDPOINT / OF_ALL);
        Self {
            all: Budget::new(per_second),
            of_one: Some(of_one).filter(|of_one| *of_one < per_second),
            endpoints: Mutex::default(),
        }
    }

    /// Waits until a call of `endpoint` may be made, and takes it.
    pub(super) async fn take(&self, endpoint: &str, priority: Priority) {
        if let Some(budget) = self.of_endpoint(endpoint) {
            budget.take(priority).await;
        }
        self.all.take(priority).await;
    }

    /// How many calls may be made now.
    pub(super) fn remaining(&self) -> f64 {
        self.all.remaining()
    }

    fn of_endpoint(&self, endpoint: &str) -> Option<Arc<Budget>> {
        let of_one = self.of_one?;
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        Some(endpoints.entry(endpoint.to_owned()).or_insert_with(|| Arc::new(Budget::new(of_one))).clone())
    }
}

/// Calls that may be made now, and that come back with time.
#[derive(Debug)]
struct Budget {
    per_second: f64,
    saved_max: f64,
    saved: Mutex<Saved>,
    users_waiting: AtomicUsize,
    /// Those of one priority come in turn.
    users: Queue<()>,
    jobs: Queue<()>,
}

#[derive(Debug)]
struct Saved {
    calls: f64,
    at: Instant,
}

impl Budget {
    /// Of so many calls a second, of which a second's worth can be saved up.
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        // Of one alone none could be kept for users.
        let saved_max = per_second.max(2.0);
        Self {
            per_second,
            saved_max,
            saved: Mutex::new(Saved { calls: saved_max, at: Instant::now() }),
            users_waiting: AtomicUsize::new(0),
            users: Queue::default(),
            jobs: Queue::default(),
        }
    }

    /// Waits until a call may be made, and takes it.
    async fn take(&self, priority: Priority) {
        match priority {
            Priority::User => {
                let _waiting = Waiting::of(&self.users_waiting);
                let _turn = self.users.lock().await;
                while let Some(wait) = self.try_take(priority, Instant::now()) {
                    sleep(wait).await;
                }
            }
            Priority::Background => {
                let _turn = self.jobs.lock().await;
                while let Some(wait) = self.wait_for_users().or_else(|| self.try_take(priority, Instant::now())) {
                    sleep(wait).await;
                }
            }
        }
    }

    /// How many calls may be made now.
    fn remaining(&self) -> f64 {
        self.refilled(Instant::now()).calls
    }

    /// Takes a call if there is one at `now`; else says how long that takes.
    fn try_take(&self, priority: Priority, now: Instant) -> Option<Duration> {
        let needed = match priority {
            Priority::User => 1.0,
            Priority::Background => 1.0 + (self.saved_max * KEPT_FOR_USERS).max(1.0),
        };
        let mut saved = self.refilled(now);
        if saved.calls >= needed {
            saved.calls -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((needed - saved.calls) / self.per_second))
    }

    fn wait_for_users(&self) -> Option<Duration> {
        let one = Duration::from_secs_f64(1.0 / self.per_second);
        (self.users_waiting.load(Ordering::Relaxed) > 0).then_some(one)
    }

    fn refilled(&self, now: Instant) -> MutexGuard<'_, Saved> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        // A millionth is what numbers with a point lose; nobody may wait for that.
        let gained = (now - saved.at).as_secs_f64() * self.per_second + 1e-6;
        *saved = Saved { calls: (saved.calls + gained).min(self.saved_max), at: now };
        saved
    }
}

/// Somebody who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[test]
    fn of_one_kind_of_object_fewer_calls_are_made() {
        let at_once = |per_second: u32| {
            let budgets = Budgets::new(per_second);
            let now = Instant::now();
            let taken = |endpoint: &str| {
                let budget = budgets.of_endpoint(endpoint)?;
                Some((0..per_second).take_while(|_| budget.try_take(Priority::User, now).is_none()).count())
            };
            [taken("subscriptions"), taken("subscriptions"), taken("customers")]
        };
        assert_eq!(at_once(20), [None; 3], "in all there are fewer than one may have");
        assert_eq!(at_once(100), [Some(25), Some(0), Some(25)]);
        assert_eq!(at_once(1000), [Some(250), Some(0), Some(250)], "an account of which Stripe takes more");
    }

    #[test]
    fn a_part_of_the_budget_is_kept_for_users() {
        let budget = Budget::new(8);
        let now = Instant::now();
        let at_once = |priority| (0..20).take_while(|_| budget.try_take(priority, now).is_none()).count();
        assert_eq!(at_once(Priority::Background), 6);
        assert_eq!(at_once(Priority::User), 2);
    }

    #[test]
    fn no_more_calls_are_made_than_the_limit_allows() {
        let budget = Budget::new(10);
        let begin = Instant::now();
        let mut now = begin;
        for _ in 0..60 {
            while let Some(wait) = budget.try_take(Priority::User, now) {
                now += wait;
            }
        }
        let spent = (now - begin).as_secs_f64();
        assert!((4.9..5.1).contains(&spent), "50 of them had to be waited for: {spent}");
        for calls in [1, 2, 1000] {
            let budget = Budget::new(calls);
            assert_eq!(budget.try_take(Priority::Background, Instant::now()), None, "jobs have their turn: {calls}");
        }
    }

    #[rocket::async_test]
    async fn a_users_call_never_waits_behind_those_of_jobs() {
        let budget = Arc::new(Budget::new(50));
        for _ in 0..50 {
            budget.take(Priority::User).await;
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut calls = JoinSet::new();
        let mut start = |priority, times| {
            for _ in 0..times {
                let (budget, order) = (budget.clone(), order.clone());
                calls.spawn(async move {
                    budget.take(priority).await;
                    order.lock().unwrap().push(priority);
                });
            }
        };
        start(Priority::Background, 10);
        yield_now().await;
        start(Priority::User, 5);
        calls.join_all().await;
        let order = order.lock().unwrap();
        let last_user = order.iter().rposition(|priority| *priority == Priority::User).unwrap();
        assert_eq!(last_user, 4, "{order:?}");
    }
}
