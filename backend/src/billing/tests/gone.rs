//! Customers and subscriptions that Stripe has no longer, of which nobody has told us: whoever presses a button is told what that
//! means, or becomes a new customer.

use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_tests::stripe::Checkout;

use super::{Scene, later, refusal};
use crate::on_each_engine;

const CHECKOUT: &str = "/api/stripe/checkout/create";
const SUBSCRIBE: &str = "/api/stripe/subscriptions";
const PORTAL: &str = "/api/stripe/billing/portal";
const SYNC: &str = "/api/stripe/sync";

/// What is pressed by who is subscribed.
const CHANGES: [(&str, &str); 5] = [
    ("/api/subscriptions/cancel", "{}"),
    ("/api/subscriptions/cancel", r#"{"immediately": true}"#),
    ("/api/subscriptions/change-plan", r#"{"planId": "team_monthly"}"#),
    ("/api/subscriptions/preview-change", r#"{"planId": "team_monthly"}"#),
    ("/api/subscriptions/reactivate", "{}"),
];

/// How they are gone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gone {
    /// Deleted, of which Stripe keeps the name, and that its subscriptions are over.
    Deleted,
    /// Stripe has no such thing, nor ever had: the data of a test mode was deleted, or it is another account.
    Unknown,
}

const WAYS: [Gone; 2] = [Gone::Deleted, Gone::Unknown];

impl Scene {
    /// Customer and subscription are gone, and the application has not heard of it.
    fn lose(&self, how: Gone) {
        later(self);
        self.api.change(|stripe| match how {
            Gone::Deleted => stripe.delete_customer(&self.customer),
            Gone::Unknown => {
                stripe.customers.remove(&self.customer);
                stripe.subscriptions.remove(&self.subscription);
            }
        });
    }

    /// The same of somebody whose subscription has ended before, and who has a card.
    async fn lose_former(db: Db, how: Gone) -> Self {
        let mut scene = Self::on(db).await;
        later(&scene);
        scene.api.change(|stripe| stripe.cancel(&scene.subscription));
        scene.hear().await;
        scene.lose(how);
        scene
    }
}

#[test]
fn who_buys_and_is_gone_at_stripe_is_a_new_customer() {
    for how in WAYS {
        on_each_engine!(async |db| {
            let scene = Scene::lose_former(db, how).await;
            for plan in ["team_monthly", "lifetime"] {
                for key in [None, Some(plan)] {
                    let opened = scene.press_as("user_1", CHECKOUT, &json!({ "planId": plan }), key).await;
                    assert_eq!(opened.status, 200, "{how:?}: {opened:?}");
                    let asked = scene.api.changes().pop().unwrap();
                    assert_eq!((asked.value("customer"), asked.value("client_reference_id")), (None, Some("user_1")));
                }
            }
            assert_eq!(scene.shown().await["deleted"], how == Gone::Deleted);
        });
    }
}

#[test]
fn who_subscribes_and_is_gone_at_stripe_is_a_new_customer() {
    for how in WAYS {
        on_each_engine!(async |db| {
            let mut scene = Scene::lose_former(db, how).await;
            let order = json!({ "planId": "team_monthly" });
            let mut customers = vec![scene.customer.clone()];
            for key in [None, Some("press"), None] {
                let made = scene.press_as("user_1", SUBSCRIBE, &order, key).await;
                assert_eq!(
                    (made.status, &made.json()["subscription"]["status"]),
                    (201, &json!("incomplete")),
                    "{made:?}"
                );
                let made = made.json()["subscription"]["stripeSubscriptionId"].as_str().unwrap().to_owned();
                let customer = scene.api.change(|stripe| stripe.subscriptions[&made].customer.clone());
                assert!(!customers.contains(&customer), "{how:?}: {customer} was there before");
                customers.push(customer.clone());
                // That one, too.
                (scene.customer, scene.subscription) = (customer, made);
                scene.hear().await;
                scene.lose(how);
            }
        });
    }
}

#[test]
fn what_a_press_made_and_is_gone_is_not_what_the_next_one_gets() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let order = json!({ "planId": "team_monthly" });
        let mut made = Vec::new();
        for _ in 0..3 {
            // Nothing of it has come here.
            let subscribed = scene.press_as("user_2", SUBSCRIBE, &order, None).await;
            assert_eq!(subscribed.status, 201, "{subscribed:?}");
            let id = subscribed.json()["subscription"]["stripeSubscriptionId"].as_str().unwrap().to_owned();
            assert!(!made.contains(&id), "{id} is over");
            scene.api.change(|stripe| {
                let customer = stripe.subscriptions[&id].customer.clone();
                stripe.pass(60).delete_customer(&customer);
            });
            made.push(id);
        }
    });
}

#[test]
fn who_is_gone_at_stripe_has_no_portal_and_nothing_to_sync() {
    for how in WAYS {
        on_each_engine!(async |db| {
            let scene = Scene::lose_former(db, how).await;
            for key in [None, Some("press")] {
                let refused = scene.press_as("user_1", PORTAL, &json!({}), key).await;
                assert_eq!(refused.refusal(), refusal("no_customer", 404), "{how:?}");
            }
            assert_eq!(scene.press(SYNC, &json!({})).await.refusal(), refusal("no_customer", 404), "{how:?}");
        });
    }
}

#[test]
fn who_is_gone_at_stripe_may_have_another_customer() {
    for how in WAYS {
        on_each_engine!(async |db| {
            let mut scene = Scene::on(db).await;
            later(&scene);
            let other = scene.api.change(|stripe| {
                stripe.cancel(&scene.subscription);
                stripe.sign_up("ada@example.org", "Ada", Some("user_1"))
            });
            scene.hear().await;
            scene.lose(how);
            for (path, body) in [(PORTAL, json!({})), (CHECKOUT, json!({ "planId": "lifetime" }))] {
                let opened = scene.press(path, &body).await;
                assert_eq!(opened.status, 200, "{how:?}: {opened:?}");
                assert_eq!(scene.api.changes().pop().unwrap().value("customer"), Some(&*other));
            }
            assert_eq!(scene.press(SYNC, &json!({})).await.status, 200);
        });
    }
}

#[test]
fn a_subscription_that_is_gone_with_its_customer_has_ended() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        for (number, (path, body)) in CHANGES.into_iter().enumerate() {
            for how in WAYS {
                let user = format!("{how:?}_{number}");
                (scene.customer, scene.subscription) = scene.api.change(|stripe| {
                    let customer = stripe.pass(60).sign_up("bob@example.com", "Bob", Some(&user));
                    let (subscription, _) = stripe.checkout(&customer, &Checkout::default());
                    if path.ends_with("reactivate") {
                        stripe.pass(60).schedule_cancel(&subscription);
                    }
                    (customer, subscription)
                });
                scene.hear().await;
                scene.lose(how);
                let body: Value = serde_json::from_str(body).unwrap();
                let answer = scene.press_as(&user, path, &body, None).await;
                match how {
                    // That was to come of it.
                    Gone::Deleted if body["immediately"] == true => assert_eq!(answer.status, 200, "{answer:?}"),
                    Gone::Deleted => assert_eq!(answer.refusal(), refusal("already_canceled", 409), "{path} {body}"),
                    Gone::Unknown => assert_eq!(answer.refusal(), refusal("no_subscription", 404), "{path} {body}"),
                }
            }
        }
    });
}
