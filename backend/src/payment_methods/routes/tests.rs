//! What users see of what they pay by, on both engines.

use rocket::http::Method;
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{TestApp, assert_only_for_users};

const PATH: &str = "/api/stripe/billing/payment-method";

fn card(last4: &str) -> Value {
    json!({
        "id": "pm_1", "object": "payment_method", "type": "card", "customer": "cus_1",
        "card": { "brand": "visa", "last4": last4 },
    })
}

#[test]
fn a_user_sees_the_card_that_is_charged_next() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        assert_eq!(app.see(PATH).await.json(), json!({ "defaultPaymentMethod": null }));
        let customer = json!({
            "id": "cus_1", "object": "customer", "invoice_settings": { "default_payment_method": "pm_1" },
        });
        app.take("evt_1", "customer.updated", customer).await;
        app.take("evt_2", "payment_method.attached", card("4242")).await;
        let expected = json!({ "stripePaymentMethodId": "pm_1", "brand": "visa", "last4": "4242" });
        assert_eq!(app.see(PATH).await.json(), json!({ "defaultPaymentMethod": expected }));
        let state = app.get("/v1/customers/cus_1").await.json();
        assert_eq!(state["defaultPaymentMethod"], expected, "the same as internal services see");

        app.take("evt_3", "payment_method.detached", card("4242")).await;
        assert_eq!(app.see(PATH).await.json(), json!({ "defaultPaymentMethod": null }));
    });
}

#[test]
fn of_several_customers_the_card_of_the_subscribed_one_is_shown() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (number, card) in [(1, "pm_1"), (2, "pm_2")] {
            let customer = json!({
                "id": format!("cus_{number}"), "object": "customer", "metadata": { "user_id": "user_1" },
                "invoice_settings": { "default_payment_method": card },
            });
            app.take(&format!("evt_{number}"), "customer.created", customer).await;
        }
        app.subscriber("cus_1", "user_1").await;
        assert_eq!(app.see(PATH).await.json()["defaultPaymentMethod"]["stripePaymentMethodId"], "pm_1");
    });
}

#[rocket::async_test]
async fn only_who_is_signed_in_sees_a_card() {
    assert_only_for_users(&[(Method::Get, PATH)]).await;
}
