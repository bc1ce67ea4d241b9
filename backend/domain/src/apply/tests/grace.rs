//! How long a customer whose payment failed is still entitled.

use super::*;

fn past_due(latest: Option<&str>) -> stripe::Subscription {
    stripe::Subscription { latest_invoice: latest.map(str::to_owned), ..subscription("past_due", "price_pro") }
}

#[test]
fn grace_for_a_failed_payment_ends_by_time_alone() {
    let past_due =
        stripe::Subscription { latest_invoice: Some("in_1".to_owned()), ..subscription("past_due", "price_pro") };
    let failed = stripe::Invoice { attempt_count: 1, ..invoice("open") };
    let events = [snapshot("a", 0, &past_due), observed("b", 10, Object::Invoice(failed, true))];
    let fixture = Fixture::new().see_all(&events);
    assert_eq!(
        (fixture.customer().tier.as_str(), fixture.customer().entitled_until),
        ("pro", Some(at(10 + 14 * 86400)))
    );
    let mut late = Fixture::at(at(10 + 14 * 86400));
    for event in &events {
        late.see(event);
    }
    assert_eq!((late.customer().tier.as_str(), late.customer().entitled_until), ("free", None));
    assert_eq!(late.license().unwrap().status, "suspended");
}

#[test]
fn grace_counts_from_the_first_failure_of_the_latest_invoice() {
    let (active, late) = (subscription("active", "price_pro"), past_due(Some("in_2")));
    let events = [
        failed("in_1", "a", 0),
        created("b", 5, &active),
        failed("in_2", "c", 200 * DAY),
        updated("d", 200 * DAY + 1, &active, &late),
    ];
    let shown = |fixture: &Fixture| (fixture.customer().tier.clone(), fixture.customer().entitled_until);
    always_at(at(201 * DAY), &events, &("pro".to_owned(), Some(at(214 * DAY))), shown);
    let license =
        |fixture: &Fixture| (fixture.customer().tier.clone(), fixture.license().map(|license| license.status));
    always_at(at(214 * DAY), &events, &("free".to_owned(), some("suspended")), license);
}

#[test]
fn a_licence_says_when_its_grace_ends_or_ended() {
    let (active, late) = (subscription("active", "price_pro"), past_due(Some("in_1")));
    let events = [created("a", 0, &active), failed("in_1", "b", DAY), updated("c", DAY + 1, &active, &late)];
    let ends = |fixture: &Fixture| fixture.license().and_then(|license| license.grace_ends_at);
    for now in [2, 15, 400] {
        always_at(at(now * DAY), &events, &Some(at(15 * DAY)), ends);
    }
    let paid = [&events[..], &[updated("d", 3 * DAY, &late, &active)]].concat();
    always_at(at(4 * DAY), &paid, &None, ends);
}

#[test]
fn a_licence_knows_the_end_that_was_announced() {
    let active = subscription("active", "price_pro");
    let dated = stripe::Subscription { cancel_at: Some(START + 40 * DAY), ..active.clone() };
    let ends = |fixture: &Fixture| fixture.license().and_then(|license| license.ends_at());
    let events = [created("a", 0, &active), updated("b", 9, &active, &dated)];
    always(&events, &Some(at(40 * DAY)), ends);
    always(&[&events[..], &[updated("c", 19, &dated, &active)]].concat(), &None, ends);
}

#[test]
fn grace_counts_from_the_due_date_of_an_invoice_that_was_sent() {
    let sent = stripe::Invoice { id: "in_2".to_owned(), due_date: Some(START + 7 * DAY), ..invoice("open") };
    let events = [invoice_seen("a", 0, sent), snapshot("b", 8 * DAY, &past_due(Some("in_2")))];
    let until = |fixture: &Fixture| fixture.customer().entitled_until;
    always_at(at(8 * DAY), &events, &Some(at(21 * DAY)), until);
}

#[test]
fn grace_counts_from_the_first_past_due_snapshot_where_no_invoice_came() {
    let (active, late) = (subscription("active", "price_pro"), past_due(None));
    let events = [
        snapshot("a", 0, &late),
        snapshot("b", DAY, &active),
        snapshot("c", 100 * DAY, &late),
        snapshot("d", 103 * DAY, &late),
        snapshot("e", 105 * DAY, &late),
    ];
    let until = |fixture: &Fixture| fixture.customer().entitled_until;
    always_at(at(105 * DAY), &events, &Some(at(114 * DAY)), until);
    always_at(at(114 * DAY), &events, &"free".to_owned(), |fixture| fixture.customer().tier.clone());
}

#[test]
fn a_subscription_whose_grace_is_over_takes_no_other_away() {
    let late = stripe::Subscription { id: "sub_2".to_owned(), created: Some(START + 9), ..past_due(None) };
    let events = [created("a", 0, &subscription("active", "price_team")), created("b", 9, &late)];
    let tier = |fixture: &Fixture| fixture.customer().tier.clone();
    always_at(at(DAY), &events, &"pro".to_owned(), tier);
    always_at(at(15 * DAY), &events, &"team".to_owned(), tier);
}
