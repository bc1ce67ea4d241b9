//! Each route as a button, and all that can go wrong when it is pressed: a row for each route, a test for each kind of fault,
//! on both engines. What a route does when nothing goes wrong has its own tests.
//!
//! | what happens | what the user sees |
//! |---|---|
//! | all goes well | what is asked for, in `current` too, before any event |
//! | no token, an old one, a form | 401, 401, 415 |
//! | it is another one's | that there is nothing: 404, or 422 for a card |
//! | Stripe declines, or does not take our call | 402, 502; nothing is done |
//! | Stripe is down | 503 with `Retry-After`; nothing is done, and pressed again it is |
//! | Stripe is slow | 504; pressed again it is done |
//! | the answer is lost after Stripe did it | 504; pressed again, success: it was done once |
//! | our database fails after Stripe did it | 202, `pending`, and the event brings it; where nothing was done, 503 |
//! | it is pressed twice at once | success, and success or 409: it is done once |

use std::collections::BTreeSet;

use tollgate_tests::stripe::rest::{Asked, Fault};

use super::*;
use crate::billing;
use crate::on_each_engine;
use crate::stripe_api::VERSION;

/// How things stand with whoever presses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Is subscribed.
    Subscriber,
    /// Is subscribed, and has announced the end.
    Leaver,
    /// Was subscribed, and has a card.
    Former,
}

#[derive(Clone, Copy, Debug)]
struct Button {
    path: &'static str,
    /// What is sent; `CARD` stands for a card of whoever presses it.
    body: &'static str,
    who: Who,
    /// How many calls to Stripe it makes. It is the last one that does what is asked for.
    calls: usize,
    success: u16,
    /// What `current` then says, and where; none where nothing is changed.
    then: Option<(&'static str, &'static str)>,
    /// Why it cannot be done anew (409); none where it can.
    anew: Option<&'static str>,
    /// What somebody is told who has nothing; none where that is no matter.
    of_nobody: Option<(u16, &'static str)>,
    /// With what it is answered when nothing could be written after the last call.
    unwritten: u16,
}

/// One that changes a subscription.
const CHANGE: Button = Button {
    path: "",
    body: "{}",
    who: Who::Subscriber,
    calls: 1,
    success: 200,
    then: None,
    anew: None,
    of_nobody: Some((404, "no_subscription")),
    unwritten: 202,
};

/// One that changes nothing, and writes what it sees.
const SYNC: Button = Button { calls: 2, of_nobody: Some((404, "no_customer")), unwritten: 503, ..CHANGE };

const TEAM: &str = r#"{"planId": "team_monthly"}"#;

const BUTTONS: [Button; 10] = [
    Button { path: "/api/subscriptions/cancel", then: Some(("/subscription/cancelScheduled", "true")), ..CHANGE },
    Button {
        path: "/api/subscriptions/cancel",
        body: r#"{"immediately": true}"#,
        then: Some(("/subscription/status", r#""canceled""#)),
        anew: Some("already_canceled"),
        ..CHANGE
    },
    Button {
        path: "/api/subscriptions/reactivate",
        who: Who::Leaver,
        then: Some(("/subscription/cancelScheduled", "false")),
        anew: Some("not_cancel_scheduled"),
        ..CHANGE
    },
    Button {
        path: "/api/subscriptions/change-plan",
        body: TEAM,
        calls: 2,
        then: Some(("/tier", r#""team""#)),
        anew: Some("same_plan"),
        ..CHANGE
    },
    Button {
        path: "/api/stripe/subscriptions",
        body: r#"{"planId": "team_monthly", "paymentMethodId": "CARD"}"#,
        who: Who::Former,
        calls: 4,
        success: 201,
        then: Some(("/tier", r#""team""#)),
        anew: Some("already_subscribed"),
        of_nobody: Some((422, "invalid_parameter")),
        ..CHANGE
    },
    Button { path: "/api/subscriptions/preview-change", body: TEAM, calls: 3, unwritten: 200, ..CHANGE },
    Button {
        path: "/api/stripe/checkout/create",
        body: r#"{"planId": "lifetime"}"#,
        calls: 2,
        of_nobody: None,
        unwritten: 503,
        ..CHANGE
    },
    Button { path: "/api/stripe/billing/portal", of_nobody: Some((404, "no_customer")), unwritten: 200, ..CHANGE },
    Button { path: "/api/stripe/sync", ..SYNC },
    Button { path: "/api/stripe/subscriptions/sync", ..SYNC },
];

/// Somebody before a button.
struct Presser {
    button: Button,
    user: String,
    body: Value,
}

impl Presser {
    async fn press(&self, scene: &Scene, key: Option<&str>) -> TestResponse {
        scene.press_as(&self.user, self.button.path, &self.body, key).await
    }

    async fn succeeds(&self, scene: &Scene, key: Option<&str>) {
        let answer = self.press(scene, key).await;
        assert_eq!(answer.status, self.button.success, "{:?}: {answer:?}", self.button);
    }

    /// What the user has.
    async fn current(&self, scene: &Scene) -> Value {
        let answer =
            scene.app.as_user(Method::Get, "/api/subscriptions/current", &signed_in_for_long(&self.user)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// It is as it was to become.
    async fn has_it(&self, scene: &Scene) {
        if let Some((place, value)) = self.button.then {
            let current = self.current(scene).await;
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(current.pointer(place), Some(&value), "{:?}: {current}", self.button);
        }
    }

    /// Nothing has come of what fails so.
    async fn is_refused(&self, scene: &Scene, key: Option<&str>, why: (u16, &str)) -> TestResponse {
        let done = scene.done();
        let refused = self.press(scene, key).await;
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (why.0, Some(why.1)), "{self:?}");
        assert_eq!(scene.done(), done, "{:?}", self.button);
        refused
    }
}

impl std::fmt::Debug for Presser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {:?}: {}", self.button.path, self.button.who, self.body)
    }
}

impl Scene {
    /// Somebody new before each button, with whom things stand as it wants them. The application knows.
    async fn pressers(&mut self) -> Vec<Presser> {
        let first = self.told;
        let pressers = self.api.change(|stripe| {
            let presser = |(number, button): (usize, Button)| {
                let user = format!("presser_{first}_{number}");
                let customer = stripe.sign_up(&format!("{user}@example.com"), "Ada", Some(&user));
                let (subscription, _) = stripe.checkout(&customer, &Checkout::default());
                stripe.pass(60);
                let card = match button.who {
                    Who::Subscriber => String::new(),
                    Who::Leaver => {
                        stripe.schedule_cancel(&subscription);
                        String::new()
                    }
                    Who::Former => {
                        stripe.cancel(&subscription);
                        stripe.change_card(&customer, "visa", "4242")
                    }
                };
                let body = serde_json::from_str(&button.body.replace("CARD", &card)).unwrap();
                Presser { button, user, body }
            };
            let pressers: Vec<_> = BUTTONS.into_iter().enumerate().map(presser).collect();
            stripe.pass(60);
            pressers
        });
        self.hear().await;
        pressers
    }

    /// How much has happened at Stripe.
    fn done(&self) -> usize {
        self.api.change(|stripe| stripe.occurrences.len())
    }
}

#[test]
fn each_route_is_a_button_here() {
    let routes: BTreeSet<_> = billing::routes().iter().map(|endpoint| endpoint.route.uri.to_string()).collect();
    assert_eq!(routes, BUTTONS.iter().map(|button| button.path.to_owned()).collect());
}

#[test]
fn a_button_does_what_it_says_before_any_event_comes() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        for it in scene.pressers().await {
            let (calls, done) = (scene.api.calls().len(), scene.done());
            it.succeeds(&scene, None).await;
            assert_eq!(scene.api.calls().len() - calls, it.button.calls, "{it:?}");
            assert_eq!(scene.done() > done, it.button.then.is_some(), "{it:?}");
            let pinned = |asked: &Asked| asked.version.as_deref() == Some(VERSION);
            assert!(scene.api.calls()[calls..].iter().all(pinned), "{it:?}: the account's version may be any");
            it.has_it(&scene).await;
            match it.button.anew {
                None => it.succeeds(&scene, None).await,
                Some(code) => drop(it.is_refused(&scene, None, (409, code)).await),
            }
            scene.hear().await;
            it.has_it(&scene).await;
        }
    });
}

#[rocket::async_test]
async fn nobody_presses_a_button_unseen() {
    let app = TestApp::with(db_that_is_away(), &[("APP_URL", "https://app.example.com")]).await;
    let old =
        bearer(&sign_token(&json!({ "alg": "HS256" }), &json!({ "sub": "user_1", "exp": START - 60 }), AUTH_SECRET));
    for Button { path, body, .. } in BUTTONS {
        // With the internal key, which opens none of these.
        let request = || app.request(Method::Post, path).header(ContentType::JSON).body(body);
        let seen = signed_in("user_1", "user");
        let form = app.client.post(path).header(seen.clone()).header(ContentType::Form).body("planId=team_monthly");
        for (request, why) in [
            (request(), refusal("unauthorized", 401)),
            (request().header(old.clone()), refusal("unauthorized", 401)),
            (form, refusal("unsupported_media_type", 415)),
            // There is no key of Stripe's here.
            (request().header(seen), refusal("stripe_not_configured", 503)),
        ] {
            assert_eq!(TestResponse::of(request).await.refusal(), why, "{path}");
        }
    }
}

#[test]
fn another_ones_things_are_not_there() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        for it in scene.pressers().await {
            let before = it.current(&scene).await;
            let stranger = format!("a stranger to {}", it.user);
            let answer = scene.press_as(&stranger, it.button.path, &it.body, None).await;
            if let Some((status, code)) = it.button.of_nobody {
                assert_eq!(answer.refusal(), refusal(code, status), "{it:?}");
            } else {
                let asked = scene.api.changes().pop().unwrap();
                assert_eq!((answer.status, asked.value("customer")), (it.button.success, None), "{it:?}");
            }
            assert_eq!(it.current(&scene).await, before, "{it:?}");
        }
    });
}

#[test]
fn what_stripe_will_not_do_is_told_and_not_done() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        for it in scene.pressers().await {
            for (status, why) in [(402, (402, "card_declined")), (401, (502, "stripe_error"))] {
                scene.api.fault_after(it.button.calls - 1, &[Fault::Status(status)]);
                it.is_refused(&scene, None, why).await;
            }
        }
    });
}

#[test]
fn a_stripe_that_is_down_has_done_nothing() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        for it in scene.pressers().await {
            for calls in BTreeSet::from([0, it.button.calls - 1]) {
                scene.api.fault_after(calls, &[const { Fault::Status(503) }; 3]);
                let refused = it.is_refused(&scene, Some("press"), (503, "stripe_unavailable")).await;
                assert!(refused.header("retry-after").is_some(), "{it:?}");
            }
            it.succeeds(&scene, Some("press")).await;
            it.has_it(&scene).await;
        }
    });
}

#[test]
fn a_stripe_that_is_slow_is_asked_again() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let impatient = scene.impatient().await;
        // At its first call, and at the one that does it.
        for is_last in [false, true] {
            for it in scene.pressers().await {
                let calls = if is_last { it.button.calls - 1 } else { 0 };
                scene.api.fault_after(calls, &[const { Fault::Silent }; 9]);
                let late = press_on(&impatient, &it.user, it.button.path, &it.body, Some("press")).await;
                assert_eq!(late.refusal(), refusal("stripe_timeout", 504), "{it:?}");
                scene.api.recover();
                it.succeeds(&scene, Some("press")).await;
                it.has_it(&scene).await;
            }
        }
    });
}

#[test]
fn what_nobody_heard_of_was_done_once() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        // Whoever names what they ask for is answered also when its event was here first.
        for (key, is_event_first) in [(None, false), (Some("press"), false), (Some("press"), true)] {
            for it in scene.pressers().await {
                scene.api.fault_after(it.button.calls - 1, &[const { Fault::AnswerLost }; 3]);
                let lost = it.press(&scene, key).await;
                assert_eq!(lost.refusal(), refusal("stripe_timeout", 504), "{it:?}");
                let done = scene.done();
                if is_event_first {
                    scene.hear().await;
                }
                it.succeeds(&scene, key).await;
                it.has_it(&scene).await;
                assert_eq!(scene.done(), done, "{it:?} {key:?} {is_event_first}");
            }
        }
    });
}

#[test]
fn what_stripe_did_and_we_could_not_write_its_event_brings() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        for key in [None, Some("press")] {
            for it in scene.pressers().await {
                let faults = Arc::clone(&scene.faults);
                let fail = move || faults.arm(1, Moment::Before, DbError::Unavailable { reason: "cut off".into() });
                scene.api.after(it.button.calls, fail);
                let answer = it.press(&scene, key).await;
                assert_eq!(answer.status, it.button.unwritten, "{it:?}: {answer:?}");
                scene.faults.disarm();
                if answer.status == 202 {
                    assert_eq!(answer.json()["pending"], true);
                    scene.hear().await;
                }
                it.has_it(&scene).await;
                // Sent again it is answered the same, or done: once nobody is thought to be at it any more.
                scene.app.inner.clock.advance(Duration::from_secs(30));
                if key.is_some() {
                    let again = it.press(&scene, key).await;
                    let expected = if answer.status == 202 { 202 } else { it.button.success };
                    assert_eq!(again.status, expected, "{it:?}: {again:?}");
                }
            }
        }
    });
}

#[test]
fn what_needs_no_stripe_is_done_once_too() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let user = signed_in_for_long("user_1");
        let license = scene.app.license_of(&scene.customer).await;
        let machine = scene.app.seat(&license, "a hash").await;
        let keys = scene.app.as_user(Method::Get, "/api/api-keys", &user).await.json();
        let key = keys["data"][0]["id"].as_str().unwrap().to_owned();
        let replica = TestApp::of(scene.app.inner.clone()).await;
        let recorded = async || {
            let mut tx = scene.app.inner.read().await.unwrap();
            let rows: Vec<(String,)> = tx.sql("SELECT change FROM changes").all().await.unwrap();
            rows.len()
        };
        for (path, entries) in [(format!("/api/license/machines/{machine}"), 0), (format!("/api/api-keys/{key}"), 1)] {
            let before = recorded().await;
            let end = async |app: &TestApp| app.as_user(Method::Delete, &path, &user).await.status;
            assert_eq!(join!(end(&scene.app), end(&replica)), (204, 204), "{path}");
            assert_eq!(recorded().await - before, entries, "{path}");
        }
        assert_eq!(scene.app.log_of(&license, "machine_deactivated").await.len(), 1);
        let rename = async |app: &TestApp| {
            let request = app.client.req(Method::Patch, "/api/profile").header(user.clone()).header(ContentType::JSON);
            TestResponse::of(request.body(r#"{"name": "Grace"}"#)).await
        };
        let (one, two) = join!(rename(&scene.app), rename(&replica));
        assert_eq!((one.status, one.json()), (200, two.json()));
        assert_eq!(one.json()["name"], "Grace");
    });
}

#[test]
fn a_commit_that_fails_or_is_not_confirmed_loses_nothing() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let it = BUTTONS.iter().position(|it| it.path == "/api/subscriptions/cancel").unwrap();
        for moment in [Moment::Before, Moment::ReplyLost] {
            // Each thing that is asked of the database after Stripe has said yes, until nothing is left to fail.
            for nth in 1.. {
                let presser = scene.pressers().await.swap_remove(it);
                let faults = Arc::clone(&scene.faults);
                let fail = move || faults.arm(nth, moment, DbError::Unavailable { reason: "cut off".into() });
                scene.api.after(presser.button.calls, fail);
                let answer = presser.press(&scene, None).await;
                let is_over = scene.faults.is_armed();
                scene.faults.disarm();
                assert!([200, 202].contains(&answer.status), "{nth} {moment:?}: {answer:?}");
                assert_eq!(answer.json()["pending"], answer.status == 202);
                scene.hear().await;
                presser.has_it(&scene).await;
                if is_over {
                    assert_eq!(answer.status, 200);
                    break;
                }
                assert!(nth < 60, "it does not end");
            }
        }
    });
}

#[test]
fn a_button_that_is_pressed_twice_at_once_does_it_once() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let mut by_one_press = Vec::new();
        for once in scene.pressers().await {
            let done = scene.done();
            once.succeeds(&scene, None).await;
            by_one_press.push(scene.done() - done);
        }
        for key in [None, Some("press")] {
            for (it, by_one_press) in scene.pressers().await.iter().zip(&by_one_press) {
                let done = scene.done();
                let answers = <[TestResponse; 2]>::from(join!(it.press(&scene, key), it.press(&scene, key)));
                // Whoever comes second finds it done, or being done, or is answered as the first one is.
                let second = if key.is_some() { Some("idempotency_in_progress") } else { it.button.anew };
                let (done_so, refused): (Vec<_>, Vec<_>) =
                    answers.iter().partition(|answer| answer.status == it.button.success);
                assert!(!done_so.is_empty(), "{it:?}: {answers:?}");
                for refused in refused {
                    assert_eq!(Some(refused.refusal()), second.map(|code| refusal(code, 409)), "{it:?}");
                }
                assert_eq!(scene.done() - done, *by_one_press, "{it:?}: {answers:?}");
                it.has_it(&scene).await;
            }
        }
    });
}
