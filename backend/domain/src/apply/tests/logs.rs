//! What is told to apps, and what people find in the audit log.

use super::*;
use crate::events::CustomerEvent;

#[test]
fn a_failed_payment_is_told_and_so_is_the_one_that_follows() {
    let active = subscription("active", "price_pro");
    let failed = |n| stripe::Invoice { attempt_count: n, ..invoice("open") };
    let fixture = Fixture::new().see_all(&[
        created("a", 0, &active),
        observed("b", 10, Object::Invoice(failed(1), true)),
        observed("b", 10, Object::Invoice(failed(1), true)),
        updated("c", 11, &active, &subscription("past_due", "price_pro")),
        invoice_seen("d", 20, invoice("paid")),
    ]);
    assert_eq!(
        fixture.told(),
        ["license_created", "subscription_created", "payment_failed", "subscription_past_due", "payment_succeeded"]
    );
}

#[test]
fn a_payment_is_told_in_one_form_whatever_it_pays() {
    let one_off = |payment_status: &str, intent: Option<&str>| stripe::CheckoutSession {
        mode: some("payment"),
        payment_status: some(payment_status),
        subscription: None,
        payment_intent: intent.map(str::to_owned),
        amount_total: Some(500),
        currency: some("eur"),
        created: Some(START),
        ..session(None, None)
    };
    let paying = stripe::PaymentIntent {
        id: "pi_1".to_owned(),
        customer: some(CUSTOMER),
        status: some("succeeded"),
        amount: 500,
        ..stripe::PaymentIntent::default()
    };
    let named = |id: &str, session| stripe::CheckoutSession { id: id.to_owned(), ..session };
    let waiting = completed("d", 30, named("cs_2", one_off("unpaid", Some("pi_1"))));
    let fixture = Fixture::new().see_all(&[
        created("a", 0, &subscription("active", "price_pro")),
        failed("in_1", "b", 10),
        invoice_seen("c", 20, invoice("paid")),
        waiting,
        observed("e", 40, Object::PaymentIntent(paying)),
        completed("f", 50, one_off("paid", None)),
    ]);
    let log = fixture.work.appended().filter(|event: &&LicenseEvent| event.r#type.starts_with("payment_"));
    let told: Vec<_> = log.map(|event| format!("{} {}", event.r#type, *event.data)).collect();
    assert_eq!(
        told,
        [
            r#"payment_failed {"payment":{"amount":2900,"createdAt":"2025-06-15T15:06:40Z","currency":"usd","failureCode":null,"id":"in_1","invoiceId":"in_1","paymentIntentId":null,"status":"failed"}}"#,
            r#"payment_succeeded {"payment":{"amount":2900,"createdAt":"2025-06-15T15:06:40Z","currency":"usd","failureCode":null,"id":"in_1","invoiceId":"in_1","paymentIntentId":null,"status":"succeeded"}}"#,
            r#"payment_succeeded {"payment":{"amount":500,"createdAt":"2025-06-15T15:06:40Z","currency":"eur","failureCode":null,"id":"cs_2","invoiceId":null,"paymentIntentId":"pi_1","status":"succeeded"}}"#,
            r#"payment_succeeded {"payment":{"amount":500,"createdAt":"2025-06-15T15:06:40Z","currency":"eur","failureCode":null,"id":"cs_1","invoiceId":null,"paymentIntentId":null,"status":"succeeded"}}"#,
        ]
    );
}

#[test]
fn what_happens_without_a_licence_is_said_too() {
    let mut fixture =
        Fixture::new().see_all(&[created("a", 0, &subscription("incomplete", "price_pro")), failed("in_1", "b", 5)]);
    fixture.work.release_savepoint();
    let told: Vec<_> = fixture.work.announced().map(|said: &CustomerEvent| said.event.event_type.name()).collect();
    assert_eq!((told, fixture.license()), (vec!["subscription_created", "payment_failed"], None));
}

#[test]
fn the_log_of_a_licence_does_not_repeat_its_key() {
    let fixture = Fixture::new().see_all(&[created("a", 0, &subscription("active", "price_pro"))]);
    let key = fixture.license().unwrap().key;
    let log: Vec<_> = fixture.work.appended().map(|event: &LicenseEvent| event.data.to_string()).collect();
    assert!(log.iter().all(|data| !data.contains(&key)), "{log:?}");
}

#[test]
fn the_audit_log_keeps_its_order() {
    let (active, late) = (subscription("active", "price_pro"), subscription("past_due", "price_team"));
    let fixture = Fixture::new().see_all(&[created("a", 0, &active), updated("b", 9, &active, &late)]);
    let numbers: Vec<_> = fixture.work.appended().map(|entry: &AuditEntry| entry.number).collect();
    assert_eq!(numbers, (1..=6).collect::<Vec<_>>());
    assert_eq!(fixture.customer().last_change, 6);
}
