//! A whole life of a customer, in any order and with any repetition.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// A life of one customer: events that follow each other, several a second, as one true history of a subscription and
/// its invoices gives them.
pub(super) fn life() -> impl Strategy<Value = Vec<Observation>> {
    let step = (0..3_i64, 0..8_usize, "[a-z]{4}");
    prop::collection::vec(step, 1..20).prop_map(|steps| {
        let mut second = 0;
        let mut state = subscription("incomplete", "price_pro");
        let mut events = vec![created("first", 0, &state), completed("session", 0, session(Some("user"), None))];
        for (n, (pause, what, id)) in steps.into_iter().enumerate() {
            second += pause / 2;
            let before = state.clone();
            let id = format!("{id}{n}");
            match what {
                0 => "active".clone_into(&mut state.status),
                1 => "past_due".clone_into(&mut state.status),
                2 => state.items[0].price.id = Some("price_team".to_owned()),
                3 => state.items[0].price.id = Some("price_pro".to_owned()),
                4 => state.cancel_at_period_end = !state.cancel_at_period_end,
                5 => state.items[0].quantity = Some(n as i64),
                6 => {
                    events.push(invoice_seen(&id, second, invoice("open")));
                    let failed = stripe::Invoice { attempt_count: n as i64, ..invoice("open") };
                    events.push(observed(&format!("{id}f"), second, Object::Invoice(failed, true)));
                }
                _ => events.push(invoice_seen(&id, second, invoice("paid"))),
            }
            if state != before {
                events.push(updated(&id, second, &before, &state));
            }
        }
        events
    })
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_of_a_life_ends_in_the_same_rows(
        events in life(), order in prop::collection::vec(any::<Index>(), 0..40)
    ) {
        let shuffled: Vec<_> = order.iter().map(|index| index.get(&events)).chain(events.iter().rev()).collect();
        let (straight, shuffled) = (Fixture::new().see_all(&events), Fixture::new().see_all(shuffled));
        prop_assert_eq!(straight.end(), shuffled.end());
    }
}
