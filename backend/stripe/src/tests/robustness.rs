//! Damaged and hostile payloads: nothing panics, and only what an object cannot do without makes it unreadable.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};
use tollgate_shared::EventHead;

use super::shapes::{self, SHAPES, Shape, Sub, previous_attributes};
use super::{event, parse};
use crate::{Event, Object};

/// One event of each object, in `shape`.
fn events(shape: Shape) -> Vec<Value> {
    let old = Sub { status: "trialing", trial_end: Some(1), prices: vec!["price_b"], ..Sub::default() };
    let (old, new) = (shapes::subscription(shape, &old), shapes::subscription(shape, &Sub::default()));
    let mut updated = event("customer.subscription.updated", &new);
    updated["data"]["previous_attributes"] = previous_attributes(&old, &new);
    let mut renamed = event("customer.updated", &shapes::customer());
    renamed["data"]["previous_attributes"] =
        json!({"name": "Bob", "invoice_settings": {"default_payment_method": null}});
    let mut detached = event("payment_method.detached", &shapes::payment_method("card", &json!({"last4": "4242"})));
    detached["data"]["previous_attributes"] = json!({"customer": "cus_1"});
    vec![
        updated,
        renamed,
        detached,
        event("invoice.paid", &shapes::invoice(shape)),
        event("checkout.session.completed", &shapes::checkout_session()),
        event("payment_intent.payment_failed", &shapes::payment_intent(shape)),
        event("invoice_payment.paid", &shapes::invoice_payment()),
        event("charge.refunded", &shapes::charge()),
        event("refund.updated", &shapes::refund()),
        event("charge.dispute.closed", &shapes::dispute()),
    ]
}

/// The path of every value in `value`, its own first.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| paths(value, &format!("{path}/{name}"), found));
        }
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, value)| paths(value, &format!("{path}/{index}"), found));
        }
        _ => {}
    }
}

/// Whether an event of `event_type` cannot do without the value at `path`.
fn is_required(event_type: &str, path: &str) -> bool {
    match path {
        "/data" | "/data/object" | "/data/object/id" => true,
        "/data/object/customer" => event_type.starts_with("customer.subscription."),
        "/data/object/status" => event_type.starts_with("customer.subscription.") || event_type.starts_with("invoice."),
        _ => false,
    }
}

/// One value of each type that JSON has, and what is in between.
fn stand_ins() -> Vec<Value> {
    let deep = (0..100).fold(json!(1), |inside, _| json!([inside]));
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("\u{0}é🔑"),
        json!([]),
        json!([null, {"id": 1}, "x"]),
        json!({}),
        json!({"id": null, "object": {"id": 7}, "data": {"": 0}}),
        deep,
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "[a-z]{0,3}",
        select(vec!["id", "type", "object", "data", "created", "items", "price", "customer", "previous_attributes"])
            .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        select(stand_ins()),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        select(vec!["evt_1", "customer.subscription.updated", "invoice.paid", "cus_1"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inside, 0..8)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Whatever can be done with bytes from outside.
fn try_everything(bytes: Bytes) {
    if let Ok(event) = Event::parse(bytes) {
        let _ = event.observation();
    }
}

#[test]
fn whatever_stands_in_the_place_of_whatever_only_what_is_required_is_missed() {
    // The shape that has every member.
    for event in events(Shape::Hybrid) {
        let event_type = event["type"].as_str().unwrap().to_owned();
        let mut all = Vec::new();
        paths(&event, "", &mut all);
        for path in all.iter().filter(|path| !["", "/id", "/type"].contains(&path.as_str())) {
            for stand_in in stand_ins() {
                let mut damaged = event.clone();
                *damaged.pointer_mut(path).expect("it is the path of a value") = stand_in.clone();
                let seen = parse(&damaged).observation();
                let may_fail = is_required(&event_type, path);
                assert!(may_fail || seen.is_ok_and(|seen| seen.is_some()), "{event_type} {path} = {stand_in}");
            }
        }
    }
}

#[test]
fn nesting_without_end_is_no_danger() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(30_000), close.repeat(30_000));
    for nested in [deep("[", "]"), deep(r#"{"id":"#, "}"), deep(r#"{"items":{"data":["#, "]}}")] {
        let object = r#""id":"sub_1","customer":"cus_1","status":"active""#;
        for member in ["items", "x", "pause_collection", "metadata", "latest_invoice", "created", "plan"] {
            let event = format!(
                r#"{{"id":"evt_1","type":"customer.subscription.updated","x":{nested},
                    "data":{{"object":{{{object},"{member}":{nested}}},"previous_attributes":{{"{member}":{nested}}}}}}}"#
            );
            let event = Event::parse(Bytes::from(event)).expect("nesting is no reason to refuse an event");
            let seen = event.observation().expect("nor to give it up").expect("it has an effect");
            let Object::Subscription { after, .. } = seen.object else { panic!("no subscription") };
            assert_eq!(after.id, "sub_1");
        }
    }
}

#[test]
fn half_a_surrogate_pair_spoils_nothing_but_the_text_that_it_is_in() {
    let text = r#"{"id":"evt_1","type":"customer.updated","\udfff":1,"account":"\ud800",
        "data":{"object":{"id":"cus_1","name":"\ud83d","email":"a\u0040example.com","\ud800":"\ud800","metadata":{"\ud800":1}}}}"#;
    let event = Event::parse(Bytes::from_static(text.as_bytes())).unwrap();
    assert_eq!(event.account, None);
    let Object::Customer { after, .. } = event.observation().unwrap().unwrap().object else { panic!("no customer") };
    assert_eq!((after.name, after.email.as_deref()), (None, Some("a@example.com")));
}

#[test]
fn an_event_in_which_something_cannot_be_read_at_all_is_still_an_event() {
    for data in ["1e999", r#""\ud800""#, r#"{"object":{"id":"cus_1","metadata":-1e999}}"#] {
        let text = format!(r#"{{"id":"evt_1","type":"customer.updated","data":{data}}}"#);
        let event = Event::parse(text.into()).expect("the edge takes it");
        assert_eq!((&*event.id, &*event.event_type), ("evt_1", "customer.updated"));
        assert_eq!(event.observation().unwrap_err().field, "data.object");
    }
}

#[test]
fn an_id_that_no_database_could_index_is_none() {
    let mut object = shapes::invoice(SHAPES[3]);
    object["customer"] = json!("c".repeat(256));
    let event = parse(&event("invoice.paid", &object));
    assert_eq!(event.customer_id, None);
    let Object::Invoice(invoice, _) = event.observation().unwrap().unwrap().object else { panic!("no invoice") };
    assert_eq!(invoice.customer, None);
}

#[test]
fn a_time_that_no_calendar_has_is_none() {
    for time in [json!(i64::MAX), json!(i64::MIN), json!(253_402_300_800_i64), json!("2026-01-01"), json!(1.5)] {
        let mut object = shapes::subscription(SHAPES[3], &Sub::default());
        object["trial_end"] = time;
        let seen = parse(&event("customer.subscription.updated", &object)).observation().unwrap().unwrap();
        let Object::Subscription { after, .. } = seen.object else { panic!("no subscription") };
        assert_eq!(after.trial_end, None);
    }
}

#[test]
fn every_payload_that_a_fuzzer_once_found_worth_keeping_is_read_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/event_parser");
    let files: Vec<_> = fs::read_dir(&corpus).expect("the corpus is part of the project").collect();
    assert!(!files.is_empty());
    for file in files {
        try_everything(fs::read(file.unwrap().path()).unwrap().into());
    }
}

proptest! {
    #[test]
    fn any_json_is_an_event_here_exactly_when_it_is_one_at_the_edge(value in json_value()) {
        let bytes = Bytes::from(value.to_string());
        prop_assert_eq!(Event::parse(bytes.clone()).is_ok(), EventHead::parse(&bytes).is_ok());
        try_everything(bytes);
    }

    #[test]
    fn any_object_of_any_type_is_read_without_a_panic(event_type in select(vec![
        "customer.updated", "customer.subscription.updated", "invoice.paid", "checkout.session.completed",
        "payment_intent.created", "invoice_payment.paid", "payment_method.attached", "charge.refunded",
        "refund.created", "charge.dispute.closed",
    ]), data in json_value()) {
        try_everything(json!({"id": "evt_1", "type": event_type, "data": data}).to_string().into());
        try_everything(json!({"id": "evt_1", "type": event_type, "data": {"object": data}}).to_string().into());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        try_everything(bytes.into());
    }

    #[test]
    fn a_payload_with_some_bytes_changed_is_read_without_a_panic(
        shape in select(SHAPES.to_vec()), which: Index, changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8)
    ) {
        let events = events(shape);
        let mut bytes = which.get(&events).to_string().into_bytes();
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        // What the edge has answered for is never refused here.
        prop_assert!(EventHead::parse(&bytes).is_err() || Event::parse(bytes.clone().into()).is_ok());
        try_everything(bytes.into());
    }

    #[test]
    fn any_value_in_place_of_any_other_leaves_the_rest_readable(
        shape in select(SHAPES.to_vec()), which: Index, place: Index, stand_in in json_value()
    ) {
        let events = events(shape);
        let mut damaged = which.get(&events).clone();
        let event_type = damaged["type"].as_str().unwrap().to_owned();
        let mut all = Vec::new();
        paths(&damaged, "", &mut all);
        let path = place.get(&all).clone();
        prop_assume!(!["", "/id", "/type"].contains(&path.as_str()));
        *damaged.pointer_mut(&path).expect("it is the path of a value") = stand_in;
        prop_assert!(is_required(&event_type, &path) || parse(&damaged).observation().is_ok());
    }
}
