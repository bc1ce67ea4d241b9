//! The events of a load: customers who sign up and go through the till, as Stripe's newest version says it.

use tollgate_shared::Rng;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe};

/// How many customers are under way at once; their events alternate, as those of strangers do.
const CUSTOMERS_AT_ONCE: usize = 64;

/// `count` events that have never been sent before, each about one of many customers, in an order that could be.
pub(crate) fn fresh(count: usize) -> Vec<Event> {
    // Half of all numbers, so that counting on from one never ends.
    let first = u64::from_le_bytes(Rng::system().bytes()) >> 1;
    let mut events = Vec::with_capacity(count + CUSTOMERS_AT_ONCE * 16);
    let mut seeds = first..;
    while events.len() < count {
        let stories: Vec<Vec<Event>> = seeds.by_ref().take(CUSTOMERS_AT_ONCE).map(story).collect();
        let longest = stories.iter().map(Vec::len).max().unwrap_or_default();
        for step in 0..longest {
            events.extend(stories.iter().filter_map(|story| story.get(step).cloned()));
        }
    }
    events.truncate(count);
    events
}

/// One customer's way to a paid subscription.
fn story(seed: u64) -> Vec<Event> {
    let mut stripe = Stripe::new(seed);
    let customer = stripe.sign_up(&format!("{seed:x}@example.com"), "Ada Lovelace", None);
    stripe.checkout(&customer, &Checkout::default().by(&format!("user_{seed:x}")));
    stripe.events(ApiVersion::Endive)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_event_is_twice_in_a_load_or_in_two() {
        let events = [fresh(300), fresh(300)].concat();
        let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), 600);
    }
}
