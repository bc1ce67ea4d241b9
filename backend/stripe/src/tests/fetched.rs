//! Objects that were asked for, without an event around them.

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_shared::clock::from_unix;

use super::observation;
use super::shapes::{self, SHAPES, Sub};
use crate::{MethodChange, Object, ObjectType, Observation, SessionOutcome, Unreadable};

fn fetched(object_type: ObjectType, object: &Value) -> Result<Observation, Unreadable> {
    let json = Bytes::from(object.to_string());
    let at = from_unix(1_770_000_000).expect("it is a time");
    Observation::of_object(object_type, &json, at, Some("acct_1".to_owned()), "fetch_1".to_owned())
}

#[test]
fn a_fetched_object_is_read_as_an_events_is() {
    let subscription = shapes::subscription(SHAPES[3], &Sub::default());
    for (object_type, event_type, object) in [
        (ObjectType::Customer, "customer.updated", shapes::customer()),
        (ObjectType::Subscription, "customer.subscription.updated", subscription),
        (ObjectType::CheckoutSession, "checkout.session.completed", shapes::checkout_session()),
        (ObjectType::Invoice, "invoice.updated", shapes::invoice(SHAPES[3])),
        (ObjectType::InvoicePayment, "invoice_payment.paid", shapes::invoice_payment()),
        (ObjectType::PaymentIntent, "payment_intent.succeeded", shapes::payment_intent(SHAPES[3])),
        (ObjectType::PaymentMethod, "payment_method.updated", shapes::payment_method("card", &json!({"last4": "1"}))),
        (ObjectType::Charge, "charge.refunded", shapes::charge()),
        (ObjectType::Refund, "refund.updated", shapes::refund()),
        (ObjectType::Dispute, "charge.dispute.closed", shapes::dispute()),
    ] {
        let seen = fetched(object_type, &object).expect("it can be read");
        assert_eq!(seen.object, observation(&super::event(event_type, &object)).object);
        assert_eq!((&*seen.source, seen.account.as_deref()), ("fetch_1", Some("acct_1")));
        assert_eq!(Some(seen.seen_at), from_unix(1_770_000_000));
        assert!(!seen.is_creation && !seen.is_announcement);
    }
}

#[test]
fn a_fetched_object_says_its_own_mode() {
    for livemode in [true, false] {
        let seen = fetched(ObjectType::Charge, &json!({"id": "ch_1", "livemode": livemode})).expect("it can be read");
        assert_eq!(seen.livemode, Some(livemode));
    }
}

#[test]
fn what_became_of_a_fetched_object_is_in_its_fields() {
    let session = |status: &str| {
        let mut object = shapes::checkout_session();
        object["status"] = json!(status);
        match fetched(ObjectType::CheckoutSession, &object).expect("it can be read").object {
            Object::CheckoutSession(_, outcome) => outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(session("open"), SessionOutcome::Open);
    assert_eq!(session("complete"), SessionOutcome::Completed);
    assert_eq!(session("expired"), SessionOutcome::Expired);

    let mut loose = shapes::payment_method("card", &json!({"last4": "4242"}));
    loose["customer"] = Value::Null;
    let seen = fetched(ObjectType::PaymentMethod, &loose).expect("it can be read");
    assert!(matches!(seen.object, Object::PaymentMethod(_, MethodChange::Detached)));

    let gone = fetched(ObjectType::Customer, &json!({"id": "cus_1", "deleted": true})).expect("it can be read");
    assert!(matches!(gone.object, Object::Customer { deleted: true, .. }));
}

#[test]
fn an_answer_that_is_no_such_object_is_unreadable() {
    for answer in [json!({}), json!([]), json!({"id": 7}), json!({"error": {"type": "api_error"}})] {
        assert!(fetched(ObjectType::Subscription, &answer).is_err(), "{answer}");
    }
}
