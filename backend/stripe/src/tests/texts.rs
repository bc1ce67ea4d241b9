//! Texts as others wrote them, made fit to be stored.

use serde_json::json;

use super::shapes::{self, SHAPES, Sub};
use super::{event, observation, observed, parse};
use crate::{Object, Subscription};

fn subscription(user_id: &str) -> Subscription {
    let mut object = shapes::subscription(SHAPES[3], &Sub::default());
    object["metadata"]["user_id"] = json!(user_id);
    match observed("customer.subscription.updated", &object) {
        Object::Subscription { after, .. } => after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_null_character_is_replaced_in_names_and_ids_alike() {
    let mut object = shapes::customer();
    object["id"] = json!("cus_\u{0}1");
    object["name"] = json!("A\u{0}da");
    object["invoice_settings"]["default_payment_method"] = json!({"id": "pm_\u{0}"});
    let mut event = event("customer.updated", &object);
    event["id"] = json!("evt_\u{0}");
    event["account"] = json!("acct_\u{0}");
    let read = parse(&event);
    assert_eq!((&*read.id, read.account.as_deref()), ("evt_\u{fffd}", Some("acct_\u{fffd}")));
    assert_eq!(read.customer_id.as_deref(), Some("cus_\u{fffd}1"));
    let seen = observation(&event);
    assert_eq!((&*seen.source, seen.customer()), ("evt_\u{fffd}", Some("cus_\u{fffd}1")));
    let Object::Customer { after, .. } = seen.object else { panic!("no customer") };
    assert_eq!(after.name.as_deref(), Some("A\u{fffd}da"));
    assert_eq!(after.default_payment_method.as_deref(), Some("pm_\u{fffd}"));
}

#[test]
fn a_text_with_a_null_character_has_one_form() {
    // So that a state and what an event names as the state before can be compared.
    assert_eq!(subscription("user\u{0}"), subscription("user\u{fffd}"));
}

#[test]
fn a_long_text_is_cut_between_two_characters() {
    for unit in ["x", "é", "🔑", "\"", "\u{0}"] {
        let mut object = shapes::customer();
        object["name"] = json!(unit.repeat(1 << 20));
        let Object::Customer { after, .. } = observed("customer.updated", &object) else { panic!("no customer") };
        let name = after.name.expect("it is not lost");
        assert!((4090..=4096).contains(&name.len()), "{unit:?}: {}", name.len());
    }
}
