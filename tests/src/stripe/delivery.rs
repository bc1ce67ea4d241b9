//! The way from Stripe to us: orders, repetitions and signatures as they really come.

use tollgate_shared::{Clock, Rng, Secret, signing};

use super::{ApiVersion, Event, Stripe};

/// The same events in an order that says nothing.
pub fn shuffled(events: &[Event], rng: &Rng) -> Vec<Event> {
    let mut shuffled = events.to_vec();
    for last in (1..shuffled.len()).rev() {
        shuffled.swap(last, (rng.unit() * (last + 1) as f64) as usize);
    }
    shuffled
}

/// The last first.
pub fn reversed(events: &[Event]) -> Vec<Event> {
    events.iter().rev().cloned().collect()
}

/// Each twice, the second time somewhere after the first.
pub fn twice(events: &[Event], rng: &Rng) -> Vec<Event> {
    let mut all = events.to_vec();
    for event in events {
        let first = all.iter().position(|other| other.id == event.id).unwrap_or_default();
        let after = first + 1 + (rng.unit() * (all.len() - first) as f64) as usize;
        all.insert(after.min(all.len()), event.clone());
    }
    all
}

/// All of an account's events, each in the shape of any version: what an endpoint sees that is moved to another version.
pub fn mixed(stripe: &Stripe, rng: &Rng) -> Vec<Event> {
    let shaped = stripe.occurrences.iter().map(|occurrence| {
        let versions: Vec<_> =
            ApiVersion::ALL.into_iter().filter(|version| version.has(occurrence.event_type)).collect();
        occurrence.event(versions[(rng.unit() * versions.len() as f64) as usize])
    });
    shaped.collect()
}

/// Only the events of types for which `subscribed` is true: an endpoint that was not given all of them.
pub fn only(events: &[Event], subscribed: impl Fn(&str) -> bool) -> Vec<Event> {
    events.iter().filter(|event| subscribed(&event.event_type)).cloned().collect()
}

/// An endpoint that was given few event types.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// For messages.
    pub name: &'static str,
    /// Which types it is sent.
    pub is_sent: fn(&str) -> bool,
}

/// Endpoints as they are met with: what guides tell people to tick, what somebody forgot, and what was there before a
/// type was.
pub const ENDPOINTS: [Endpoint; 11] = [
    Endpoint {
        name: "the end of a checkout, and invoices",
        is_sent: |event_type| event_type == "checkout.session.completed" || event_type.starts_with("invoice."),
    },
    Endpoint { name: "invoices alone", is_sent: |event_type| event_type.starts_with("invoice.") },
    Endpoint {
        name: "invoices that are paid or not",
        is_sent: |event_type| ["invoice.paid", "invoice.payment_failed"].contains(&event_type),
    },
    Endpoint {
        name: "created and paid, nothing in between",
        is_sent: |event_type| {
            let few = ["checkout.session.completed", "customer.subscription.created", "customer.subscription.deleted"];
            few.contains(&event_type) || event_type == "invoice.paid"
        },
    },
    Endpoint { name: "no invoices", is_sent: |event_type| !event_type.starts_with("invoice") },
    Endpoint { name: "subscriptions alone", is_sent: |event_type| event_type.starts_with("customer.subscription.") },
    Endpoint { name: "no subscription's end", is_sent: |event_type| event_type != "customer.subscription.deleted" },
    Endpoint {
        name: "no customers",
        is_sent: |event_type| !["customer.created", "customer.updated", "customer.deleted"].contains(&event_type),
    },
    Endpoint { name: "no refunds of their own", is_sent: |event_type| !event_type.starts_with("refund.") },
    Endpoint { name: "no charges", is_sent: |event_type| !event_type.starts_with("charge.") },
    Endpoint { name: "no intents", is_sent: |event_type| !event_type.starts_with("payment_intent.") },
];

/// A signature header made now.
pub fn signature(secret: &str, body: &[u8]) -> String {
    signing::sign(&Secret::new(secret), Clock::system().now().timestamp(), body)
}

/// The same under two secrets, as it is sent while the endpoint's secret is rotated.
pub fn rolled_signature(new: &str, old: &str, body: &[u8]) -> String {
    let now = Clock::system().now().timestamp();
    let header = |secret: &str| signing::sign(&Secret::new(secret), now, body);
    let second = header(old);
    let (_, v1) = second.split_once(',').expect("a signature header has a timestamp and a signature");
    format!("{},{v1}", header(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Event> {
        let mut stripe = Stripe::new(3);
        for number in 0..20 {
            stripe.sign_up(&format!("{number}@example.com"), "Ada", None);
        }
        stripe.events(ApiVersion::Endive)
    }

    fn ids(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn shuffling_loses_nothing_and_changes_the_order() {
        let events = some();
        let shuffled = shuffled(&events, &Rng::seeded(1));
        assert_ne!(ids(&shuffled), ids(&events));
        let (mut all, mut expected) = (ids(&shuffled), ids(&events));
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn twice_has_each_event_exactly_twice() {
        let events = some();
        let all = twice(&events, &Rng::seeded(1));
        for event in &events {
            assert_eq!(all.iter().filter(|other| other.id == event.id).count(), 2);
        }
    }
}
