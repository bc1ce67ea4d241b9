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
