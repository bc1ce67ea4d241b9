//! What a customer paid, was given back and has bought for good, from the events to the response, on both engines.

use std::fs;
use std::slice;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{START, TestApp, event};
use crate::webhooks::routes::INTAKE_PATH;

const PLANS: &str = r#"
default_tier = "free"

[[plan]]
id = "pro_monthly"
tier = "pro"
lookup_key = "pro_monthly"
interval = "month"

[[plan]]
id = "lifetime"
tier = "gold"
stripe_price = "price_lifetime"
interval = "once"
"#;

/// Every order of `count` things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    match count {
        0 => vec![vec![]],
        _ => orders(count - 1)
            .into_iter()
            .flat_map(|order| {
                (0..count).map(move |index| {
                    let mut order = order.clone();
                    order.insert(index, count - 1);
                    order
                })
            })
            .collect(),
    }
}

/// How many customers' events are sent at once: those that wait together share a transaction.
const AT_ONCE: usize = 32;

/// Sends `events` (a type, seconds after the start, the object) in each order, each time of another customer: in their
/// texts `~` is replaced by a name. `check` is given what the customer then looks like.
fn in_each_order(events: &[(&str, i64, Value)], check: impl Fn(&Value)) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let plans = folder.path().join("plans.toml");
    fs::write(&plans, PLANS).expect("there is room for a file");
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("PLANS_FILE", plans.to_str().expect("its path is a text"))]).await;
        let orders = orders(events.len());
        let told = stream::iter(orders.iter().enumerate()).map(async |(n, order)| {
            for index in order {
                let (event_type, seconds, object) = &events[*index];
                let mut event = event(&format!("evt_{index}~"), event_type, object);
                event["created"] = json!(START + seconds);
                let event = event.to_string().replace('~', &n.to_string());
                let response = app.post(INTAKE_PATH, &serde_json::from_str(&event).expect("it is JSON")).await;
                assert_eq!(response.json()["outcome"], "processed", "{response:?}");
            }
        });
        told.buffer_unordered(AT_ONCE).collect::<()>().await;
        for n in 0..orders.len() {
            let response = app.get(&format!("/v1/customers/cus_{n}")).await;
            assert_eq!(response.status, 200, "{response:?}");
            check(&response.json());
        }
    });
}

fn session(amount: i64, metadata: &Value) -> Value {
    json!({
        "id": "cs_~", "object": "checkout.session", "mode": "payment", "status": "complete", "payment_status": "paid",
        "customer": "cus_~", "payment_intent": "pi_~", "amount_total": amount, "currency": "usd", "created": START,
        "metadata": metadata,
    })
}

fn invoice(price: &str, parent: &Value) -> Value {
    json!({
        "id": "in_~", "object": "invoice", "customer": "cus_~", "status": "paid", "currency": "usd", "created": START,
        "amount_due": 9900, "amount_paid": 9900, "status_transitions": { "paid_at": START },
        "lines": { "object": "list", "data": [{
            "id": "il_~", "amount": 9900, "quantity": 1, "parent": parent,
            "pricing": { "price_details": { "price": price, "product": "prod_x" } },
        }]},
    })
}

fn refund(status: &str, amount: i64) -> Value {
    json!({
        "id": "re_~", "object": "refund", "charge": "ch_~", "payment_intent": "pi_~", "amount": amount,
        "currency": "usd", "status": status, "created": START,
    })
}

fn charge(amount_refunded: i64) -> Value {
    json!({
        "id": "ch_~", "object": "charge", "customer": "cus_~", "payment_intent": "pi_~", "amount": 9900,
        "amount_captured": 9900, "amount_refunded": amount_refunded, "currency": "usd", "created": START,
    })
}

fn one_off_line() -> Value {
    json!({ "type": "invoice_item_details", "invoice_item_details": { "invoice_item": "ii_~", "proration": false } })
}

#[test]
fn a_one_off_session_is_in_the_totals_and_its_refund_beside_them() {
    let intent = json!({
        "id": "pi_~", "object": "payment_intent", "customer": "cus_~", "status": "succeeded", "amount": 2900,
        "amount_received": 2900, "currency": "usd", "created": START,
    });
    let events = [
        ("checkout.session.completed", 0, session(2900, &json!({}))),
        ("payment_intent.succeeded", 1, intent),
        ("refund.created", 60, refund("succeeded", 900)),
    ];
    in_each_order(&events, |customer| {
        let payments = &customer["payments"];
        assert_eq!((&payments["currency"], &payments["totals"]), (&json!("usd"), &json!({ "usd": 2900 })));
        assert_eq!((&payments["totalPaid"], &payments["refunded"]), (&json!(0), &json!({ "usd": 900 })));
        assert_eq!(customer["tier"], "free");
    });
}

#[test]
fn a_refund_that_failed_is_none() {
    let events = [
        ("charge.refunded", 10, charge(2900)),
        ("refund.created", 10, refund("pending", 2900)),
        ("refund.failed", 60, refund("failed", 2900)),
    ];
    in_each_order(&events, |customer| assert_eq!(customer["payments"]["refunded"], json!({})));
}

#[test]
fn a_refund_of_which_only_the_invoice_is_known_is_the_customers() {
    let link = json!({
        "id": "inpay_~", "object": "invoice_payment", "invoice": "in_~", "status": "paid",
        "payment": { "payment_intent": "pi_~", "type": "payment_intent" },
    });
    let events = [
        ("invoice.paid", 0, invoice("price_lifetime", &one_off_line())),
        ("invoice_payment.paid", 1, link),
        ("refund.updated", 60, refund("succeeded", 9900)),
    ];
    in_each_order(&events, |customer| {
        assert_eq!(customer["payments"]["refunded"], json!({ "usd": 9900 }));
        assert_eq!(customer["payments"]["totalPaid"], 9900);
        assert_eq!((&customer["tier"], &customer["licenses"][0]["status"]), (&json!("free"), &json!("expired")));
    });
}

#[test]
fn what_was_bought_for_good_lasts_until_it_is_given_back_whole() {
    let bought = ("invoice.paid", 0, invoice("price_lifetime", &one_off_line()));
    in_each_order(slice::from_ref(&bought), |customer| {
        assert_eq!((&customer["tier"], &customer["subscription"]), (&json!("gold"), &Value::Null));
        assert_eq!(
            (&customer["licenses"][0]["status"], &customer["licenses"][0]["expiresAt"]),
            (&json!("active"), &Value::Null)
        );
        assert_eq!(
            (customer["apiKeys"].as_array().map(Vec::len), customer["widgets"].as_array().map(Vec::len)),
            (Some(1), Some(1))
        );
    });
    let by_plan = ("checkout.session.completed", 0, session(9900, &json!({ "plan_id": "lifetime" })));
    in_each_order(&[by_plan.clone(), ("charge.refunded", 60, charge(9899))], |customer| {
        assert_eq!(customer["tier"], "gold");
    });
    let dispute = json!({
        "id": "du_~", "object": "dispute", "charge": "ch_~", "payment_intent": "pi_~", "status": "lost",
    });
    for ending in [("charge.refunded", 60, charge(9900)), ("charge.dispute.closed", 60, dispute)] {
        in_each_order(&[by_plan.clone(), ending], |customer| {
            assert_eq!((&customer["tier"], &customer["licenses"][0]["status"]), (&json!("free"), &json!("expired")));
            assert_eq!(customer["licenses"][0]["expiresAt"], "2025-06-15T15:07:40Z");
        });
    }
}

#[test]
fn a_price_stays_its_plans_when_its_lookup_key_moves_on() {
    let subscription = |key: Value, start: i64| {
        json!({
            "id": "sub_~", "object": "subscription", "customer": "cus_~", "status": "active", "created": START,
            "items": { "object": "list", "total_count": 1, "data": [{
                "id": "si_~", "object": "subscription_item", "quantity": 1, "current_period_start": start,
                "current_period_end": start + 2_592_000,
                "price": { "id": "price_old_~", "object": "price", "lookup_key": key, "product": "prod_x" },
            }]},
        })
    };
    let events = [
        ("customer.subscription.created", 0, subscription(json!("pro_monthly"), START)),
        ("customer.subscription.updated", 2_592_000, subscription(Value::Null, START + 2_592_000)),
    ];
    in_each_order(&events, |customer| assert_eq!(customer["tier"], "pro"));
}

#[test]
fn the_card_is_the_customers_else_the_subscriptions_else_the_old_default() {
    let customer = |default: Value| {
        json!({
            "id": "cus_~", "object": "customer", "created": START, "default_source": "card_~",
            "invoice_settings": { "default_payment_method": default },
        })
    };
    let card = |id: &str, last4: &str| json!({ "id": id, "object": "payment_method", "customer": "cus_~", "type": "card", "card": { "last4": last4 } });
    let subscription = json!({
        "id": "sub_~", "object": "subscription", "customer": "cus_~", "status": "active", "created": START,
        "default_payment_method": "pm_s~", "items": { "object": "list", "data": [] },
    });
    let first = ("payment_method.attached", 0, card("pm_c~", "0001"));
    let second = ("payment_method.attached", 0, card("pm_s~", "0002"));
    let old = ("payment_method.attached", 0, card("card_~", "0003"));
    let subscribed = ("customer.subscription.created", 0, subscription);
    let shows = |events: &[(&str, i64, Value)], last4: &str| {
        in_each_order(events, |customer| assert_eq!(customer["defaultPaymentMethod"]["last4"], last4));
    };
    let own = ("customer.updated", 1, customer(json!("pm_c~")));
    shows(&[first.clone(), second.clone(), subscribed.clone(), own.clone()], "0001");
    shows(&[second.clone(), subscribed.clone(), ("customer.updated", 1, customer(Value::Null))], "0002");
    shows(&[old, ("customer.updated", 1, customer(Value::Null))], "0003");
    let detached = ("payment_method.detached", 9, card("pm_c~", "0001"));
    shows(&[first, second, subscribed, own, detached], "0002");
}
