//! What is amiss, found and told once over all replicas, on both engines.

mod causes;
mod delivered;
mod receiver;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_db::{Db, Engine};
use tollgate_domain::cron::runs::Caller;
use tollgate_domain::sightings;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};

use self::receiver::Receiver;
use super::counted;
use crate::app::App;
use crate::cron::runner::{Failure, Ran, Runner};
use crate::cron::timetable;
use crate::on_each_engine;
use crate::schema::MIGRATIONS;
use crate::testing::{ADMIN_KEY, START, TestApp, TestResponse, bearer, config};

/// What alerts are signed with.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// All processes of a deployment, and who is told.
struct Scene {
    apps: Vec<TestApp>,
    receiver: Receiver,
}

impl Scene {
    /// Three processes on PostgreSQL; on SQLite there is one.
    async fn on(db: Db, variables: &[(&str, &str)]) -> Self {
        let receiver = Receiver::start().await;
        let (webhook, heartbeat) = (receiver.at("/alerts"), receiver.at("/heartbeat"));
        let own = [
            ("ALERT_WEBHOOK_URL", &*webhook),
            ("ALERT_WEBHOOK_SECRET", SECRET),
            ("HEARTBEAT_URL", &*heartbeat),
            ("ADMIN_API_KEY", ADMIN_KEY),
        ];
        let config = Arc::new(config(&[&own[..], variables].concat()));
        let clock = Clock::manual(from_unix(START).unwrap());
        let is_shared = db.engine() == Engine::Postgres;
        let first = TestApp::of(App::new(config, db.clone(), clock, Rng::seeded(1))).await;
        let mut apps = vec![first];
        for _ in 0..if is_shared { 2 } else { 0 } {
            let other = apps[0].replica(Db::open(db.url(), &MIGRATIONS).unwrap()).await;
            apps.push(other);
        }
        Self { apps, receiver }
    }

    fn first(&self) -> &TestApp {
        &self.apps[0]
    }

    fn last(&self) -> &TestApp {
        &self.apps[self.apps.len() - 1]
    }

    fn advance(&self, minutes: u64) {
        self.first().inner.clock.advance(Duration::from_secs(minutes * 60));
    }

    /// The next judgement comes, of which all processes think at once, each after it has written down what it counted. Whom
    /// that tells is told: `NotDurable firing`.
    async fn judge(&mut self) -> Vec<String> {
        let clock = &self.first().inner.clock;
        let due = timetable::job("health-monitoring").unwrap().schedule.next(clock.now());
        clock.advance((due - clock.now()).to_std().unwrap());
        for app in &self.apps {
            counted::write(&app.inbox).await.unwrap();
        }
        self.run("health-monitoring").await;
        self.receiver.told()
    }

    /// The time of a job has come in all processes at once; one of them runs it.
    async fn run(&self, name: &str) {
        assert_eq!(self.ran(name).await, None, "{name}");
    }

    /// The same, and it fails.
    async fn fail(&self, name: &str) {
        assert_ne!(self.ran(name).await, None, "{name}");
    }

    async fn ran(&self, name: &str) -> Option<Failure> {
        let job = timetable::job(name).unwrap();
        let runs = self.apps.iter().map(|app| {
            let runner = app.client.rocket().state::<Runner>().unwrap();
            async move { runner.run(job, Caller::Clock).await.unwrap() }
        });
        let ran = join_all(runs).await.into_iter();
        let mut here = ran.filter_map(|ran| if let Ran::Here { failure, .. } = ran { Some(failure) } else { None });
        let (first, second) = (here.next(), here.next());
        assert!(first.is_some() && second.is_none(), "{name} is run once: {first:?}, {second:?}");
        first.unwrap()
    }

    /// What has just been found is told once, and once when it is over.
    async fn is_told_once(&mut self, alert: &str, cure: impl AsyncFn(&Self)) {
        assert_eq!(self.judge().await, [format!("{alert} firing")], "{alert}");
        assert!(self.judge().await.is_empty(), "{alert} goes on");
        cure(self).await;
        assert!(self.judge().await.is_empty(), "{alert} was not found once");
        assert_eq!(self.judge().await, [format!("{alert} resolved")]);
    }
}

#[test]
fn the_last_webhook_is_the_latest_but_of_no_fast_clock() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::on(db, &[]).await;
        let at = |minute: i64| from_unix(START + minute * 60).unwrap();
        // When it came, and what the clock of its process showed: the third was a day ahead.
        for (came, now, known) in [(3, 4, 3), (2, 5, 3), (1500, 1500, 1500), (6, 6, 6)] {
            let mut tx = scene.first().inner.begin_write().await.unwrap();
            sightings::note_webhook(&mut tx, at(came), at(now)).await.unwrap();
            assert_eq!(sightings::last_webhook(&mut tx).await.unwrap(), Some(at(known)));
            tx.commit().await.unwrap();
        }
    });
}

impl TestApp {
    /// A GET by the holder of the operators' key, which has no end.
    async fn inspect(&self, path: &str) -> TestResponse {
        TestResponse::of(self.client.req(Method::Get, path.to_owned()).header(bearer(ADMIN_KEY))).await
    }

    /// The same, a POST of JSON.
    async fn operate(&self, path: &str, body: &Value) -> TestResponse {
        let request = self.client.req(Method::Post, path.to_owned()).header(bearer(ADMIN_KEY));
        TestResponse::of(request.json(body)).await
    }
}
