//! Jobs and databases that fail.

use std::sync::Arc;

use tollgate_db::{DbError, Faults, Moment};
use tollgate_domain::cron::schedule::Schedule;

use super::*;
use crate::app::App;
use crate::cron::job::Progress;
use crate::cron::runner::Failure;
use crate::testing::db_that_is_away;

static PANICS: Job = Job {
    name: "panics",
    schedule: Schedule::minutes(1),
    work: |_, progress: Progress| {
        Box::pin(async move {
            progress.say(&serde_json::json!({ "done": 1 }));
            panic!("of the test");
        })
    },
};

static FAILS: Job = Job {
    name: "fails",
    schedule: Schedule::minutes(1),
    work: |_, _| Box::pin(async { Err(DbError::Conflict { code: "40001".to_owned() }) }),
};

#[test]
fn a_job_that_panics_or_fails_is_recorded_and_runs_again() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (job, class, summary) in [
            (&PANICS, "panicked", serde_json::json!({ "done": 1 })),
            (&FAILS, "database_conflict", serde_json::json!({})),
        ] {
            for _ in 0..2 {
                let Ran::Here { failure: Some(failure), .. } = app.runner().run(job, Caller::Clock).await.unwrap()
                else {
                    panic!("it fails here");
                };
                assert_eq!(failure.class(), class);
                assert_eq!(failure == Failure::Panicked, class == "panicked");
                let run = app.newest(job).await;
                assert_eq!((run.outcome.as_deref(), run.error.as_deref()), (Some("failed"), Some(class)));
                assert_eq!((run.ended_at, run.summary.0), (Some(app.inner.clock.now()), summary.clone()));
                // The tick has had its run; the next one comes all the same.
                assert_eq!(app.runner().run(job, Caller::Clock).await.unwrap(), Ran::Before(run.tick));
                app.advance(60);
            }
        }
    });
}

/// Whatever the database fails at, a tick's run is recorded as done: at once, or when the lease is over.
#[test]
fn a_database_that_goes_away_costs_no_tick_its_run() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let faults = Arc::new(Faults::default());
        let failing = App { db: db.with_faults(faults.clone()), ..app.inner.clone() };
        let (runner, job) = (Runner::new(&failing, &app.inbox), retry_events());
        let next_minute = || app.advance(60 - app.inner.clock.now().timestamp().unsigned_abs() % 60);
        runner.look(job).await.unwrap();
        let operations = faults.counted().len();
        assert!(operations > 8, "{operations}");
        for moment in [Moment::Before, Moment::ReplyLost] {
            for nth in 1..=operations {
                next_minute();
                faults.arm(nth, moment, DbError::Unavailable { reason: "cut off".into() });
                let looked = runner.look(job).await;
                assert_eq!(looked.is_ok(), faults.is_armed(), "{nth} {moment:?}: {looked:?}");
                faults.disarm();
                runner.look(job).await.unwrap();
                if app.newest(job).await.ended_at.is_none() {
                    app.advance(30);
                    runner.look(job).await.unwrap();
                }
                let run = app.newest(job).await;
                assert_eq!(run.tick, job.schedule.latest(app.inner.clock.now()), "{nth} {moment:?}");
                assert_eq!(run.outcome.as_deref(), Some("succeeded"), "{nth} {moment:?}");
            }
        }
        assert_eq!(app.runs().await.len(), 2 * operations + 1);
    });
}

#[rocket::async_test]
async fn without_the_database_nothing_is_run_and_whoever_asks_is_told() {
    let app = TestApp::on(db_that_is_away()).await;
    app.runner().look(retry_events()).await.unwrap_err();
    let response = app.ask_for(Method::Post, "retry-events").await;
    assert_eq!(response.refusal(), (503, "database_unavailable".to_owned()));
    assert!(response.header("retry-after").is_some());
}
