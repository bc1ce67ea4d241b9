//! What users see of their invoices, on both engines.

use rocket::http::Method;
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{START, TestApp, assert_only_for_users};

const PATH: &str = "/api/invoices/history";
const OTHER_PATH: &str = "/api/subscriptions/billing-history";

impl TestApp {
    async fn invoice(&self, customer: &str, id: &str, seconds: i64) {
        let invoice = json!({
            "id": id, "object": "invoice", "customer": customer, "status": "paid", "currency": "usd",
            "number": "A-1", "amount_due": 2900, "amount_paid": 2900, "attempt_count": 1, "created": START + seconds,
            "status_transitions": { "paid_at": START + seconds + 5 },
            "hosted_invoice_url": "https://invoice.example/1", "invoice_pdf": "https://invoice.example/1.pdf",
        });
        self.take(&format!("evt_{id}"), "invoice.paid", invoice).await;
    }

    async fn invoice_ids(&self, path: &str) -> (Vec<Value>, Option<String>) {
        let list = self.see(path).await.json();
        let ids = list["data"].as_array().unwrap().iter().map(|invoice| invoice["id"].clone()).collect();
        (ids, list["nextCursor"].as_str().map(str::to_owned))
    }
}

#[test]
fn a_user_sees_the_invoices_of_all_their_customers() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (customer, user) in [("cus_1", "user_1"), ("cus_2", "user_1"), ("cus_3", "user_2")] {
            app.subscriber(customer, user).await;
        }
        for (customer, id, seconds) in
            [("cus_1", "in_1", 10), ("cus_2", "in_2", 20), ("cus_1", "in_3", 30), ("cus_3", "in_4", 40)]
        {
            app.invoice(customer, id, seconds).await;
        }
        let expected = json!({
            "id": "in_3", "number": "A-1", "status": "paid", "currency": "usd", "amountDue": 2900, "amountPaid": 2900,
            "attempts": 1, "nextAttemptAt": null, "createdAt": "2025-06-15T15:07:10Z", "paidAt": "2025-06-15T15:07:15Z",
            "hostedInvoiceUrl": "https://invoice.example/1", "invoicePdf": "https://invoice.example/1.pdf", "podId": null,
        });
        for path in [PATH, OTHER_PATH] {
            assert_eq!(app.see(path).await.json()["data"][0], expected);
            let (first, cursor) = app.invoice_ids(&format!("{path}?limit=2")).await;
            assert_eq!(first, ["in_3", "in_2"]);
            let (second, cursor) = app.invoice_ids(&format!("{path}?limit=2&cursor={}", cursor.unwrap())).await;
            assert_eq!((second, cursor), (vec![json!("in_1")], None));
        }
    });
}

#[test]
fn a_page_of_many_invoices_begins_after_the_one_before() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        app.subscriber("cus_2", "user_1").await;
        for number in 0..30 {
            // Several of one second.
            app.invoice(&format!("cus_{}", 1 + number % 2), &format!("in_{number:02}"), number / 4).await;
        }
        let (mut ids, mut path) = (Vec::new(), PATH.to_owned());
        loop {
            let (page, cursor) = app.invoice_ids(&path).await;
            ids.extend(page);
            let Some(cursor) = cursor else { break };
            path = format!("{PATH}?cursor={cursor}");
        }
        let newest_first: Vec<_> = (0..30).rev().map(|number| json!(format!("in_{number:02}"))).collect();
        assert_eq!(ids, newest_first);
    });
}

#[rocket::async_test]
async fn only_who_is_signed_in_sees_invoices() {
    assert_only_for_users(&[(Method::Get, PATH), (Method::Get, OTHER_PATH)]).await;
}
