//! The timetable for schedulers outside, and for operators.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::acts::{self, Act};
use tollgate_domain::cron::runs::{self, Caller};

use super::job::Job;
use super::runner::{Failure, Ran, Runner};
use super::timetable;
use super::view::{self, JobView, RanView};
use crate::app::App;
use crate::http::auth::{Cron, Operator};
use crate::http::body::JsonBody;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Argument, Endpoint, Operation, endpoint};
use crate::http::error::ApiError;
use crate::http::reason::Reason;
use crate::tasks::Tasks;

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let unknown = [no_such_job()];
    vec![
        endpoint!(ask, "Runs a job now, for schedulers that can only ask").refuses(unknown.clone()),
        endpoint!(run, "Runs a job now, unless that is being done or was done in this very second").refuses(unknown),
        endpoint!(list, "When each job ran last, what came of it, and when it runs next"),
        endpoint!(order, "Runs a job now, at an operator's word").refuses([no_such_job()]),
    ]
}

#[get("/api/cron/<job>")]
async fn ask(scheduler: Cron, job: &str, runner: &State<Runner>) -> Result<Json<RanView>, ApiError> {
    run(scheduler, job, runner).await
}

#[post("/api/cron/<job>")]
async fn run(_scheduler: Cron, job: &str, runner: &State<Runner>) -> Result<Json<RanView>, ApiError> {
    run_now(timetable::job(job).ok_or_else(no_such_job)?, runner).await
}

#[post("/api/admin/cron/<job>/run", data = "<body>")]
async fn order(
    operator: Operator,
    job: &str,
    body: JsonBody<Reason>,
    context: &RequestContext,
    runner: &State<Runner>,
    app: &State<App>,
) -> Result<Json<RanView>, ApiError> {
    let by = operator.acting(context, Some(body.0.readable()?));
    let job = timetable::job(job).ok_or_else(no_such_job)?;
    // A job writes what it did itself: that it was wanted is put on record before.
    let touched = Touched::default();
    let noted = app.write(&touched, |work| {
        acts::record(work, &by, Act { action: "cron.run", target: ("job", job.name), before: None, after: None });
        Ok::<_, ApiError>(())
    });
    noted.await?;
    run_now(job, runner).await
}

async fn run_now(job: &'static Job, runner: &State<Runner>) -> Result<Json<RanView>, ApiError> {
    let here = Runner::clone(runner);
    // To its end, whether or not the scheduler waits for that.
    let ran = Tasks::see_through(async move { here.run(job, Caller::Request).await }).await;
    let (ran, tick, summary) = match ran.ok_or_else(ApiError::internal)?? {
        Ran::Here { failure: Some(failure), .. } => return Err(failure.into()),
        Ran::Here { tick, summary, failure: None } => (true, tick, summary),
        Ran::InProgress(tick) | Ran::Before(tick) => {
            (false, tick, runner.last_summary(job).await?.unwrap_or_else(view::nothing))
        }
    };
    let counts = job.name == timetable::SYNC_SUBSCRIPTIONS;
    Ok(Json(RanView::new(job.name, ran, tick, summary, counts)))
}

impl Argument for &State<Runner> {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::database_unavailable());
    }
}

fn no_such_job() -> ApiError {
    ApiError::not_found("such job")
}

/// Every job: there is a handful, so that they need no pages.
#[derive(Serialize, JsonSchema)]
struct Jobs {
    data: Vec<JobView>,
}

#[get("/api/admin/cron")]
async fn list(_operator: Operator, app: &State<App>) -> Result<Json<Jobs>, ApiError> {
    let now = app.clock.now();
    let mut tx = app.read().await?;
    let mut data = Vec::new();
    for job in timetable::jobs() {
        let newest = runs::known(&mut tx, job.name, now).await?.newest;
        data.push(JobView::of(job, newest, now));
    }
    Ok(Json(Jobs { data }))
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(failure) => failure.into(),
            // Logged by the runner.
            Failure::Panicked | Failure::TimedOut => Self::internal(),
        }
    }
}
