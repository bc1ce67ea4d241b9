//! Two writers at one row that no customer's lock guards.

use super::*;

const INVOICES: usize = 400;

/// An invoice of nobody's, as `customer_account` makes them.
fn invoice_event(n: usize, kind: &str, status: &str, attempts: i64) -> Bytes {
    let object = json!({
        "id": format!("in_{n:03}"), "object": "invoice", "status": status, "currency": "usd", "amount_due": 2900,
        "amount_paid": if status == "paid" { 2900 } else { 0 }, "attempt_count": attempts, "created": START,
        "status_transitions": { "paid_at": if status == "paid" { Some(START) } else { None } }, "lines": { "data": [] },
    });
    event(&format!("{kind}_{n}"), &format!("invoice.{kind}"), 0, object)
}

#[test]
fn an_invoice_of_no_customer_that_is_paid_and_fails_at_once_is_paid() {
    on_each_engine!(async |db| {
        let clock = clock();
        let replicas = [(); 2].map(|()| Inbox::open(app(db.clone(), clock.clone())));
        let request_id = RequestId::parse("req_of_a_test").unwrap();
        let paid: Vec<_> = (0..INVOICES).map(|n| invoice_event(n, "paid", "paid", 2)).collect();
        let failed: Vec<_> = (0..INVOICES).map(|n| invoice_event(n, "payment_failed", "open", 3)).collect();
        // Few at once, so that the two meet at the same invoices all the time.
        for (paid, failed) in paid.chunks(8).zip(failed.chunks(8)) {
            let mut left = vec![paid.to_vec(), failed.to_vec()];
            while left.iter().any(|events| !events.is_empty()) {
                let taking = replicas.iter().zip(&left);
                let taken =
                    join_all(taking.map(|(replica, events)| replica.take_together(events.clone(), &request_id)));
                let taken = taken.await;
                for (events, taken) in left.iter_mut().zip(taken) {
                    let mut taken = taken.into_iter();
                    // One that found the other at its invoice for too long is due again in an hour.
                    events.retain(|_| taken.next().is_some_and(|taken| taken.is_err()));
                }
                clock.advance(Duration::from_secs(3600));
            }
        }
        let right = "SELECT count(*) FROM invoices WHERE status = 'paid' AND attempts = 3 AND amount_paid = 2900";
        assert_eq!(count(&db, right).await, INVOICES as i64);
    });
}
