//! Rounds: every membership as Stripe has it, and what is counted of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_domain::apply::Touched;
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
use crate::cron::runner::Runner;
use crate::cron::timetable;
use crate::on_each_engine;
use crate::pods::rounds;
use crate::testing::{CRON_SECRET, START, TestApp, TestResponse, bearer, config_with_plans};

/// Pods with members, all of whom have a subscription that is known here.
struct Scene {
    app: TestApp,
    api: Api,
    subscriptions: Vec<String>,
}

impl Scene {
    async fn of(db: Db, pods: usize, members_each: usize) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let api = Api::start(&stripe).await;
        let variables =
            [("STRIPE_SECRET_KEY", SECRET_KEY), ("STRIPE_API_BASE", &*api.base), ("STRIPE_RATE_LIMIT", "1000")];
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
        let request = self.app.client.req(Method::Post, "/api/cron/sync-subscriptions").header(bearer(CRON_SECRET));
        let response = TestResponse::of(request).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// Calls of Stripe's lists, and of single subscriptions.
    fn calls(&self) -> (usize, usize) {
        let asked = self.api.asked();
        let lists = asked.iter().filter(|path| *path == "/v1/subscriptions").count();
        (lists, asked.iter().filter(|path| path.starts_with("/v1/subscriptions/")).count())
    }
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
        // Each tenth answer is no good.
        for number in 0..20 {
            scene.api.fault_after(9, &[Fault::Status(if number % 2 == 0 { 429 } else { 500 })]);
        }
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
        let runner = scene.app.client.rocket().state::<Runner>().unwrap();
        timetable::go_on_with_round(runner).await.unwrap();
        assert_eq!((rounds::is_unfinished(app).await, scene.calls().1), (Ok(false), 39), "each once");
        timetable::go_on_with_round(runner).await.unwrap();
        assert_eq!(scene.calls().1, 39, "it is through");
        let listed = scene.app.look_up("/api/admin/cron").await.json();
        let job = listed["data"].as_array().unwrap().iter().find(|job| job["job"] == "sync-subscriptions").unwrap();
        assert_eq!(numbers(&job["summary"]), [39, 0, 1, 0]);
        app.clock.advance(Duration::from_secs(60));
        assert_eq!(numbers(&scene.ask().await["summary"]), [40, 0, 0, 0], "and another one begins");
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
