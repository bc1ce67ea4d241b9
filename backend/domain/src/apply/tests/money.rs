//! What was paid, given back and bought for good, in every order in which it can be told.

use std::fmt::Debug;
use std::slice;

use super::*;
use crate::charges::Charge;
use crate::payment_methods::PaymentMethod;
use tollgate_stripe::MethodChange;

const SOLD: &str = r#"
default_tier = "free"

[[plan]]
id = "pro_monthly"
tier = "pro"
lookup_key = "pro_monthly"
interval = "month"
max_activations = 3
per_quantity = true

[[plan]]
id = "basic_monthly"
tier = "basic"
lookup_key = "basic_monthly"
interval = "month"

[[plan]]
id = "lifetime"
tier = "gold"
stripe_price = "price_lifetime"
interval = "once"
max_activations = 5
per_quantity = true

[[plan]]
id = "team_monthly"
tier = "team"
stripe_price = "price_team"
interval = "month"
max_activations = 10
"#;

/// In each order of `events`, each of them twice, `of` has to be `expected`.
fn always<T: PartialEq + Debug>(events: &[Observation], expected: &T, of: impl Fn(&Fixture) -> T) {
    always_from(|| Fixture::selling(SOLD), events, expected, of);
}

fn intent(status: &str, asked: i64, received: i64) -> Object {
    Object::PaymentIntent(stripe::PaymentIntent {
        id: "pi_1".to_owned(),
        customer: some(CUSTOMER),
        status: some(status),
        amount: asked,
        amount_received: Some(received),
        currency: some("usd"),
        ..stripe::PaymentIntent::default()
    })
}

fn one_off(payment_status: &str, amount: i64) -> stripe::CheckoutSession {
    stripe::CheckoutSession {
        mode: some("payment"),
        payment_status: some(payment_status),
        subscription: None,
        payment_intent: (amount > 0).then(|| "pi_1".to_owned()),
        amount_total: Some(amount),
        currency: some("usd"),
        ..session(None, None)
    }
}

fn lifetime_session() -> stripe::CheckoutSession {
    stripe::CheckoutSession { plan_id: some("lifetime"), ..one_off("paid", 9900) }
}

fn refunded(amount_refunded: i64) -> Object {
    Object::Charge(stripe::Charge {
        id: "ch_1".to_owned(),
        customer: some(CUSTOMER),
        payment_intent: some("pi_1"),
        amount: 9900,
        amount_refunded,
        currency: some("usd"),
        ..stripe::Charge::default()
    })
}

fn lifetime_invoice() -> stripe::Invoice {
    let price = PriceRef { id: some("price_lifetime"), ..PriceRef::default() };
    stripe::Invoice {
        subscription: None,
        amount_paid: 9900,
        lines: vec![Line { price, quantity: Some(2), amount: 9900, ..Line::default() }],
        ..invoice("paid")
    }
}

fn payment<'s>(fixture: &'s Fixture, id: &str) -> Option<&'s Payment> {
    fixture.work.get(id)
}

fn amount_and_status(fixture: &Fixture, id: &str) -> Option<(i64, String)> {
    payment(fixture, id).map(|payment| (payment.amount, payment.status.clone().expect("it is no placeholder")))
}

/// Tier, and status and plan of the licence.
fn access(fixture: &Fixture) -> (String, Option<(String, Option<String>)>) {
    (fixture.customer().tier.clone(), fixture.license().map(|license| (license.status, license.plan_id)))
}

fn gold(status: &str) -> (String, Option<(String, Option<String>)>) {
    let tier = if status == "active" { "gold" } else { "free" };
    (tier.to_owned(), Some((status.to_owned(), some("lifetime"))))
}

#[test]
fn what_was_captured_was_paid_and_not_what_was_asked_for() {
    let events =
        [observed("a", 0, intent("requires_capture", 5000, 0)), observed("b", 60, intent("succeeded", 5000, 2000))];
    always(&events, &Some((2000, "succeeded".to_owned())), |fixture| amount_and_status(fixture, "pi_1"));
}

#[test]
fn a_session_that_costs_nothing_is_paid_at_once() {
    let events = [completed("a", 0, one_off("no_payment_required", 0))];
    always(&events, &Some((0, "succeeded".to_owned())), |fixture| amount_and_status(fixture, "cs_1"));
}

#[test]
fn a_session_is_paid_when_its_intent_is() {
    let events = [
        created("s", 0, &subscription("active", "price_team")),
        completed("a", 1, one_off("unpaid", 500)),
        observed("b", 90, intent("succeeded", 500, 500)),
    ];
    let expected = (Some((500, "succeeded".to_owned())), Some(at(90)), some("cs_1"));
    always(&events, &expected, |fixture| {
        let paid_at = payment(fixture, "cs_1").and_then(|payment| payment.paid_at);
        let belongs_to = payment(fixture, "pi_1").and_then(|payment| payment.belongs_to.clone());
        (amount_and_status(fixture, "cs_1"), paid_at, belongs_to)
    });
    let told = Fixture::new().see_all(&events);
    assert_eq!(told.told(), ["license_created", "subscription_created", "payment_succeeded"]);
}

#[test]
fn a_session_counts_what_was_captured_of_it() {
    let events = [completed("a", 0, one_off("unpaid", 5000)), observed("b", 90, intent("succeeded", 5000, 2000))];
    always(&events, &Some((2000, "succeeded".to_owned())), |fixture| amount_and_status(fixture, "cs_1"));
}

#[test]
fn what_was_only_named_is_no_payment() {
    let named = stripe::Invoice { payment_intent: some("pi_1"), ..invoice("open") };
    let link = stripe::InvoicePayment {
        id: "inpay_1".to_owned(),
        invoice: some("in_1"),
        payment_intent: some("pi_1"),
        ..stripe::InvoicePayment::default()
    };
    let events =
        [invoice_seen("a", 0, named), observed("b", 1, Object::InvoicePayment(link)), observed("c", 2, refunded(100))];
    always(&events, &0, |fixture| fixture.work.all::<Payment>().count());
}

#[test]
fn what_was_given_back_never_falls() {
    let events = [observed("a", 0, refunded(900)), observed("b", 60, refunded(2900))];
    always(&events, &Some(2900), |fixture| fixture.work.get("pi_1").map(|charge: &Charge| charge.refunded));
}

#[test]
fn a_changed_card_counts_before_the_card_as_it_was_attached() {
    let card = |last4: &str| stripe::PaymentMethod {
        id: "pm_1".to_owned(),
        last4: some(last4),
        ..stripe::PaymentMethod::default()
    };
    for (attached, updated) in [("a", "b"), ("b", "a")] {
        let events = [
            observed(attached, 0, Object::PaymentMethod(card("4242"), MethodChange::Attached)),
            observed(updated, 0, Object::PaymentMethod(card("1881"), MethodChange::Updated)),
        ];
        always(&events, &some("1881"), |fixture| {
            fixture.work.get("pm_1").and_then(|method: &PaymentMethod| method.last4.clone())
        });
    }
}

#[test]
fn a_price_stays_its_plans_when_its_lookup_key_moves_on() {
    let with_key = |key: Option<&str>| {
        let mut state = subscription("active", "price_old");
        state.items[0].price.lookup_key = key.map(str::to_owned);
        state.items[0].period_start = key.map(|_| START);
        state
    };
    let events = [created("a", 0, &with_key(Some("pro_monthly"))), snapshot("b", 2_600_000, &with_key(None))];
    always(&events, &"pro".to_owned(), |fixture| fixture.customer().tier.clone());
}

#[test]
fn a_key_that_moves_to_another_plan_and_back_ends_where_it_was_last() {
    const DAY: i64 = 86_400;
    let with_key = |day: i64, key: Option<&str>| {
        let mut state = subscription("active", "price_old");
        state.items[0].price.lookup_key = key.map(str::to_owned);
        snapshot(&format!("day_{day}"), day * DAY, &state)
    };
    let (basic, pro) = (Some("basic_monthly"), Some("pro_monthly"));
    for (keys, tier) in [([basic, pro, basic], "basic"), ([pro, basic, pro], "pro"), ([basic, pro, pro], "pro")] {
        let shown = [keys[0], keys[1], keys[2], None];
        let events: Vec<_> = (0..).zip(shown).map(|(day, key)| with_key(day, key)).collect();
        // Each once: a repeat is none of an event's effects, and would set right what its order has got wrong.
        for order in orders(&events) {
            let fixture = Fixture::selling(SOLD).see_all(&order);
            let names: Vec<_> = order.iter().map(|observation| &observation.source).collect();
            assert_eq!(fixture.customer().tier, tier, "{keys:?} in the order {names:?}");
        }
    }
}

#[test]
fn a_price_is_another_plans_when_that_one_matches_it() {
    let mut keyed = subscription("active", "price_team");
    keyed.items[0].price.lookup_key = some("pro_monthly");
    let events = [created("a", 0, &keyed), snapshot("b", 60, &subscription("active", "price_team"))];
    always(&events, &"team".to_owned(), |fixture| fixture.customer().tier.clone());
}

#[test]
fn an_item_of_quantity_0_gives_nothing() {
    let mut state = subscription("active", "price_team");
    state.items[0].quantity = Some(0);
    always(&[created("a", 0, &state)], &"free".to_owned(), |fixture| fixture.customer().tier.clone());
    let mut item = state.items[0].clone();
    item.price = PriceRef { id: some("price_x"), lookup_key: some("pro_monthly"), product: None };
    item.quantity = Some(25);
    state.items.push(item);
    always(&[created("a", 0, &state)], &("pro".to_owned(), Some(75)), |fixture| {
        (fixture.customer().tier.clone(), fixture.license().map(|license| license.max_activations))
    });
}

#[test]
fn what_an_invoice_sold_for_good_gives_tier_licence_key_and_widget() {
    let events = [invoice_seen("a", 0, lifetime_invoice())];
    let expected = (gold("active"), Some(10), 1, 1, None);
    always(&events, &expected, |fixture| {
        let End { api_keys, widgets, .. } = fixture.end();
        let machines = fixture.license().map(|license| license.max_activations);
        (access(fixture), machines, api_keys, widgets, fixture.customer().current_subscription_id.clone())
    });
}

#[test]
fn what_a_session_sold_for_good_is_the_plan_that_its_shop_names() {
    always(&[completed("a", 0, lifetime_session())], &gold("active"), access);
    let of_subscriptions = stripe::CheckoutSession { plan_id: some("team_monthly"), ..lifetime_session() };
    always(&[completed("a", 0, of_subscriptions)], &("free".to_owned(), None), access);
}

#[test]
fn a_session_that_is_not_paid_has_sold_nothing_yet() {
    let waiting = completed("a", 0, stripe::CheckoutSession { payment_status: some("unpaid"), ..lifetime_session() });
    always(slice::from_ref(&waiting), &("free".to_owned(), None), access);
    always(&[waiting, observed("b", 60, intent("succeeded", 9900, 9900))], &gold("active"), access);
}

#[test]
fn what_was_bought_for_good_ends_when_all_of_it_is_given_back() {
    let bought = completed("a", 0, lifetime_session());
    always(&[bought.clone(), observed("b", 60, refunded(9899))], &gold("active"), access);
    let ended = [bought, observed("b", 60, refunded(900)), observed("c", 90, refunded(9900))];
    always(&ended, &(gold("expired"), Some(at(90))), |fixture| {
        (access(fixture), fixture.license().and_then(|license| license.expires_at))
    });
}

#[test]
fn a_refund_of_an_invoice_ends_what_it_sold_whatever_names_the_invoice() {
    let refund = Object::Refund(stripe::Refund {
        id: "re_1".to_owned(),
        charge: some("ch_1"),
        payment_intent: some("pi_1"),
        amount: 9900,
        currency: some("usd"),
        status: some("succeeded"),
        ..stripe::Refund::default()
    });
    let link = stripe::InvoicePayment {
        id: "inpay_1".to_owned(),
        invoice: some("in_1"),
        payment_intent: some("pi_1"),
        ..stripe::InvoicePayment::default()
    };
    let events = [
        invoice_seen("a", 0, lifetime_invoice()),
        observed("b", 1, Object::InvoicePayment(link)),
        observed("c", 60, refund),
    ];
    always(&events, &gold("expired"), access);
}

#[test]
fn a_lost_dispute_ends_what_was_bought_for_good_and_a_won_one_does_not() {
    for (status, licence) in [("lost", "expired"), ("won", "active"), ("warning_closed", "active")] {
        let dispute = Object::Dispute(stripe::Dispute {
            id: "du_1".to_owned(),
            charge: some("ch_1"),
            payment_intent: some("pi_1"),
            status: some(status),
            created: None,
        });
        always(&[completed("a", 0, lifetime_session()), observed("b", 60, dispute)], &gold(licence), access);
    }
}

#[test]
fn a_live_plan_of_a_subscription_goes_before_what_was_bought_for_good() {
    let bought = completed("a", 0, lifetime_session());
    let subscribed = created("s", 10, &subscription("active", "price_team"));
    let team = ("team".to_owned(), Some(("active".to_owned(), some("team_monthly"))));
    always(&[bought.clone(), subscribed.clone()], &team, access);
    let gone = stripe::Subscription { ended_at: Some(START + 99), ..subscription("canceled", "price_team") };
    always(&[bought, subscribed, deleted("d", 99, &gone)], &gold("active"), access);
}

#[test]
fn a_plan_of_a_subscription_is_none_that_is_bought_for_good() {
    let events = [created("s", 0, &subscription("active", "price_lifetime"))];
    always(&events, &"free".to_owned(), |fixture| fixture.customer().tier.clone());
}

#[test]
fn an_invoice_never_moves_backwards_and_its_attempts_never_fall() {
    let failing = stripe::Invoice { attempt_count: 3, ..invoice("open") };
    let fixture = Fixture::new().see_all(&[
        invoice_seen("a", 0, invoice("paid")),
        observed("b", 50, Object::Invoice(failing, true)),
        invoice_seen("c", 60, invoice("draft")),
    ]);
    let row = fixture.work.get::<Invoice>("in_1").unwrap();
    assert_eq!((&*row.status, row.attempts, row.amount_paid), ("paid", 3, 2900));
}

#[test]
fn an_intent_that_pays_an_invoice_belongs_to_it_whichever_comes_first() {
    let intent = stripe::PaymentIntent {
        id: "pi_1".to_owned(),
        status: Some("succeeded".to_owned()),
        amount: 2900,
        ..stripe::PaymentIntent::default()
    };
    let link = stripe::InvoicePayment {
        id: "inpay_1".to_owned(),
        invoice: Some("in_1".to_owned()),
        payment_intent: Some("pi_1".to_owned()),
        ..stripe::InvoicePayment::default()
    };
    let events = [observed("a", 0, Object::PaymentIntent(intent)), observed("b", 1, Object::InvoicePayment(link))];
    let forwards = Fixture::new().see_all(&events);
    let backwards = Fixture::new().see_all(events.iter().rev());
    assert_eq!(forwards.end(), backwards.end());
    assert_eq!(forwards.work.get::<Payment>("pi_1").unwrap().belongs_to.as_deref(), Some("in_1"));
}

#[test]
fn an_intent_goes_forward_within_a_second_whatever_its_events_are_called() {
    let intent = |status: &str, failure: Option<&str>| {
        Object::PaymentIntent(stripe::PaymentIntent {
            id: "pi_1".to_owned(),
            status: Some(status.to_owned()),
            failure_code: failure.map(str::to_owned),
            ..stripe::PaymentIntent::default()
        })
    };
    let life = [
        intent("requires_payment_method", None),
        intent("requires_action", None),
        intent("processing", None),
        intent("requires_payment_method", Some("card_declined")),
    ];
    for pair in life.windows(2) {
        for (first, second) in [("a", "b"), ("b", "a")] {
            let events = [observed(first, 0, pair[0].clone()), observed(second, 0, pair[1].clone())];
            for order in [[0, 1], [1, 0]] {
                let fixture = Fixture::new().see_all(order.map(|index| &events[index]));
                let row = fixture.work.get::<Payment>("pi_1").unwrap();
                let Object::PaymentIntent(last) = &pair[1] else { unreachable!() };
                assert_eq!((&row.status, &row.failure_code), (&last.status, &last.failure_code));
            }
        }
    }
}

#[test]
fn a_paid_one_off_session_is_a_payment_and_an_unpaid_one_waits_for_its_money() {
    let one_off = |paid: &str| stripe::CheckoutSession {
        mode: Some("payment".to_owned()),
        payment_status: Some(paid.to_owned()),
        subscription: None,
        amount_total: Some(500),
        currency: Some("eur".to_owned()),
        ..session(None, None)
    };
    let waiting = completed("a", 0, one_off("unpaid"));
    let paid = observed("b", 90, Object::CheckoutSession(one_off("paid"), SessionOutcome::AsyncSucceeded));
    for order in [[&waiting, &paid], [&paid, &waiting]] {
        let fixture = Fixture::new().see_all(order);
        let row = fixture.work.get::<Payment>("cs_1").unwrap();
        assert_eq!((row.status.as_deref(), row.amount, row.paid_at), (Some("succeeded"), 500, Some(at(90))));
    }
    let unpaid = Fixture::new().see_all([&waiting]);
    assert_eq!(unpaid.work.get::<Payment>("cs_1").unwrap().status.as_deref(), Some("pending"));
    let subscribed = created("s", 0, &subscription("active", "price_pro"));
    let told = Fixture::new().see_all([&subscribed, &waiting, &paid, &paid]);
    assert_eq!(told.told(), ["license_created", "subscription_created", "payment_succeeded"]);
}
