//! What `GET /v1/customers/{id}` has to return, from what happened at Stripe alone: no line of it is shared with what is
//! tested, so that it can contradict it. It knows the true order of everything, and which events an endpoint was sent.
//! What is random (ids, keys and times of our own) is only checked for its shape.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tollgate_shared::clock::{from_unix, rfc3339};

use super::Stripe;
use super::catalogue::{DEFAULT_TIER, LIFETIME};
use super::model::{InvoiceStatus, Metadata, Mode};

mod access;
mod heard;
mod money;

use access::{Known, License, current, is_entitled, is_of_pod, license, purchases, subscriptions};
use heard::Heard;

/// Stands where the expected body cannot know a text, or the rest of it.
const ANY: &str = "…";

/// Stands where any value will do.
const WHATEVER: &str = "*";

impl Stripe {
    /// The body that all of this customer's events together lead to, in whatever order they came.
    pub fn expected(&self, customer: &str) -> Value {
        self.expected_at(customer, |_| true)
    }

    /// The body that those of this customer's events lead to whose type `sent` is true of. Null for a customer that none
    /// of them makes known.
    pub fn expected_at(&self, customer: &str, sent: impl Fn(&str) -> bool) -> Value {
        self.body(&Heard::of(self, customer, sent), false)
    }

    /// As [`Stripe::expected`], where Stripe is asked what a session sold.
    pub fn expected_when_asked(&self, customer: &str) -> Value {
        self.body(&Heard::of(self, customer, |_| true), true)
    }

    fn body(&self, heard: &Heard, asks: bool) -> Value {
        if !heard.knows_the_customer() {
            return Value::Null;
        }
        let customer = heard.customer();
        let known = subscriptions(heard);
        let current = current(&known);
        let bought = purchases(heard, asks);
        let stands = bought.iter().any(|purchase| purchase.undone_at.is_none());
        let by_subscription = current.and_then(access::Known::gives).map(|terms| terms.tier);
        let tier = by_subscription.or(stands.then_some(LIFETIME.tier)).unwrap_or(DEFAULT_TIER);

        let paid = |invoice: &super::model::Invoice| invoice.status == InvoiceStatus::Paid;
        let ever_entitled = heard.snapshots().any(|one| is_entitled(one.status) && !is_of_pod(&one.metadata))
            || heard.invoices().values().any(|invoice| {
                invoice.subscription.is_some() && paid(invoice) && !is_of_pod(&invoice.subscription_metadata)
            })
            || !bought.is_empty();
        let statuses: BTreeMap<_, _> = known.iter().map(|one| (one.id, one.status.text())).collect();
        let license = ever_entitled.then(|| license_body(&license(current, &bought, DEFAULT_TIER)));
        json!({
            "stripeCustomerId": heard.customer,
            "userId": user(heard),
            "email": contact(heard, |one| one.email),
            "name": contact(heard, |one| one.name),
            "deleted": customer.is_some_and(|customer| customer.deleted),
            "tier": tier,
            "subscription": current.map(subscription_body),
            "subscriptions": statuses,
            "payments": money::payments(heard),
            "defaultPaymentMethod": card(heard, current),
            "licenses": Vec::from_iter(license),
            "apiKeys": if ever_entitled { vec![self.key_body()] } else { vec![] },
            "widgets": if ever_entitled { json!([{ "id": ANY, "name": "default", "config": {} }]) } else { json!([]) },
        })
    }

    /// Where `body` differs from what is expected, a line a difference: `path: expected … seen …`.
    pub fn differences(&self, customer: &str, body: &Value) -> Vec<String> {
        differences(&self.expected(customer), body)
    }

    fn key_body(&self) -> Value {
        let prefix = if self.livemode { "tg_live_" } else { "tg_test_" };
        json!({ "id": ANY, "prefix": format!("{prefix}{ANY}"), "createdAt": ANY, "revokedAt": null })
    }

    /// How many one-off sessions of this customer have been paid: not in the body, but told to its apps.
    pub fn one_off_payments(&self, customer: &str) -> usize {
        let theirs = self.sessions.values().filter(|session| session.customer == customer);
        theirs.filter(|session| session.mode == Mode::Payment && session.payment_status == "paid").count()
    }
}

/// Whose customer it is: by the customer, else its newest subscription that says so, else its newest session that does;
/// last by a session's reference, where affiliate tools write too.
fn user(heard: &Heard) -> Option<String> {
    let named = |metadata: &Metadata| metadata.get("user_id").cloned();
    let mut subscriptions: Vec<_> = heard.subscriptions().into_values().collect();
    subscriptions.sort_by_key(|subscription| (subscription.created, &subscription.id));
    let mut sessions: Vec<_> = heard.sessions().into_values().collect();
    sessions.sort_by_key(|session| (session.created, &session.id));
    let by_customer = heard.customer().and_then(|customer| named(&customer.metadata));
    by_customer
        .or_else(|| subscriptions.iter().rev().find_map(|subscription| named(&subscription.metadata)))
        .or_else(|| sessions.iter().rev().find_map(|session| named(&session.metadata)))
        .or_else(|| sessions.iter().rev().find_map(|session| session.client_reference_id.clone()))
}

struct Contact<'a> {
    email: Option<&'a String>,
    name: Option<&'a String>,
}

/// E-mail or name: the customer's own; while it has not shown itself, what its newest session or invoice has of it.
fn contact<'a>(heard: &Heard<'a>, field: impl Fn(Contact<'a>) -> Option<&'a String>) -> Option<&'a String> {
    if let Some(customer) = heard.customer() {
        return field(Contact { email: customer.email.as_ref(), name: customer.name.as_ref() });
    }
    let sessions = heard
        .sessions()
        .into_values()
        .map(|session| (session.created, Contact { email: session.email.as_ref(), name: session.name.as_ref() }));
    let invoices = heard.invoices().into_values().map(|invoice| {
        (invoice.created, Contact { email: invoice.customer_email.as_ref(), name: invoice.customer_name.as_ref() })
    });
    let told = sessions.chain(invoices).filter_map(|(created, contact)| Some((created, field(contact)?)));
    told.max_by_key(|(created, _)| *created).map(|(_, text)| text)
}

/// The card that is charged: the customer's default, else the current subscription's own, else the customer's old source.
fn card(heard: &Heard, current: Option<&Known>) -> Option<Value> {
    let customer = heard.customer();
    let by_customer = customer.and_then(|customer| customer.default_payment_method.as_ref());
    let by_subscription = current.and_then(|current| current.snapshot?.default_payment_method.as_ref());
    let by_source = customer.and_then(|customer| customer.default_source.as_ref());
    let mut choices = [by_customer, by_subscription, by_source].into_iter().flatten();
    let id = choices.find(|id| heard.card(id).is_none_or(|card| card.customer.is_some()))?;
    let details = heard.card(id);
    Some(json!({
        "stripePaymentMethodId": id,
        "brand": details.map(|card| card.brand),
        "last4": details.map(|card| &card.last4),
    }))
}

fn instant(seconds: i64) -> String {
    rfc3339(from_unix(seconds).expect("stories are of this century"))
}

fn subscription_body(known: &Known) -> Value {
    let snapshot = known.snapshot;
    let at_period_end = snapshot.is_some_and(|snapshot| snapshot.cancel_at_period_end);
    let cancel_at = snapshot.and_then(|snapshot| snapshot.cancel_at);
    let items = snapshot.filter(|snapshot| snapshot.items.iter().all(|item| !item.deleted));
    json!({
        "stripeSubscriptionId": known.id,
        "status": known.status.text(),
        "tier": known.bought.terms.map(|terms| terms.tier),
        "priceId": known.bought.price.id,
        "quantity": known.bought.quantity,
        "itemCount": items.map_or(json!(WHATEVER), |snapshot| json!(snapshot.items.len())),
        "cancelAtPeriodEnd": at_period_end,
        "cancelAt": cancel_at.map(instant),
        "cancelScheduled": (at_period_end || cancel_at.is_some()) && !known.status.is_final(),
        "currentPeriodStart": instant(known.bought.period.start),
        "currentPeriodEnd": instant(known.bought.period.end),
        "trialEnd": snapshot.and_then(|snapshot| snapshot.trial).map(|trial| instant(trial.end)),
        "endedAt": known.ended_at.map(instant),
        "collectionPaused": snapshot.is_some_and(|snapshot| snapshot.pause_collection.is_some()),
    })
}

fn license_body(license: &License) -> Value {
    let or_whatever = |value: Option<Value>| value.unwrap_or_else(|| json!(WHATEVER));
    json!({
        "id": ANY,
        "key": ANY,
        "status": license.status,
        "tier": or_whatever(license.tier.map(Value::from)),
        "maxActivations": or_whatever(license.machines.map(Value::from)),
        "activations": 0,
        "expiresAt": or_whatever(license.expires_at.map(|at| json!(at.map(instant)))),
    })
}

/// Where `seen` differs from `expected`; `ANY` stands for any text that is longer than what is before
/// it, `WHATEVER` for any value.
pub fn differences(expected: &Value, seen: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, seen, &mut found);
    found
}

fn compare(path: &str, expected: &Value, seen: &Value, found: &mut Vec<String>) {
    match (expected, seen) {
        (Value::String(wanted), _) if wanted == WHATEVER => {}
        (Value::Object(wanted), Value::Object(there)) => {
            let names: Map<_, _> = wanted.iter().chain(there).map(|(name, _)| (name.clone(), Value::Null)).collect();
            for (name, _) in names {
                match (wanted.get(&name), there.get(&name)) {
                    (Some(wanted), Some(there)) => compare(&format!("{path}.{name}"), wanted, there, found),
                    (Some(wanted), None) => found.push(format!("{path}.{name}: expected {wanted}, not there")),
                    (None, there) => found.push(format!("{path}.{name}: not expected, seen {there:?}")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(there)) if wanted.len() == there.len() => {
            for (index, (wanted, there)) in wanted.iter().zip(there).enumerate() {
                compare(&format!("{path}[{index}]"), wanted, there, found);
            }
        }
        (Value::String(wanted), Value::String(there)) if wanted.ends_with(ANY) => {
            let start = wanted.trim_end_matches(ANY);
            if !there.starts_with(start) || there.len() <= start.len() {
                found.push(format!("{path}: expected {wanted}, seen {there}"));
            }
        }
        _ if expected == seen => {}
        _ => found.push(format!("{path}: expected {expected}, seen {seen}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::Checkout;
    use crate::stripe::catalogue::{PRO_MONTHLY, STORAGE_ADDON, TEAM_MONTHLY};

    fn subscribed() -> (Stripe, String, String) {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_of_customer"));
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
        (stripe, customer, subscription)
    }

    #[test]
    fn a_customer_who_paid_has_what_it_paid_for() {
        let (stripe, customer, subscription) = subscribed();
        let body = stripe.expected(&customer);
        assert_eq!((&body["tier"], &body["userId"]), (&json!("pro"), &json!("user_of_customer")));
        assert_eq!(body["subscriptions"], json!({ subscription: "active" }));
        assert_eq!(body["payments"]["totals"], json!({ "usd": 2900 }));
        assert_eq!(body["defaultPaymentMethod"]["last4"], "4242");
        assert_eq!(body["licenses"][0]["status"], "active");
    }

    #[test]
    fn what_ended_leaves_the_default_tier_and_an_expired_licence() {
        let (mut stripe, customer, subscription) = subscribed();
        stripe.pass(60).cancel(&subscription);
        let body = stripe.expected(&customer);
        assert_eq!((&body["tier"], &body["subscription"]["tier"]), (&json!("free"), &json!("pro")));
        assert_eq!(body["licenses"][0]["status"], "expired");
        assert_eq!(body["licenses"][0]["expiresAt"], body["subscription"]["endedAt"]);
    }

    #[test]
    fn the_first_item_that_a_plan_knows_counts() {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let order = Checkout { prices: vec![&STORAGE_ADDON, &TEAM_MONTHLY], ..Checkout::default() };
        stripe.checkout(&customer, &order);
        let body = stripe.expected(&customer);
        assert_eq!(body["subscription"]["priceId"], TEAM_MONTHLY.id);
        assert_eq!(body["subscription"]["itemCount"], 2);
        assert_eq!(body["tier"], "team");
    }

    #[test]
    fn every_difference_is_named_by_its_path() {
        let found = differences(
            &json!({"a": 1, "b": [1, {"c": "x…"}], "d": null, "e": "…"}),
            &json!({"a": 2, "b": [1, {"c": "y1"}], "e": "z", "f": 0}),
        );
        let paths: Vec<_> = found.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(paths, [".a", ".b[1].c", ".d", ".f"]);
    }
}
