//! Runs jobs: claims a tick, does the work while it says that it goes on, and records how it ended.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tollgate_db::{DbError, Json};
use tollgate_domain::cron::runs::{self, Caller, Step};
use tollgate_domain::cron::{Claim, Outcome};
use tollgate_shared::Timestamp;
use tracing::{debug, error, info, warn};

use super::job::{Context, Job, Progress};
use crate::app::App;
use crate::entitlements::expire::Expire;
use crate::webhooks::inbox::Inbox;

/// How often a run says that it goes on: some may be lost before its lease is over.
const RENEW_INTERVAL: Duration = Duration::from_secs(8);

/// How long a run may take. What hangs is given up then, so that the next one can be had.
const RUN_MAX: Duration = Duration::from_hours(4);

/// Runs the jobs of a process. Clones are the same.
#[derive(Clone)]
pub struct Runner(Arc<Shared>);

struct Shared {
    context: Context,
    /// The tick of each job that has had its run, as far as this process has seen: nobody has to be asked again.
    settled: Mutex<BTreeMap<&'static str, Timestamp>>,
}

/// What came of wanting a job to be run.
#[derive(Clone, Debug, PartialEq)]
pub enum Ran {
    /// It was run.
    Here {
        /// What for.
        tick: Timestamp,
        /// What it did.
        summary: Value,
        /// Why it did not do all.
        failure: Option<Failure>,
    },
    /// Somebody else runs it at this moment, for this tick.
    InProgress(Timestamp),
    /// This tick has had its run.
    Before(Timestamp),
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The database did.
    #[error("{0}")]
    Database(#[from] DbError),
    /// It panicked, which is logged where it did.
    #[error("it panicked")]
    Panicked,
    /// It did not end in time.
    #[error("it took too long")]
    TimedOut,
}

impl Failure {
    /// A word for logs and for what is recorded.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Database(failure) => failure.class(),
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
        }
    }
}

impl Runner {
    /// Runs nothing yet.
    pub fn new(app: &App, inbox: &Inbox) -> Self {
        let context = Context { app: app.clone(), inbox: inbox.clone(), expire: Arc::<Expire>::default() };
        Self(Arc::new(Shared { context, settled: Mutex::default() }))
    }

    pub(super) fn context(&self) -> &Context {
        &self.0.context
    }

    /// Runs `job` if its time has come and nobody else does. To be called again and again.
    pub(super) async fn look(&self, job: &'static Job) -> Result<(), DbError> {
        let app = &self.context().app;
        let due = job.schedule.latest(app.clock.now());
        let settled = || self.0.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if settled().get(job.name) == Some(&due) {
            return Ok(());
        }
        match self.run(job, Caller::Clock).await? {
            // It may have to be taken over.
            Ran::InProgress(_) => return Ok(()),
            // One that was taken over: what is due comes next.
            Ran::Here { tick, .. } if tick != due => return Ok(()),
            Ran::Here { .. } | Ran::Before(_) => {}
        }
        let last = runs::last_success(&mut app.read().await?, job.name, app.clock.now()).await?;
        if let Some(last) = last {
            note_success(job.name, last);
        }
        settled().insert(job.name, due);
        Ok(())
    }

    /// Runs `job`, unless that has been done for this moment, or is being done.
    pub async fn run(&self, job: &'static Job, caller: Caller) -> Result<Ran, DbError> {
        let claim = match self.claim(job, caller).await? {
            Ok(claim) => claim,
            Err(not_ours) => return Ok(not_ours),
        };
        let (name, tick, progress) = (job.name, claim.tick, Progress::default());
        let work = AssertUnwindSafe((job.work)(self.context().clone(), progress.clone())).catch_unwind();
        let failure = tokio::select! {
            done = timeout(RUN_MAX, work) => match done {
                Ok(Ok(done)) => done.err().map(Failure::Database),
                Ok(Err(_)) => Some(Failure::Panicked),
                Err(_) => Some(Failure::TimedOut),
            },
            () = self.hold(&claim, &progress) => {
                warn!(job = name, "job {name} was taken over by another process: it held its run for too long");
                return Ok(Ran::InProgress(tick));
            }
        };
        let outcome = failure.as_ref().map_or(Outcome::Succeeded, |failure| Outcome::Failed(failure.class()));
        metrics::counter!("tollgate_backend_cron_runs_total", "job" => name, "result" => outcome.name()).increment(1);
        match &failure {
            None => debug!(job = name, %tick, "job {name} succeeded"),
            Some(Failure::Database(failure)) if failure.is_transient() => {
                warn!(job = name, %tick, reason = failure.class(), "job {name} failed: {failure}");
            }
            Some(failure) => error!(job = name, %tick, reason = failure.class(), "job {name} failed: {failure}"),
        }
        let (app, summary) = (&self.context().app, progress.said());
        let ended_at = app.clock.now();
        let mut tx = app.begin_write().await?;
        let is_ours = runs::end(&mut tx, &claim, ended_at, outcome, &summary).await?;
        tx.commit().await?;
        if is_ours && failure.is_none() {
            note_success(name, ended_at);
        }
        Ok(Ran::Here { tick, summary, failure })
    }

    /// Claims what is to be run now, or says why that is nothing.
    async fn claim(&self, job: &'static Job, caller: Caller) -> Result<Result<Claim, Ran>, DbError> {
        let app = &self.context().app;
        let now = app.clock.now();
        let known = runs::known(&mut app.read().await?, job.name, now).await?;
        let (tick, abandoned) = match runs::step(&job.schedule, caller, now, &known) {
            Step::Begin(tick) => (tick, None),
            Step::TakeOver(run) => (run.tick, Some(run)),
            Step::Wait(tick) => return Ok(Err(Ran::InProgress(tick))),
            Step::Done(tick) => return Ok(Err(Ran::Before(tick))),
        };
        let claim = Claim { job: job.name, tick, holder: hex::encode(app.rng.bytes::<8>()) };
        let mut tx = app.begin_write().await?;
        let is_ours = match &abandoned {
            None => runs::begin(&mut tx, &claim, now).await?,
            Some(run) => runs::take_over(&mut tx, &claim, run, now).await?,
        };
        tx.commit().await?;
        if is_ours && let Some(run) = abandoned {
            let (name, begun) = (job.name, run.started_at);
            info!(job = name, %tick, "taking over a run of job {name} that was begun at {begun} and left");
        }
        // Somebody was quicker.
        Ok(if is_ours { Ok(claim) } else { Err(Ran::InProgress(tick)) })
    }

    /// Says again and again that a run goes on; returns when it is no longer ours.
    async fn hold(&self, claim: &Claim, progress: &Progress) {
        loop {
            sleep(RENEW_INTERVAL).await;
            match self.renew(claim, progress).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => debug!(job = claim.job, "could not say that a job goes on: {failure}"),
            }
        }
    }

    async fn renew(&self, claim: &Claim, progress: &Progress) -> Result<bool, DbError> {
        let app = &self.context().app;
        let mut tx = app.begin_write().await?;
        let is_ours = runs::renew(&mut tx, claim, app.clock.now(), &progress.said()).await?;
        tx.commit().await?;
        Ok(is_ours)
    }

    /// What the newest run of a job did that has ended.
    pub(super) async fn last_summary(&self, job: &Job) -> Result<Option<Value>, DbError> {
        let app = &self.context().app;
        let last = runs::last_ended(&mut app.read().await?, job.name, app.clock.now()).await?;
        Ok(last.map(|run| {
            let Json(summary) = run.summary;
            summary
        }))
    }
}

fn note_success(job: &'static str, at: Timestamp) {
    let seconds = at.timestamp_micros() as f64 / 1e6;
    metrics::gauge!("tollgate_backend_cron_last_success_timestamp_seconds", "job" => job).set(seconds);
}
