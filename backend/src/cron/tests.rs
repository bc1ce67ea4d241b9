//! The timetable, by the clock and by its routes, on both engines.

mod cleanup;
mod faults;
mod routes;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use rocket::http::Method;
use tollgate_db::testing::wait_until;
use tollgate_db::{Db, Engine};
use tollgate_domain::cron::runs::{self, Caller, Known};
use tollgate_domain::cron::{Claim, Outcome, Run};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use super::job::Job;
use super::runner::{Ran, Runner};
use super::timetable;
use crate::on_each_engine;
use crate::schema::MIGRATIONS;
use crate::testing::{CRON_SECRET, TestApp, TestResponse, bearer};

impl TestApp {
    fn runner(&self) -> Runner {
        self.client.rocket().state::<Runner>().unwrap().clone()
    }

    /// A scheduler asks for a job.
    async fn ask_for(&self, method: Method, job: &str) -> TestResponse {
        TestResponse::of(self.client.req(method, format!("/api/cron/{job}")).header(bearer(CRON_SECRET))).await
    }

    /// What its job is known by.
    async fn known(&self, job: &Job) -> Known {
        runs::known(&mut self.inner.read().await.unwrap(), job.name, self.inner.clock.now()).await.unwrap()
    }

    async fn newest(&self, job: &Job) -> Run {
        self.known(job).await.newest.unwrap()
    }

    /// Every run: job, tick, attempts, outcome.
    async fn runs(&self) -> Vec<(String, Timestamp, i64, Option<String>)> {
        let mut tx = self.inner.read().await.unwrap();
        tx.sql("SELECT job, tick, attempts, outcome FROM cron_runs ORDER BY job, tick").all().await.unwrap()
    }

    fn advance(&self, seconds: u64) {
        self.inner.clock.advance(Duration::from_secs(seconds));
    }
}

fn retry_events() -> &'static Job {
    timetable::job("retry-events").unwrap()
}

fn ran_here(ran: &Ran) -> bool {
    matches!(ran, Ran::Here { failure: None, .. })
}

/// A second process on PostgreSQL; SQLite has one.
async fn processes(db: Db) -> Vec<TestApp> {
    let first = TestApp::on(db.clone()).await;
    let mut processes = Vec::new();
    if db.engine() == Engine::Postgres {
        processes.push(first.replica(Db::open(db.url(), &MIGRATIONS).unwrap()).await);
    }
    processes.push(first);
    processes
}

#[test]
fn clocks_and_schedulers_all_at_once_run_each_tick_once() {
    on_each_engine!(async |db| {
        let processes = processes(db).await;
        let one = &processes[0];
        one.advance(20); // 15:07
        let first = one.inner.clock.now();
        let (mut by_clocks, mut by_schedulers) = (BTreeMap::<_, usize>::new(), 0);
        for _ in 0..60 {
            let looks = processes.iter().flat_map(|process| {
                let runner = process.runner();
                let thrice = timetable::jobs().flat_map(|job| [job; 3]);
                thrice.map(move |job| {
                    let runner = runner.clone();
                    tokio::spawn(async move { (job.name, runner.run(job, Caller::Clock).await.unwrap()) })
                })
            });
            let looks: Vec<_> = looks.collect();
            let asked = processes.iter().flat_map(|process| {
                [Method::Get, Method::Post, Method::Post].map(|method| process.ask_for(method, "retry-events"))
            });
            for response in join_all(asked).await {
                assert_eq!(response.status, 200, "{response:?}");
                by_schedulers += usize::from(response.json()["ran"] == true);
            }
            for look in join_all(looks).await {
                let (job, ran) = look.unwrap();
                *by_clocks.entry(job).or_default() += usize::from(ran_here(&ran));
            }
            one.advance(60);
        }
        assert_eq!(by_clocks["retry-events"] + by_schedulers, 60);
        assert_eq!(by_clocks["detect-stale-sessions"], 60);
        assert_eq!(by_clocks["health-monitoring"], 13);
        assert_eq!((by_clocks["expiration-check"], by_clocks["cleanup-events"]), (2, 1));
        assert_eq!((by_clocks["analytics"], by_clocks["sync-subscriptions"], by_clocks["reconcile"]), (2, 1, 1));

        let minutes = |job: &'static str| (0..60).map(move |minute| (job, first + chrono::Duration::minutes(minute)));
        let others = [
            ("analytics", "2025-06-15T15:00:00Z"),
            ("analytics", "2025-06-15T16:00:00Z"),
            ("cleanup-events", "2025-06-15T03:00:00Z"),
            ("expiration-check", "2025-06-15T15:00:00Z"),
            ("expiration-check", "2025-06-15T16:00:00Z"),
            ("reconcile", "2025-06-15T02:00:00Z"),
            ("sync-subscriptions", "2025-06-15T00:00:00Z"),
        ];
        let others = others.map(|(job, tick)| (job, tick.parse().unwrap()));
        let from = "2025-06-15T15:05:00Z".parse::<Timestamp>().unwrap();
        let judgements = (0..13).map(|number| ("health-monitoring", from + chrono::Duration::minutes(5 * number)));
        let minutes = minutes("detect-stale-sessions").chain(minutes("retry-events"));
        let expected = others.into_iter().chain(judgements).chain(minutes);
        let mut expected: Vec<_> =
            expected.map(|(job, tick)| (job.to_owned(), tick, 1, Some("succeeded".to_owned()))).collect();
        expected.sort();
        assert_eq!(one.runs().await, expected);
        // What the timer does beside it: nothing that was done already.
        for process in &processes {
            process.runner().look(retry_events()).await.unwrap();
        }
        assert_eq!(one.runs().await.len(), expected.len() + 1, "the minute that has begun since");
    });
}

#[test]
fn every_job_runs_by_itself() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        timetable::start(&app.runner());
        let has_run = async |job: &Job| app.known(job).await.newest.is_some_and(|run| run.ended_at.is_some());
        for job in timetable::jobs() {
            wait_until(job.name, async || has_run(job).await).await;
        }
        app.advance(60);
        let due = retry_events().schedule.latest(app.inner.clock.now());
        wait_until("the next minute's run", async || app.newest(retry_events()).await.tick == due).await;
        let tasks = app.inner.tasks.status();
        assert!(timetable::jobs().all(|job| tasks.iter().any(|task| task.name == job.name && task.is_alive)));
    });
}

#[test]
fn missed_ticks_are_caught_up_with_by_one_run() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for job in timetable::jobs() {
            app.runner().look(job).await.unwrap();
        }
        app.advance(2 * 86_400);
        let restarted = app.replica(app.inner.db.clone()).await;
        for _ in 0..2 {
            for job in timetable::jobs() {
                restarted.runner().look(job).await.unwrap();
            }
        }
        let ticks: Vec<_> = app.runs().await.into_iter().map(|(job, tick, ..)| (job, rfc3339(tick))).collect();
        let expected = [
            ("analytics", "2025-06-15T15:00:00Z"),
            ("analytics", "2025-06-17T15:00:00Z"),
            ("cleanup-events", "2025-06-15T03:00:00Z"),
            ("cleanup-events", "2025-06-17T03:00:00Z"),
            ("detect-stale-sessions", "2025-06-15T15:06:00Z"),
            ("detect-stale-sessions", "2025-06-17T15:06:00Z"),
            ("expiration-check", "2025-06-15T15:00:00Z"),
            ("expiration-check", "2025-06-17T15:00:00Z"),
            ("health-monitoring", "2025-06-15T15:05:00Z"),
            ("health-monitoring", "2025-06-17T15:05:00Z"),
            ("reconcile", "2025-06-15T02:00:00Z"),
            ("reconcile", "2025-06-17T02:00:00Z"),
            ("retry-events", "2025-06-15T15:06:00Z"),
            ("retry-events", "2025-06-17T15:06:00Z"),
            ("sync-subscriptions", "2025-06-15T00:00:00Z"),
            ("sync-subscriptions", "2025-06-17T00:00:00Z"),
        ];
        assert_eq!(ticks, expected.map(|(job, tick)| (job.to_owned(), tick.to_owned())));
    });
}

/// What a process did that died right after.
async fn begun_and_left(app: &TestApp, job: &Job, tick: Timestamp) -> Claim {
    let claim = Claim { job: job.name, tick, holder: "gone".to_owned() };
    let mut tx = app.inner.begin_write().await.unwrap();
    assert!(runs::begin(&mut tx, &claim, app.inner.clock.now()).await.unwrap());
    tx.commit().await.unwrap();
    claim
}

#[test]
fn a_run_whose_process_died_is_taken_over_after_its_lease() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let job = timetable::job("cleanup-events").unwrap();
        let tick = job.schedule.latest(app.inner.clock.now());
        let left = begun_and_left(&app, job, tick).await;
        for caller in [Caller::Clock, Caller::Request] {
            assert_eq!(app.runner().run(job, caller).await.unwrap(), Ran::InProgress(tick));
        }
        // A word of it, and it is its process's again.
        app.advance(20);
        let word = serde_json::json!({ "webhookEvents": 7 });
        let mut tx = app.inner.begin_write().await.unwrap();
        assert!(runs::renew(&mut tx, &left, app.inner.clock.now(), &word).await.unwrap());
        tx.commit().await.unwrap();
        app.advance(29);
        assert_eq!(app.runner().run(job, Caller::Clock).await.unwrap(), Ran::InProgress(tick));
        assert_eq!(app.newest(job).await.summary.0, word);

        app.advance(1);
        let ran = join_all([(); 3].map(|()| async { app.runner().run(job, Caller::Clock).await.unwrap() })).await;
        assert_eq!(ran.iter().filter(|ran| ran_here(ran)).count(), 1, "{ran:?}");
        let run = app.newest(job).await;
        assert_eq!((run.tick, run.attempts, run.outcome.as_deref()), (tick, 2, Some("succeeded")));
        // The process was not dead, after all: what it says counts for nothing.
        let mut tx = app.inner.begin_write().await.unwrap();
        assert!(!runs::renew(&mut tx, &left, app.inner.clock.now(), &word).await.unwrap());
        let outcome = Outcome::Failed("late");
        assert!(!runs::end(&mut tx, &left, app.inner.clock.now(), outcome, &word).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(app.newest(job).await, run);
    });
}

#[test]
fn what_is_due_comes_after_what_was_left() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let (job, now) = (retry_events(), app.inner.clock.now());
        begun_and_left(&app, job, job.schedule.latest(now)).await;
        app.advance(60);
        for _ in 0..3 {
            app.runner().look(job).await.unwrap();
        }
        let runs: Vec<_> = app.runs().await.into_iter().map(|(_, tick, attempts, _)| (tick, attempts)).collect();
        let [left, due] = [now, app.inner.clock.now()].map(|at| job.schedule.latest(at));
        assert_eq!(runs, [(left, 2), (due, 1)]);
    });
}

#[test]
fn a_clock_that_is_set_back_stops_nothing_and_repeats_nothing() {
    on_each_engine!(async |db| {
        let ahead = TestApp::on(db.clone()).await;
        let job = retry_events();
        for _ in 0..3 {
            assert!(ran_here(&ahead.runner().run(job, Caller::Clock).await.unwrap()));
            ahead.advance(60);
        }
        // It dies with a run of its own, by a clock that is a year ahead.
        ahead.advance(365 * 86_400);
        begun_and_left(&ahead, job, job.schedule.latest(ahead.inner.clock.now())).await;

        let right = TestApp::on(db).await;
        right.advance(61);
        let tick = job.schedule.latest(right.inner.clock.now());
        // The year's run is ended first; the tick has had its own.
        assert!(ran_here(&right.runner().run(job, Caller::Clock).await.unwrap()));
        assert_eq!(right.runner().run(job, Caller::Clock).await.unwrap(), Ran::Before(tick));
        right.advance(120);
        assert!(ran_here(&right.runner().run(job, Caller::Clock).await.unwrap()), "and it goes on");
        let attempts: Vec<_> = right.runs().await.into_iter().map(|(_, _, attempts, _)| attempts).collect();
        assert_eq!(attempts, [1, 1, 1, 1, 2]);
        assert_eq!(right.newest(job).await.tick, job.schedule.latest(right.inner.clock.now()));
    });
}
