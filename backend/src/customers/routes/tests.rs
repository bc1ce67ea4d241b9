//! What a customer looks like, through Rocket's local client, on both engines.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::json;

use crate::on_each_engine;
use crate::testing::{START, Site, subscription};

#[test]
fn a_customer_is_shown_with_every_member() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        site.take(
            "evt_1",
            "customer.created",
            json!({
                "id": "cus_1", "object": "customer", "email": "ada@example.com", "name": "Ada", "created": START,
                "invoice_settings": { "default_payment_method": "pm_1" },
            }),
        )
        .await;
        site.take("evt_2", "customer.subscription.created", subscription("active")).await;
        site.take("evt_3", "invoice.paid", json!({
            "id": "in_1", "object": "invoice", "customer": "cus_1", "status": "paid", "currency": "usd", "created": START,
            "amount_due": 2900, "amount_paid": 2900, "attempt_count": 1, "status_transitions": { "paid_at": START },
            "parent": { "type": "subscription_details", "subscription_details": { "subscription": "sub_1" } },
            "lines": { "object": "list", "data": [] },
        })).await;
        site.take("evt_4", "invoice.payment_failed", json!({
            "id": "in_2", "object": "invoice", "customer": "cus_1", "status": "open", "currency": "usd", "created": START + 1,
            "amount_due": 2900, "amount_paid": 0, "attempt_count": 2,
            "lines": { "object": "list", "data": [] },
        })).await;
        site.take(
            "evt_5",
            "payment_method.attached",
            json!({
                "id": "pm_1", "object": "payment_method", "customer": "cus_1", "type": "card",
                "card": { "brand": "visa", "last4": "4242" },
            }),
        )
        .await;
        let shown = site.get("/v1/customers/cus_1").await.shown();
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
        let site = Site::on(db).await;
        site.take("evt_1", "checkout.session.completed", json!({
            "id": "cs_1", "object": "checkout.session", "mode": "subscription", "customer": "cus_1", "subscription": "sub_1",
            "payment_status": "paid", "client_reference_id": "user_1",
        })).await;
        let shown = site.get("/v1/customers/cus_1").await.shown();
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
        let site = Site::on(db).await;
        let shown = async || site.get("/v1/customers/cus_1").await.json()["defaultPaymentMethod"].clone();
        site.take(
            "evt_1",
            "customer.created",
            json!({
                "id": "cus_1", "object": "customer", "invoice_settings": { "default_payment_method": "pm_1" },
            }),
        )
        .await;
        assert_eq!(shown().await, json!({ "stripePaymentMethodId": "pm_1", "brand": null, "last4": null }));
        site.take(
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
        let site = Site::on(db).await;
        let answer = site.get("/v1/customers/cus_hunter2").await;
        assert_eq!(answer.refusal(), (404, "not_found".to_owned()));
        assert!(!answer.body.contains("hunter2"));
    });
}
