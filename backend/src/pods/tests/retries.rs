//! Tries of what is overdue, against a stateful Stripe whose clock and ours go together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rocket::http::{ContentType, Method};
use serde_json::{Value, json};
use tollgate_db::{Db, Engine};
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::PLANS;
use tollgate_tests::stripe::rest::{Api, Fault, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Stripe};

use super::joining::signed_in;
use super::{DAY, ajo, day, id_of};
use crate::app::App;
use crate::on_each_engine;
use crate::pods::tries;
use crate::schema::MIGRATIONS;
use crate::stripe_api::Timeouts;
use crate::testing::{CRON_SECRET, START, TestApp, TestResponse, bearer, config_with_plans};

const HOUR: i64 = 3600;

/// The first payment fails so long after the start: a draft is open for an hour.
const FIRST: i64 = 7 * DAY + HOUR;

/// A member of a pod, Stripe, and the replicas between them.
pub(super) struct Scene {
    apps: Vec<TestApp>,
    pub(super) api: Api,
    clock: Clock,
    told: usize,
    version: ApiVersion,
    pub(super) pod: String,
    user: String,
    customer: String,
}

impl Scene {
    /// Somebody is a member of a weekly pod that begins in a week; their card ends so.
    pub(super) async fn of(db: Db, owner: &str, last4: &str) -> Self {
        Self::with_grace(db, owner, last4, 7).await
    }

    /// With so many days of grace.
    async fn with_grace(db: Db, owner: &str, last4: &str, grace_days: i64) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let user = format!("user_{}", hex::encode(Rng::system().bytes::<4>()));
        let customer = stripe.sign_up("ada@example.com", "Ada", Some(&user));
        stripe.change_card(&customer, "visa", "4242");
        let api = Api::start(&stripe).await;
        let variables = [
            ("STRIPE_SECRET_KEY", SECRET_KEY),
            ("STRIPE_API_BASE", &*api.base),
            ("POD_RETRIES", owner),
            ("STRIPE_RATE_LIMIT", "1000"),
        ];
        let config = Arc::new(config_with_plans(PLANS, &variables));
        let clock = Clock::manual(from_unix(START).unwrap());
        let mut apps = Vec::new();
        let databases = match db.engine() {
            Engine::Postgres => vec![Db::open(db.url(), &MIGRATIONS).unwrap(), db],
            Engine::Sqlite => vec![db],
        };
        for (number, db) in databases.into_iter().enumerate() {
            let mut app = App::new(config.clone(), db, clock.clone(), Rng::seeded(1 + number as u64));
            let [attempt, user, background] = [3000, 10_000, 20_000].map(Duration::from_millis);
            app.stripe = app
                .stripe
                .map(|stripe| stripe.with_timeouts(Timeouts { attempt, user, background, ..Timeouts::default() }));
            apps.push(TestApp::of(app).await);
        }
        let version = ApiVersion::Endive;
        let mut scene = Self { apps, api, clock, told: 0, version, pod: String::new(), user, customer };
        scene.hear().await;
        let mut pod = ajo();
        pod["firstContributionDate"] = json!(day(7));
        pod["graceDays"] = json!(grace_days);
        scene.pod = id_of(&scene.press("user_1", "/api/pods", &pod).await.json());
        let joined = scene.press(&scene.user, &format!("/api/pods/{}/join", scene.pod), &json!({})).await;
        assert_eq!(joined.status, 201, "{joined:?}");
        scene.card(last4);
        scene.hear().await;
        scene
    }

    /// Another card is charged from now on.
    fn card(&self, last4: &str) -> String {
        let customer = self.customer.clone();
        self.api.change(|stripe| stripe.change_card(&customer, "visa", last4))
    }

    pub(super) fn app(&self) -> &TestApp {
        &self.apps[0]
    }

    pub(super) async fn hear(&mut self) {
        let version = self.version;
        let events = self.api.change(|stripe| stripe.events_since(self.told, version));
        self.told = self.api.change(|stripe| stripe.occurrences.len());
        self.app().take_all(&events).await;
    }

    async fn press(&self, user: &str, path: &str, body: &Value) -> TestResponse {
        let request = self.app().client.req(Method::Post, path.to_owned()).header(signed_in(user, "user"));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    /// Both clocks go on to so many seconds after the start, and what happened at Stripe is heard of.
    pub(super) async fn at(&mut self, seconds: i64) {
        let passed = START + seconds - self.clock.now().timestamp();
        self.clock.advance(Duration::from_secs(passed.try_into().expect("time does not go back")));
        self.api.change(|stripe| {
            stripe.advance_to(START + seconds);
        });
        self.hear().await;
    }

    /// Every replica looks for what is due, thrice at once, and schedulers ask for the job beside them. What they did is heard.
    async fn work(&mut self) {
        let by_timers =
            self.apps.iter().flat_map(|app| [app; 3]).map(|app| async { tries::run(&app.inner).await.map(drop) });
        let by_schedulers = self.apps.iter().flat_map(|app| ["retry-events", "expiration-check"].map(|job| (app, job)));
        let by_schedulers = by_schedulers.map(|(app, job)| async move {
            let request = app.client.req(Method::Post, format!("/api/cron/{job}")).header(bearer(CRON_SECRET));
            TestResponse::of(request).await.status
        });
        let (done, asked) = tokio::join!(join_all(by_timers), join_all(by_schedulers));
        assert!(done.iter().all(Result::is_ok) && asked.iter().all(|status| *status == 200), "{done:?} {asked:?}");
        self.hear().await;
    }

    /// Hours go by until so many seconds after the start; each time all work.
    async fn until(&mut self, seconds: i64) {
        while START + seconds > self.clock.now().timestamp() {
            let next = self.clock.now().timestamp() - START + HOUR;
            self.at(next.min(seconds)).await;
            self.work().await;
        }
    }

    /// Hours after the first failure at which Stripe was asked to pay, and those at which it tried by itself.
    fn attempts(&self) -> (Vec<i64>, Vec<i64>) {
        self.api.change(|stripe| {
            let hours = |is_by_call| {
                let of_kind = stripe.attempts.iter().filter(move |attempt| attempt.is_by_call == is_by_call);
                of_kind.map(|attempt| (attempt.at - START - FIRST) / HOUR).collect()
            };
            (hours(true), hours(false))
        })
    }

    /// Keys of what changed an invoice, with how often each came.
    fn keys(&self) -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for asked in self.api.changes().into_iter().filter(|asked| asked.call.contains("/v1/invoices/")) {
            let key = asked.key.expect("it has a key");
            let rest = key.splitn(3, ':').nth(2).expect("it names what it is for").to_owned();
            *keys.entry(rest).or_default() += 1;
        }
        keys
    }

    pub(super) async fn member(&self) -> Value {
        self.app().get(&format!("/v1/pods/mine?userId={}", self.user)).await.json()["data"][0].clone()
    }

    pub(super) async fn contribution(&self) -> Value {
        self.contributions().await.into_iter().next().expect("something was owed")
    }

    /// What was owed, the first first.
    async fn contributions(&self) -> Vec<Value> {
        let path = format!("/api/pods/{}/contributions", self.pod);
        let listed = self.app().as_user(Method::Get, &path, &signed_in(&self.user, "user")).await.json();
        listed["data"].as_array().unwrap().iter().rev().cloned().collect()
    }
}

fn time(seconds: i64) -> Value {
    json!(rfc3339(from_unix(START + seconds).unwrap()))
}

#[test]
fn ours_are_the_only_tries_after_the_first_failure() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::of(db, "tollgate", "9995").await;
        scene.at(FIRST).await;
        assert_eq!(scene.contribution().await["nextAttemptAt"], time(FIRST + HOUR));
        scene.work().await;
        assert_eq!(scene.keys(), BTreeMap::from([("take".to_owned(), 1)]));
        let member = scene.member().await;
        assert_eq!((&member["status"], &member["attempts"]), (&json!("past_due"), &json!(1)));
        assert_eq!((&member["nextAttemptAt"], &member["graceEndsAt"]), (&time(FIRST + HOUR), &time(FIRST + 7 * DAY)));
        assert_eq!(member["failureCode"], "insufficient_funds");
        scene.until(FIRST + 60 * HOUR).await;
        assert_eq!(scene.attempts(), (vec![1, 3, 7, 15, 31, 55], vec![0]));
        assert_eq!(scene.contribution().await["attempts"], 7);
        scene.until(FIRST + 7 * DAY + HOUR).await;
        let (ours, stripes) = scene.attempts();
        assert_eq!(ours, [1, 3, 7, 15, 31, 55, 79, 103, 127, 151], "ten, and none after the grace");
        // The next date has come meanwhile, and is another invoice.
        assert_eq!(stripes, [0, 7 * 24]);
        let member = scene.member().await;
        assert_eq!((&member["status"], &member["nextAttemptAt"]), (&json!("failed"), &Value::Null));
        let tries = (1..=10).map(|number| format!("try:{number}"));
        let once = tries.chain(["take", "stop"].map(str::to_owned)).map(|key| (key, 1)).collect();
        assert_eq!(scene.keys(), once, "the second one is stopped: its grace was over before it failed");
    });
}

#[test]
fn a_card_that_works_again_pays_at_the_next_try() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::of(db, "tollgate", "9995").await;
        scene.at(FIRST).await;
        scene.work().await;
        scene.until(FIRST + 2 * HOUR).await;
        scene.card("4242");
        scene.until(FIRST + 10 * HOUR).await;
        assert_eq!(scene.attempts(), (vec![1, 3], vec![0]));
        let (member, paid) = (scene.member().await, scene.contribution().await);
        assert_eq!((&member["status"], &member["totalContributed"]), (&json!("active"), &json!(5000)));
        assert_eq!(
            (&paid["status"], &paid["attempts"], &paid["nextAttemptAt"]),
            (&json!("succeeded"), &json!(3), &Value::Null)
        );
        assert_eq!((&paid["failureCode"], &member["graceEndsAt"]), (&Value::Null, &Value::Null));
    });
}

#[test]
fn stripes_own_tries_go_on_until_the_grace_is_over() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::of(db, "stripe", "9995").await;
        scene.at(FIRST).await;
        scene.work().await;
        assert_eq!(scene.keys(), BTreeMap::new());
        assert_eq!(scene.member().await["nextAttemptAt"], time(FIRST + 3 * DAY), "as Stripe says");
        scene.until(FIRST + 7 * DAY - HOUR).await;
        assert_eq!((scene.attempts(), scene.keys()), ((vec![], vec![0, 72]), BTreeMap::new()));
        assert_eq!(scene.member().await["nextAttemptAt"], time(FIRST + 8 * DAY));
        scene.until(FIRST + 7 * DAY).await;
        // The next date has come meanwhile, and its invoice has failed too.
        assert_eq!(scene.keys(), BTreeMap::from([("stop".to_owned(), 2)]));
        let (member, owed) = (scene.member().await, scene.contribution().await);
        assert_eq!((&member["status"], &owed["nextAttemptAt"]), (&json!("failed"), &Value::Null));
        scene.until(FIRST + 9 * DAY).await;
        let of_first = scene.api.change(|stripe| {
            let first = stripe.attempts[0].invoice.clone();
            stripe.attempts.iter().filter(|attempt| attempt.invoice == first).count()
        });
        assert_eq!((scene.attempts().0.len(), of_first), (0, 2), "none of ours, and Stripe's have ended");
    });
}

#[test]
fn a_refusal_for_good_is_not_tried_until_the_card_changes() {
    for version in [ApiVersion::Endive, ApiVersion::Basil, ApiVersion::V2024_06_20] {
        on_each_engine!(async |db: Db| {
            let mut scene = Scene::of(db, "tollgate", "9987").await;
            scene.version = version;
            scene.at(FIRST).await;
            scene.until(FIRST + 20 * HOUR).await;
            assert_eq!(scene.attempts(), (vec![], vec![0]), "{version:?}");
            let member = scene.member().await;
            assert_eq!((&member["failureCode"], &member["nextAttemptAt"]), (&json!("lost_card"), &Value::Null));
            scene.card("9979");
            scene.hear().await;
            scene.work().await;
            assert_eq!(scene.attempts().0, [20], "one, at once");
            scene.until(FIRST + 40 * HOUR).await;
            assert_eq!(scene.attempts().0, [20], "that one was stolen");
            scene.card("4242");
            scene.hear().await;
            scene.work().await;
            assert_eq!((scene.attempts().0, scene.member().await["status"].clone()), (vec![20, 40], json!("active")));
        });
    }
}

#[test]
fn a_try_that_gets_no_answer_is_made_again_under_its_key() {
    for faults in [
        vec![Fault::Status(429)],
        vec![Fault::Status(500), Fault::Status(500), Fault::Status(500)],
        vec![Fault::AnswerLost, Fault::Silent, Fault::Silent],
    ] {
        on_each_engine!(async |db: Db| {
            let mut scene = Scene::of(db, "tollgate", "9995").await;
            scene.at(FIRST).await;
            scene.work().await;
            scene.at(FIRST + HOUR).await;
            scene.card("4242");
            scene.hear().await;
            // The invoice and its intent are read, and then it is paid.
            scene.api.fault_after(2, &faults);
            tries::run(&scene.app().inner).await.unwrap();
            assert_eq!(scene.keys().get("try:1"), Some(&faults.len()), "{faults:?}");
            assert_eq!(scene.contribution().await["attempts"], 1, "not counted");
            scene.api.recover();
            // Its event is late.
            let heard = scene.told;
            scene.clock.advance(Duration::from_secs(10));
            tries::run(&scene.app().inner).await.unwrap();
            assert_eq!(scene.keys().get("try:1"), Some(&faults.len()), "it rests");
            scene.clock.advance(Duration::from_secs(60));
            tries::run(&scene.app().inner).await.unwrap();
            assert_eq!(scene.told, heard);
            scene.hear().await;
            let (ours, _) = scene.attempts();
            let (member, paid) = (scene.member().await, scene.contribution().await);
            assert_eq!((ours.len(), scene.keys().contains_key("try:2")), (1, false), "{faults:?}");
            assert_eq!((&member["status"], &paid["status"]), (&json!("active"), &json!("succeeded")), "{faults:?}");
            assert_eq!(member["totalContributed"], 5000);
        });
    }
}

#[test]
fn a_bank_debit_that_comes_back_is_tried_twice() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::of(db, "tollgate", "4242").await;
        let customer = scene.customer.clone();
        scene.api.change(|stripe| {
            let account = stripe.attach_bank_account(&customer, "2227");
            stripe.make_default_card(&customer, &account);
        });
        scene.at(FIRST).await;
        scene.work().await;
        let (member, owed) = (scene.member().await, scene.contribution().await);
        assert_eq!((&member["status"], &member["pendingAmount"]), (&json!("active"), &json!(5000)));
        assert_eq!((&owed["status"], &owed["failureCode"]), (&json!("pending"), &Value::Null));
        scene.until(FIRST + 4 * DAY).await;
        let member = scene.member().await;
        assert_eq!((&member["status"], &member["nextAttemptAt"]), (&json!("past_due"), &time(FIRST + 5 * DAY)));
        scene.until(FIRST + 5 * DAY).await;
        assert_eq!((scene.attempts().0, scene.contribution().await["status"].clone()), (vec![120], json!("pending")));
        // A user cannot ask for what is under way.
        let retry = format!("/api/pods/{}/retry-payment", scene.pod);
        let refused = scene.press(&scene.user, &retry, &json!({})).await;
        assert_eq!(refused.refusal(), (409, "payment_in_progress".to_owned()));
        scene.until(FIRST + 9 * DAY).await;
        assert_eq!(scene.contribution().await["attempts"], 2);
        scene.until(FIRST + 10 * DAY).await;
        assert_eq!(scene.attempts().0, [120, 240]);
    });
}

#[test]
fn a_bank_debit_is_tried_no_third_time_however_long_the_grace() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::with_grace(db, "tollgate", "4242", 30).await;
        let customer = scene.customer.clone();
        scene.api.change(|stripe| {
            let account = stripe.attach_bank_account(&customer, "2227");
            stripe.make_default_card(&customer, &account);
        });
        scene.at(FIRST).await;
        // A day at a time, since a bank takes four.
        for days in 1..=28 {
            scene.at(FIRST + days * DAY + HOUR).await;
            scene.work().await;
        }
        let of_first = scene.api.change(|stripe| {
            let first = stripe.attempts[0].invoice.clone();
            let of_first = stripe.attempts.iter().filter(|attempt| attempt.invoice == first);
            of_first.map(|attempt| (attempt.at - START - FIRST) / DAY).collect::<Vec<_>>()
        });
        assert_eq!(of_first, [0, 5, 10], "Stripe's, and two of ours");
        let owed = scene.contribution().await;
        assert_eq!((&owed["status"], &owed["nextAttemptAt"]), (&json!("failed"), &Value::Null), "{owed}");
    });
}

#[test]
fn what_a_user_asks_for_moves_no_schedule() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::of(db, "tollgate", "9995").await;
        scene.at(FIRST).await;
        scene.work().await;
        scene.at(FIRST + HOUR / 2).await;
        let retry = format!("/api/pods/{}/retry-payment", scene.pod);
        let refused = scene.press(&scene.user, &retry, &json!({})).await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (402, &json!("card_declined")), "{refused:?}");
        scene.hear().await;
        let member = scene.member().await;
        assert_eq!((&member["attempts"], &member["nextAttemptAt"]), (&json!(2), &time(FIRST + HOUR)));
        scene.until(FIRST + 4 * HOUR).await;
        assert_eq!(scene.attempts().0, [0, 1, 3], "the user's, and ours");
        // Another card pays, and is charged from then on.
        let customer = scene.customer.clone();
        let other = scene.api.change(|stripe| stripe.attach_card(&customer, "visa", "4242"));
        let paid = scene.press(&scene.user, &retry, &json!({ "paymentMethodId": other })).await;
        assert_eq!((paid.status, &paid.json()["contribution"]["status"]), (200, &json!("succeeded")), "{paid:?}");
        scene.hear().await;
        assert_eq!(scene.press(&scene.user, &retry, &json!({})).await.refusal(), (409, "nothing_to_pay".to_owned()));
        let charged =
            scene.api.change(|stripe| stripe.subscriptions.values().next().unwrap().default_payment_method.clone());
        assert_eq!(charged, Some(other));
        let member = scene.member().await;
        assert_eq!((&member["status"], &member["attempts"]), (&json!("active"), &json!(0)));
        assert_eq!(scene.contribution().await["attempts"], 5);
    });
}
