//! A subscription that is made without the till.

use serde_json::json;
use tokio::join;
use tollgate_db::Db;

use super::{Scene, refusal};
use crate::on_each_engine;

const SUBSCRIBE: &str = "/api/stripe/subscriptions";

/// Somebody whose subscription has ended, with a card of these last digits.
async fn former_subscriber(db: Db, last4: &str) -> (Scene, String) {
    let mut scene = Scene::on(db).await;
    let (customer, subscription) = (scene.customer.clone(), scene.subscription.clone());
    let card = scene.api.change(|stripe| {
        stripe.cancel(&subscription);
        stripe.change_card(&customer, "visa", last4)
    });
    scene.hear().await;
    (scene, card)
}

#[test]
fn a_user_with_a_card_subscribes_once() {
    on_each_engine!(async |db| {
        let (scene, card) = former_subscriber(db, "4242").await;
        let order = json!({ "planId": "team_monthly", "paymentMethodId": card });
        let subscriptions = scene.api.change(|stripe| stripe.subscriptions.len());
        let (one, two) = join!(scene.press(SUBSCRIBE, &order), scene.press(SUBSCRIBE, &order));
        for made in [&one, &two] {
            assert!([201, 409].contains(&made.status), "{made:?}");
        }
        let body = if one.status == 201 { one.json() } else { two.json() };
        assert_eq!(
            (&body["subscription"]["status"], &body["clientSecret"]),
            (&json!("active"), &json!(null)),
            "{body}"
        );
        assert_eq!(scene.api.change(|stripe| stripe.subscriptions.len()), subscriptions + 1);
        assert_eq!(scene.shown().await["tier"], "team");
        assert_eq!(scene.press(SUBSCRIBE, &order).await.refusal(), refusal("already_subscribed", 409));
    });
}

#[test]
fn a_payment_that_the_buyer_confirms_makes_it_incomplete() {
    on_each_engine!(async |db| {
        let (scene, card) = former_subscriber(db, "3184").await;
        let made = scene.press(SUBSCRIBE, &json!({ "planId": "team_monthly", "paymentMethodId": card })).await;
        let body = made.json();
        assert_eq!((made.status, &body["subscription"]["status"]), (201, &json!("incomplete")), "{body}");
        assert!(body["clientSecret"].as_str().unwrap().contains("_secret_"));
        assert_eq!(scene.shown().await["tier"], "free");
        assert_eq!(scene.api.change(|stripe| stripe.subscriptions.len()), 2, "no second one is left behind");
    });
}

#[test]
fn a_declined_card_makes_no_subscription() {
    on_each_engine!(async |db| {
        let (scene, card) = former_subscriber(db, "0002").await;
        let declined = scene.press(SUBSCRIBE, &json!({ "planId": "team_monthly", "paymentMethodId": card })).await;
        let error = &declined.json()["error"];
        assert_eq!(
            (declined.status, &error["code"], &error["declineCode"]),
            (402, &json!("card_declined"), &json!("generic_decline"))
        );
        assert_eq!(scene.api.change(|stripe| stripe.subscriptions.len()), 1);
    });
}

#[test]
fn a_new_user_gets_a_customer_and_pays_by_confirming() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let made = scene.press_as("user_2", SUBSCRIBE, &json!({ "planId": "team_monthly" }), None).await;
        assert_eq!((made.status, &made.json()["subscription"]["status"]), (201, &json!("incomplete")), "{made:?}");
        let theirs = scene.api.change(|stripe| {
            let of_user = |id: &str| {
                stripe
                    .customers
                    .values()
                    .filter(|row| row.metadata.get("user_id").is_some_and(|user| user == id))
                    .count()
            };
            (of_user("user_1"), of_user("user_2"))
        });
        assert_eq!(theirs, (1, 1));
    });
}

#[test]
fn who_is_subscribed_is_not_charged_again_by_any_name() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        for key in [None, Some("a press")] {
            let twice = scene.press_as("user_1", SUBSCRIBE, &json!({ "planId": "team_monthly" }), key).await;
            assert_eq!(twice.refusal(), refusal("already_subscribed", 409), "{key:?}");
        }
        assert_eq!(scene.api.changes(), []);
    });
}

#[test]
fn another_ones_card_is_none_of_theirs() {
    on_each_engine!(async |db| {
        let (scene, card) = former_subscriber(db, "4242").await;
        let refused = scene
            .press_as("user_2", SUBSCRIBE, &json!({ "planId": "team_monthly", "paymentMethodId": card }), None)
            .await;
        assert_eq!(refused.refused_parameter().2.as_deref(), Some("paymentMethodId"));
        assert_eq!(scene.api.change(|stripe| stripe.subscriptions.len()), 1);
    });
}
