//! How it all stands, on both engines.

use serde_json::json;

use crate::on_each_engine;
use crate::testing::{START, TestApp};

#[test]
fn numbers_are_those_of_what_there_is() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let nothing = app.look_up("/api/admin/stats").await.json();
        assert_eq!((&nothing["customers"], &nothing["mrr"]), (&json!(0), &json!({})), "{nothing}");
        assert_eq!(nothing["retrySuccessRate"], json!(null));
        for customer in ["cus_1", "cus_2"] {
            app.subscriber(customer, "user_1").await;
        }
        let invoice = |id: &str, status: &str, created: i64| {
            json!({
                "id": id, "object": "invoice", "customer": "cus_1", "status": status, "currency": "usd",
                "amount_due": 2900, "amount_paid": if status == "paid" { 2900 } else { 0 }, "attempt_count": 1,
                "created": created, "status_transitions": { "paid_at": if status == "paid" { Some(START) } else { None } },
            })
        };
        app.take("evt_failed", "invoice.payment_failed", invoice("in_1", "open", START)).await;
        app.take("evt_paid", "invoice.paid", invoice("in_1", "paid", START)).await;
        app.take("evt_owed", "invoice.payment_failed", invoice("in_2", "open", START)).await;
        let license = app.license_of("cus_1").await;
        app.seat(&license, "a hash").await;

        let stats = app.look_up("/api/admin/stats").await.json();
        assert_eq!(stats["customers"], 2);
        assert_eq!((&stats["tiers"]["pro"], &stats["tiers"]["free"]), (&json!(2), &json!(0)));
        assert_eq!((&stats["subscriptions"]["active"], &stats["subscriptions"]["canceled"]), (&json!(2), &json!(0)));
        assert_eq!(stats["licenses"], json!({ "active": 2, "suspended": 0, "expired": 0, "revoked": 0 }));
        assert_eq!((&stats["machines"], &stats["connected"]), (&json!(1), &json!(0)));
        assert_eq!((&stats["paid24h"], &stats["paid30d"]), (&json!({ "usd": 2900 }), &json!({ "usd": 2900 })));
        assert_eq!(stats["payments24h"], json!({ "succeeded": 1, "failed": 2 }));
        assert_eq!(stats["mrr"], json!({ "usd": 5800 }));
        assert_eq!((&stats["inGrace"], &stats["memberships"]["active"]), (&json!(0), &json!(0)));
        assert!(stats["retrySuccessRate"].as_f64().is_some_and(|rate| rate >= 0.5), "{stats}");
    });
}
