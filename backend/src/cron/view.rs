//! Jobs as schedulers and operators see them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_db::Json;
use tollgate_domain::cron::Run;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use super::job::Job;

/// What came of asking for a job.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "JobRun")]
pub(super) struct RanView {
    job: &'static str,
    ran: bool,
    tick: String,
    summary: Value,
    /// These four are of `sync-subscriptions` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    synced: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_soon: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_payments: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_ending: Option<i64>,
}

impl RanView {
    /// What came of asking for `job`. `counts`: what its summary counts stands at the top too.
    pub(super) fn new(job: &'static str, ran: bool, tick: Timestamp, summary: Value, counts: bool) -> Self {
        // Of a job that nobody has run yet they are 0.
        let number = |name: &str| counts.then(|| summary[name].as_i64().unwrap_or_default());
        let [synced, due_soon, failed_payments, grace_ending] =
            ["synced", "dueSoon", "failedPayments", "graceEnding"].map(number);
        Self { job, ran, tick: rfc3339(tick), summary, synced, due_soon, failed_payments, grace_ending }
    }
}

/// A line of the timetable, and its newest run.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Job")]
pub(super) struct JobView {
    job: &'static str,
    schedule: String,
    last_tick: Option<String>,
    last_run_at: Option<String>,
    last_outcome: Option<String>,
    duration_ms: Option<i64>,
    next_at: String,
    late: bool,
    summary: Option<Value>,
}

/// What is said of a run that has not ended.
const IN_PROGRESS: &str = "running";

impl JobView {
    pub(super) fn of(job: &Job, newest: Option<Run>, now: Timestamp) -> Self {
        let Job { name, schedule, .. } = job;
        let run = newest.as_ref();
        Self {
            job: name,
            schedule: schedule.to_string(),
            last_tick: run.map(|run| rfc3339(run.tick)),
            last_run_at: run.map(|run| rfc3339(run.started_at)),
            last_outcome: run.map(|run| run.outcome.clone().unwrap_or_else(|| IN_PROGRESS.to_owned())),
            duration_ms: run.and_then(|run| Some((run.ended_at? - run.started_at).num_milliseconds().max(0))),
            next_at: rfc3339(schedule.next(now)),
            late: run.is_some_and(|run| schedule.is_late(run.tick, now)),
            summary: newest.map(summary_of),
        }
    }
}

/// What a run did, and the class of what made it fail.
fn summary_of(run: Run) -> Value {
    let Json(mut summary) = run.summary;
    if let (Some(error), Value::Object(members)) = (run.error, &mut summary) {
        members.insert("error".to_owned(), Value::String(error));
    }
    summary
}

/// Of a job that nobody has run yet.
pub(super) fn nothing() -> Value {
    Value::Object(Map::new())
}
