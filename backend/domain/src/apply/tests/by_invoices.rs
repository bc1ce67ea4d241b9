//! What invoices tell of a subscription that has no snapshot.

use super::access::{access, expected};
use super::*;

fn price(id: &str) -> PriceRef {
    PriceRef { id: some(id), ..PriceRef::default() }
}

/// A line of a subscription's own item.
fn charge(of: &str, amount: i64, quantity: i64, from: i64, to: i64) -> Line {
    Line {
        price: price(of),
        quantity: Some(quantity),
        period_start: Some(START + from),
        period_end: Some(START + to),
        of_subscription_item: true,
        subscription: some("sub_1"),
        amount,
        ..Line::default()
    }
}

fn paid(id: &str, seconds: i64, lines: &[Line]) -> Observation {
    let created = Some(START + seconds);
    let invoice = stripe::Invoice { id: format!("in_{id}"), created, lines: lines.to_vec(), ..invoice("paid") };
    invoice_seen(id, seconds, invoice)
}

/// Price, quantity, tier and the end of the period.
fn told(fixture: &Fixture) -> (Option<String>, Option<i64>, String, Option<Timestamp>) {
    let row = fixture.work.get::<Subscription>("sub_1").unwrap();
    (row.price_id.clone(), row.quantity, fixture.customer().tier.clone(), row.current_period_end)
}

fn is(price: &str, quantity: i64, tier: &str, end: i64) -> (Option<String>, Option<i64>, String, Option<Timestamp>) {
    (some(price), Some(quantity), tier.to_owned(), Some(at(end)))
}

#[test]
fn an_upgrade_is_what_is_charged_and_not_what_is_credited() {
    let first = paid("a", 0, &[charge("price_pro", 2900, 1, 0, 30 * DAY)]);
    let lines = [charge("price_pro", -1950, 1, 10 * DAY, 30 * DAY), charge("price_team", 8900, 1, 10 * DAY, 30 * DAY)];
    always(&[first.clone(), paid("b", 10 * DAY, &lines)], &is("price_team", 1, "team", 30 * DAY), told);
    let swapped = [lines[1].clone(), lines[0].clone()];
    always(&[first, paid("b", 10 * DAY, &swapped)], &is("price_team", 1, "team", 30 * DAY), told);
}

#[test]
fn more_seats_are_those_that_are_charged() {
    let first = paid("a", 0, &[charge("price_team", 9900, 1, 0, 30 * DAY)]);
    let lines =
        [charge("price_team", -6600, 1, 10 * DAY, 30 * DAY), charge("price_team", 33_000, 5, 10 * DAY, 30 * DAY)];
    always(&[first.clone(), paid("b", 10 * DAY, &lines)], &is("price_team", 5, "team", 30 * DAY), told);
    let fewer =
        [charge("price_team", 3300, 2, 20 * DAY, 30 * DAY), charge("price_team", -16_500, 5, 20 * DAY, 30 * DAY)];
    let events = [first, paid("b", 10 * DAY, &lines), paid("c", 20 * DAY, &fewer)];
    always(&events, &is("price_team", 2, "team", 30 * DAY), told);
}

#[test]
fn a_proration_that_names_no_item_is_one_of_the_subscriptions_own() {
    let first = paid("a", 0, &[charge("price_team", 9900, 1, 0, 30 * DAY)]);
    let waited = |amount, quantity| Line {
        of_subscription_item: false,
        proration: true,
        ..charge("price_team", amount, quantity, 10 * DAY, 30 * DAY)
    };
    let later = paid("b", 10 * DAY, &[waited(-6600, 1), waited(33_000, 5)]);
    always(&[first, later], &is("price_team", 5, "team", 30 * DAY), told);
}

#[test]
fn an_add_on_in_mid_period_takes_nothing_away() {
    let first = paid("a", 0, &[charge("price_pro", 2900, 1, 0, 30 * DAY)]);
    let addon = paid("b", 10 * DAY, &[charge("price_addon", 330, 1, 10 * DAY, 30 * DAY)]);
    always(&[first.clone(), addon.clone()], &is("price_pro", 1, "pro", 30 * DAY), told);
    let both = [charge("price_pro", 2900, 1, 30 * DAY, 60 * DAY), charge("price_addon", 500, 1, 30 * DAY, 60 * DAY)];
    always(&[first, addon, paid("c", 30 * DAY, &both)], &is("price_pro", 1, "pro", 60 * DAY), told);
}

#[test]
fn a_price_of_no_plan_that_replaces_another_gives_no_tier() {
    let first = paid("a", 0, &[charge("price_pro", 2900, 1, 0, 30 * DAY)]);
    let lines = [charge("price_pro", -1950, 1, 10 * DAY, 30 * DAY), charge("price_other", 900, 1, 10 * DAY, 30 * DAY)];
    always(&[first.clone(), paid("b", 10 * DAY, &lines)], &is("price_other", 1, "free", 30 * DAY), told);
    let renewed = paid("b", 30 * DAY, &[charge("price_other", 900, 1, 30 * DAY, 60 * DAY)]);
    always(&[first, renewed], &is("price_other", 1, "free", 60 * DAY), told);
}

#[test]
fn a_fee_that_is_sold_once_is_no_item_of_the_subscription() {
    let fee = Line { of_subscription_item: false, ..charge("price_team", 50_000, 1, 0, 0) };
    let pro = charge("price_pro", 2900, 1, 0, 30 * DAY);
    always(&[paid("a", 0, &[fee.clone(), pro.clone()])], &is("price_pro", 1, "pro", 30 * DAY), told);
    always(&[paid("a", 0, &[pro]), paid("b", DAY, &[fee])], &is("price_pro", 1, "pro", 30 * DAY), told);
}

#[test]
fn an_invoice_of_nothing_of_its_own_says_only_that_it_is_active() {
    let fee = Line { of_subscription_item: false, ..charge("price_team", 50_000, 1, 0, 0) };
    let shown = |fixture: &Fixture| {
        let row = fixture.work.get::<Subscription>("sub_1").unwrap();
        (row.status.clone(), row.price_id.clone(), fixture.customer().tier.clone())
    };
    always(&[paid("a", 0, &[fee])], &(some("active"), None, "free".to_owned()), shown);
}

#[test]
fn a_renewal_makes_no_subscription_younger() {
    let of = |subscription: &str, id: &str, seconds: i64, price: &str| {
        let line = Line { subscription: some(subscription), ..charge(price, 2900, 1, seconds, seconds + 30 * DAY) };
        let (created, lines) = (Some(START + seconds), vec![line]);
        let paid = stripe::Invoice {
            id: format!("in_{id}"),
            subscription: some(subscription),
            created,
            lines,
            ..invoice("paid")
        };
        invoice_seen(id, seconds, paid)
    };
    let events = [
        of("sub_old", "a", 0, "price_pro"),
        of("sub_new", "b", 15 * DAY, "price_team"),
        of("sub_old", "c", 30 * DAY, "price_pro"),
    ];
    always(&events, &expected("sub_new", "team", ("active", "team")), access);
}

#[test]
fn until_an_invoice_is_paid_there_is_no_subscription() {
    let open = invoice_seen("a", 0, invoice("open"));
    let events = [open, completed("b", 1, session(None, None))];
    always(&events, &None, |fixture| fixture.customer().current_subscription_id.clone());
}

#[test]
fn a_paid_invoice_speaks_for_its_subscription_until_the_first_snapshot_comes() {
    let mut fixture = Fixture::new().see_all(&[completed("a", 0, session(None, None))]);
    assert_eq!(fixture.work.get::<Subscription>("sub_1").unwrap().status, None);
    assert_eq!(fixture.license(), None);
    fixture.see(&invoice_seen("b", 1, invoice("paid")));
    let inferred = fixture.work.get::<Subscription>("sub_1").unwrap();
    assert_eq!(
        (inferred.status.as_deref(), inferred.price_id.as_deref(), inferred.quantity),
        (Some("active"), Some("price_pro"), Some(2))
    );
    assert_eq!((fixture.customer().tier.as_str(), fixture.license().unwrap().status.as_str()), ("pro", "active"));
    fixture.see(&snapshot("c", 0, &subscription("past_due", "price_team")));
    let whole = fixture.work.get::<Subscription>("sub_1").unwrap();
    assert_eq!(
        (whole.status.as_deref(), whole.price_id.as_deref(), whole.quantity),
        (Some("past_due"), Some("price_team"), Some(1))
    );
}
