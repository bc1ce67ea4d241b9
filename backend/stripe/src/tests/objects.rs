//! Each object is read the same in all four shapes.

use serde_json::{Value, json};

use super::shapes::{self, SHAPES, Sub};
use super::{event, observed, parse};
use crate::{
    CheckoutSession, Customer, Invoice, InvoicePayment, Item, Line, MethodChange, Object, PaymentIntent, PaymentMethod,
    PodRef, PriceRef, SessionOutcome, Subscription, Unreadable,
};

#[expect(clippy::unnecessary_wraps, reason = "nearly every field is one that may be absent")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn price(id: &str, lookup_key: Option<String>) -> PriceRef {
    PriceRef { id: text(id), lookup_key, product: Some(format!("prod_of_{id}")) }
}

fn subscription(object: &Value) -> Subscription {
    match observed("customer.subscription.updated", object) {
        Object::Subscription { after, .. } => after,
        other => panic!("{other:?}"),
    }
}

fn invoice(object: &Value) -> Invoice {
    match observed("invoice.paid", object) {
        Object::Invoice(invoice, _) => invoice,
        other => panic!("{other:?}"),
    }
}

fn refusal(event_type: &str, object: &Value) -> Unreadable {
    parse(&event(event_type, object)).observation().expect_err("it lacks what it cannot do without")
}

#[test]
fn a_subscription_is_the_same_in_every_shape() {
    let sub = Sub {
        status: "past_due",
        quantity: 3,
        cancel_at_period_end: true,
        cancel_at: Some(1_762_592_000),
        canceled_at: Some(1_761_000_000),
        ended_at: Some(1_762_592_001),
        trial_end: Some(1_760_500_000),
        paused: true,
        ..Sub::default()
    };
    let expected = Subscription {
        id: "sub_1".into(),
        customer: "cus_1".into(),
        status: "past_due".into(),
        created: Some(1_750_000_000),
        items: vec![Item {
            id: "si_0".into(),
            price: price("price_a", text("key_of_price_a")),
            quantity: Some(3),
            period_start: Some(1_760_000_000),
            period_end: Some(1_762_592_000),
        }],
        item_count: 1,
        cancel_at_period_end: true,
        cancel_at: Some(1_762_592_000),
        canceled_at: Some(1_761_000_000),
        ended_at: Some(1_762_592_001),
        trial_end: Some(1_760_500_000),
        collection_paused: true,
        user_id: text("user_1"),
        default_payment_method: text("pm_1"),
        latest_invoice: text("in_1"),
        pod: pod(),
    };
    for shape in SHAPES {
        assert_eq!(subscription(&shapes::subscription(shape, &sub)), expected, "{shape:?}");
    }
}

#[test]
fn a_subscription_with_nothing_special_says_so_in_every_shape() {
    let sub = Sub { user_id: None, default_payment_method: None, latest_invoice: None, ..Sub::default() };
    for shape in SHAPES {
        let read = subscription(&shapes::subscription(shape, &sub));
        assert!(!read.cancel_at_period_end && !read.collection_paused, "{shape:?}");
        assert_eq!((read.cancel_at, read.trial_end, read.ended_at), (None, None, None), "{shape:?}");
        assert_eq!((read.user_id, read.default_payment_method, read.latest_invoice), (None, None, None), "{shape:?}");
    }
}

fn pod() -> PodRef {
    PodRef { pod_id: text("pod_1"), membership_id: text("mbr_1") }
}

#[test]
fn a_pod_may_be_named_in_camel_case() {
    for shape in SHAPES {
        let mut object = shapes::subscription(shape, &Sub::default());
        object["metadata"] = json!({"podId": "pod_1"});
        assert_eq!(subscription(&object).pod, PodRef { membership_id: None, ..pod() }, "{shape:?}");
        object["metadata"] = json!({"podId": " ", "user_id": "user_1"});
        assert_eq!(subscription(&object).pod, PodRef::default(), "{shape:?}");
    }
}

#[test]
fn an_invoice_names_the_pod_by_the_lines_of_its_subscription_too() {
    for shape in SHAPES {
        let mut object = shapes::invoice(shape);
        object["subscription_details"] = Value::Null;
        object["parent"]["subscription_details"]["metadata"] = Value::Null;
        assert_eq!(invoice(&object).pod, PodRef::default(), "{shape:?}");
        // A single charge's metadata is its own.
        object["lines"]["data"][0]["type"] = json!("invoiceitem");
        object["lines"]["data"][0]["metadata"] = shapes::pod_metadata();
        object["lines"]["data"][0]["parent"] = Value::Null;
        assert_eq!(invoice(&object).pod, PodRef::default(), "{shape:?}");
        object["lines"]["data"][0]["type"] = json!("subscription");
        assert_eq!(invoice(&object).pod, pod(), "{shape:?}");
    }
}

#[test]
fn an_items_own_period_is_read_before_the_subscriptions() {
    let mut object = shapes::subscription(SHAPES[1], &Sub { prices: vec!["price_a", "price_b"], ..Sub::default() });
    object["items"]["data"][1]["current_period_end"] = json!(1_790_000_000);
    let read = subscription(&object);
    let ends: Vec<_> = read.items.iter().map(|item| item.period_end).collect();
    assert_eq!(ends, [Some(1_762_592_000), Some(1_790_000_000)]);
}

#[test]
fn more_items_than_the_snapshot_carries_are_counted() {
    for shape in SHAPES {
        let mut object = shapes::subscription(shape, &Sub { prices: vec!["price_a", "price_b"], ..Sub::default() });
        assert_eq!(subscription(&object).item_count, 2);
        object["items"]["total_count"] = json!(25);
        assert_eq!(subscription(&object).item_count, 25);
        object["items"].as_object_mut().unwrap().remove("total_count");
        assert_eq!(subscription(&object).item_count, 2);
    }
}

#[test]
fn a_plan_stands_in_for_a_price_and_an_id_for_an_expanded_object() {
    let mut object = shapes::subscription(SHAPES[0], &Sub::default());
    object["items"]["data"][0].as_object_mut().unwrap().remove("price");
    assert_eq!(subscription(&object).items[0].price, price("price_a", None));
    object["items"]["data"][0]["price"] = json!("price_b");
    assert_eq!(subscription(&object).items[0].price, PriceRef { id: text("price_b"), ..PriceRef::default() });
    object["items"]["data"][0]["price"] = json!({"id": "price_b", "product": {"id": "prod_b", "object": "product"}});
    assert_eq!(subscription(&object).items[0].price.product, text("prod_b"));
}

#[test]
fn expanded_objects_count_as_their_ids() {
    let mut object = shapes::subscription(SHAPES[3], &Sub::default());
    object["customer"] = shapes::customer();
    object["latest_invoice"] = shapes::invoice(SHAPES[3]);
    object["default_payment_method"] = json!({"object": "payment_method", "id": "pm_\u{e9}\n"});
    let read = subscription(&object);
    assert_eq!((&*read.customer, read.latest_invoice), ("cus_1", text("in_1")));
    assert_eq!(read.default_payment_method, text("pm_\u{e9}\n"));
}

#[test]
fn a_blank_user_is_no_user() {
    for user_id in [json!(""), json!(" \t"), json!(7), Value::Null, json!("u".repeat(501))] {
        let mut object = shapes::subscription(SHAPES[3], &Sub::default());
        object["metadata"]["user_id"] = user_id;
        assert_eq!(subscription(&object).user_id, None);
    }
}

#[test]
fn a_subscription_without_id_customer_or_status_is_unreadable() {
    for (member, field) in
        [("id", "data.object.id"), ("customer", "data.object.customer"), ("status", "data.object.status")]
    {
        for shape in SHAPES {
            for damage in [Value::Null, json!(3), json!([]), json!("")] {
                let mut object = shapes::subscription(shape, &Sub::default());
                object[member] = damage;
                assert_eq!(refusal("customer.subscription.created", &object).field, field);
            }
        }
    }
}

#[test]
fn a_subscription_that_was_deleted_has_ended() {
    let object = shapes::subscription(SHAPES[3], &Sub { status: "canceled", ..Sub::default() });
    for (event_type, has_ended) in [("customer.subscription.deleted", true), ("customer.subscription.paused", false)] {
        let Object::Subscription { ended, .. } = observed(event_type, &object) else { panic!("no subscription") };
        assert_eq!(ended, has_ended, "{event_type}");
    }
}

#[test]
fn a_customer_is_read_whole() {
    let expected = Customer {
        id: "cus_1".into(),
        name: text("Ada"),
        email: text("a@example.com"),
        deleted: false,
        default_payment_method: text("pm_1"),
        user_id: text("user_1"),
        created: Some(1_750_000_000),
        default_source: text("card_1"),
    };
    let after = expected.clone();
    assert_eq!(
        observed("customer.updated", &shapes::customer()),
        Object::Customer { before: None, after, deleted: false }
    );
    let after = Customer { deleted: true, ..expected };
    assert_eq!(
        observed("customer.deleted", &shapes::customer()),
        Object::Customer { before: None, after, deleted: true }
    );
}

#[test]
fn a_deleted_customer_may_be_short() {
    let after = Customer { id: "cus_1".into(), deleted: true, ..Customer::default() };
    for event_type in ["customer.deleted", "customer.updated"] {
        assert_eq!(
            observed(event_type, &json!({"id": "cus_1", "object": "customer", "deleted": true})),
            Object::Customer { before: None, after: after.clone(), deleted: true }
        );
    }
    assert_eq!(refusal("customer.deleted", &json!({"deleted": true})).field, "data.object.id");
}

#[test]
fn an_invoice_is_the_same_in_every_shape() {
    let line = |id: &str, proration, amount| Line {
        price: price(id, None),
        quantity: Some(1),
        period_start: Some(1_760_000_000),
        period_end: Some(1_762_592_000),
        proration,
        of_subscription_item: true,
        subscription_item: text("si_0"),
        subscription: text("sub_1"),
        amount,
    };
    let expected = Invoice {
        id: "in_1".into(),
        customer: text("cus_1"),
        customer_email: text("a@example.com"),
        customer_name: text("Ada"),
        billing_reason: text("subscription_cycle"),
        subscription: text("sub_1"),
        status: "paid".into(),
        currency: text("usd"),
        amount_due: 2900,
        amount_paid: 2900,
        attempt_count: 2,
        next_payment_attempt: Some(1_760_100_000),
        created: Some(1_760_000_000),
        due_date: Some(1_760_200_000),
        finalized_at: Some(1_760_000_100),
        paid_at: Some(1_760_000_200),
        number: text("A-0001"),
        hosted_invoice_url: text("https://invoice.example/1"),
        invoice_pdf: text("https://invoice.example/1.pdf"),
        payment_intent: text("pi_1"),
        pod: pod(),
        needs_action: false,
        lines: vec![line("price_a", false, 3900), line("price_b", true, -1000)],
    };
    for shape in SHAPES {
        let mut read = invoice(&shapes::invoice(shape));
        // The one thing that only the old places tell.
        for line in &mut read.lines {
            line.price.lookup_key = None;
        }
        assert_eq!(read, expected, "{shape:?}");
    }
}

#[test]
fn the_lookup_key_of_a_line_comes_from_the_old_place_of_the_same_price() {
    let mut object = shapes::invoice(SHAPES[1]);
    assert_eq!(invoice(&object).lines[0].price, price("price_a", text("key_of_price_a")));
    object["lines"]["data"][0]["price"]["id"] = json!("price_c");
    assert_eq!(invoice(&object).lines[0].price, price("price_a", None));
}

#[test]
fn a_line_for_a_single_charge_is_read_too() {
    let mut object = shapes::invoice(SHAPES[3]);
    let line = &mut object["lines"]["data"][0];
    line["parent"] = json!({"invoice_item_details": {"proration": true, "subscription": "sub_2"}, "type": "x"});
    line["subscription_item"] = Value::Null;
    line["subscription"] = Value::Null;
    line["pricing"]["price_details"]["price"] = json!({"id": "price_c", "lookup_key": "c", "product": "prod_c"});
    line["pricing"]["price_details"]["product"] = Value::Null;
    let line = &invoice(&object).lines[0];
    assert!(line.proration && !line.of_subscription_item);
    assert_eq!((&line.subscription_item, &line.subscription), (&None, &text("sub_2")));
    assert_eq!(line.price, PriceRef { id: text("price_c"), lookup_key: text("c"), product: text("prod_c") });
}

#[test]
fn of_several_payments_of_an_invoice_the_paid_one_counts_then_the_one_that_is_due() {
    let payment = |intent: &str, status: &str, is_default: bool| json!({"payment": {"payment_intent": {"id": intent}}, "status": status, "is_default": is_default});
    let of = |payments: Value| {
        let mut object = shapes::invoice(SHAPES[3]);
        object["payments"]["data"] = payments;
        invoice(&object).payment_intent
    };
    let (old, due, paid) =
        (payment("pi_1", "canceled", false), payment("pi_2", "open", true), payment("pi_3", "paid", false));
    let by_charge = json!({"payment": {"charge": "ch_1"}, "status": "paid", "is_default": true});
    assert_eq!(of(json!([old, due, paid])), text("pi_3"));
    assert_eq!(of(json!([by_charge, old, due])), text("pi_2"));
    assert_eq!(of(json!([old])), text("pi_1"));
    assert_eq!(of(json!([by_charge])), None);
}

#[test]
fn an_invoice_without_payments_says_no_intent_in_the_new_shapes() {
    for shape in &SHAPES[2..] {
        let mut object = shapes::invoice(*shape);
        object.as_object_mut().unwrap().remove("payments");
        assert_eq!(invoice(&object).payment_intent, None);
    }
}

#[test]
fn an_invoice_without_id_or_status_is_unreadable_and_lacks_nothing_else() {
    let bare = json!({"id": "in_1", "status": "open"});
    assert_eq!(invoice(&bare), Invoice { id: "in_1".into(), status: "open".into(), ..Invoice::default() });
    assert_eq!(refusal("invoice.paid", &json!({"id": "in_1", "status": null})).field, "data.object.status");
    assert_eq!(refusal("invoice.paid", &json!({"id": 1, "status": "paid"})).field, "data.object.id");
}

#[test]
fn only_payment_failed_says_that_an_attempt_failed() {
    for (event_type, has_failed) in
        [("invoice.payment_failed", true), ("invoice.payment_action_required", false), ("invoice.updated", false)]
    {
        let Object::Invoice(invoice, failed) = observed(event_type, &shapes::invoice(SHAPES[3])) else {
            panic!("no invoice")
        };
        assert_eq!(failed, has_failed, "{event_type}");
        assert_eq!(invoice.needs_action, event_type == "invoice.payment_action_required");
    }
}

#[test]
fn a_checkout_session_is_read_whole() {
    let session = CheckoutSession {
        id: "cs_1".into(),
        mode: text("subscription"),
        status: text("complete"),
        payment_status: text("paid"),
        customer: text("cus_1"),
        customer_email: text("buyer@example.com"),
        customer_name: text("B. Buyer"),
        subscription: text("sub_1"),
        invoice: text("in_1"),
        payment_intent: None,
        client_reference_id: text("user_2"),
        user_id: text("user_1"),
        plan_id: text("lifetime"),
        amount_total: Some(2900),
        currency: text("usd"),
        created: Some(1_760_000_000),
    };
    for (event_type, outcome) in [
        ("checkout.session.completed", SessionOutcome::Completed),
        ("checkout.session.async_payment_succeeded", SessionOutcome::AsyncSucceeded),
        ("checkout.session.async_payment_failed", SessionOutcome::AsyncFailed),
        ("checkout.session.expired", SessionOutcome::Expired),
    ] {
        let expected = Object::CheckoutSession(session.clone(), outcome);
        assert_eq!(observed(event_type, &shapes::checkout_session()), expected);
    }
}

#[test]
fn a_payment_intent_is_the_same_in_every_shape_but_for_its_invoice() {
    for shape in SHAPES {
        let Object::PaymentIntent(intent) = observed("payment_intent.payment_failed", &shapes::payment_intent(shape))
        else {
            panic!("no intent")
        };
        let invoice = if SHAPES[..2].contains(&shape) { text("in_1") } else { None };
        assert_eq!(
            intent,
            PaymentIntent {
                id: "pi_1".into(),
                customer: text("cus_1"),
                status: text("requires_payment_method"),
                amount: 2900,
                amount_received: Some(0),
                currency: text("usd"),
                created: Some(1_760_000_000),
                invoice,
                latest_charge: None,
                failure_code: text("insufficient_funds"),
                failure_advice: None,
                failed_method: None,
                failed_method_type: None,
            }
        );
    }
}

#[test]
fn an_intent_says_what_failed_and_whether_to_try_again() {
    let mut object = shapes::payment_intent(SHAPES[3]);
    object["last_payment_error"]["advice_code"] = json!("do_not_try_again");
    object["last_payment_error"]["payment_method"] = json!({ "id": "pm_1", "type": "us_bank_account" });
    let Object::PaymentIntent(intent) = observed("payment_intent.payment_failed", &object) else { panic!("no intent") };
    assert_eq!(intent.failure_advice, text("do_not_try_again"));
    assert_eq!((intent.failed_method, intent.failed_method_type), (text("pm_1"), text("us_bank_account")));
}

#[test]
fn a_failure_that_no_bank_explains_has_the_errors_code() {
    let mut object = shapes::payment_intent(SHAPES[3]);
    object["last_payment_error"]["decline_code"] = Value::Null;
    let Object::PaymentIntent(intent) = observed("payment_intent.payment_failed", &object) else { panic!("no intent") };
    assert_eq!(intent.failure_code, text("card_declined"));
}

#[test]
fn an_invoice_payment_ties_an_intent_to_its_invoice() {
    let expected = InvoicePayment {
        id: "inpay_1".into(),
        invoice: text("in_1"),
        payment_intent: text("pi_1"),
        status: text("paid"),
    };
    assert_eq!(observed("invoice_payment.paid", &shapes::invoice_payment()), Object::InvoicePayment(expected));
}

#[test]
fn a_payment_method_has_the_brand_of_its_card_or_else_its_type() {
    let method =
        |kind: &str, details: Value| match observed("payment_method.attached", &shapes::payment_method(kind, &details))
        {
            Object::PaymentMethod(PaymentMethod { brand, last4, customer, .. }, MethodChange::Attached) => {
                assert_eq!(customer, text("cus_1"));
                (brand, last4)
            }
            other => panic!("{other:?}"),
        };
    assert_eq!(method("card", json!({"brand": "visa", "last4": "4242"})), (text("visa"), text("4242")));
    assert_eq!(method("sepa_debit", json!({"last4": "3000", "country": "DE"})), (text("sepa_debit"), text("3000")));
    assert_eq!(method("us_bank_account", json!({"last4": "6789"})), (text("us_bank_account"), text("6789")));
    assert_eq!(method("link", json!({"email": "a@example.com"})), (text("link"), None));
    assert_eq!(method("moon_pay", json!({"last4": "0001"})), (text("moon_pay"), text("0001")));
}

#[test]
fn a_detached_payment_method_still_says_whose_it_was() {
    let mut object = shapes::payment_method("card", &json!({"brand": "visa", "last4": "4242"}));
    object["customer"] = Value::Null;
    let mut detached = event("payment_method.detached", &object);
    detached["data"]["previous_attributes"] = json!({"customer": "cus_9"});
    let Object::PaymentMethod(method, MethodChange::Detached) = super::observation(&detached).object else {
        panic!("not detached")
    };
    assert_eq!(method.customer, text("cus_9"));
    assert_eq!(parse(&detached).customer_id, text("cus_9"));
}

#[test]
fn a_deleted_item_is_none() {
    for shape in SHAPES {
        let mut object = shapes::subscription(shape, &Sub { prices: vec!["price_a", "price_b"], ..Sub::default() });
        object["items"]["data"][0]["deleted"] = json!(true);
        let read = subscription(&object);
        assert_eq!((read.items.len(), read.item_count), (1, 1), "{shape:?}");
        assert_eq!(read.items[0].price.id, text("price_b"), "{shape:?}");
    }
}

#[test]
fn an_account_that_buys_is_a_customer() {
    let account = |mut object: Value| {
        object["customer"] = Value::Null;
        object["customer_account"] = json!("acct_1");
        object
    };
    let object = account(shapes::subscription(SHAPES[3], &Sub::default()));
    assert_eq!(subscription(&object).customer, "acct_1");
    assert_eq!(parse(&event("customer.subscription.updated", &object)).customer_id, text("acct_1"));
    assert_eq!(invoice(&account(shapes::invoice(SHAPES[3]))).customer, text("acct_1"));
}

#[test]
fn a_line_of_a_single_charge_is_told_from_an_items_in_every_shape() {
    for shape in SHAPES {
        let mut object = shapes::invoice(shape);
        let line = &mut object["lines"]["data"][0];
        if line["type"].is_string() {
            line["type"] = json!("invoiceitem");
            line.as_object_mut().unwrap().remove("subscription_item");
        }
        if line["parent"].is_object() {
            line["parent"] = json!({
                "invoice_item_details": {"invoice_item": "ii_1", "proration": false, "subscription": "sub_1"},
                "subscription_item_details": null, "type": "invoice_item_details",
            });
        }
        let lines = invoice(&object).lines;
        assert_eq!(lines.iter().map(|line| line.of_subscription_item).collect::<Vec<_>>(), [false, true], "{shape:?}");
    }
}

#[test]
fn an_intents_order_is_an_invoice_only_where_it_is_called_so() {
    let invoice = |reference: &str| {
        let mut object = shapes::payment_intent(SHAPES[3]);
        object["payment_details"] = json!({"customer_reference": null, "order_reference": reference});
        match observed("payment_intent.succeeded", &object) {
            Object::PaymentIntent(intent) => intent.invoice,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(invoice("in_7"), text("in_7"));
    assert_eq!(invoice("order 7"), None);
}

#[test]
fn what_is_kept_of_an_object_comes_back_the_same_and_leaves_out_what_is_absent() {
    let full = subscription(&shapes::subscription(SHAPES[3], &Sub::default()));
    let kept = serde_json::to_string(&full).unwrap();
    assert_eq!(serde_json::from_str::<Subscription>(&kept).unwrap(), full);
    assert!(!kept.contains("null") && !kept.contains("trial_end"), "{kept}");
    assert_eq!(
        serde_json::to_string(&PaymentMethod { id: "pm_1".into(), ..PaymentMethod::default() }).unwrap(),
        r#"{"id":"pm_1"}"#
    );
}
