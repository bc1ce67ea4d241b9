//! What is known of an event before its object is looked at.

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_shared::clock::{from_unix, rfc3339};

use super::shapes::{self, SHAPES, Sub};
use super::{event, observation, parse};
use crate::{Event, Malformed, Object};

#[test]
fn an_envelope_is_read_whole() {
    let mut event = event("customer.subscription.updated", &shapes::subscription(SHAPES[3], &Sub::default()));
    event["account"] = json!("acct_1");
    event["context"] = json!("org_1");
    event["livemode"] = json!(true);
    let Event { id, event_type, api_version, created, livemode, account, thin, object_id, customer_id, payload } =
        parse(&event);
    assert_eq!((&*id, &*event_type), ("evt_1", "customer.subscription.updated"));
    assert_eq!(api_version.as_deref(), Some("2026-10-28.endive"));
    assert_eq!(created, from_unix(1_760_000_000));
    assert_eq!((livemode, account.as_deref(), thin), (Some(true), Some("acct_1"), false));
    assert_eq!((object_id.as_deref(), customer_id.as_deref()), (Some("sub_1"), Some("cus_1")));
    assert_eq!(payload, Bytes::from(event.to_string()));
}

#[test]
fn an_id_and_a_type_are_enough_and_anything_else_may_be_of_any_type() {
    for text in [
        r#"{"id":"evt_1","type":"invoice.paid"}"#,
        r#"{"id":"evt_1","type":"invoice.paid","api_version":null,"created":null,"livemode":null,"data":null}"#,
        r#"{"id":"evt_1","type":"invoice.paid","api_version":1,"created":"x","livemode":"true","account":{},"data":[]}"#,
        r#"{"id":"evt_1","type":"invoice.paid","created":1e300,"object":[[]],"data":{"object":"in_1"},"account":""}"#,
        r#"{"id":"evt_1","type":"invoice.paid","created":999999999999999,"data":{"object":{"id":null,"customer":7}}}"#,
    ] {
        let event = Event::parse(Bytes::from_static(text.as_bytes())).expect(text);
        let known = (event.api_version, event.created, event.livemode, event.account, event.object_id);
        assert_eq!(known, (None, None, None, None, None), "{text}");
        assert!(!event.thin && event.customer_id.is_none(), "{text}");
    }
}

#[test]
fn what_is_no_object_with_an_id_and_a_type_is_malformed() {
    let long = format!(r#"{{"id":"{}","type":"x"}}"#, "e".repeat(256));
    for text in [
        "",
        " ",
        "{}",
        "[]",
        "null",
        r#"["evt_1","x"]"#,
        r#""evt_1""#,
        r#"{"id":"evt_1"}"#,
        r#"{"type":"x"}"#,
        r#"{"id":1,"type":"x"}"#,
        r#"{"id":{"id":"evt_1"},"type":"x"}"#,
        r#"{"id":"","type":"x"}"#,
        r#"{"id":"evt_1","type":null}"#,
        r#"{"id":"evt_\ud800","type":"x"}"#,
        r#"{"id":"evt_1","type":"x"} x"#,
        r#"{"id":"evt_1","type":"x","data":{"object":{}}"#,
        r#"{"id":"evt_1","type":"x","n":01}"#,
        "{\"id\":\"evt_1\",\"type\":\"x\",\"data\":{\"a\nb\":1}}",
        "{\"id\":\"evt_1\",\"type\":\"x\",\"data\":{\"a\":\"a\nb\"}}",
        "\u{feff}{\"id\":\"evt_1\",\"type\":\"x\"}",
        &long,
    ] {
        assert_eq!(Event::parse(Bytes::from(text.to_owned())), Err(Malformed), "{text}");
    }
    assert_eq!(Event::parse(Bytes::from_static(b"{\"id\":\"evt_1\",\"type\":\"x\",\"n\":\"\xff\"}")), Err(Malformed));
}

#[test]
fn an_id_may_have_255_characters_of_any_kind() {
    let id = "é".repeat(255);
    assert_eq!(parse(&json!({"id": id, "type": "x"})).id, id);
}

#[test]
fn of_two_members_with_one_name_the_last_counts() {
    let text = r#"{"id":"evt_0","id":"evt_1","type":"x","type":"customer.created","data":1,
        "data":{"object":{"id":"cus_0","id":"cus_1","name":"A","name":"B","metadata":{"user_id":"a"},"metadata":{}}}}"#;
    let event = Event::parse(Bytes::from_static(text.as_bytes())).unwrap();
    assert_eq!((&*event.id, event.object_id.as_deref()), ("evt_1", Some("cus_1")));
    let Object::Customer { after, .. } = event.observation().unwrap().unwrap().object else { panic!("no customer") };
    assert_eq!((after.name.as_deref(), after.user_id), (Some("B"), None));
}

#[test]
fn an_event_names_the_customer_that_its_object_names_or_is() {
    let customer_of = |event_type: &str, object: Value| parse(&event(event_type, &object)).customer_id;
    let cus_1 = Some("cus_1".to_owned());
    assert_eq!(customer_of("invoice.paid", shapes::invoice(SHAPES[0])), cus_1);
    assert_eq!(customer_of("customer.updated", shapes::customer()), cus_1);
    assert_eq!(customer_of("customer.deleted", json!({"id": "cus_1"})), cus_1);
    assert_eq!(customer_of("charge.refunded", json!({"id": "ch_1", "customer": shapes::customer()})), cus_1);
    assert_eq!(customer_of("invoice_payment.paid", shapes::invoice_payment()), None);
    assert_eq!(customer_of("product.created", json!({"id": "prod_1", "object": "product"})), None);
}

#[test]
fn a_thin_event_names_its_object_and_has_no_effect() {
    let thin = json!({
        "id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid", "livemode": true,
        "created": "2026-10-28T10:20:30.123456789Z", "context": "acct_1",
        "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    });
    let event = parse(&thin);
    assert!(event.thin);
    assert_eq!(event.created.map(rfc3339).as_deref(), Some("2026-10-28T10:20:30.123456Z"));
    assert_eq!((event.object_id.as_deref(), &event.customer_id), (Some("in_1"), &None));
    assert_eq!(event.observation(), Ok(None));

    let of_customer = parse(&json!({
        "id": "evt_1", "object": "v2.core.event", "type": "customer.updated",
        "related_object": {"id": "cus_1", "type": "customer"}, "data": {"object": shapes::customer()},
    }));
    assert_eq!(of_customer.customer_id.as_deref(), Some("cus_1"));
    assert_eq!(of_customer.observation(), Ok(None));
}

#[test]
fn types_without_an_effect_are_not_looked_into() {
    for event_type in
        ["invoice.upcoming", "customer.subscription.pending_update_applied", "charge.succeeded", "invoice", "", "new"]
    {
        assert_eq!(parse(&event(event_type, &json!({"object": "invoice"}))).observation(), Ok(None), "{event_type}");
        assert_eq!(parse(&json!({"id": "evt_1", "type": event_type})).observation(), Ok(None), "{event_type}");
    }
}

#[test]
fn each_type_that_has_an_effect_gives_an_observation() {
    let invoice = shapes::invoice(SHAPES[3]);
    let of_invoices = [
        "created",
        "updated",
        "finalized",
        "paid",
        "payment_succeeded",
        "payment_failed",
        "payment_action_required",
        "voided",
        "marked_uncollectible",
    ];
    let subscription = shapes::subscription(SHAPES[3], &Sub::default());
    let of_subscriptions = ["created", "updated", "deleted", "paused", "resumed", "trial_will_end"];
    let intent = shapes::payment_intent(SHAPES[3]);
    let of_intents = ["created", "processing", "requires_action", "succeeded", "payment_failed", "canceled"];
    let method = shapes::payment_method("card", &json!({}));
    for (prefix, changes, object) in [
        ("invoice", &of_invoices[..], &invoice),
        ("customer.subscription", &of_subscriptions, &subscription),
        ("payment_intent", &of_intents, &intent),
        ("customer", &["created", "updated", "deleted"], &shapes::customer()),
        ("payment_method", &["attached", "detached", "updated", "automatically_updated"], &method),
        ("charge", &["refunded"], &shapes::charge()),
        ("refund", &["created", "updated", "failed"], &shapes::refund()),
        ("charge.dispute", &["closed"], &shapes::dispute()),
        ("invoice_payment", &["paid"], &shapes::invoice_payment()),
    ] {
        for change in changes {
            let event_type = format!("{prefix}.{change}");
            let mut event = event(&event_type, object);
            event["account"] = json!("acct_1");
            let seen = observation(&event);
            assert_eq!((&*seen.source, seen.livemode), ("evt_1", Some(false)));
            assert_eq!(seen.account.as_deref(), Some("acct_1"));
            assert_eq!(seen.is_creation, *change == "created", "{event_type}");
            let announces = ["paused", "resumed", "trial_will_end"].contains(change);
            assert_eq!(seen.is_announcement, announces, "{event_type}");
            assert_eq!(Some(seen.seen_at), from_unix(1_760_000_000));
        }
    }
}

#[test]
fn an_event_without_a_date_is_as_old_as_its_object_or_as_old_as_can_be() {
    let mut event = event("customer.updated", &shapes::customer());
    event["created"] = Value::Null;
    assert_eq!(Some(observation(&event).seen_at), from_unix(1_750_000_000));
    event["data"]["object"]["created"] = Value::Null;
    assert_eq!(Some(observation(&event).seen_at), from_unix(0));
}

#[test]
fn an_event_of_a_known_type_without_an_object_is_unreadable() {
    for data in [json!(null), json!({}), json!({"object": {}}), json!({"object": "sub_1"}), json!({"object": []})] {
        let mut event = event("customer.subscription.updated", &json!({}));
        event["data"] = data;
        let refusal = parse(&event).observation().unwrap_err();
        assert_eq!(refusal.to_string(), "data.object is missing or of an unexpected type");
    }
}

#[test]
fn debugging_an_event_does_not_show_its_payload() {
    let shown = format!("{:?}", parse(&event("customer.updated", &shapes::customer())));
    assert_eq!(shown, r#"Event { id: "evt_1", event_type: "customer.updated", .. }"#);
}
