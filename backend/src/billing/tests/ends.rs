//! A subscription's end: asked for, and taken back.

use serde_json::json;
use tollgate_tests::stripe::Checkout;
use tollgate_tests::stripe::rest::Fault;

use super::{Scene, later, refusal};
use crate::on_each_engine;

const CANCEL: &str = "/api/subscriptions/cancel";
const REACTIVATE: &str = "/api/subscriptions/reactivate";

#[test]
fn a_user_cancels_and_takes_it_back() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        later(&scene);
        let canceled = scene.press(CANCEL, &json!({ "reason": " too dear " })).await;
        let body = canceled.json();
        assert_eq!((canceled.status, &body["pending"], &body["clientSecret"]), (200, &json!(false), &json!(null)));
        let shown = &body["subscription"];
        assert_eq!((&shown["cancelScheduled"], &shown["status"]), (&json!(true), &json!("active")), "{body}");
        assert_eq!((&shown["planId"], &shown["planName"]), (&json!("pro_monthly"), &json!("Pro, monthly")));
        assert_eq!(scene.shown().await["subscription"]["cancelScheduled"], true, "before any event has come");
        assert_eq!(scene.changes_by_user().await, [("cancel_scheduled".to_owned(), Some("too dear".to_owned()))]);
        assert_eq!(scene.told_apps("subscription_cancel_scheduled").await, 1);

        // The same again, as Stripe has it.
        assert_eq!(scene.press(CANCEL, &json!({})).await.json(), body);
        assert_eq!(scene.asked_and_done(), (1, 1));

        let back = scene.press(REACTIVATE, &json!({})).await;
        assert_eq!((back.status, &back.json()["subscription"]["cancelScheduled"]), (200, &json!(false)));
        let again = scene.press(REACTIVATE, &json!({})).await;
        assert_eq!(again.refusal(), refusal("not_cancel_scheduled", 409));
        // Stripe's own events of it change nothing more, though all is of one second.
        let before = scene.shown().await;
        scene.hear().await;
        assert_eq!(scene.shown().await, before);
        assert_eq!(scene.changes_by_user().await.len(), 2);
    });
}

#[test]
fn what_is_sent_again_under_its_name_is_answered_as_it_was() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        later(&scene);
        let now = json!({ "immediately": true });
        let press = async |body| scene.press_as("user_1", CANCEL, &body, Some("a-press-of-a-button")).await;
        let first = press(now.clone()).await;
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
        let again = press(now).await;
        assert_eq!((again.status, again.json()), (200, first.json()));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(scene.asked_and_done(), (1, 1));
        assert_eq!(press(json!({})).await.refusal(), refusal("idempotency_mismatch", 422));
    });
}

#[test]
fn a_user_ends_it_at_once_and_it_ends_once() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        later(&scene);
        let now = json!({ "immediately": true });
        let ended = scene.press(CANCEL, &now).await;
        assert_eq!((ended.status, &ended.json()["subscription"]["status"]), (200, &json!("canceled")), "{ended:?}");
        assert_eq!(scene.shown().await["tier"], "free");
        for body in [now, json!({})] {
            assert_eq!(scene.press(CANCEL, &body).await.refusal(), refusal("already_canceled", 409));
        }
        assert_eq!(scene.press(REACTIVATE, &json!({})).await.refusal(), refusal("already_canceled", 409));
        assert_eq!(scene.asked_and_done(), (1, 1));
        scene.hear().await;
        assert_eq!(scene.shown().await["tier"], "free");
    });
}

#[test]
fn what_is_asked_again_is_about_no_later_subscription() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let (change, team) = ("/api/subscriptions/change-plan", json!({ "planId": "team_monthly" }));
        let presses = [(CANCEL, json!({ "immediately": true })), (CANCEL, json!({})), (change, team)];
        // Whether Stripe did it or not, nobody knows.
        let faults = [Fault::AnswerLost, Fault::Status(503)];
        for (number, (path, body)) in presses.iter().enumerate() {
            for fault in &faults {
                later(&scene);
                let key = format!("press {number} {fault:?}");
                let press = async |scene: &Scene| scene.press_as("user_1", path, body, Some(&key)).await;
                let calls = usize::from(*path == change);
                scene.api.fault_after(calls, &[(); 3].map(|()| fault.clone()));
                let first = press(&scene).await;
                assert!([503, 504].contains(&first.status), "{first:?}");
                scene.api.recover();
                let (customer, old) = (scene.customer.clone(), scene.subscription.clone());
                scene.subscription = scene.api.change(|stripe| {
                    if stripe.running_subscriptions(&customer).contains(&old) {
                        stripe.cancel(&old);
                    }
                    stripe.pass(60).checkout(&customer, &Checkout::default()).0
                });
                scene.hear().await;
                let again = press(&scene).await;
                match again.status {
                    200 => assert_eq!(again.json()["subscription"]["stripeSubscriptionId"], old),
                    _ => assert_eq!(again.refusal(), refusal("already_canceled", 409), "{key}"),
                }
                assert_eq!(scene.asked_and_done().1, 0, "{key}: the new one goes on as it was");
                let current = scene.shown().await["subscription"].clone();
                assert_eq!(current["stripeSubscriptionId"], scene.subscription);
                assert_eq!((&current["status"], &current["cancelScheduled"]), (&json!("active"), &json!(false)));
            }
        }
    });
}

#[test]
fn an_end_that_the_portal_has_announced_by_date_is_taken_back() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        later(&scene);
        let subscription = scene.subscription.clone();
        scene.api.change(|stripe| stripe.schedule_cancel_at(&subscription));
        scene.hear().await;
        later(&scene);
        let back = scene.press(REACTIVATE, &json!({})).await;
        assert_eq!((back.status, &back.json()["subscription"]["cancelAt"]), (200, &json!(null)), "{back:?}");
    });
}

#[test]
fn what_has_just_ended_at_stripe_is_looked_at_again() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        later(&scene);
        scene.api.change(|stripe| stripe.cancel(&scene.subscription));
        let refused = scene.press(CANCEL, &json!({})).await;
        assert_eq!(refused.refusal(), refusal("already_canceled", 409));
        assert_eq!(scene.shown().await["subscription"]["status"], "canceled", "and it is known here from then on");
    });
}

#[test]
fn another_user_changes_nothing() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        for path in [CANCEL, REACTIVATE] {
            let refused = scene.press_as("user_2", path, &json!({}), None).await;
            assert_eq!(refused.refusal(), refusal("no_subscription", 404), "{path}");
        }
        let long = scene.press(CANCEL, &json!({ "reason": "x".repeat(501) })).await;
        assert_eq!(long.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("reason".to_owned())));
        let long = scene.press_as("user_1", CANCEL, &json!({}), Some(&"x".repeat(256))).await;
        assert_eq!(long.refusal(), refusal("invalid_parameter", 422));
        assert_eq!(scene.api.calls(), [], "Stripe was not even asked");
    });
}
