//! Builders of Stripe's objects in each of the shapes that an endpoint may be sent.

use serde_json::{Map, Value, json};

/// What an endpoint's API version makes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// 2024-06-20 as it was sent then.
    Dated,
    /// 2024-06-20 as it is sent today: newer members beside the old ones.
    Hybrid,
    /// 2025-03-31.basil.
    Basil,
    /// 2026-10-28.endive.
    Endive,
}

pub(super) const SHAPES: [Shape; 4] = [Shape::Dated, Shape::Hybrid, Shape::Basil, Shape::Endive];

impl Shape {
    fn has_old_places(self) -> bool {
        matches!(self, Self::Dated | Self::Hybrid)
    }

    fn has_new_places(self) -> bool {
        self != Self::Dated
    }
}

/// Adds to an object members that a shape has and another has not.
fn add(object: &mut Value, members: Value) {
    let (Value::Object(object), Value::Object(members)) = (object, members) else {
        panic!("only objects have members")
    };
    object.extend(members);
}

/// What a subscription is, whatever its shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sub {
    pub(super) status: &'static str,
    pub(super) prices: Vec<&'static str>,
    pub(super) quantity: i64,
    pub(super) period: (i64, i64),
    pub(super) cancel_at_period_end: bool,
    pub(super) cancel_at: Option<i64>,
    pub(super) canceled_at: Option<i64>,
    pub(super) ended_at: Option<i64>,
    pub(super) trial_end: Option<i64>,
    pub(super) paused: bool,
    pub(super) user_id: Option<&'static str>,
    pub(super) default_payment_method: Option<&'static str>,
    pub(super) latest_invoice: Option<&'static str>,
}

impl Default for Sub {
    fn default() -> Self {
        Self {
            status: "active",
            prices: vec!["price_a"],
            quantity: 1,
            period: (1_760_000_000, 1_762_592_000),
            cancel_at_period_end: false,
            cancel_at: None,
            canceled_at: None,
            ended_at: None,
            trial_end: None,
            paused: false,
            user_id: Some("user_1"),
            default_payment_method: Some("pm_1"),
            latest_invoice: Some("in_1"),
        }
    }
}

fn price(id: &str) -> Value {
    json!({
        "id": id, "object": "price", "active": true, "billing_scheme": "per_unit", "created": 1_700_000_000,
        "currency": "usd", "livemode": false, "lookup_key": format!("key_of_{id}"), "metadata": {},
        "product": format!("prod_of_{id}"), "recurring": {"interval": "month", "interval_count": 1},
        "type": "recurring", "unit_amount": 2900,
    })
}

fn plan(id: &str) -> Value {
    json!({
        "id": id, "object": "plan", "active": true, "amount": 2900, "currency": "usd", "interval": "month",
        "metadata": {}, "product": format!("prod_of_{id}"),
    })
}

fn item(shape: Shape, index: usize, id: &str, sub: &Sub) -> Value {
    let mut item = json!({
        "id": format!("si_{index}"), "object": "subscription_item", "created": 1_760_000_000, "discounts": [],
        "metadata": {"user_id": "not this one"}, "plan": plan(id), "price": price(id), "quantity": sub.quantity,
        "subscription": "sub_1", "tax_rates": [],
    });
    if shape.has_new_places() {
        add(&mut item, json!({"current_period_start": sub.period.0, "current_period_end": sub.period.1}));
    }
    item
}

/// `sub` as `shape` shows it.
pub(super) fn subscription(shape: Shape, sub: &Sub) -> Value {
    let items: Vec<_> = sub.prices.iter().enumerate().map(|(index, id)| item(shape, index, id, sub)).collect();
    let single = |value: Value| if sub.prices.len() == 1 { value } else { Value::Null };
    let mut metadata = Map::from_iter([("team".to_owned(), json!("blue"))]);
    metadata.insert("pod_id".to_owned(), json!("pod_1"));
    metadata.insert("membership_id".to_owned(), json!("mbr_1"));
    metadata.extend(sub.user_id.map(|user_id| ("user_id".to_owned(), json!(user_id))));
    let mut object = json!({
        "id": "sub_1", "object": "subscription", "application": null, "billing_cycle_anchor": 1_760_000_000,
        "cancel_at": sub.cancel_at, "cancel_at_period_end": sub.cancel_at_period_end, "canceled_at": sub.canceled_at,
        "collection_method": "charge_automatically", "created": 1_750_000_000, "currency": "usd",
        "customer": "cus_1", "default_payment_method": sub.default_payment_method, "ended_at": sub.ended_at,
        "items": {
            "object": "list", "data": items, "has_more": false, "total_count": items.len(),
            "url": "/v1/subscription_items?subscription=sub_1",
        },
        "latest_invoice": sub.latest_invoice, "livemode": false, "metadata": metadata,
        "pause_collection": sub.paused.then(|| json!({"behavior": "void", "resumes_at": null})),
        "plan": single(plan(sub.prices.first().unwrap_or(&""))), "quantity": single(json!(sub.quantity)),
        "start_date": 1_750_000_000, "status": sub.status, "trial_end": sub.trial_end,
    });
    if shape.has_old_places() {
        add(&mut object, json!({"current_period_start": sub.period.0, "current_period_end": sub.period.1}));
    }
    if shape.has_new_places() {
        add(&mut object, json!({"billing_mode": {"type": "flexible"}}));
    }
    if shape == Shape::Endive {
        add(&mut object, json!({"status_details": {"paused": null}}));
    }
    object
}

/// What an event names as previous when `before` became `after`: of objects the members that changed, of lists the whole.
pub(super) fn previous_attributes(before: &Value, after: &Value) -> Value {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { panic!("only objects change") };
    let mut previous = Map::new();
    for name in before.keys().chain(after.keys()) {
        let (was, is) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        if was == is {
            continue;
        }
        let is_list = was["object"] == "list";
        let value =
            if was.is_object() && is.is_object() && !is_list { previous_attributes(was, is) } else { was.clone() };
        previous.insert(name.clone(), value);
    }
    previous.into()
}

/// What a subscription that pays into a pod says of it.
pub(super) fn pod_metadata() -> Value {
    json!({"pod_id": "pod_1", "membership_id": "mbr_1"})
}

/// A paid invoice of two lines, the second a proration, as `shape` shows it.
pub(super) fn invoice(shape: Shape) -> Value {
    let mut object = json!({
        "id": "in_1", "object": "invoice", "amount_due": 2900, "amount_paid": 2900, "amount_remaining": 0,
        "attempt_count": 2, "attempted": true, "billing_reason": "subscription_cycle", "created": 1_760_000_000,
        "currency": "USD", "customer": "cus_1", "customer_email": "a@example.com",
        "customer_name": "Ada", "due_date": 1_760_200_000,
        "hosted_invoice_url": "https://invoice.example/1", "invoice_pdf": "https://invoice.example/1.pdf",
        "lines": {
            "object": "list", "data": [line(shape, "price_a", false, 3900), line(shape, "price_b", true, -1000)],
            "has_more": false, "total_count": 2, "url": "/v1/invoices/in_1/lines",
        },
        "metadata": {}, "next_payment_attempt": 1_760_100_000, "number": "A-0001", "period_end": 1_760_000_000,
        "status": "paid",
        "status_transitions": {
            "finalized_at": 1_760_000_100, "marked_uncollectible_at": null, "paid_at": 1_760_000_200, "voided_at": null,
        },
    });
    if shape.has_old_places() {
        let old = json!({
            "subscription": "sub_1", "subscription_details": {"metadata": pod_metadata()}, "payment_intent": "pi_1",
            "paid": true, "charge": "ch_1",
        });
        add(&mut object, old);
    }
    if shape.has_new_places() {
        let details = json!({
            "metadata": pod_metadata(), "subscription": "sub_1", "subscription_proration_date": null,
        });
        let payment = json!({
            "id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "is_default": true, "status": "paid",
            "payment": {"payment_intent": "pi_1", "type": "payment_intent"},
        });
        add(
            &mut object,
            json!({
                "parent": {"quote_details": null, "subscription_details": details, "type": "subscription_details"},
                "payments": {"object": "list", "data": [payment], "has_more": false},
            }),
        );
    }
    object
}

fn line(shape: Shape, price_id: &str, proration: bool, amount: i64) -> Value {
    let mut line = json!({
        "id": "il_1", "object": "line_item", "amount": amount, "currency": "usd", "invoice": "in_1", "metadata": {},
        "period": {"start": 1_760_000_000, "end": 1_762_592_000}, "quantity": 1, "subscription": "sub_1",
    });
    if shape.has_old_places() {
        let old = json!({
            "price": price(price_id), "plan": plan(price_id), "proration": proration, "subscription_item": "si_0",
            "type": if proration { "invoiceitem" } else { "subscription" },
        });
        add(&mut line, old);
    }
    if shape.has_new_places() {
        let details = json!({
            "invoice_item": null, "proration": proration, "proration_details": null, "subscription": "sub_1",
            "subscription_item": "si_0",
        });
        let price_details = json!({"price": price_id, "product": format!("prod_of_{price_id}")});
        add(
            &mut line,
            json!({
                "parent": {
                    "invoice_item_details": null, "subscription_item_details": details,
                    "type": "subscription_item_details",
                },
                "pricing": {"price_details": price_details, "type": "price_details", "unit_amount_decimal": "2900"},
            }),
        );
    }
    line
}

/// A customer; all versions show it alike.
pub(super) fn customer() -> Value {
    json!({
        "id": "cus_1", "object": "customer", "balance": 0, "created": 1_750_000_000,
        "default_source": "card_1", "email": "a@example.com",
        "invoice_settings": {"custom_fields": null, "default_payment_method": "pm_1", "footer": null},
        "livemode": false, "metadata": {"user_id": "user_1"}, "name": "Ada",
    })
}

/// A paid session of a subscription; what we read of it all versions show alike.
pub(super) fn checkout_session() -> Value {
    json!({
        "id": "cs_1", "object": "checkout.session", "amount_total": 2900, "client_reference_id": "user_2",
        "created": 1_760_000_000, "currency": "usd", "customer": "cus_1", "invoice": "in_1",
        "customer_details": {"email": "buyer@example.com", "name": "B. Buyer"},
        "metadata": {"plan_id": "lifetime", "user_id": "user_1"}, "mode": "subscription", "payment_intent": null, "payment_status": "paid",
        "status": "complete", "subscription": "sub_1", "ui_mode": "hosted_page",
    })
}

/// A failed payment intent as `shape` shows it.
pub(super) fn payment_intent(shape: Shape) -> Value {
    let mut object = json!({
        "id": "pi_1", "object": "payment_intent", "amount": 2900, "amount_received": 0, "created": 1_760_000_000, "currency": "usd",
        "customer": "cus_1", "last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"},
        "status": "requires_payment_method",
    });
    if shape.has_old_places() {
        add(&mut object, json!({"invoice": "in_1"}));
    }
    object
}

/// A payment of an invoice, which exists since 2025.
pub(super) fn invoice_payment() -> Value {
    json!({
        "id": "inpay_1", "object": "invoice_payment", "amount_paid": 2900, "invoice": "in_1", "is_default": true,
        "payment": {"payment_intent": "pi_1", "type": "payment_intent"}, "status": "paid",
    })
}

/// A payment method of `kind`, with what is in the member of that name.
pub(super) fn payment_method(kind: &str, details: &Value) -> Value {
    json!({
        "id": "pm_1", "object": "payment_method", "billing_details": {"email": "a@example.com"},
        "created": 1_760_000_000, "customer": "cus_1", "metadata": {}, "type": kind, kind: details,
    })
}

/// A charge of which a part was given back.
pub(super) fn charge() -> Value {
    json!({
        "id": "ch_1", "object": "charge", "amount": 2900, "amount_captured": 2900, "amount_refunded": 900,
        "created": 1_760_000_000, "currency": "USD", "customer": "cus_1", "payment_intent": "pi_1", "refunded": false,
    })
}

/// A refund of that charge.
pub(super) fn refund() -> Value {
    json!({
        "id": "re_1", "object": "refund", "amount": 900, "charge": "ch_1", "created": 1_760_000_000, "currency": "usd",
        "payment_intent": "pi_1", "status": "pending",
    })
}

/// A dispute of that charge, which the payer has won.
pub(super) fn dispute() -> Value {
    json!({
        "id": "du_1", "object": "dispute", "amount": 2900, "charge": "ch_1", "created": 1_760_000_000,
        "currency": "usd", "payment_intent": "pi_1", "status": "lost",
    })
}
