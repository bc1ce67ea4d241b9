//! Free days: the price says how many, and they are for who comes for the first time.

use serde_json::json;
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::model::Price;
use tollgate_tests::stripe::{Buyer, NewCard};

use super::*;
use crate::on_each_engine;

const CHECKOUT: &str = "/api/stripe/checkout/create";
const SUBSCRIBE: &str = "/api/stripe/subscriptions";

/// Where a plan begins with 14 days that cost nothing.
async fn scene(db: Db) -> Scene {
    let scene = Scene::on(db).await;
    scene.api.change(|stripe| {
        stripe.prices.retain(|price| price.id != PRO_MONTHLY.id);
        stripe.add_price(Price { trial_days: Some(14), ..PRO_MONTHLY });
    });
    scene
}

impl Scene {
    /// The free days that Stripe was asked for by the last call that made something.
    fn days_of(&self, call: &str, name: &str) -> Option<String> {
        let made = self.api.changes().into_iter().rfind(|asked| asked.call == call).unwrap();
        made.value(name).map(str::to_owned)
    }
}

#[test]
fn who_comes_to_the_till_for_the_first_time_begins_for_nothing() {
    on_each_engine!(async |db| {
        let mut scene = scene(db).await;
        let order = json!({ "planId": "pro_monthly" });
        for (round, days) in [Some("14"), None].into_iter().enumerate() {
            let opened = scene.press_as("user_2", CHECKOUT, &order, None).await.json();
            let asked = scene.days_of("POST /v1/checkout/sessions", "subscription_data[trial_period_days]");
            assert_eq!(asked.as_deref(), days, "round {round}");
            let session = opened["sessionId"].as_str().unwrap();
            let status = scene.api.change(|stripe| {
                let card = Some(NewCard { brand: "visa", last4: "4242".to_owned() });
                let email = Some("grace@example.com".to_owned());
                let buyer = Buyer { email, name: None, card, has_confirmed: false, coupon: None };
                stripe.complete_session(session, &buyer).unwrap();
                let made = stripe.sessions[session].subscription.clone().unwrap();
                let status = stripe.subscriptions[&made].status.text();
                stripe.pass(60).cancel(&made);
                stripe.pass(60);
                status
            });
            assert_eq!(status, if round == 0 { "trialing" } else { "active" });
            scene.hear().await;
        }
    });
}

#[test]
fn who_subscribes_for_the_first_time_begins_for_nothing() {
    on_each_engine!(async |db| {
        let mut scene = scene(db).await;
        let team = json!({ "planId": "team_monthly" });
        // What was never paid for is no first time.
        assert_eq!(scene.press_as("user_2", SUBSCRIBE, &team, None).await.status, 201);
        scene.api.change(|stripe| {
            stripe.advance(DAY);
        });
        scene.hear().await;
        let order = json!({ "planId": "pro_monthly" });
        for (days, status) in [(Some("14"), "trialing"), (None, "incomplete")] {
            later(&scene);
            let made = scene.press_as("user_2", SUBSCRIBE, &order, None).await;
            let body = made.json();
            assert_eq!((made.status, &body["subscription"]["status"]), (201, &json!(status)), "{body}");
            assert_eq!(scene.days_of("POST /v1/subscriptions", "trial_period_days").as_deref(), days);
            assert_eq!(body["clientSecret"].is_string(), days.is_none(), "nothing is due in a trial: {body}");
            later(&scene);
            let id = body["subscription"]["stripeSubscriptionId"].as_str().unwrap();
            scene.api.change(|stripe| stripe.cancel(id));
            scene.hear().await;
        }
    });
}
