//! Objects and events as JSON, in the shape of one API version. Places are those of Stripe's official typings for each
//! version, and for [`ApiVersion::Pinned2024`] those of payloads that endpoints pinned to the old version get today.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::model::{CheckoutSession, Coupon, Lasting, Price};
use super::{BEGINNING, Object, Occurrence};

mod billing;
mod money;

/// The version that an endpoint's events are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// The last dated one, as it was: old places only.
    V2024_06_20,
    /// The same one as such endpoints get it today: new fields are additive, so old and new places are both there.
    Pinned2024,
    /// 2025-03-31: periods on items, an invoice's subscription under `parent`, no intent on it.
    Basil,
    /// 2026-10-28, the newest known.
    Endive,
}

impl ApiVersion {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::V2024_06_20, Self::Pinned2024, Self::Basil, Self::Endive];

    /// As an event names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2024_06_20 | Self::Pinned2024 => "2024-06-20",
            Self::Basil => "2025-03-31.basil",
            Self::Endive => "2026-10-28.endive",
        }
    }

    /// The shape of objects in any version, by its date: `2026-09-30.endive`; `None` for what is no version.
    pub fn of_date(name: &str) -> Option<Self> {
        let (date, _) = name.split_once('.').unwrap_or((name, ""));
        let is_date = date.len() == 10 && date.split('-').map(str::len).eq([4, 2, 2]);
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_date || !date.split('-').all(digits) {
            return None;
        }
        Some(if date < "2025-03-31" {
            Self::V2024_06_20
        } else if date < "2025-09-30" {
            Self::Basil
        } else {
            Self::Endive
        })
    }

    /// Whether fields stand where they stood before basil.
    fn old_places(self) -> bool {
        matches!(self, Self::V2024_06_20 | Self::Pinned2024)
    }

    /// Whether fields stand where basil moved them.
    fn new_places(self) -> bool {
        self != Self::V2024_06_20
    }

    /// Whether fields that came after basil are there.
    fn of_today(self) -> bool {
        matches!(self, Self::Pinned2024 | Self::Endive)
    }

    /// Whether it has events of this type.
    pub fn has(self, event_type: &str) -> bool {
        self.new_places() || !event_type.starts_with("invoice_payment.")
    }
}

/// An event as it is sent.
#[derive(Clone, Debug)]
pub struct Event {
    /// `evt_…`
    pub id: String,
    /// For example `invoice.paid`.
    pub event_type: String,
    /// Unix seconds.
    pub created: i64,
    /// The customer that its object names.
    pub customer: Option<String>,
    /// The JSON text, pretty-printed as Stripe does.
    pub body: Bytes,
}

impl Event {
    /// An event made of any JSON; it has to have an `id` and a `type`.
    pub fn of(json: &Value) -> Self {
        let text =
            |name: &str| json[name].as_str().unwrap_or_else(|| panic!("an event has a string {name}")).to_owned();
        let object = &json["data"]["object"];
        let customer = if object["object"] == "customer" { &object["id"] } else { &object["customer"] };
        Self {
            id: text("id"),
            event_type: text("type"),
            created: json["created"].as_i64().unwrap_or_default(),
            customer: customer.as_str().map(str::to_owned),
            body: serde_json::to_vec_pretty(json).expect("JSON is always JSON").into(),
        }
    }

    /// Its JSON, to be changed and made [`Event::of`] again.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("an event is JSON")
    }
}

impl Occurrence {
    /// Itself in the shape of `version`.
    pub fn event(&self, version: ApiVersion) -> Event {
        let after = object(&self.after, version, self.livemode);
        let mut data = json!({ "object": after });
        if let Some(before) = &self.before {
            data["previous_attributes"] = previous(&object(before, version, self.livemode), &after);
        }
        let mut event = Event::of(&json!({
            "id": self.id,
            "object": "event",
            "api_version": version.name(),
            "created": self.created,
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": { "id": self.request, "idempotency_key": self.request.as_ref().map(|id| format!("idem-{id}")) },
            "type": self.event_type,
        }));
        event.customer = self.customer().map(str::to_owned);
        event
    }

    /// The customer that it is about, a former one of a detached card too.
    pub fn customer(&self) -> Option<&str> {
        self.after.customer().or_else(|| self.before.as_ref()?.customer())
    }
}

/// An object in the shape of `version`.
pub fn object(object: &Object, version: ApiVersion, livemode: bool) -> Value {
    let mut json = match object {
        Object::Customer(customer) => money::customer(customer),
        Object::Subscription(subscription) => billing::subscription(subscription, version),
        Object::Invoice(invoice) => billing::invoice(invoice, version),
        Object::InvoicePayment(payment) => money::invoice_payment(payment),
        Object::PaymentIntent(intent) => money::payment_intent(intent, version),
        Object::PaymentMethod(method) => money::payment_method(method),
        Object::CheckoutSession(session) => money::checkout_session(session, version),
        Object::Charge(charge) => money::charge(charge, version),
        Object::Refund(refund) => money::refund(refund),
        Object::Dispute(dispute) => money::dispute(dispute),
    };
    json["livemode"] = livemode.into();
    json
}

/// `previous_attributes`: for each member that changed what it was; inside an object only its changed members, lists whole.
fn previous(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return before.clone() };
    let mut changed = Map::new();
    for name in before.keys().chain(after.keys()) {
        let was = before.get(name).unwrap_or(&Value::Null);
        let is = after.get(name).unwrap_or(&Value::Null);
        if was != is {
            let is_list = was["object"] == "list";
            changed.insert(name.clone(), if is_list { was.clone() } else { previous(was, is) });
        }
    }
    changed.into()
}

/// A price, with the lookup key that it has now.
pub fn price(price: &Price, lookup_key: Option<&str>) -> Value {
    billing::price(price, lookup_key)
}

/// A code that takes something off.
pub fn promotion_code(coupon: &Coupon) -> Value {
    let of_it = json!({
        "id": coupon.id,
        "object": "coupon",
        "created": BEGINNING,
        "currency": null,
        "duration": if coupon.lasting == Lasting::Once { "once" } else { "forever" },
        "livemode": false,
        "metadata": {},
        "name": null,
        "percent_off": coupon.percent_off,
        "valid": true,
    });
    json!({
        "id": coupon.promotion,
        "object": "promotion_code",
        "active": true,
        "code": coupon.code,
        "created": BEGINNING,
        "customer": null,
        "expires_at": null,
        "livemode": false,
        "max_redemptions": null,
        "metadata": {},
        "promotion": { "coupon": of_it, "type": "coupon" },
        "times_redeemed": 0,
    })
}

/// What a session sold, as `GET /v1/checkout/sessions/{id}/line_items` lists it.
pub fn session_items(session: &CheckoutSession) -> Value {
    let items = session.prices.iter().enumerate().map(|(index, price)| {
        let quantity = session.quantity_of(index);
        let amount = price.unit_amount * quantity;
        json!({
            "id": format!("li_{}", price.id),
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": amount,
            "amount_tax": 0,
            "amount_total": amount,
            "currency": price.currency,
            "description": price.product,
            "price": billing::price(price, price.lookup_key),
            "quantity": quantity,
        })
    });
    list(format!("/v1/checkout/sessions/{}/line_items", session.id), items.collect())
}

/// A list as it stands inside an object.
fn list(url: String, data: Vec<Value>) -> Value {
    json!({ "object": "list", "total_count": data.len(), "has_more": false, "url": url, "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::catalogue::{PRO_MONTHLY, TEAM_MONTHLY};
    use crate::stripe::{Checkout, Stripe};

    #[test]
    fn what_changed_is_named_with_what_it_was() {
        let before =
            json!({"a": 1, "b": {"x": 1, "y": 2}, "c": null, "l": {"object": "list", "data": [1], "url": "/"}, "g": 1});
        let after = json!({"a": 1, "b": {"x": 1, "y": 3}, "c": {"z": 1}, "l": {"object": "list", "data": [2], "url": "/"}, "n": 5});
        assert_eq!(
            previous(&before, &after),
            json!({"b": {"y": 2}, "c": null, "l": {"object": "list", "data": [1], "url": "/"}, "g": 1, "n": null})
        );
    }

    fn upgraded(version: ApiVersion) -> Value {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        stripe.pass(1).upgrade(&subscription, &TEAM_MONTHLY);
        let events = stripe.events(version);
        let last = events.iter().rfind(|event| event.event_type == "customer.subscription.updated").unwrap();
        last.json()
    }

    #[test]
    fn periods_stand_where_the_version_has_them() {
        for (version, on_subscription, on_item) in [
            (ApiVersion::V2024_06_20, true, false),
            (ApiVersion::Pinned2024, true, true),
            (ApiVersion::Basil, false, true),
            (ApiVersion::Endive, false, true),
        ] {
            let object = &upgraded(version)["data"]["object"];
            assert_eq!(object.get("current_period_end").is_some(), on_subscription, "{version:?}");
            assert_eq!(object["items"]["data"][0].get("current_period_end").is_some(), on_item, "{version:?}");
        }
    }

    #[test]
    fn an_upgrade_names_the_old_items_whole() {
        for version in ApiVersion::ALL {
            let event = upgraded(version);
            let was = &event["data"]["previous_attributes"]["items"]["data"][0]["price"]["id"];
            assert_eq!(was, "price_pro_month", "{version:?}");
            assert_eq!(event["data"]["object"]["items"]["data"][0]["price"]["id"], "price_1TeamMonthly");
        }
    }

    #[test]
    fn an_invoice_names_its_subscription_and_intent_where_the_version_has_them() {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        for (version, old, new) in [
            (ApiVersion::V2024_06_20, true, false),
            (ApiVersion::Pinned2024, true, true),
            (ApiVersion::Basil, false, true),
            (ApiVersion::Endive, false, true),
        ] {
            let events = stripe.events(version);
            let paid = events.iter().find(|event| event.event_type == "invoice.paid").unwrap().json();
            let invoice = &paid["data"]["object"];
            assert_eq!(invoice["subscription"].is_string(), old, "{version:?}");
            assert_eq!(invoice["payment_intent"].is_string(), old, "{version:?}");
            assert_eq!(invoice["parent"]["subscription_details"]["subscription"].is_string(), new, "{version:?}");
            assert_eq!(invoice["lines"]["data"][0]["price"].is_object(), old, "{version:?}");
            assert_eq!(invoice["lines"]["data"][0]["pricing"].is_object(), new, "{version:?}");
            assert_eq!(events.iter().any(|event| event.event_type == "invoice_payment.paid"), new, "{version:?}");
        }
    }
}
