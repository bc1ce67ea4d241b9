//! What webhooks did not bring, against a stateful Stripe, on both engines.

mod walk;

use std::future::{pending, ready};
use std::sync::{Arc, Mutex};

use chrono::Duration;
use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_domain::reconciliation as runs;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::{PLANS, TEAM_MONTHLY};
use tollgate_tests::stripe::rest::{Api, Fault, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Checkout, DAY, Event, Stripe};

use super::*;
use crate::on_each_engine;
use crate::testing::{START, TestApp, config_with_plans};
use crate::webhooks::routes::INTAKE_PATH;

/// Longer than events may be on their way.
const A_WHILE: i64 = 600;

/// Stripe, and the application that hears of some of what happens there.
struct Scene {
    app: TestApp,
    api: Api,
    /// How much of what happened was sent, or lost.
    told: usize,
}

impl Scene {
    async fn on(db: Db) -> Self {
        Self::with(db, Stripe::fresh(), &[]).await
    }

    /// With some variables more.
    async fn with(db: Db, mut stripe: Stripe, variables: &[(&str, &str)]) -> Self {
        stripe.now = START;
        let api = Api::start(&stripe).await;
        let own = [
            ("STRIPE_SECRET_KEY", SECRET_KEY),
            ("STRIPE_API_BASE", &*api.base),
            ("STRIPE_RATE_LIMIT", "1000"),
            ("APP_URL", "https://app.example.com"),
        ];
        let config = Arc::new(config_with_plans(PLANS, &[&own, variables].concat()));
        let clock = Clock::manual(from_unix(START).unwrap());
        let app = TestApp::of(App::new(config, db, clock, Rng::seeded(1))).await;
        Self { app, api, told: 0 }
    }

    /// The next events, whether they come or not.
    fn happened(&mut self) -> Vec<Event> {
        let events = self.api.change(|stripe| stripe.events_since(self.told, ApiVersion::Endive));
        self.told = self.api.change(|stripe| stripe.occurrences.len());
        events
    }

    async fn hear(&mut self) {
        for event in self.happened() {
            let taken = self.app.post(INTAKE_PATH, &event.json()).await;
            assert_eq!(taken.status, 200, "{taken:?}");
        }
    }

    /// Loses what happened meanwhile.
    fn hear_nothing(&mut self) {
        self.happened();
    }

    /// Does what the job does each night; gives what it says of it.
    async fn night(&self) -> Value {
        let said = Mutex::new(Value::Null);
        let say = |summary: &nightly::Summary| *said.lock().unwrap() = serde_json::to_value(summary).unwrap();
        nightly::run(&self.app.inner, &self.app.inbox, say).await.unwrap();
        said.into_inner().unwrap()
    }

    fn now(&self) -> i64 {
        self.api.change(|stripe| stripe.now)
    }

    /// Lets time go by, for both sides.
    fn pass(&self, seconds: i64) {
        self.api.change(|stripe| {
            stripe.pass(seconds);
        });
        let now = from_unix(self.now()).unwrap();
        let clock = &self.app.inner.clock;
        clock.advance((now - clock.now()).to_std().unwrap());
    }

    fn subscriber(&self) -> (String, String) {
        self.api.change(|stripe| {
            let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_1"));
            let (subscription, _) = stripe.checkout(&customer, &Checkout::default());
            (customer, subscription)
        })
    }

    fn reconciliation(&self, mends: bool) -> Reconciliation {
        let app = self.app.inner.clone();
        Reconciliation { stripe: app.stripe.clone().unwrap(), inbox: self.app.inbox.clone(), app, mends }
    }

    fn new_run(&self) -> Run {
        let app = &self.app.inner;
        let accounts: Vec<_> = app.config.stripe.accounts.iter().cloned().collect();
        Run::new("a test's", app.clock.now(), None, app.config.webhook_events_kept, &accounts)
    }

    /// All that is found, a line each, in order.
    async fn found(&self, mends: bool) -> Vec<String> {
        let (mut run, mut lines) = (self.new_run(), Vec::new());
        let say = |_: &Run, found: &[Finding]| lines.extend(found.iter().map(ToString::to_string));
        let ended = self.reconciliation(mends).go_on(&mut run, say, pending()).await;
        assert!(matches!(ended, Ended::Complete), "{ended:?}");
        let unmended = if mends { 0 } else { lines.len() };
        assert_eq!((run.found, run.unmended), (count(lines.len()), count(unmended)), "{lines:?}");
        lines.sort();
        lines
    }

    async fn shown(&self, customer: &str) -> Value {
        self.app.get(&format!("/v1/customers/{customer}")).await.json()
    }

    /// What of a customer is not here as it is at Stripe, but for the widget's content, which no stories know.
    async fn wrong(&self, customer: &str) -> Vec<String> {
        let shown = self.shown(customer).await;
        let mut wrong = self.api.change(|stripe| stripe.differences(customer, &shown));
        wrong.retain(|difference| !difference.starts_with(".widgets[0].config"));
        wrong
    }

    async fn assert_is_right(&self, customer: &str) {
        let wrong = self.wrong(customer).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn what_never_came_is_found_and_brought() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let (known, subscription) = scene.subscriber();
        scene.hear().await;
        scene.pass(60);
        let (unknown, _) = scene.subscriber();
        scene.api.change(|stripe| stripe.schedule_cancel(&subscription));
        scene.pass(A_WHILE);
        let lost = scene.happened();
        let before = scene.shown(&known).await;

        let found = scene.found(false).await;
        let ends = format!("{subscription} cancelAtPeriodEnd: false here, true at Stripe");
        assert!(found.contains(&ends), "{found:#?}");
        for event in lost.iter().filter(|event| event.event_type.starts_with("invoice.")) {
            let line = format!(
                "{} {} of {}: never came",
                event.id,
                event.event_type,
                event.json()["data"]["object"]["id"].as_str().unwrap()
            );
            assert!(found.contains(&line), "{line} in {found:#?}");
        }
        assert_eq!(scene.shown(&known).await, before, "it was only looked");
        assert_eq!(scene.app.get(&format!("/v1/customers/{unknown}")).await.status, 404);
        assert_eq!(scene.found(false).await, found);

        let mended = scene.found(true).await;
        assert!(!mended.is_empty() && mended.iter().all(|line| line.ends_with("; mended")), "{mended:#?}");
        scene.assert_is_right(&known).await;
        scene.assert_is_right(&unknown).await;
        assert_eq!(scene.found(false).await, Vec::<String>::new());
        assert_eq!(scene.api.changes(), [], "it only reads");
    });
}

#[test]
fn what_is_wrong_without_an_event_is_found_by_its_object() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let (customer, subscription) = scene.subscriber();
        scene.hear().await;
        scene.pass(60);
        let invoice = scene.api.change(|stripe| {
            stripe.upgrade(&subscription, &TEAM_MONTHLY);
            stripe.latest_invoice(&subscription)
        });
        scene.happened();
        // By then Stripe lists the events no more.
        scene.pass(31 * DAY);
        let found = scene.found(false).await;
        assert!(found.contains(&format!("{invoice}: not here, paid at Stripe")), "{found:#?}");
        assert!(
            found.contains(&format!("{subscription} planId: pro_monthly here, team_monthly at Stripe")),
            "{found:#?}"
        );
        assert_eq!(scene.found(true).await.len(), found.len());
        assert_eq!(scene.found(true).await, Vec::<String>::new());
        let shown = scene.shown(&customer).await;
        assert_eq!((&shown["tier"], &shown["payments"]["paidInvoices"][1]), (&"team".into(), &invoice.into()));
    });
}

#[test]
fn what_connected_accounts_have_is_brought_too() {
    on_each_engine!(async |db| {
        let scene = Scene::with(db, Stripe::fresh(), &[("STRIPE_ACCOUNTS", "acct_ours")]).await;
        let (own, _) = scene.subscriber();
        let mut there = Stripe::fresh();
        there.now = START;
        let customer = there.sign_up("bob@example.com", "Bob", Some("user_2"));
        let (subscription, _) = there.checkout(&customer, &Checkout::default());
        scene.api.connect("acct_ours", &there);
        scene.api.connect("acct_of_nobody", &there);
        scene.pass(A_WHILE);
        let found = scene.found(true).await;
        assert!(found.iter().any(|line| line.contains(&subscription)), "{found:#?}");
        scene.assert_is_right(&own).await;
        let shown = scene.shown(&customer).await;
        let mut wrong = scene.api.change_in("acct_ours", |stripe| stripe.differences(&customer, &shown));
        wrong.retain(|difference| !difference.starts_with(".widgets[0].config"));
        assert_eq!(wrong, Vec::<String>::new());
        let mut tx = scene.app.inner.read().await.unwrap();
        let sql = "SELECT DISTINCT account FROM subscriptions ORDER BY account";
        let mut accounts: Vec<(Option<String>,)> = tx.sql(sql).all().await.unwrap();
        accounts.sort();
        assert_eq!(accounts, [(None,), (Some("acct_ours".to_owned()),)]);
        drop(tx);

        // What has no event any more is found by its object, in its account.
        scene.api.change_in("acct_ours", |stripe| {
            stripe.pass(A_WHILE).schedule_cancel(&subscription);
            stripe.pass(31 * DAY);
        });
        scene.pass(31 * DAY);
        let ends = format!("{subscription} cancelAtPeriodEnd: false here, true at Stripe; mended");
        let found = scene.found(true).await;
        assert!(found.contains(&ends), "{found:#?}");
        assert_eq!(scene.found(false).await, Vec::<String>::new());
    });
}

#[test]
fn what_a_webhook_brought_meanwhile_stands() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let (_, subscription) = scene.subscriber();
        scene.pass(A_WHILE);
        let before = scene.api.change(|stripe| stripe.clone());
        scene.api.change(|stripe| stripe.upgrade(&subscription, &TEAM_MONTHLY));
        scene.hear().await;
        // What was read just before, and answered in the very second of the change.
        scene.api.is_now(&before);
        assert_eq!(scene.found(true).await, Vec::<String>::new());
    });
}

#[test]
fn a_run_that_is_stopped_or_fails_goes_on_where_it_was() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        scene.api.change(|stripe| {
            for number in 0..450 {
                stripe.sign_up(&format!("{number}@example.com"), "Ada", None);
                stripe.pass(1);
            }
        });
        scene.happened();
        scene.pass(A_WHILE);
        let (mut run, mut lines) = (scene.new_run(), Vec::new());
        let stopped =
            scene.reconciliation(true).go_on(&mut run, |_, found| lines.extend(found.to_vec()), ready(())).await;
        assert!(matches!(stopped, Ended::Stopped), "{stopped:?}");
        assert!(run.objects < 450 && !run.remaining.is_empty(), "{run:?}");

        scene.api.fault(&[Fault::Status(403)]);
        let failed =
            scene.reconciliation(true).go_on(&mut run, |_, found| lines.extend(found.to_vec()), pending()).await;
        assert!(matches!(failed, Ended::Failed(Failure::Call(_))), "{failed:?}");

        let mut tx = scene.app.inner.read().await.unwrap();
        let mut kept = runs::newest(&mut tx, &run.name).await.unwrap().unwrap();
        drop(tx);
        assert_eq!(kept, run);
        assert!(kept.goes_on(scene.app.inner.clock.now() + Duration::hours(1), None));
        let ended =
            scene.reconciliation(true).go_on(&mut kept, |_, found| lines.extend(found.to_vec()), pending()).await;
        assert!(matches!(ended, Ended::Complete), "{ended:?}");
        assert_eq!((kept.objects, kept.found, lines.len()), (450, 450, 450), "each once");
        assert!(kept.ended_at.is_some() && !kept.goes_on(scene.app.inner.clock.now(), None));
    });
}

#[test]
fn an_event_that_is_listed_no_more_holds_nothing_up() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let (_, _) = scene.subscriber();
        scene.pass(A_WHILE);
        let mut run = scene.new_run();
        for stretch in &mut run.remaining.0 {
            stretch.after = Some("evt_that_is_gone".to_owned());
        }
        let ended = scene.reconciliation(true).go_on(&mut run, |_, _| (), pending()).await;
        assert!(matches!(ended, Ended::Complete), "{ended:?}");
        assert_eq!(scene.found(false).await, Vec::<String>::new());
    });
}

#[test]
fn each_night_brings_what_webhooks_did_not_since_the_night_before() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let (before, _) = scene.subscriber();
        scene.pass(DAY);
        assert_eq!(scene.night().await, json!({ "compared": 0, "found": 0, "mended": 0, "complete": true }));
        assert_eq!(scene.api.asked(), Vec::<String>::new(), "what was before is an operator's to bring");

        let (lost, subscription) = scene.subscriber();
        scene.hear_nothing();
        let (known, _) = scene.subscriber();
        scene.hear().await;
        scene.pass(DAY);
        let young = scene.subscriber().0;
        scene.hear_nothing();
        let told = scene.night().await;
        assert!(told["found"].as_i64() > Some(0) && told["mended"] == told["found"], "{told}");
        assert_eq!(told["complete"], true);
        scene.assert_is_right(&lost).await;
        scene.assert_is_right(&known).await;
        for customer in [&before, &young] {
            assert_eq!(scene.app.get(&format!("/v1/customers/{customer}")).await.status, 404, "{customer}");
        }

        // A night that fails is made up for by the next one.
        scene.api.change(|stripe| stripe.schedule_cancel(&subscription));
        scene.hear_nothing();
        scene.pass(DAY);
        scene.api.fault(&[Fault::Status(403)]);
        assert_eq!(scene.night().await["complete"], false);
        scene.pass(DAY);
        assert_eq!(scene.night().await["complete"], true);
        scene.assert_is_right(&lost).await;
        scene.assert_is_right(&young).await;
        scene.pass(DAY);
        assert_eq!(scene.night().await["found"], 0);
    });
}
