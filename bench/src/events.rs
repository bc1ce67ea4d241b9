//! The events of a load: customers who sign up and go through the till, as Stripe's newest version says it.

use tollgate_shared::Rng;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe};

use crate::AT_ONCE;

/// `count` events that have never been sent before. Many customers are active at once, each a step further than the
/// one that came after it: [`AT_ONCE`] neighbours are about as many customers, and of every type that there is.
pub(crate) fn fresh(count: usize) -> Vec<Event> {
    // Half of all numbers, so that counting on from one never ends.
    let first = u64::from_le_bytes(Rng::system().bytes()) >> 1;
    let mut events = Vec::with_capacity(count);
    for (customer, seed) in (first..).enumerate() {
        if count <= events.len() {
            break;
        }
        let story = story(seed);
        // In each round of the clock every active customer does one thing, and so many new ones come that it
        // stays with AT_ONCE of them.
        let comes_in = customer * story.len() / AT_ONCE;
        events.extend(story.into_iter().enumerate().map(|(step, event)| (comes_in + step, event)));
    }
    events.sort_by_key(|(round, _)| *round);
    events.into_iter().map(|(_, event)| event).take(count).collect()
}

/// One customer's way to a paid subscription.
fn story(seed: u64) -> Vec<Event> {
    let mut stripe = Stripe::new(seed);
    let customer = stripe.sign_up(&format!("{seed:x}@example.com"), "Ada Lovelace", None);
    stripe.checkout(&customer, &Checkout::default().by(&format!("user_{seed:x}")));
    stripe.events(ApiVersion::Endive)
}

/// Their mean size in bytes.
pub(crate) fn mean_bytes(events: &[Event]) -> usize {
    events.iter().map(|event| event.body.len()).sum::<usize>() / events.len().max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn no_event_is_twice_in_a_load_or_in_two() {
        let events = [fresh(300), fresh(300)].concat();
        let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), 600);
    }

    #[test]
    fn neighbours_are_of_many_customers_and_types_and_each_customer_is_in_order() {
        let events = fresh(2000);
        let neighbours = &events[1000..1000 + AT_ONCE];
        let customers: BTreeSet<_> = neighbours.iter().filter_map(|event| event.customer.clone()).collect();
        let types: BTreeSet<_> = neighbours.iter().map(|event| &event.event_type).collect();
        assert!(customers.len() > AT_ONCE / 2 && types.len() > 8, "{} {}", customers.len(), types.len());
        let mut places = BTreeMap::<_, Vec<_>>::new();
        // Not every type names its customer.
        for event in events.iter().filter(|event| event.customer.is_some()) {
            places.entry(event.customer.clone()).or_default().push(event.event_type.as_str());
        }
        assert!(places.values().all(|event_types| event_types[0] == "customer.created"));
    }
}
