//! The till and the portal.

use serde_json::json;
use tokio::join;

use super::{Scene, refusal};
use crate::on_each_engine;

const CHECKOUT: &str = "/api/stripe/checkout/create";
const PORTAL: &str = "/api/stripe/billing/portal";

#[test]
fn a_new_user_is_sent_to_the_till_once() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let order =
            json!({ "planId": "team_monthly", "successUrl": "https://app.example.com/in?s={CHECKOUT_SESSION_ID}" });
        let buy = async || scene.press_as("user_2", CHECKOUT, &order, None).await;
        let (one, two) = join!(buy(), buy());
        let session = one.json();
        assert_eq!((one.status, session.as_object().unwrap().len()), (200, 2), "{session}");
        assert_eq!(session, two.json(), "pressed twice, one session");
        assert!(session["url"].as_str().unwrap().ends_with(session["sessionId"].as_str().unwrap()));
        let asked = &scene.api.changes()[0];
        let value = |name: &str| asked.value(name).unwrap_or_default();
        assert_eq!((value("mode"), value("client_reference_id")), ("subscription", "user_2"));
        assert_eq!((value("metadata[user_id]"), value("subscription_data[metadata][user_id]")), ("user_2", "user_2"));
        assert_eq!((value("line_items[0][price]"), value("allow_promotion_codes")), ("price_1TeamMonthly", "true"));
        assert_eq!(value("success_url"), "https://app.example.com/in?s={CHECKOUT_SESSION_ID}");
        assert!(value("cancel_url").starts_with("https://app.example.com/"));
        // One that has run out is no answer to a new press.
        scene.api.change(|stripe| {
            let id = session["sessionId"].as_str().unwrap();
            stripe.sessions.get_mut(id).unwrap().status = "expired";
        });
        let later = buy().await.json();
        assert!(later["url"].is_string() && later["sessionId"] != session["sessionId"], "{later}");
    });
}

#[test]
fn what_is_bought_for_good_is_paid_once_by_the_customer_who_is_there() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let bought = scene.press(CHECKOUT, &json!({ "planId": "lifetime" })).await;
        assert_eq!(bought.status, 200, "{bought:?}");
        let asked = &scene.api.changes()[0];
        assert_eq!((asked.value("mode"), asked.value("customer")), (Some("payment"), Some(&*scene.customer)));
        assert_eq!(asked.value("metadata[plan_id]"), Some("lifetime"));
    });
}

#[test]
fn who_has_it_does_not_pay_twice() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let twice = scene.press(CHECKOUT, &json!({ "planId": "team_monthly" })).await;
        assert_eq!(twice.refusal(), refusal("already_subscribed", 409));
        let unknown = scene.press(CHECKOUT, &json!({ "planId": "gold" })).await;
        assert_eq!(unknown.refusal(), refusal("unknown_plan", 422));
        assert_eq!(scene.api.calls(), []);
    });
}

#[test]
fn buyers_come_back_to_the_application_and_nowhere_else() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        for elsewhere in [
            "https://app.example.com.evil.example/",
            "http://app.example.com/",
            "https://app.example.com:444/",
            "https://evil.example/?https://app.example.com",
            "https://ada@app.example.com/",
            "//app.example.com/",
            "https:\\\\app.example.com\\",
            "javascript:alert(1)",
            "",
            "/account",
            " https://app.example.com/",
        ] {
            for (path, param) in [(CHECKOUT, "successUrl"), (CHECKOUT, "cancelUrl"), (PORTAL, "returnUrl")] {
                let refused = scene.press(path, &json!({ "planId": "lifetime", param: elsewhere })).await;
                let expected = (422, "invalid_parameter".to_owned(), Some(param.to_owned()));
                assert_eq!(refused.refused_parameter(), expected, "{elsewhere}");
                assert!(elsewhere.len() < 3 || !refused.body.contains(elsewhere), "nothing is echoed");
            }
        }
        assert_eq!(scene.api.calls(), []);
    });
}

#[test]
fn a_customer_opens_the_portal_and_nobody_else_does() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let opened = scene.press(PORTAL, &json!({})).await;
        let url = scene.api.change(|stripe| stripe.portal_sessions.values().next().map(|session| session.url.clone()));
        assert_eq!((opened.status, opened.json()), (200, json!({ "url": url })));
        assert_eq!(scene.api.changes()[0].value("return_url"), Some("https://app.example.com/"));
        let nobody = scene.press_as("user_2", PORTAL, &json!({}), None).await;
        assert_eq!(nobody.refusal(), refusal("no_customer", 404));
    });
}
