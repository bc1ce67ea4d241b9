//! What `GET /v1/customers/{id}` has to say, from the truth and the rules alone: no line of it is shared with what is
//! tested. What is random (ids, keys and times of our own) is only checked for its shape.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tollgate_shared::clock::{from_unix, rfc3339};

use super::Stripe;
use super::catalogue::{DEFAULT_TIER, plan_of};
use super::model::{InvoiceStatus, Item, Mode, Object, Status, Subscription};

/// Stands where the expected body cannot know the value.
const ANY: &str = "…";

impl Stripe {
    /// The body that all of this customer's events together lead to, in whatever order they came.
    pub fn expected(&self, customer: &str) -> Value {
        let truth = &self.customers[customer];
        let mut subscriptions: Vec<_> =
            self.subscriptions.values().filter(|subscription| subscription.customer == customer).collect();
        subscriptions.sort_by_key(|subscription| subscription.created);
        let current = current(&subscriptions);
        let entitled = current.filter(|subscription| is_entitled(subscription.status));
        let tier = entitled.and_then(plan).map_or(DEFAULT_TIER, |(tier, _)| tier);
        let ever_entitled = self.occurrences.iter().any(|occurrence| match &occurrence.after {
            Object::Subscription(seen) => seen.customer == customer && is_entitled(seen.status),
            _ => false,
        });
        let statuses: BTreeMap<_, _> =
            subscriptions.iter().map(|subscription| (&subscription.id, subscription.status.text())).collect();
        json!({
            "stripeCustomerId": customer,
            "userId": self.expected_user(customer, &subscriptions),
            "email": truth.email,
            "name": truth.name,
            "deleted": truth.deleted,
            "tier": tier,
            "subscription": current.map(expected_subscription),
            "subscriptions": statuses,
            "payments": self.expected_payments(customer),
            "defaultPaymentMethod": self.expected_card(customer),
            "licenses": if ever_entitled { vec![expected_license(current)] } else { vec![] },
            "apiKeys": if ever_entitled { vec![self.expected_key()] } else { vec![] },
            "widgets": if ever_entitled { json!([{ "id": ANY, "name": "default", "config": {} }]) } else { json!([]) },
        })
    }

    /// Where `body` differs from what is expected, a line a difference: `path: expected … seen …`.
    pub fn differences(&self, customer: &str, body: &Value) -> Vec<String> {
        differences(&self.expected(customer), body)
    }

    fn expected_user(&self, customer: &str, subscriptions: &[&Subscription]) -> Option<String> {
        let mut sessions: Vec<_> = self
            .sessions
            .values()
            .filter(|session| session.customer == customer && session.status == "complete")
            .collect();
        sessions.sort_by_key(|session| session.created);
        let newest = sessions.iter().rev();
        let by_reference = newest.clone().find_map(|session| session.client_reference_id.as_ref());
        let by_session = newest.clone().find_map(|session| session.metadata.get("user_id"));
        let by_subscription = subscriptions.iter().rev().find_map(|subscription| subscription.metadata.get("user_id"));
        let by_customer = self.customers[customer].metadata.get("user_id");
        by_reference.or(by_session).or(by_subscription).or(by_customer).cloned()
    }

    fn expected_payments(&self, customer: &str) -> Value {
        let theirs = || self.invoices.values().filter(|invoice| invoice.customer == customer);
        let mut paid: Vec<_> = theirs().filter(|invoice| invoice.status == InvoiceStatus::Paid).collect();
        paid.sort_by_key(|invoice| (invoice.paid_at, &invoice.id));
        let mut open: Vec<_> = theirs().filter(|invoice| invoice.status == InvoiceStatus::Open).collect();
        open.sort_by_key(|invoice| (invoice.created, &invoice.id));
        let mut totals = BTreeMap::new();
        for invoice in &paid {
            *totals.entry(invoice.currency).or_insert(0) += invoice.amount_paid;
        }
        let currency = paid.first().or(open.first()).map(|invoice| invoice.currency);
        json!({
            "totalPaid": currency.and_then(|currency| totals.get(currency)).copied().unwrap_or(0),
            "currency": currency,
            "totals": totals,
            "paidInvoices": paid.iter().map(|invoice| &invoice.id).collect::<Vec<_>>(),
            "openInvoices": open.iter().map(|invoice| (&invoice.id, invoice.attempt_count)).collect::<BTreeMap<_, _>>(),
        })
    }

    fn expected_card(&self, customer: &str) -> Option<Value> {
        let id = self.customers[customer].default_payment_method.as_ref()?;
        let card = &self.payment_methods[id];
        card.customer.as_ref()?;
        Some(json!({ "stripePaymentMethodId": id, "brand": card.brand, "last4": card.last4 }))
    }

    fn expected_key(&self) -> Value {
        let prefix = if self.livemode { "tg_live_" } else { "tg_test_" };
        json!({ "id": ANY, "prefix": format!("{prefix}{ANY}"), "createdAt": ANY, "revokedAt": null })
    }

    /// How many one-off sessions of this customer have been paid: not in the body, but told to its apps.
    pub fn one_off_payments(&self, customer: &str) -> usize {
        let theirs = self.sessions.values().filter(|session| session.customer == customer);
        theirs.filter(|session| session.mode == Mode::Payment && session.payment_status == "paid").count()
    }
}

/// The newest in a live status, else the newest. `by_age` is oldest first.
fn current<'a>(by_age: &[&'a Subscription]) -> Option<&'a Subscription> {
    by_age.iter().rfind(|subscription| !subscription.status.is_final()).or(by_age.last()).copied()
}

fn is_entitled(status: Status) -> bool {
    matches!(status, Status::Trialing | Status::Active | Status::PastDue)
}

/// The first item that a plan matches, else the first.
fn chosen(subscription: &Subscription) -> &Item {
    let items = &subscription.items;
    items.iter().find(|item| plan_of(item.price).is_some()).unwrap_or(&items[0])
}

fn plan(subscription: &Subscription) -> Option<(&'static str, i64)> {
    plan_of(chosen(subscription).price)
}

fn instant(seconds: i64) -> String {
    rfc3339(from_unix(seconds).expect("stories are of this century"))
}

fn expected_subscription(subscription: &Subscription) -> Value {
    let item = chosen(subscription);
    let scheduled = subscription.cancel_at_period_end || subscription.cancel_at.is_some();
    json!({
        "stripeSubscriptionId": subscription.id,
        "status": subscription.status.text(),
        "tier": plan(subscription).map(|(tier, _)| tier),
        "priceId": item.price.id,
        "quantity": item.quantity,
        "itemCount": subscription.items.len(),
        "cancelAtPeriodEnd": subscription.cancel_at_period_end,
        "cancelAt": subscription.cancel_at.map(instant),
        "cancelScheduled": scheduled && !subscription.status.is_final(),
        "currentPeriodStart": instant(item.period.start),
        "currentPeriodEnd": instant(item.period.end),
        "trialEnd": subscription.trial.map(|trial| instant(trial.end)),
        "endedAt": subscription.ended_at.map(instant),
        "collectionPaused": subscription.pause_collection.is_some(),
    })
}

fn expected_license(current: Option<&Subscription>) -> Value {
    let plan = current.and_then(plan);
    let status = match current.map(|subscription| subscription.status) {
        Some(status) if is_entitled(status) => "active",
        Some(status) if status.is_final() => "expired",
        _ => "suspended",
    };
    let ended_at = current.filter(|_| status == "expired").and_then(|subscription| subscription.ended_at);
    json!({
        "id": ANY,
        "key": ANY,
        "status": status,
        "tier": plan.map_or(DEFAULT_TIER, |(tier, _)| tier),
        "maxActivations": plan.map_or(1, |(_, machines)| machines),
        "activations": 0,
        "expiresAt": ended_at.map(instant),
    })
}

/// Where `seen` differs from `expected`; `ANY` stands for any text that is longer than what is before it.
pub fn differences(expected: &Value, seen: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, seen, &mut found);
    found
}

fn compare(path: &str, expected: &Value, seen: &Value, found: &mut Vec<String>) {
    match (expected, seen) {
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
            for (place, (wanted, there)) in wanted.iter().zip(there).enumerate() {
                compare(&format!("{path}[{place}]"), wanted, there, found);
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
        assert_eq!((&body["tier"], &body["userId"]), (&json!("pro"), &json!("user_1")));
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
