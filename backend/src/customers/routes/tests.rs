//! What a customer looks like, through Rocket's local client, on both engines.

mod money;

use insta::{allow_duplicates, assert_snapshot};
use serde_json::json;

use crate::on_each_engine;
use crate::testing::{START, TestApp, subscription};

#[test]
fn a_customer_is_shown_with_every_member() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take(
            "evt_1",
            "customer.created",
            json!({
                "id": "cus_1", "object": "customer", "email": "ada@example.com", "name": "Ada", "created": START,
                "invoice_settings": { "default_payment_method": "pm_1" },
            }),
        )
        .await;
        app.take("evt_2", "customer.subscription.created", subscription("active")).await;
        app.take("evt_3", "invoice.paid", json!({
            "id": "in_1", "object": "invoice", "customer": "cus_1", "status": "paid", "currency": "usd", "created": START,
            "amount_due": 2900, "amount_paid": 2900, "attempt_count": 1, "status_transitions": { "paid_at": START },
            "parent": { "type": "subscription_details", "subscription_details": { "subscription": "sub_1" } },
            "lines": { "object": "list", "data": [] },
        })).await;
        app.take("evt_4", "invoice.payment_failed", json!({
            "id": "in_2", "object": "invoice", "customer": "cus_1", "status": "open", "currency": "usd", "created": START + 1,
            "amount_due": 2900, "amount_paid": 0, "attempt_count": 2,
            "lines": { "object": "list", "data": [] },
        })).await;
        app.take(
            "evt_5",
            "payment_method.attached",
            json!({
                "id": "pm_1", "object": "payment_method", "customer": "cus_1", "type": "card",
                "card": { "brand": "visa", "last4": "4242" },
            }),
        )
        .await;
        let shown = app.get("/v1/customers/cus_1").await.shown();
        allow_duplicates! { assert_snapshot!(shown, @r#"
        200
        {
          "apiKeys": [
            {
              "createdAt": "2025-06-15T15:06:40Z",
              "id": "key_…",
              "prefix": "tg_test_…",
              "revokedAt": null
            }
          ],
          "defaultPaymentMethod": {
            "brand": "visa",
            "last4": "4242",
            "stripePaymentMethodId": "pm_1"
          },
          "deleted": false,
          "email": "ada@example.com",
          "licenses": [
            {
              "activations": 0,
              "expiresAt": null,
              "id": "lic_…",
              "key": "…",
              "maxActivations": 3,
              "status": "active",
              "tier": "pro"
            }
          ],
          "name": "Ada",
          "payments": {
            "currency": "usd",
            "openInvoices": {
              "in_2": 2
            },
            "paidInvoices": [
              "in_1"
            ],
            "refunded": {},
            "totalPaid": 2900,
            "totals": {
              "usd": 2900
            }
          },
          "stripeCustomerId": "cus_1",
          "subscription": {
            "cancelAt": null,
            "cancelAtPeriodEnd": false,
            "cancelScheduled": false,
            "collectionPaused": false,
            "currentPeriodEnd": "2025-07-15T15:06:40Z",
            "currentPeriodStart": "2025-06-15T15:06:40Z",
            "endedAt": null,
            "itemCount": 1,
            "priceId": "price_pro_month",
            "quantity": 1,
            "status": "active",
            "stripeSubscriptionId": "sub_1",
            "tier": "pro",
            "trialEnd": null
          },
          "subscriptions": {
            "sub_1": "active"
          },
          "tier": "pro",
          "userId": "user_1",
          "widgets": [
            {
              "config": {
                "theme": "light"
              },
              "id": "wid_…",
              "name": "default"
            }
          ]
        }
        "#); }
    });
}

#[test]
fn of_a_customer_that_is_only_known_by_name_every_member_is_there_too() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take("evt_1", "checkout.session.completed", json!({
            "id": "cs_1", "object": "checkout.session", "mode": "subscription", "customer": "cus_1", "subscription": "sub_1",
            "payment_status": "paid", "client_reference_id": "user_1",
        })).await;
        let shown = app.get("/v1/customers/cus_1").await.shown();
        allow_duplicates! { assert_snapshot!(shown, @r#"
        200
        {
          "apiKeys": [],
          "defaultPaymentMethod": null,
          "deleted": false,
          "email": null,
          "licenses": [],
          "name": null,
          "payments": {
            "currency": null,
            "openInvoices": {},
            "paidInvoices": [],
            "refunded": {},
            "totalPaid": 0,
            "totals": {}
          },
          "stripeCustomerId": "cus_1",
          "subscription": null,
          "subscriptions": {},
          "tier": "free",
          "userId": "user_1",
          "widgets": []
        }
        "#); }
    });
}

#[test]
fn a_detached_default_payment_method_is_none_and_one_not_seen_yet_has_only_its_name() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let shown = async || app.get("/v1/customers/cus_1").await.json()["defaultPaymentMethod"].clone();
        app.take(
            "evt_1",
            "customer.created",
            json!({
                "id": "cus_1", "object": "customer", "invoice_settings": { "default_payment_method": "pm_1" },
            }),
        )
        .await;
        assert_eq!(shown().await, json!({ "stripePaymentMethodId": "pm_1", "brand": null, "last4": null }));
        app.take(
            "evt_2",
            "payment_method.detached",
            json!({ "id": "pm_1", "object": "payment_method", "customer": null }),
        )
        .await;
        assert_eq!(shown().await, json!(null));
    });
}

#[test]
fn a_customer_that_nobody_has_heard_of_is_404() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let response = app.get("/v1/customers/cus_hunter2").await;
        assert_eq!(response.refusal(), (404, "not_found".to_owned()));
        assert!(!response.body.contains("hunter2"));
    });
}

#[test]
fn a_link_says_whose_customer_it_is_for_good() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let link = async |user: &str| app.post("/v1/customers/cus_1/link", &json!({ "userId": user })).await;
        for _ in 0..2 {
            let response = link("user_2").await;
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!((&response.json()["userId"], &response.json()["tier"]), (&json!("user_2"), &json!("pro")));
        }
        assert_eq!(link("user_3").await.refusal(), (409, "already_linked".to_owned()));
        // The subscription's metadata names user_1, again.
        let object = subscription("past_due");
        app.take("evt_again", "customer.subscription.updated", object).await;
        assert_eq!(app.get("/v1/customers/cus_1").await.json()["userId"], "user_2");
    });
}

#[test]
fn a_link_that_cannot_be_made_says_why() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let path = "/v1/customers/cus_1/link";
        let good = json!({ "userId": "user_1" });
        assert_eq!(app.post(path, &good).await.refusal(), (404, "not_found".to_owned()));
        assert_eq!(app.get("/v1/customers/cus_1").await.refusal().0, 404, "nothing was made by it");
        app.take_a_subscriber().await;
        let long = "x".repeat(256);
        for bad in [json!({}), json!({ "userId": null }), json!({ "userId": 1 }), json!({ "userId": "" })]
            .into_iter()
            .chain([" user_1", "user\n1", "user\0", &*long].map(|user| json!({ "userId": user })))
        {
            let (status, code, param) = app.post(path, &bad).await.refused_parameter();
            assert_eq!((status, &*code, param.as_deref()), (422, "invalid_parameter", Some("userId")), "{bad}");
        }
    });
}
