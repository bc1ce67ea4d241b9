//! The process's background tasks, each under supervision: one that fails or panics is logged, counted and started again
//! after a back-off, and each says when it last worked.
//!
//! This is the only place that spawns what is meant to outlive a request. Tasks end with their runtime, or when
//! [`Tasks::stop`] ends them.

use std::future::pending;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tollgate_shared::backoff::Backoff;
use tollgate_shared::{Clock, Rng, Timestamp};
use tracing::{debug, error, info, warn};

use tollgate_db::DbError;

/// How long a task that fails or panics waits before it runs again, unless its own interval is longer.
const RESTART_BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(60) };

type Started = (Arc<Task>, AbortHandle);

/// Every background task of a process. Clones are the same tasks.
#[derive(Clone)]
pub struct Tasks {
    clock: Clock,
    rng: Rng,
    started: Arc<Mutex<Vec<Started>>>,
    /// What a stop waits for.
    to_the_end: TaskTracker,
}

/// How a task fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// What it is called in logs and metrics.
    pub name: &'static str,
    /// How long it rests between two runs; none for one that runs all the time.
    pub interval: Option<Duration>,
    /// Whether it is there: not waiting to be started again after a panic, and not ended.
    pub is_alive: bool,
    /// Runs that ended well.
    pub successes: u64,
    /// Runs that ended with an error.
    pub failures: u64,
    /// Runs that ended with a panic.
    pub panics: u64,
    /// When a run last ended well.
    pub last_success_at: Option<Timestamp>,
}

struct Task {
    name: &'static str,
    interval: Option<Duration>,
    is_alive: AtomicBool,
    successes: AtomicU64,
    failures: AtomicU64,
    panics: AtomicU64,
    /// Microseconds since the Unix epoch; 0 for never.
    last_success_at: AtomicI64,
}

impl Tasks {
    /// None yet.
    pub fn new(clock: Clock, rng: Rng) -> Self {
        Self { clock, rng, started: Arc::default(), to_the_end: TaskTracker::new() }
    }

    /// Starts a task that does `work` at once and then again and again, `interval` after the end of the run before. Has to
    /// be called within a runtime.
    pub fn every<W, F>(&self, name: &'static str, interval: Duration, work: W)
    where
        W: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), DbError>> + Send,
    {
        let (clock, rng) = (self.clock.clone(), self.rng.clone());
        self.start(name, Some(interval), |task| async move {
            let (mut failing_runs, mut is_said) = (0, false);
            loop {
                let rest = match AssertUnwindSafe(work()).catch_unwind().await {
                    Ok(Ok(())) => {
                        task.succeeded(clock.now(), is_said);
                        (failing_runs, is_said) = (0, false);
                        interval
                    }
                    Ok(Err(failure)) => {
                        is_said |= task.failed(&failure, is_said);
                        failing_runs += 1;
                        interval.max(RESTART_BACKOFF.after(failing_runs, &rng))
                    }
                    Err(_) => {
                        task.panicked();
                        is_said = true;
                        failing_runs += 1;
                        interval.max(RESTART_BACKOFF.after(failing_runs, &rng))
                    }
                };
                sleep(rest).await;
            }
        });
    }

    /// Starts a task that does `work` until that ends, and starts it again when it panics. Has to be called within a
    /// runtime.
    pub fn keep<W, F>(&self, name: &'static str, work: W)
    where
        W: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send,
    {
        let (clock, rng) = (self.clock.clone(), self.rng.clone());
        self.start(name, None, |task| async move {
            let mut panics = 0;
            while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
                task.is_alive.store(false, Ordering::Release);
                task.panicked();
                panics += 1;
                sleep(RESTART_BACKOFF.after(panics, &rng)).await;
                task.is_alive.store(true, Ordering::Release);
            }
            task.succeeded(clock.now(), false);
        });
    }

    /// Does `work` to its end, whether or not whoever waits for it goes on waiting. None if it panics.
    pub async fn see_through<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        tokio::spawn(work).await.ok()
    }

    /// Does `work` to its end, whether or not whoever waits for it goes on waiting, and even where the tasks are stopped
    /// meanwhile: for that, [`Tasks::ended`] is to be waited for. Panics if `work` does.
    pub async fn to_the_end<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        Self::end_of(self.begin(work)).await
    }

    /// Begins `work`, which is done to its end as in [`Tasks::to_the_end`]; [`Tasks::end_of`] waits for that.
    pub fn begin<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.to_the_end.spawn(work)
    }

    /// What came of work that was begun. Panics if it did.
    pub async fn end_of<T>(begun: JoinHandle<T>) -> T {
        match begun.await {
            Ok(done) => done,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is going, and this with it.
                Err(_) => pending().await,
            },
        }
    }

    /// Returns when there is nothing left of what is done to its end: at once, if there is nothing now.
    pub async fn ended(&self) {
        self.to_the_end.close();
        self.to_the_end.wait().await;
    }

    /// How each task fares, in the order of their start.
    pub fn status(&self) -> Vec<TaskStatus> {
        self.started().iter().map(|(task, _)| task.status()).collect()
    }

    /// Whether a task of that name is alive.
    pub fn is_alive(&self, name: &str) -> bool {
        self.started().iter().any(|(task, _)| task.name == name && task.is_alive.load(Ordering::Acquire))
    }

    /// Ends every task where it stands; a transaction of it is rolled back.
    pub fn stop(&self) {
        for (_, task) in &*self.started() {
            task.abort();
        }
    }

    fn start<F>(&self, name: &'static str, interval: Option<Duration>, run: impl FnOnce(Arc<Task>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = Arc::new(Task {
            name,
            interval,
            is_alive: AtomicBool::new(true),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            last_success_at: AtomicI64::new(0),
        });
        let running = run(task.clone());
        let alive = EndsWithItsTask(task.clone());
        let handle = tokio::spawn(async move {
            let _alive = alive;
            running.await;
        });
        self.started().push((task, handle.abort_handle()));
    }

    fn started(&self) -> MutexGuard<'_, Vec<(Arc<Task>, AbortHandle)>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// `is_said`: whether it was logged that it fails.
    fn succeeded(&self, now: Timestamp, is_said: bool) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.last_success_at.store(now.timestamp_micros(), Ordering::Relaxed);
        if is_said {
            info!(task = self.name, "background task {} works again", self.name);
        }
    }

    /// The first failure in a row is for a person to see; the others repeat it. Gives whether it was for a person.
    fn failed(&self, failure: &DbError, is_said: bool) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let (name, reason) = (self.name, failure.class());
        match failure {
            // Whoever migrates logs why the tables are not there.
            DbError::Schema(_) => debug!(task = name, reason, "background task {name} has to wait: {failure}"),
            _ if is_said => debug!(task = name, reason, "background task {name} failed again: {failure}"),
            _ if failure.is_transient() => {
                warn!(task = name, reason, "background task {name} failed, retrying: {failure}");
            }
            _ => error!(task = name, reason, "background task {name} failed, retrying: {failure}"),
        }
        !matches!(failure, DbError::Schema(_))
    }

    /// The panic itself is logged where it happens.
    fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        error!(task = self.name, "background task {} panicked, restarting it", self.name);
    }

    fn status(&self) -> TaskStatus {
        let micros = self.last_success_at.load(Ordering::Relaxed);
        TaskStatus {
            name: self.name,
            interval: self.interval,
            is_alive: self.is_alive.load(Ordering::Acquire),
            successes: self.successes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            panics: self.panics.load(Ordering::Relaxed),
            last_success_at: Timestamp::from_timestamp_micros(micros).filter(|_| micros > 0),
        }
    }
}

/// Says that a task is no longer alive, however it ends.
struct EndsWithItsTask(Arc<Task>);

impl Drop for EndsWithItsTask {
    fn drop(&mut self) {
        self.0.is_alive.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn tasks() -> Tasks {
        Tasks::new(Clock::manual(from_unix(1_750_000_000).unwrap()), Rng::seeded(1))
    }

    /// A task whose runs end as the test says, one after the other.
    fn scripted(tasks: &Tasks) -> mpsc::UnboundedSender<Result<(), DbError>> {
        let (outcomes, script) = mpsc::unbounded_channel::<Result<(), DbError>>();
        let script = Arc::new(tokio::sync::Mutex::new(script));
        tasks.every("scripted", Duration::ZERO, move || {
            let script = script.clone();
            async move { script.lock().await.recv().await.unwrap_or_else(|| panic!("the script is at its end")) }
        });
        outcomes
    }

    async fn until(tasks: &Tasks, condition: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
        loop {
            let status = tasks.status().remove(0);
            if condition(&status) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_run_that_fails_is_followed_by_another() {
        let tasks = tasks();
        let outcomes = scripted(&tasks);
        outcomes.send(Err(DbError::Unavailable { reason: "cut off".into() })).unwrap();
        outcomes.send(Ok(())).unwrap();
        let status = until(&tasks, |status| status.successes == 1).await;
        assert_eq!((status.failures, status.panics, status.is_alive), (1, 0, true));
        assert_eq!(status.last_success_at, from_unix(1_750_000_000));
    }

    #[tokio::test]
    async fn a_run_that_panics_is_followed_by_another() {
        let tasks = tasks();
        drop(scripted(&tasks));
        let status = until(&tasks, |status| status.panics == 2).await;
        assert_eq!((status.successes, status.is_alive), (0, true));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_done_to_its_end() {
        let (goes_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let work = async move {
            may_go_on.await.unwrap();
            done.send(()).unwrap();
        };
        let mut waiting = Box::pin(Tasks::see_through(work));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        goes_on.send(()).unwrap();
        is_done.await.unwrap();
        assert_eq!(Tasks::see_through(async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn what_was_begun_is_done_to_its_end_after_a_stop() {
        let tasks = tasks();
        let (goes_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
        let may_go_on = Arc::new(Mutex::new(Some(may_go_on)));
        let begun = tasks.clone();
        tasks.every("begun", Duration::ZERO, move || {
            let (tasks, may_go_on) = (begun.clone(), may_go_on.lock().unwrap().take());
            async move {
                match may_go_on {
                    Some(may_go_on) => tasks.to_the_end(async move { may_go_on.await.unwrap() }).await,
                    None => std::future::pending().await,
                }
                Ok(())
            }
        });
        tokio::task::yield_now().await;
        tasks.stop();
        until(&tasks, |status| !status.is_alive).await;
        let mut ended = Box::pin(tasks.ended());
        assert!(futures_util::poll!(&mut ended).is_pending());
        goes_on.send(()).unwrap();
        ended.await;
        tasks.ended().await;
    }

    #[tokio::test]
    async fn what_panics_is_not_alive_until_it_is_started_again() {
        let tasks = tasks();
        let is_broken = Arc::new(AtomicBool::new(true));
        let broken = is_broken.clone();
        tasks.keep("kept", move || {
            let broken = broken.clone();
            async move {
                assert!(!broken.load(Ordering::SeqCst), "broken");
                std::future::pending::<()>().await;
            }
        });
        until(&tasks, |status| status.panics > 0 && !status.is_alive).await;
        assert!(!tasks.is_alive("kept"));
        is_broken.store(false, Ordering::SeqCst);
        until(&tasks, |status| status.is_alive).await;
        tasks.stop();
        until(&tasks, |status| !status.is_alive).await;
    }
}
