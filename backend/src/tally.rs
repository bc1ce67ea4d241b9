//! What changes come to in the metrics: payments that came or failed, each once.

use tollgate_db::Changes;
use tollgate_domain::invoices::Invoice;
use tollgate_domain::payments::Payment;
use tollgate_domain::payments::history::PaymentStatus;

/// Counts what was written. To be called once that is committed.
pub fn count(changes: &Changes) {
    for change in changes.of::<Payment>() {
        let is = result(change.after);
        // What pays an invoice or a session is counted as that.
        let is_its_own = change.after.belongs_to.is_none();
        if let Some(result) = is.filter(|_| is_its_own && is != change.before.and_then(result)) {
            let kind = kind(&change.after.kind);
            metrics::counter!("tollgate_backend_payments_total", "kind" => kind, "result" => result).increment(1);
        }
    }
    for change in changes.of::<Invoice>() {
        let before = change.before.map_or(0, |before| before.failed_attempts);
        if let Ok(failed @ 1..) = u64::try_from(change.after.failed_attempts - before) {
            metrics::counter!("tollgate_backend_payments_total", "kind" => "invoice", "result" => "failed")
                .increment(failed);
        }
    }
}

/// What became of a payment, once that is known.
fn result(payment: &Payment) -> Option<&'static str> {
    match PaymentStatus::of(payment.status.as_deref()?, payment.failure_code.as_deref()) {
        PaymentStatus::Succeeded => Some("succeeded"),
        PaymentStatus::Failed => Some("failed"),
        PaymentStatus::Canceled => Some("canceled"),
        PaymentStatus::Pending => None,
    }
}

fn kind(kind: &str) -> &'static str {
    match kind {
        "invoice" => "invoice",
        "session" => "session",
        _ => "intent",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::on_each_engine;
    use crate::testing::{START, TestApp};

    #[test]
    fn each_payment_that_comes_or_fails_is_counted_once() {
        on_each_engine!(async |db| {
            let app = TestApp::on(db).await;
            let count = async |result: &str| {
                let name = format!("tollgate_backend_payments_total{{kind=\"invoice\",result=\"{result}\"}} ");
                let text = app.get("/metrics").await.body;
                let value = text.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned);
                value.map_or(0, |value| value.parse::<i64>().unwrap())
            };
            let before = (count("succeeded").await, count("failed").await);
            let invoice = |status: &str| {
                let is_paid = status == "paid";
                json!({
                    "id": "in_1", "object": "invoice", "customer": "cus_1", "status": status, "currency": "usd",
                    "amount_due": 2900, "amount_paid": if is_paid { 2900 } else { 0 }, "attempt_count": 1,
                    "created": START, "status_transitions": { "paid_at": is_paid.then_some(START) },
                })
            };
            app.take("evt_failed", "invoice.payment_failed", invoice("open")).await;
            app.take("evt_failed_again", "invoice.payment_failed", invoice("open")).await;
            app.take("evt_paid", "invoice.paid", invoice("paid")).await;
            app.take("evt_paid_again", "invoice.payment_succeeded", invoice("paid")).await;
            assert_eq!((count("succeeded").await, count("failed").await), (before.0 + 1, before.1 + 1));
        });
    }
}
