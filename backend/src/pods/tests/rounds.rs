//! Rounds: every membership as Stripe has it, and what is counted of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rocket::http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use tollgate_db::{Db, Engine};
use tollgate_domain::apply::Touched;
use tollgate_domain::cron::runs::Caller;
use tollgate_domain::memberships::joining::{Joined, join};
use tollgate_domain::pods::schedule::Cadence;
use tollgate_domain::pods::{self, NewPod, Pod};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::{PLANS, kept};
use tollgate_tests::stripe::model::{Interval, Metadata, Price};
use tollgate_tests::stripe::rest::{Api, Fault, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Stripe};

use super::DAY;
use crate::app::App;
use crate::cron::runner::{Ran, Runner};
use crate::cron::timetable;
use crate::on_each_engine;
use crate::pods::rounds;
use crate::schema::MIGRATIONS;
use crate::testing::{CRON_SECRET, START, TestApp, TestResponse, bearer, config_with_plans};

/// Pods with members, all of whom have a subscription that is known here.
struct Scene {
    app: TestApp,
    api: Api,
    subscriptions: Vec<String>,
}

impl Scene {
    async fn of(db: Db, pods: usize, members_each: usize) -> Self {
        Self::at_rate(db, "1000", pods, members_each).await
    }

    /// With so many calls a second.
    async fn at_rate(db: Db, rate: &str, pods: usize, members_each: usize) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let api = Api::start(&stripe).await;
        let variables =
            [("STRIPE_SECRET_KEY", SECRET_KEY), ("STRIPE_API_BASE", &*api.base), ("STRIPE_RATE_LIMIT", rate)];
        let config = Arc::new(config_with_plans(PLANS, &variables));
        let clock = Clock::manual(from_unix(START).unwrap());
        let app = TestApp::of(App::new(config, db, clock, Rng::seeded(1))).await;
        let mut scene = Self { app, api, subscriptions: Vec::new() };
        for _ in 0..pods {
            scene.pod(members_each).await;
        }
        let events = scene.api.change(|stripe| stripe.events(ApiVersion::Endive));
        scene.app.take_all(&events).await;
        scene
    }

    async fn pod(&mut self, members: usize) {
        let new = NewPod {
            name: "Ajo".to_owned(),
            description: None,
            is_public: true,
            amount: 5000,
            currency: "ngn".to_owned(),
            cadence: Cadence::Weekly,
            contributions_total: Some(12),
            first_date: from_unix(START + 7 * DAY).unwrap(),
            grace_days: 7,
            members_max: 1000,
        };
        let touched = Touched::default();
        let made = self.app.inner.write(&touched, |work| {
            let pod = pods::create(work, new.clone(), None);
            let price_id = Some(format!("price_of_{}", pod.id));
            work.insert(Pod { price_id, ..pod.clone() });
            Ok::<_, Infallible>(pod.id)
        });
        let pod = made.await.unwrap().0;
        let touched = Touched::pod(&pod);
        let users: Vec<_> = (0..members).map(|number| format!("user_{number}_of_{pod}")).collect();
        let joined = self.app.inner.write(&touched, |work| {
            let joined = users.iter().map(|user| match join(work, &pod, user, None, None) {
                Ok(Joined::Begun(row)) => (row.user_id, row.id),
                other => panic!("{other:?}"),
            });
            Ok::<BTreeMap<_, _>, Infallible>(joined.collect())
        });
        let joined = joined.await.unwrap().0;
        self.subscriptions.extend(self.api.change(|stripe| {
            let price = stripe.add_price(Price {
                id: kept(&format!("price_of_{pod}")),
                product: kept(&format!("tollgate_{pod}")),
                lookup_key: None,
                currency: "ngn",
                unit_amount: 5000,
                interval: Interval::Week,
                trial_days: None,
            });
            let made = joined.iter().map(|(user, membership)| {
                let customer = stripe.sign_up("ada@example.com", "Ada", Some(user));
                stripe.change_card(&customer, "visa", "4242");
                let named = [("pod_id", &pod), ("membership_id", membership)];
                let metadata: Metadata = named.map(|(name, value)| (name.to_owned(), value.clone())).into();
                stripe.subscribe(&customer, &[price], 1, metadata, Some(7))
            });
            made.collect::<Vec<_>>()
        }));
    }

    async fn ask(&self) -> Value {
        ask(&self.app).await
    }

    /// It and two others of its kind, on one database.
    async fn replicas(&self, db: &Db) -> [TestApp; 2] {
        let another = || match db.engine() {
            Engine::Postgres => Db::open(db.url(), &MIGRATIONS).unwrap(),
            Engine::Sqlite => db.clone(),
        };
        [self.app.replica(another()).await, self.app.replica(another()).await]
    }

    /// Each tenth answer is no good from here on.
    fn stumbles(&self) {
        for number in 0..400 {
            self.api.fault_after(9, &[Fault::Status(if number % 2 == 0 { 429 } else { 500 })]);
        }
    }

    /// Calls of Stripe's lists, and of single subscriptions.
    fn calls(&self) -> (usize, usize) {
        let asked = self.api.asked();
        let lists = asked.iter().filter(|path| *path == "/v1/subscriptions").count();
        (lists, asked.iter().filter(|path| path.starts_with("/v1/subscriptions/")).count())
    }
}

/// A scheduler asks for the job.
async fn ask(app: &TestApp) -> Value {
    let request = app.client.req(Method::Post, "/api/cron/sync-subscriptions").header(bearer(CRON_SECRET));
    let response = TestResponse::of(request).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

fn runner(app: &TestApp) -> &Runner {
    app.client.rocket().state().expect("it keeps time")
}

/// Synced, changed, errors, unfinished.
fn numbers(summary: &Value) -> [i64; 4] {
    ["synced", "changed", "errors", "unfinished"].map(|name| summary[name].as_i64().unwrap())
}

#[test]
fn a_round_reads_every_membership_and_counts_them() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::of(db, 2, 3).await;
        let first = scene.ask().await;
        assert_eq!((numbers(&first["summary"]), scene.calls()), ([6, 0, 0, 0], (2, 0)), "a hundred a call");
        assert_eq!((&first["synced"], &first["dueSoon"]), (&json!(6), &json!(0)));
        // What happens at Stripe, nobody hears of: one has left, and one does not pay.
        let ids = scene.subscriptions.clone();
        scene.api.change(|stripe| {
            stripe.advance(60).cancel(&ids[0]);
            let customer = stripe.subscriptions[&ids[1]].customer.clone();
            stripe.change_card(&customer, "visa", "9995");
            stripe.advance(7 * DAY + 3600);
        });
        scene.app.inner.clock.advance(Duration::from_secs((7 * DAY + 3660).try_into().unwrap()));
        let second = scene.ask().await;
        assert_eq!((numbers(&second["summary"]), scene.calls()), ([6, 6, 0, 0], (4, 1)), "{second}");
        assert_eq!((&second["failedPayments"], &second["dueSoon"]), (&json!(1), &json!(0)));
        scene.app.inner.clock.advance(Duration::from_secs((5 * DAY + 3600).try_into().unwrap()));
        let third = scene.ask().await;
        assert_eq!(numbers(&third["summary"]), [5, 0, 0, 0], "who left is no member any more");
        let counted = ["dueSoon", "failedPayments", "graceEnding"].map(|name| third[name].as_i64().unwrap());
        assert_eq!(counted, [5, 1, 1]);
    });
}

#[test]
fn a_round_comes_through_where_stripe_stumbles() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::of(db, 20, 5).await;
        scene.stumbles();
        let done = scene.ask().await;
        assert_eq!(numbers(&done["summary"]), [100, 0, 0, 0], "{done}");
    });
}

#[test]
fn one_that_cannot_be_read_holds_up_no_other() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::of(db, 2, 2).await;
        let gone = scene.subscriptions[0].clone();
        scene.api.change(|stripe| stripe.subscriptions.remove(&gone));
        let done = scene.ask().await;
        assert_eq!((&done["ran"], numbers(&done["summary"])), (&json!(true), [3, 0, 1, 0]));
    });
}

#[test]
fn a_round_that_was_stopped_goes_on_where_it_was() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::of(db, 40, 1).await;
        let app = &scene.app.inner;
        let said = Mutex::new(Vec::new());
        let say = |summary: &rounds::Summary| said.lock().unwrap().push(serde_json::to_value(summary).unwrap());
        rounds::run(app, Duration::ZERO, say).await.unwrap();
        let last = said.lock().unwrap().last().cloned().unwrap();
        assert_eq!(
            (numbers(&last), scene.calls().1),
            ([0, 0, 1, 39], 0),
            "each run comes further, whatever time it has"
        );
        assert_eq!(rounds::is_unfinished(app).await, Ok(true));
        app.clock.advance(Duration::from_secs(60));
        let runner = runner(&scene.app);
        timetable::go_on_with_round(runner).await.unwrap();
        assert_eq!((rounds::is_unfinished(app).await, scene.calls().1), (Ok(false), 39), "each once");
        timetable::go_on_with_round(runner).await.unwrap();
        // As if it had come through with it since somebody saw that it was unfinished.
        let through = Mutex::new(Value::Null);
        let say = |summary: &rounds::Summary| *through.lock().unwrap() = serde_json::to_value(summary).unwrap();
        rounds::go_on(app, Duration::ZERO, say).await.unwrap();
        assert_eq!(numbers(&through.lock().unwrap()), [39, 0, 1, 0]);
        assert_eq!(scene.calls().1, 39, "it is through");
        let listed = scene.app.look_up("/api/admin/cron").await.json();
        let job = listed["data"].as_array().unwrap().iter().find(|job| job["job"] == "sync-subscriptions").unwrap();
        assert_eq!(numbers(&job["summary"]), [39, 0, 1, 0]);
        app.clock.advance(Duration::from_secs(60));
        assert_eq!(numbers(&scene.ask().await["summary"]), [40, 0, 0, 0], "and another one begins");
    });
}

#[test]
fn three_replicas_and_a_scheduler_read_each_membership_once() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::of(db.clone(), 3, 2).await;
        let [second, third] = scene.replicas(&db).await;
        let apps = [&scene.app, &second, &third];
        // The timetable's time, and that of schedulers.
        scene.app.inner.clock.advance(Duration::from_secs((DAY - START % DAY).try_into().unwrap()));
        let job = timetable::job("sync-subscriptions").unwrap();
        let by_clock = join_all(apps.map(|app| runner(app).run(job, Caller::Clock)));
        let (by_clock, asked) = tokio::join!(by_clock, join_all(apps.map(ask)));
        let by_clock = by_clock.iter().filter(|ran| matches!(ran, Ok(Ran::Here { failure: None, .. }))).count();
        let by_schedulers = asked.iter().filter(|answer| answer["ran"] == true).count();
        assert_eq!((by_clock + by_schedulers, scene.calls()), (1, (3, 0)), "{asked:?}");
        let again = ask(&third).await;
        assert_eq!((&again["ran"], numbers(&again["summary"])), (&json!(false), [6, 0, 0, 0]), "{again}");
    });
}

#[test]
fn one_of_three_replicas_goes_on_with_a_round() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::of(db.clone(), 12, 1).await;
        let [second, third] = scene.replicas(&db).await;
        let apps = [&scene.app, &second, &third];
        rounds::run(&scene.app.inner, Duration::ZERO, |_| ()).await.unwrap();
        scene.app.inner.clock.advance(Duration::from_secs(60));
        let gone_on = join_all(apps.map(|app| timetable::go_on_with_round(runner(app)))).await;
        assert!(gone_on.iter().all(Result::is_ok), "{gone_on:?}");
        assert_eq!((rounds::is_unfinished(&second.inner).await, scene.calls()), (Ok(false), (0, 11)));
    });
}

#[test]
fn without_stripe_a_round_counts_and_reads_nothing() {
    on_each_engine!(async |db: Db| {
        let scene = Scene::of(db.clone(), 1, 2).await;
        let alone = TestApp::on(db).await;
        alone.inner.clock.advance(Duration::from_secs((5 * DAY).try_into().unwrap()));
        let request = alone.client.req(Method::Get, "/api/cron/sync-subscriptions").header(bearer(CRON_SECRET));
        let counted = TestResponse::of(request).await.json();
        assert_eq!((numbers(&counted["summary"]), &counted["dueSoon"]), ([0, 0, 0, 0], &json!(2)));
        assert_eq!(scene.calls(), (0, 0));
    });
}

mod long {
    use super::*;

    #[test]
    fn a_hundred_memberships_are_read_within_ten_seconds() {
        on_each_engine!(async |db: Db| {
            // One by one, which is the slowest that there is.
            let scene = Scene::at_rate(db, "20", 100, 1).await;
            scene.stumbles();
            let done = timeout(Duration::from_secs(10), scene.ask()).await.expect("it is in time");
            assert_eq!(numbers(&done["summary"]), [100, 0, 0, 0], "{done}");
        });
    }

    #[test]
    fn fifteen_hundred_memberships_are_read_in_one_run() {
        on_each_engine!(async |db: Db| {
            let scene = Scene::at_rate(db, "20", 15, 100).await;
            // Prices that list nobody, as those that were made elsewhere.
            let mut tx = scene.app.inner.begin_write().await.unwrap();
            tx.sql("UPDATE pods SET price_id = NULL").run().await.unwrap();
            tx.commit().await.unwrap();
            scene.stumbles();
            let done = scene.ask().await;
            assert_eq!(numbers(&done["summary"]), [1500, 0, 0, 0], "{done}");
            let (lists, reads) = scene.calls();
            assert!(lists == 0 && (1600..1750).contains(&reads), "each once, and once more for each fault: {reads}");
        });
    }
}
