//! What is sold for good, by the shop's own pages as well, of which no metadata says what that was.

use serde_json::json;
use tollgate_tests::stripe::catalogue::{ONBOARDING, PRO_FOR_GOOD};
use tollgate_tests::stripe::rest::Fault;
use tollgate_tests::stripe::{OneOff, Paying};

use super::*;
use crate::billing::purchases::read_due;
use crate::on_each_engine;

const CHECKOUT: &str = "/api/stripe/checkout/create";
const SYNC: &str = "/api/stripe/sync";

impl Scene {
    /// `user_2` goes through a page of the shop's own, and the application hears of it.
    async fn user_2_buys(&mut self, order: OneOff) -> (String, String) {
        let (customer, session) = self.api.change(|stripe| {
            let customer = stripe.sign_up("bob@example.com", "Bob", None);
            let order = OneOff { client_reference_id: Some("user_2".to_owned()), ..order };
            let session = stripe.buy_once(&customer, &order);
            stripe.pass(60);
            (customer, session)
        });
        self.hear().await;
        (customer, session)
    }

    async fn tier(&self, user: &str) -> Value {
        let user = signed_in_for_long(user);
        self.app.as_user(Method::Get, "/api/subscriptions/current", &user).await.json()["tier"].clone()
    }

    fn items_read(&self) -> usize {
        self.api.asked().iter().filter(|path| path.ends_with("/line_items")).count()
    }
}

#[test]
fn what_a_page_of_the_shop_sold_stripe_says() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        scene.user_2_buys(OneOff::priced(&PRO_FOR_GOOD)).await;
        assert_eq!(scene.tier("user_2").await, "free");
        // Stripe is away, and then there, for whoever takes it up.
        scene.api.fail(&[503; 3]);
        assert_eq!(read_due(&scene.app.inner).await.unwrap(), 0);
        assert_eq!((read_due(&scene.app.inner).await.unwrap(), scene.items_read()), (0, 3), "not at once again");
        scene.app.inner.clock.advance(Duration::from_secs(60));
        assert_eq!(read_due(&scene.app.inner).await.unwrap(), 1);
        assert_eq!(scene.tier("user_2").await, "lifetime");
        let refused = scene.press_as("user_2", CHECKOUT, &json!({ "planId": "lifetime" }), None).await;
        assert_eq!(refused.refusal(), refusal("already_subscribed", 409));
        let read = scene.items_read();
        scene.app.inner.clock.advance(Duration::from_secs(3600));
        assert_eq!((read_due(&scene.app.inner).await.unwrap(), scene.items_read()), (0, read), "once");
    });
}

#[test]
fn whoever_presses_sync_or_buys_does_not_wait_for_it() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        let (customer, _) = scene.user_2_buys(OneOff::priced(&PRO_FOR_GOOD)).await;
        // It is not sold again meanwhile.
        let refused = scene.press_as("user_2", CHECKOUT, &json!({ "planId": "lifetime" }), None).await;
        assert_eq!(refused.refusal(), refusal("already_subscribed", 409));
        assert_eq!(scene.tier("user_2").await, "lifetime");
        let intent = scene.api.change(|stripe| {
            let paid = stripe.payment_intents.values().find(|intent| intent.customer == customer);
            paid.unwrap().id.clone()
        });
        scene.api.change(|stripe| drop(stripe.refund_in_full(&intent)));
        scene.hear().await;
        assert_eq!(scene.tier("user_2").await, "free");

        scene.user_2_buys(OneOff::priced(&PRO_FOR_GOOD)).await;
        let synced = scene.press_as("user_2", SYNC, &json!({}), None).await.json();
        let tier = synced["differences"].as_array().unwrap().iter().find(|it| it["field"] == "tier");
        assert_eq!(tier.map(|it| (&it["was"], &it["is"])), Some((&json!("free"), &json!("lifetime"))), "{synced}");
        assert_eq!(scene.tier("user_2").await, "lifetime");
    });
}

#[test]
fn what_is_no_plan_or_gone_is_asked_for_once() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        scene.user_2_buys(OneOff::priced(&ONBOARDING)).await;
        assert_eq!((read_due(&scene.app.inner).await.unwrap(), scene.items_read()), (1, 1));
        let (_, session) = scene.user_2_buys(OneOff::of(500, "usd")).await;
        scene.api.change(|stripe| drop(stripe.sessions.remove(&session)));
        assert_eq!((read_due(&scene.app.inner).await.unwrap(), scene.items_read()), (1, 2));
        // A key that may not read them says nothing of them.
        scene.user_2_buys(OneOff::priced(&PRO_FOR_GOOD)).await;
        scene.api.fault(&[Fault::Status(403)]);
        assert_eq!((read_due(&scene.app.inner).await.unwrap(), scene.items_read()), (0, 3));
        scene.app.inner.clock.advance(Duration::from_secs(60));
        assert_eq!((read_due(&scene.app.inner).await.unwrap(), scene.items_read()), (1, 4));
        // Where an invoice says what was sold, or the shop does, nobody is asked.
        scene.user_2_buys(OneOff { paying: Paying::Invoiced, ..OneOff::priced(&PRO_FOR_GOOD) }).await;
        scene.user_2_buys(OneOff { plan_id: Some("lifetime"), ..OneOff::of(39900, "usd") }).await;
        scene.app.inner.clock.advance(Duration::from_secs(3600));
        assert_eq!((read_due(&scene.app.inner).await.unwrap(), scene.items_read()), (0, 4));
    });
}

#[test]
fn each_thing_that_is_bought_for_good_is_sold_once() {
    on_each_engine!(async |db| {
        let course = r#"
            [[plan]]
            id = "course"
            tier = "course"
            name = "A course, for good"
            stripe_price = "price_1Onboarding"
            currency = "usd"
            unit_amount = 50000
            interval = "once"
            max_activations = 1
        "#;
        let mut scene = Scene::selling(db, &format!("{PLANS}{course}"), &[]).await;
        let course = scene.api.change(|stripe| {
            stripe.buy_once(&scene.customer, &OneOff { plan_id: Some("course"), ..OneOff::priced(&ONBOARDING) });
            let course = stripe.payment_intents.keys().cloned().collect::<Vec<_>>();
            stripe.pass(60);
            stripe.buy_once(&scene.customer, &OneOff { plan_id: Some("lifetime"), ..OneOff::priced(&PRO_FOR_GOOD) });
            course.into_iter().find(|id| stripe.payment_intents[id].amount == ONBOARDING.unit_amount).unwrap()
        });
        scene.hear().await;
        let bought = |plan: &str| json!({ "planId": plan });
        for is_subscribed in [true, false] {
            for plan in ["course", "lifetime"] {
                let again = scene.press(CHECKOUT, &bought(plan)).await;
                assert_eq!(again.refusal(), refusal("already_subscribed", 409), "{plan}, {is_subscribed}");
            }
            later(&scene);
            scene.api.change(|stripe| {
                if is_subscribed {
                    stripe.cancel(&scene.subscription);
                }
            });
            scene.hear().await;
        }
        scene.api.change(|stripe| drop(stripe.refund_in_full(&course)));
        scene.hear().await;
        assert_eq!(scene.press(CHECKOUT, &bought("course")).await.status, 200);
        assert_eq!(scene.press(CHECKOUT, &bought("lifetime")).await.refusal(), refusal("already_subscribed", 409));
    });
}
