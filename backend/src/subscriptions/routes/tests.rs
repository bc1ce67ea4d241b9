//! What users see of what they have, on both engines.

use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_shared::clock::from_unix;

use crate::app::App;
use crate::on_each_engine;
use crate::testing::{START, TestApp, assert_only_for_users, config_with_plans, event, signed_in, subscription_of};
use crate::webhooks::routes::INTAKE_PATH;
use tollgate_db::Db;
use tollgate_shared::{Clock, Rng};

const PLANS: &str = "/api/subscriptions/plans";
const CURRENT: &str = "/api/subscriptions/current";
const HISTORY: &str = "/api/subscriptions/history";

/// Three plans, one of which is bought for good.
const THREE: &str = r#"
    default_tier = "free"
    past_due_days = 14
    [[plan]]
    id = "team_yearly"
    tier = "team"
    name = "Team"
    lookup_key = "team"
    [[plan]]
    id = "pro_monthly"
    tier = "pro"
    name = "Pro"
    stripe_price = "price_pro_month"
    currency = "usd"
    unit_amount = 2900
    interval = "month"
    max_activations = 3
    [[plan]]
    id = "lifetime"
    tier = "pro"
    name = "For good"
    stripe_price = "price_once"
    interval = "once"
"#;

async fn with_three_plans(db: Db) -> TestApp {
    let clock = Clock::manual(from_unix(START).unwrap());
    TestApp::of(App::new(config_with_plans(THREE, &[]).into(), db, clock, Rng::seeded(1))).await
}

impl TestApp {
    /// A subscription of a customer of `user_1` is as told, so many seconds after the start.
    async fn subscribes(&self, customer: &str, status: &str, price: &str, seconds: i64) {
        let mut subscription = subscription_of(customer, status);
        subscription["metadata"] = json!({ "user_id": "user_1" });
        subscription["created"] = json!(START + seconds);
        subscription["items"]["data"][0]["price"]["id"] = json!(price);
        let mut told = event(&format!("evt_{customer}_{status}"), "customer.subscription.updated", &subscription);
        told["created"] = json!(START + seconds);
        assert_eq!(self.post(INTAKE_PATH, &told).await.json()["outcome"], "processed");
    }

    async fn plan_ids_that_are_current(&self) -> Vec<Value> {
        let plans = self.see(PLANS).await.json();
        let plans = plans["data"].as_array().unwrap().iter();
        plans.filter(|plan| plan["current"] == true).map(|plan| plan["id"].clone()).collect()
    }
}

#[test]
fn plans_are_listed_in_the_order_of_the_file() {
    on_each_engine!(async |db| {
        let app = with_three_plans(db).await;
        app.subscribes("cus_1", "active", "price_pro_month", 0).await;
        let list = app.see(PLANS).await.json();
        let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|plan| &plan["id"]).collect();
        assert_eq!(ids, ["team_yearly", "pro_monthly", "lifetime"]);
        assert_eq!((&list["hasMore"], &list["nextCursor"]), (&json!(false), &json!(null)));
        let expected = json!({
            "id": "pro_monthly", "tier": "pro", "name": "Pro", "priceId": "price_pro_month", "currency": "usd",
            "unitAmount": 2900, "interval": "month", "maxActivations": 3, "features": {}, "current": true,
        });
        assert_eq!(list["data"][1], expected);
        assert_eq!(app.plan_ids_that_are_current().await, ["pro_monthly"]);

        let first = app.see(&format!("{PLANS}?limit=2")).await.json();
        let cursor = first["nextCursor"].as_str().unwrap();
        let second = app.see(&format!("{PLANS}?limit=2&cursor={cursor}")).await.json();
        assert_eq!((&second["data"][0]["id"], &second["hasMore"]), (&json!("lifetime"), &json!(false)));
        let of_another_list = app.see(&format!("{PLANS}?cursor=MTc1MDAwMDAwMDAwMDAwMC5ldnRfMQ")).await;
        assert_eq!(of_another_list.refused_parameter().2.as_deref(), Some("cursor"));
    });
}

#[test]
fn who_has_bought_nothing_has_the_default_tier() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_2").await;
        let none = json!({ "subscription": null, "plan": null, "tier": "free", "license": null });
        assert_eq!(app.see(CURRENT).await.json(), none);
        assert_eq!(app.plan_ids_that_are_current().await, [json!(null); 0]);
        assert_eq!(app.see(HISTORY).await.json(), json!({ "data": [], "hasMore": false, "nextCursor": null }));
    });
}

#[test]
fn the_current_subscription_comes_with_plan_and_licence() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let current = app.see(CURRENT).await.json();
        let subscription = &current["subscription"];
        assert_eq!(
            (&subscription["stripeSubscriptionId"], &subscription["planId"], &subscription["planName"]),
            (&json!("sub_of_cus_1"), &json!("pro_monthly"), &json!("Pro, monthly"))
        );
        assert_eq!((&current["plan"]["id"], &current["tier"]), (&json!("pro_monthly"), &json!("pro")));
        assert_eq!(current["plan"]["current"], true);
        let licenses = app.see("/api/license").await.json();
        assert_eq!(current["license"], licenses["data"][0]);
        let members: Vec<_> = current.as_object().unwrap().keys().collect();
        assert_eq!(members.len(), 4, "{members:?}");
    });
}

#[test]
fn of_several_customers_the_one_that_has_access_counts() {
    on_each_engine!(async |db| {
        let app = with_three_plans(db).await;
        app.subscribes("cus_1", "active", "price_pro_month", 0).await;
        // Newer, and gives nothing: a purchase that was begun, one that no plan matches, one that has ended.
        app.subscribes("cus_2", "incomplete", "price_pro_month", 10).await;
        app.subscribes("cus_3", "active", "price_of_something_else", 20).await;
        app.subscribes("cus_4", "canceled", "price_pro_month", 30).await;
        let current = app.see(CURRENT).await.json();
        assert_eq!(current["subscription"]["stripeSubscriptionId"], "sub_of_cus_1", "{current}");
        assert_eq!((&current["tier"], &current["license"]["status"]), (&json!("pro"), &json!("active")));

        app.subscribes("cus_1", "canceled", "price_pro_month", 40).await;
        let current = app.see(CURRENT).await.json();
        assert_eq!(current["subscription"]["stripeSubscriptionId"], "sub_of_cus_3", "{current}");
        assert_eq!((&current["tier"], &current["plan"]), (&json!("free"), &json!(null)));

        app.subscribes("cus_3", "canceled", "price_of_something_else", 50).await;
        let current = app.see(CURRENT).await.json();
        assert_eq!(current["subscription"]["stripeSubscriptionId"], "sub_of_cus_2", "{current}");
        assert_eq!((&current["tier"], &current["plan"]["id"]), (&json!("free"), &json!("pro_monthly")));
    });
}

#[test]
fn the_plan_of_a_subscription_that_has_ended_is_none() {
    on_each_engine!(async |db| {
        let app = with_three_plans(db).await;
        app.subscribes("cus_1", "active", "price_pro_month", 0).await;
        app.subscribes("cus_1", "canceled", "price_pro_month", 10).await;
        let current = app.see(CURRENT).await.json();
        assert_eq!((&current["subscription"]["status"], &current["plan"]), (&json!("canceled"), &json!(null)));
        assert_eq!((&current["tier"], &current["license"]["status"]), (&json!("free"), &json!("expired")));
        assert_eq!(app.plan_ids_that_are_current().await, [json!(null); 0]);
    });
}

#[test]
fn what_was_bought_for_good_is_the_plan_without_a_subscription() {
    on_each_engine!(async |db| {
        let app = with_three_plans(db).await;
        let line = json!({
            "id": "il_1", "object": "line_item", "amount": 9900, "quantity": 1,
            "price": { "id": "price_once", "object": "price", "product": "prod_once" },
        });
        let invoice = json!({
            "id": "in_1", "object": "invoice", "customer": "cus_1", "status": "paid", "currency": "usd", "created": START,
            "amount_due": 9900, "amount_paid": 9900, "lines": { "object": "list", "data": [line] },
        });
        app.take("evt_1", "invoice.paid", invoice).await;
        app.post("/v1/customers/cus_1/link", &json!({ "userId": "user_1" })).await;
        app.subscribes("cus_2", "canceled", "price_pro_month", 10).await;
        let current = app.see(CURRENT).await.json();
        assert_eq!((&current["plan"]["id"], &current["tier"]), (&json!("lifetime"), &json!("pro")), "{current}");
        assert_eq!(current["license"]["status"], "active");
        assert_eq!(current["subscription"]["status"], "canceled");
        assert_eq!(app.plan_ids_that_are_current().await, ["lifetime"]);
    });
}

#[test]
fn the_history_of_all_customers_is_one_newest_first() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        app.subscriber("cus_2", "user_1").await;
        app.subscriber("cus_3", "user_2").await;
        let whole = app.see(&format!("{HISTORY}?limit=100")).await.json();
        let whole = whole["data"].as_array().unwrap();
        let ids: Vec<_> = whole.iter().map(|change| change["id"].as_str().unwrap()).collect();
        assert_eq!(whole.len(), 6, "tier, status and plan of each: {whole:?}");
        let of_event = |event: &str| whole.iter().filter(|change| change["eventId"] == event).count();
        assert_eq!((of_event("evt_cus_1"), of_event("evt_cus_2"), of_event("evt_cus_3")), (3, 3, 0));
        let tier = whole.iter().find(|change| change["change"] == "tier").unwrap();
        let expected = json!({
            "id": tier["id"], "at": "2025-06-15T15:06:40Z", "actor": "stripe", "change": "tier", "from": "free", "to": "pro",
            "eventId": tier["eventId"], "reason": null,
        });
        assert_eq!(*tier, expected);

        let mut paged = Vec::new();
        let mut path = format!("{HISTORY}?limit=2");
        loop {
            let page = app.see(&path).await.json();
            paged.extend(
                page["data"].as_array().unwrap().iter().map(|change| change["id"].as_str().unwrap().to_owned()),
            );
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            path = format!("{HISTORY}?limit=2&cursor={cursor}");
        }
        assert_eq!(paged, ids, "each once, in the same order");
        let of_another_list = app.see(&format!("{HISTORY}?cursor=MTc1MDAwMDAwMDAwMDAwMC5ldnRfMQ")).await;
        assert_eq!(of_another_list.refused_parameter().2.as_deref(), Some("cursor"));
        let other = app.as_user(Method::Get, HISTORY, &signed_in("user_2", "user")).await.json();
        assert_eq!(other["data"].as_array().unwrap().len(), 3);
    });
}

#[rocket::async_test]
async fn only_who_is_signed_in_sees_what_they_have() {
    assert_only_for_users(&[(Method::Get, PLANS), (Method::Get, CURRENT), (Method::Get, HISTORY)]).await;
}
