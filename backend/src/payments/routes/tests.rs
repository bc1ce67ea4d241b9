//! What users see of what they paid, on both engines.

use rocket::http::Method;
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{START, TestApp, assert_only_for_users};

const PATH: &str = "/api/payments/history";

fn intent(id: &str, status: &str, seconds: i64) -> Value {
    json!({
        "id": id, "object": "payment_intent", "customer": "cus_1", "status": status, "amount": 2900, "currency": "usd",
        "amount_received": if status == "succeeded" { 2900 } else { 0 }, "created": START + seconds,
    })
}

fn invoice(id: &str, status: &str, seconds: i64) -> Value {
    json!({
        "id": id, "object": "invoice", "customer": "cus_1", "status": status, "currency": "usd", "amount_due": 2900,
        "amount_paid": if status == "paid" { 2900 } else { 0 }, "created": START + seconds,
    })
}

#[test]
fn a_payment_is_listed_once_whatever_tells_of_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let mut failed = intent("pi_1", "requires_payment_method", 10);
        failed["last_payment_error"] = json!({ "code": "card_declined", "decline_code": "insufficient_funds" });
        app.take("evt_failed", "payment_intent.payment_failed", failed).await;
        let paid_by = json!({
            "id": "inpay_1", "object": "invoice_payment", "invoice": "in_1",
            "payment": { "type": "payment_intent", "payment_intent": "pi_1" },
        });
        app.take("evt_open", "invoice.finalized", invoice("in_1", "open", 5)).await;
        let list = app.see(PATH).await.json();
        let expected = json!([{
            "id": "pi_1", "invoiceId": null, "paymentIntentId": "pi_1", "amount": 2900, "refunded": 0, "currency": "usd",
            "status": "failed", "failureCode": "insufficient_funds", "createdAt": "2025-06-15T15:06:50Z", "podId": null,
        }]);
        assert_eq!(list["data"], expected, "while the invoice is open its intent is what was tried");

        app.take("evt_intent_paid", "payment_intent.succeeded", intent("pi_1", "succeeded", 10)).await;
        app.take("evt_tied", "invoice_payment.paid", paid_by).await;
        app.take("evt_paid", "invoice.paid", invoice("in_1", "paid", 5)).await;
        let refund = json!({
            "id": "re_1", "object": "refund", "status": "succeeded", "amount": 900, "currency": "usd",
            "payment_intent": "pi_1", "charge": "ch_1",
        });
        app.take("evt_refund", "refund.created", refund).await;
        let list = app.see(PATH).await.json();
        let expected = json!([{
            "id": "in_1", "invoiceId": "in_1", "paymentIntentId": "pi_1", "amount": 2900, "refunded": 900,
            "currency": "usd", "status": "succeeded", "failureCode": null, "createdAt": "2025-06-15T15:06:45Z",
            "podId": null,
        }]);
        assert_eq!(list["data"], expected, "{list}");
    });
}

#[test]
fn a_one_off_session_is_a_payment_and_its_intent_is_not() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let session = json!({
            "id": "cs_1", "object": "checkout.session", "customer": "cus_1", "mode": "payment", "payment_status": "paid",
            "payment_intent": "pi_1", "amount_total": 2900, "currency": "usd", "created": START + 1, "status": "complete",
        });
        app.take("evt_intent", "payment_intent.succeeded", intent("pi_1", "succeeded", 2)).await;
        app.take("evt_session", "checkout.session.completed", session).await;
        app.take("evt_alone", "payment_intent.processing", intent("pi_2", "processing", 3)).await;
        let list = app.see(PATH).await.json();
        let shown: Vec<_> = list["data"].as_array().unwrap().iter().map(|row| (&row["id"], &row["status"])).collect();
        assert_eq!(shown, [(&json!("pi_2"), &json!("pending")), (&json!("cs_1"), &json!("succeeded"))], "{list}");
        let first = app.see(&format!("{PATH}?limit=1")).await.json();
        let second = app.see(&format!("{PATH}?limit=1&cursor={}", first["nextCursor"].as_str().unwrap())).await.json();
        assert_eq!((&second["data"][0]["id"], &second["nextCursor"]), (&json!("cs_1"), &json!(null)));
    });
}

#[test]
fn another_users_payments_are_not_listed() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_2").await;
        app.take("evt_paid", "invoice.paid", invoice("in_1", "paid", 5)).await;
        assert_eq!(app.see(PATH).await.json()["data"], json!([]));
    });
}

#[rocket::async_test]
async fn only_who_is_signed_in_sees_payments() {
    assert_only_for_users(&[(Method::Get, PATH)]).await;
}
