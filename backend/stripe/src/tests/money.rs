//! Charges, refunds and disputes.

use serde_json::json;

use super::observed;
use super::shapes;
use crate::{Charge, Dispute, Object, Refund};

#[test]
fn a_charge_says_what_was_taken_and_given_back() {
    let expected = Charge {
        id: "ch_1".into(),
        customer: Some("cus_1".into()),
        payment_intent: Some("pi_1".into()),
        invoice: None,
        amount: 2900,
        amount_captured: Some(2900),
        amount_refunded: 900,
        currency: Some("usd".into()),
        created: Some(1_760_000_000),
    };
    assert_eq!(observed("charge.refunded", &shapes::charge()), Object::Charge(expected));
}

#[test]
fn an_old_charge_names_its_invoice() {
    let mut object = shapes::charge();
    object["invoice"] = json!("in_1");
    let Object::Charge(charge) = observed("charge.refunded", &object) else { panic!("no charge") };
    assert_eq!(charge.invoice.as_deref(), Some("in_1"));
}

#[test]
fn a_refund_names_its_charge_and_a_failed_one_says_so() {
    let refund = |status: &str| Refund {
        id: "re_1".into(),
        charge: Some("ch_1".into()),
        payment_intent: Some("pi_1".into()),
        amount: 900,
        currency: Some("usd".into()),
        status: Some(status.to_owned()),
        created: Some(1_760_000_000),
    };
    assert_eq!(observed("refund.created", &shapes::refund()), Object::Refund(refund("pending")));
    assert_eq!(observed("refund.failed", &shapes::refund()), Object::Refund(refund("failed")));
}

#[test]
fn a_dispute_says_who_has_the_money() {
    let expected = Dispute {
        id: "du_1".into(),
        charge: Some("ch_1".into()),
        payment_intent: Some("pi_1".into()),
        status: Some("lost".into()),
        created: Some(1_760_000_000),
    };
    assert_eq!(observed("charge.dispute.closed", &shapes::dispute()), Object::Dispute(expected));
}
