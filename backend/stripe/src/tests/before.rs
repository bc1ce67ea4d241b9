//! How an object was before an event, by what the event names as previous.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::shapes::{self, SHAPES, Shape, Sub, previous_attributes};
use super::{event, observation, observed};
use crate::{Customer, Object, Subscription};

/// What is read of the event that `before` became `after`; `edit` may change what it names as previous.
fn change(shape: Shape, before: &Sub, after: &Sub, edit: impl Fn(&mut Value)) -> (Option<Subscription>, Subscription) {
    let (before, after) = (shapes::subscription(shape, before), shapes::subscription(shape, after));
    let mut previous = previous_attributes(&before, &after);
    edit(&mut previous);
    let mut event = event("customer.subscription.updated", &after);
    event["data"]["previous_attributes"] = previous;
    match observation(&event).object {
        Object::Subscription { before, after, .. } => (before, after),
        other => panic!("{other:?}"),
    }
}

fn read(shape: Shape, sub: &Sub) -> Subscription {
    match observed("customer.subscription.created", &shapes::subscription(shape, sub)) {
        Object::Subscription { before: None, after, .. } => after,
        other => panic!("{other:?}"),
    }
}

fn without(member: &'static str) -> impl Fn(&mut Value) {
    move |previous| {
        previous.as_object_mut().unwrap().remove(member).expect("the event names it");
    }
}

fn as_it_is(_: &mut Value) {}

#[test]
fn an_event_that_names_nothing_as_previous_has_no_before() {
    for previous in [json!({}), Value::Null, json!([]), json!("x"), json!(3)] {
        let mut event = event("customer.subscription.updated", &shapes::subscription(SHAPES[3], &Sub::default()));
        event["data"]["previous_attributes"] = previous;
        assert!(matches!(observation(&event).object, Object::Subscription { before: None, .. }));
    }
}

#[test]
fn a_change_that_we_do_not_read_leaves_before_equal_to_after() {
    for shape in SHAPES {
        let (before, after) = change(shape, &Sub::default(), &Sub::default(), |previous| {
            *previous = json!({"description": "old", "metadata": {"colour": null}, "items": {}, "billing_mode": {}});
        });
        assert_eq!(before.as_ref(), Some(&after), "{shape:?}");
    }
}

#[test]
fn a_renewal_that_only_the_old_place_names_is_a_change_of_the_items_too() {
    let old = Sub::default();
    let new = Sub { period: (old.period.1, 1_765_184_000), ..old.clone() };
    // Payloads of 2024-06-20 as they were sent then, and as they are sent today, with or without the list of items.
    for (before, after) in [
        change(Shape::Dated, &old, &new, as_it_is),
        change(Shape::Hybrid, &old, &new, as_it_is),
        change(Shape::Hybrid, &old, &new, without("items")),
    ] {
        assert_eq!(before, Some(read(Shape::Dated, &old)));
        assert_eq!(after, read(Shape::Dated, &new));
    }
}

#[test]
fn a_renewal_that_only_the_items_name_is_a_change_too() {
    let old = Sub::default();
    let new = Sub { period: (old.period.1, 1_765_184_000), ..old.clone() };
    for shape in [Shape::Basil, Shape::Endive] {
        assert_eq!(change(shape, &old, &new, as_it_is), (Some(read(shape, &old)), read(shape, &new)));
    }
    let only_items = |previous: &mut Value| {
        without("current_period_start")(previous);
        without("current_period_end")(previous);
    };
    assert_eq!(change(Shape::Hybrid, &old, &new, only_items).0, Some(read(Shape::Hybrid, &old)));
}

#[test]
fn an_item_with_a_period_of_its_own_keeps_it_when_the_subscriptions_changed() {
    let sub = Sub { prices: vec!["price_a", "price_b"], ..Sub::default() };
    let mut object = shapes::subscription(Shape::Hybrid, &sub);
    object["items"]["data"][1]["current_period_end"] = json!(1_790_000_000);
    let mut event = event("customer.subscription.updated", &object);
    event["data"]["previous_attributes"] = json!({"current_period_end": 1_761_000_000});
    let Object::Subscription { before: Some(before), .. } = observation(&event).object else { panic!("no before") };
    let ends: Vec<_> = before.items.iter().map(|item| item.period_end).collect();
    assert_eq!(ends, [Some(1_761_000_000), Some(1_790_000_000)]);
}

#[test]
fn a_plan_or_quantity_that_only_the_subscription_names_is_that_of_its_single_item() {
    let old = Sub::default();
    let new = Sub { prices: vec!["price_b"], quantity: 4, ..old.clone() };
    for shape in SHAPES {
        let (before, after) = change(shape, &old, &new, without("items"));
        let (before, after) = (&before.unwrap().items[0], &after.items[0]);
        assert_eq!((before.price.id.as_deref(), before.quantity), (Some("price_a"), Some(1)), "{shape:?}");
        assert_eq!(before.price.product.as_deref(), Some("prod_of_price_a"), "{shape:?}");
        assert_eq!((after.price.id.as_deref(), after.quantity), (Some("price_b"), Some(4)), "{shape:?}");
    }
}

#[test]
fn a_change_from_one_item_to_two_names_the_whole_list() {
    let old = Sub::default();
    let new = Sub { prices: vec!["price_a", "price_b"], ..old.clone() };
    for shape in SHAPES {
        for (from, to) in [(&old, &new), (&new, &old)] {
            assert_eq!(change(shape, from, to, as_it_is), (Some(read(shape, from)), read(shape, to)), "{shape:?}");
        }
    }
}

#[test]
fn what_makes_no_sense_as_previous_is_no_before() {
    for previous in [json!({"status": null}), json!({"status": 3}), json!({"customer": []}), json!({"id": null})] {
        let mut event = event("customer.subscription.updated", &shapes::subscription(SHAPES[3], &Sub::default()));
        event["data"]["previous_attributes"] = previous;
        assert!(matches!(observation(&event).object, Object::Subscription { before: None, .. }));
    }
}

#[test]
fn a_customer_before_an_event_has_the_previous_names_and_card() {
    let mut event = event("customer.updated", &shapes::customer());
    event["data"]["previous_attributes"] = json!({
        "name": null, "email": "b@example.com", "invoice_settings": {"default_payment_method": "pm_0"},
        "metadata": {"user_id": null},
    });
    let Object::Customer { before, after, .. } = observation(&event).object else { panic!("no customer") };
    let expected = Customer {
        name: None,
        email: Some("b@example.com".into()),
        default_payment_method: Some("pm_0".into()),
        user_id: None,
        ..after
    };
    assert_eq!(before, Some(expected));
}

fn sub() -> impl Strategy<Value = Sub> {
    let status = select(vec!["trialing", "active", "past_due", "unpaid", "paused", "incomplete", "canceled"]);
    let prices = select(vec![vec!["price_a"], vec!["price_b"], vec!["price_a", "price_b"], vec![]]);
    let period = select(vec![(1_760_000_000, 1_762_592_000), (1_762_592_000, 1_765_184_000)]);
    let time = || proptest::option::of(select(vec![1_760_000_000, 1_770_000_000]));
    let ended = (time(), time(), time(), time());
    let named = (
        proptest::option::of(select(vec!["user_1", "user_2"])),
        proptest::option::of(select(vec!["pm_1", "pm_2"])),
        proptest::option::of(select(vec!["in_1", "in_2"])),
    );
    (status, prices, 0..3_i64, period, any::<bool>(), any::<bool>(), ended, named).prop_map(
        |(status, prices, quantity, period, cancel_at_period_end, paused, ended, named)| Sub {
            status,
            prices,
            quantity,
            period,
            cancel_at_period_end,
            cancel_at: ended.0,
            canceled_at: ended.1,
            ended_at: ended.2,
            trial_end: ended.3,
            paused,
            user_id: named.0,
            default_payment_method: named.1,
            latest_invoice: named.2,
        },
    )
}

proptest! {
    #[test]
    fn before_is_what_was_read_of_the_object_then_in_every_shape(old in sub(), new in sub()) {
        for shape in SHAPES {
            let (before, after) = change(shape, &old, &new, as_it_is);
            prop_assert_eq!(&after, &read(Shape::Dated, &new));
            // Nothing is named as previous when nothing changed.
            let expected = (old != new).then(|| read(Shape::Dated, &old));
            prop_assert_eq!(before, expected, "{:?}", shape);
        }
    }
}
