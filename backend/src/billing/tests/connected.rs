//! What is in a connected account is read and changed there.

use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_tests::stripe::{ApiVersion, Checkout, Stripe};

use super::{Scene, signed_in_for_long};
use crate::on_each_engine;
use crate::testing::START;
use crate::webhooks::routes::INTAKE_PATH;

const ACCOUNT: &str = "acct_ours";

/// What is pressed, one after the other, and what `current` then says where.
const PRESSES: [(&str, &str, &str, &str); 8] = [
    ("/api/subscriptions/preview-change", r#"{"planId": "team_monthly"}"#, "/tier", "pro"),
    ("/api/subscriptions/change-plan", r#"{"planId": "team_monthly"}"#, "/tier", "team"),
    ("/api/subscriptions/cancel", "{}", "/subscription/status", "active"),
    ("/api/subscriptions/reactivate", "{}", "/subscription/status", "active"),
    ("/api/stripe/billing/portal", "{}", "/tier", "team"),
    ("/api/stripe/checkout/create", r#"{"planId": "lifetime"}"#, "/tier", "team"),
    ("/api/stripe/sync", "{}", "/tier", "team"),
    ("/api/subscriptions/cancel", r#"{"immediately": true}"#, "/subscription/status", "canceled"),
];

#[test]
fn what_is_in_a_connected_account_is_changed_there() {
    on_each_engine!(async |db| {
        let scene = Scene::with(db, &[("STRIPE_ACCOUNTS", ACCOUNT)]).await;
        let mut there = Stripe::fresh();
        there.now = START;
        let customer = there.sign_up("bob@example.com", "Bob", Some("user_2"));
        let (subscription, _) = there.checkout(&customer, &Checkout::default());
        for event in there.events(ApiVersion::Endive) {
            let mut event = event.json();
            event["account"] = ACCOUNT.into();
            assert_eq!(scene.app.post(INTAKE_PATH, &event).await.status, 200);
        }
        scene.api.connect(ACCOUNT, &there);
        for (path, body, place, value) in PRESSES {
            scene.api.change_in(ACCOUNT, |stripe| {
                stripe.pass(60);
            });
            let body: Value = serde_json::from_str(body).unwrap();
            let done = scene.press_as("user_2", path, &body, None).await;
            assert_eq!(done.status, 200, "{path}: {done:?}");
            let user = signed_in_for_long("user_2");
            let current = scene.app.as_user(Method::Get, "/api/subscriptions/current", &user).await.json();
            assert_eq!(current.pointer(place), Some(&json!(value)), "{path}: {current}");
        }
        let ended = scene.api.change_in(ACCOUNT, |stripe| stripe.subscriptions[&subscription].status.is_final());
        assert!(ended, "it is there that it was ended");
        assert_eq!(scene.asked_and_done().1, 0, "in our own account nothing happened");
    });
}
