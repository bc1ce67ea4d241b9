//! Nobody pays twice: whatever is late, lost or pressed at once, by how many names, tabs and devices.

use std::time::Duration;

use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_db::{DbError, Moment};
use tollgate_domain::apply::Touched;
use tollgate_domain::idempotency::turns;
use tollgate_tests::stripe::rest::Fault;
use tollgate_tests::stripe::{Buyer, NewCard};

use super::*;
use crate::on_each_engine;

const CHECKOUT: &str = "/api/stripe/checkout/create";
const SUBSCRIBE: &str = "/api/stripe/subscriptions";

fn plan(id: &str) -> Value {
    json!({ "planId": id })
}

impl Scene {
    /// The session that a user is sent to.
    async fn opened(&self, user: &str, plan_id: &str, key: Option<&str>) -> String {
        let opened = self.press_as(user, CHECKOUT, &plan(plan_id), key).await;
        assert_eq!(opened.status, 200, "{opened:?}");
        opened.json()["sessionId"].as_str().unwrap().to_owned()
    }

    /// Somebody pays there. Nobody has told the application.
    fn goes_through(&self, session: &str) {
        self.api.change(|stripe| {
            let card = Some(NewCard { brand: "visa", last4: "4242".to_owned() });
            let email = Some("grace@example.com".to_owned());
            let buyer = Buyer { email, name: None, card, has_confirmed: false, coupon: None };
            stripe.complete_session(session, &buyer).unwrap();
            stripe.pass(60);
        });
    }

    fn status_of_session(&self, id: &str) -> &'static str {
        self.api.change(|stripe| stripe.sessions[id].status)
    }

    /// How many subscriptions of a user's could be paid for, or are.
    fn going_on(&self, user: &str) -> usize {
        self.api.change(|stripe| {
            let theirs = |row: &str| stripe.customers[row].metadata.get("user_id").is_some_and(|own| own == user);
            let named = |user_id: Option<&String>| user_id.is_some_and(|own| own == user);
            let all = stripe.subscriptions.values().filter(|row| !row.status.is_final());
            all.filter(|row| theirs(&row.customer) || named(row.metadata.get("user_id"))).count()
        })
    }

    async fn tier_of(&self, user: &str) -> Value {
        let user = signed_in_for_long(user);
        self.app.as_user(Method::Get, "/api/subscriptions/current", &user).await.json()["tier"].clone()
    }
}

#[test]
fn who_has_paid_and_presses_again_does_not_pay_twice() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let session = scene.opened("user_2", "team_monthly", None).await;
        scene.goes_through(&session);
        for key in [None, Some("a"), Some("b")] {
            for plan_id in ["team_monthly", "pro_monthly"] {
                for path in [CHECKOUT, SUBSCRIBE] {
                    let key = key.map(|key| format!("{key} {plan_id}"));
                    let again = scene.press_as("user_2", path, &plan(plan_id), key.as_deref()).await;
                    assert_eq!(again.refusal(), refusal("already_subscribed", 409), "{path} {plan_id}");
                }
            }
        }
        assert_eq!(scene.tier_of("user_2").await, "team", "what was bought is known by that");
        let session = scene.opened("user_3", "lifetime", None).await;
        scene.goes_through(&session);
        let again = scene.press_as("user_3", CHECKOUT, &plan("lifetime"), Some("c")).await;
        assert_eq!(again.refusal(), refusal("already_subscribed", 409));
        assert_eq!(scene.api.change(|stripe| stripe.sessions.len()), 3, "and nothing else can be paid for");
    });
}

#[test]
fn what_was_bought_and_has_ended_is_bought_anew() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let first = scene.opened("user_2", "team_monthly", None).await;
        scene.goes_through(&first);
        let end = |scene: &Scene, session: &str| {
            scene.api.change(|stripe| {
                let subscription = stripe.sessions[session].subscription.clone().unwrap();
                stripe.cancel(&subscription);
                stripe.pass(60);
            });
        };
        end(&scene, &first);
        let second = scene.opened("user_2", "team_monthly", None).await;
        assert_ne!(first, second);
        scene.goes_through(&second);
        scene.hear().await;
        end(&scene, &second);
        scene.hear().await;
        let third = scene.opened("user_2", "team_monthly", None).await;
        assert!(![&first, &second].contains(&&third));
    });
}

#[test]
fn a_payment_that_takes_days_is_waited_for() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let session = scene.opened("user_2", "lifetime", None).await;
        let payment = scene.api.change(|stripe| {
            let customer = stripe.sign_up("grace@example.com", "Grace", None);
            let later = stripe.pay_once_later(&customer, 29900, "usd");
            let intent = stripe.intent_of(&later);
            let row = stripe.sessions.get_mut(&session).unwrap();
            (row.status, row.payment_status, row.customer) = ("complete", "unpaid", customer);
            row.payment_intent = Some(intent);
            later
        });
        for key in [None, Some("a")] {
            let again = scene.press_as("user_2", CHECKOUT, &plan("lifetime"), key).await;
            assert_eq!(again.refusal(), refusal("already_subscribed", 409));
        }
        scene.api.change(|stripe| stripe.async_payment_fails(&payment));
        assert_ne!(scene.opened("user_2", "lifetime", Some("b")).await, session);
    });
}

#[test]
fn of_two_tills_one_is_open() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let first = scene.opened("user_2", "team_monthly", Some("a")).await;
        for key in [None, Some("b"), Some("c")] {
            assert_eq!(scene.opened("user_2", "team_monthly", key).await, first, "{key:?}");
        }
        let other = scene.opened("user_2", "pro_monthly", Some("d")).await;
        assert_eq!((scene.status_of_session(&first), scene.status_of_session(&other)), ("expired", "open"));
        // At two devices at once, and two replicas.
        let replica = TestApp::of(scene.app.inner.clone()).await;
        let (team, pro) = (plan("team_monthly"), plan("pro_monthly"));
        let (one, two) = join!(
            scene.press_as("user_2", CHECKOUT, &team, Some("e")),
            press_on(&replica, "user_2", CHECKOUT, &pro, Some("f"))
        );
        assert_eq!((one.status, two.status), (200, 200), "{one:?} {two:?}");
        let open = scene.api.change(|stripe| stripe.sessions.values().filter(|row| row.status == "open").count());
        assert_eq!(open, 1);
        // Nor beside what is bought without a till.
        let made = scene.press_as("user_2", SUBSCRIBE, &team, None).await;
        assert_eq!(made.status, 201, "{made:?}");
        let open = scene.api.change(|stripe| stripe.sessions.values().filter(|row| row.status == "open").count());
        assert_eq!(open, 0);
    });
}

#[test]
fn a_till_that_cannot_be_closed_is_looked_at_again() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let first = scene.opened("user_2", "team_monthly", None).await;
        // The price and the session are read; then somebody is just going through.
        scene.api.fault_after(2, &[Fault::Status(400)]);
        let other = scene.opened("user_2", "pro_monthly", None).await;
        assert_eq!((scene.status_of_session(&first), scene.status_of_session(&other)), ("expired", "open"));
    });
}

#[test]
fn two_devices_subscribe_once() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let customer = scene.api.change(|stripe| {
            let customer = stripe.sign_up("bob@example.com", "Bob", Some("user_2"));
            stripe.change_card(&customer, "visa", "4242");
            customer
        });
        scene.hear().await;
        let replica = TestApp::of(scene.app.inner.clone()).await;
        let (team, pro) = (plan("team_monthly"), plan("pro_monthly"));
        let (one, two) = join!(
            scene.press_as("user_2", SUBSCRIBE, &team, Some("a")),
            press_on(&replica, "user_2", SUBSCRIBE, &pro, Some("b"))
        );
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{one:?} {two:?}");
        let theirs = scene.api.change(|stripe| stripe.running_subscriptions(&customer).len());
        assert_eq!(theirs, 1);
    });
}

#[test]
fn what_could_not_be_written_is_not_bought_again() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        scene.api.change(|stripe| {
            let customer = stripe.sign_up("bob@example.com", "Bob", Some("user_2"));
            stripe.change_card(&customer, "visa", "4242");
        });
        scene.hear().await;
        let faults = Arc::clone(&scene.faults);
        let fail = move || faults.arm(1, Moment::Before, DbError::Unavailable { reason: "cut off".into() });
        // Its subscriptions, the price, and the one that does it.
        scene.api.after(3, fail);
        let made = scene.press_as("user_2", SUBSCRIBE, &plan("team_monthly"), Some("a")).await;
        assert_eq!((made.status, &made.json()["pending"]), (202, &json!(true)), "{made:?}");
        scene.faults.disarm();
        let other = scene.press_as("user_2", SUBSCRIBE, &plan("pro_monthly"), Some("b")).await;
        assert_eq!(other.refusal(), refusal("already_subscribed", 409));
        let till = scene.press_as("user_2", CHECKOUT, &plan("team_monthly"), Some("c")).await;
        assert_eq!(till.refusal(), refusal("already_subscribed", 409));
        assert_eq!((scene.going_on("user_2"), scene.tier_of("user_2").await), (1, json!("team")));
    });
}

#[test]
fn a_process_that_died_at_its_turn_is_succeeded() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let id = turns::id_of("user_2");
        let touched = Touched::request(&id);
        scene.app.inner.write(&touched, |work| turns::begin(work, &id, "another one")).await.unwrap();
        scene.app.inner.clock.advance(Duration::from_secs(30));
        let made = scene.press_as("user_2", SUBSCRIBE, &plan("team_monthly"), None).await;
        assert_eq!(made.status, 201, "{made:?}");
    });
}

#[test]
fn of_what_waits_for_its_first_payment_one_waits() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let press = async |path: &str, plan_id: &str| scene.press_as("user_2", path, &plan(plan_id), None).await;
        let first = press(SUBSCRIBE, "team_monthly").await.json();
        let again = press(SUBSCRIBE, "team_monthly").await;
        assert_eq!((again.status, again.json()), (201, first.clone()), "what confirms it is shown again");
        assert!(first["clientSecret"].is_string(), "{first}");
        let other = press(SUBSCRIBE, "pro_monthly").await.json();
        assert_eq!((&other["subscription"]["planId"], scene.going_on("user_2")), (&json!("pro_monthly"), 1));
        let id = first["subscription"]["stripeSubscriptionId"].as_str().unwrap().to_owned();
        let owes = scene.api.change(|stripe| stripe.owes(&id));
        assert!(!owes, "nobody can pay for it any more");
        // Paid meanwhile, of which nobody has told.
        let id = other["subscription"]["stripeSubscriptionId"].as_str().unwrap().to_owned();
        later(&scene);
        scene.api.change(|stripe| stripe.first_payment_succeeds(&id));
        assert_eq!(press(SUBSCRIBE, "team_monthly").await.refusal(), refusal("already_subscribed", 409));
        assert_eq!(press(CHECKOUT, "team_monthly").await.refusal(), refusal("already_subscribed", 409));
        assert_eq!(scene.tier_of("user_2").await, "pro");
    });
}

#[test]
fn a_till_is_opened_for_who_has_not_confirmed_a_payment() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let made = scene.press_as("user_2", SUBSCRIBE, &plan("team_monthly"), None).await;
        assert_eq!(made.status, 201);
        later(&scene);
        scene.opened("user_2", "team_monthly", None).await;
        assert_eq!(scene.going_on("user_2"), 0);
    });
}
