//! Who may use what, in every order in which it can be told.

use super::*;
use crate::subscriptions::StatusClass;

/// The current subscription, the tier, the licence's status and tier.
pub(super) fn access(fixture: &Fixture) -> (Option<String>, String, Option<(String, String)>) {
    let customer = fixture.customer();
    let license = fixture.license().map(|license| (license.status, license.tier));
    (customer.current_subscription_id.clone(), customer.tier.clone(), license)
}

pub(super) fn expected(
    current: &str,
    tier: &str,
    license: (&str, &str),
) -> (Option<String>, String, Option<(String, String)>) {
    (some(current), tier.to_owned(), Some((license.0.to_owned(), license.1.to_owned())))
}

#[test]
fn a_first_active_subscription_gives_tier_licence_key_and_widget_once() {
    let active = subscription("active", "price_pro");
    let fixture =
        Fixture::new().see_all(&[created("a", 0, &active), snapshot("b", 1, &active), snapshot("b", 1, &active)]);
    assert_eq!(fixture.customer().tier, "pro");
    let license = fixture.license().unwrap();
    assert_eq!((&*license.status, &*license.tier, license.max_activations), ("active", "pro", 3));
    assert_eq!((fixture.end().api_keys, fixture.end().widgets), (1, 1));
    assert_eq!(fixture.told(), ["license_created", "subscription_created"]);
}

#[test]
fn an_incomplete_subscription_gives_nothing() {
    let fixture = Fixture::new().see_all(&[created("a", 0, &subscription("incomplete", "price_pro"))]);
    assert_eq!(fixture.customer().tier, "free");
    assert_eq!(fixture.license(), None);
    assert_eq!((fixture.end().api_keys, fixture.end().widgets), (0, 0));
}

#[test]
fn a_stale_entitled_snapshot_still_gives_the_licence() {
    let (active, unpaid) = (subscription("active", "price_pro"), subscription("unpaid", "price_pro"));
    let fixture = Fixture::new().see_all(&[snapshot("b", 10, &unpaid), snapshot("a", 5, &active)]);
    assert_eq!(fixture.license().unwrap().status, "suspended");
    assert_eq!(fixture.customer().tier, "free");
    assert_eq!(fixture.end().api_keys, 1);
}

#[test]
fn the_end_takes_the_tier_back_and_expires_the_licence_at_its_end() {
    let active = subscription("active", "price_pro");
    let gone = stripe::Subscription { ended_at: Some(START + 9), ..subscription("canceled", "price_pro") };
    let fixture =
        Fixture::new().see_all(&[created("a", 0, &active), deleted("b", 10, &gone), snapshot("c", 20, &active)]);
    assert_eq!(fixture.customer().tier, "free");
    let license = fixture.license().unwrap();
    assert_eq!((&*license.status, license.expires_at), ("expired", Some(at(9))));
    assert_eq!(
        fixture.told(),
        ["license_created", "subscription_created", "license_expired", "subscription_cancelled"]
    );
    let trail: Vec<_> = fixture
        .work
        .appended()
        .map(|c: &AuditEntry| (&*c.change, c.to_value.as_deref(), c.event_id.as_deref()))
        .collect();
    assert_eq!(
        trail,
        [
            ("tier", Some("pro"), Some("evt_a")),
            ("status", Some("active"), Some("evt_a")),
            ("plan", Some("pro_monthly"), Some("evt_a")),
            ("tier", Some("free"), Some("evt_b")),
            ("status", Some("canceled"), Some("evt_b")),
        ]
    );
}

#[test]
fn a_status_that_nobody_knows_changes_no_access() {
    let (active, strange) = (subscription("active", "price_pro"), subscription("on_holiday", "price_pro"));
    for order in [[0, 1], [1, 0]] {
        let events = [snapshot("a", 0, &active), snapshot("b", 10, &strange)];
        let fixture = Fixture::new().see_all(order.map(|n| &events[n]));
        assert_eq!(fixture.customer().tier, "pro", "{order:?}");
        assert_eq!(fixture.license().unwrap().status, "active");
        assert_eq!(fixture.work.get::<Subscription>("sub_1").unwrap().status.as_deref(), Some("on_holiday"));
    }
}

#[test]
fn a_price_that_no_plan_has_gives_a_licence_without_a_tier() {
    let fixture = Fixture::new().see_all(&[created("a", 0, &subscription("active", "price_other"))]);
    assert_eq!(fixture.customer().tier, "free");
    let license = fixture.license().unwrap();
    assert_eq!((&*license.status, &*license.tier, license.max_activations), ("active", "free", 1));
}

#[test]
fn neither_an_unfinished_purchase_nor_another_thing_takes_pro_away() {
    let paid = created("a", 0, &named("sub_old", 0, "active", "price_pro"));
    let begun = created("b", 9, &named("sub_new", 9, "incomplete", "price_team"));
    always(&[paid.clone(), begun], &expected("sub_old", "pro", ("active", "pro")), access);
    let other = created("b", 9, &named("sub_new", 9, "active", "price_other"));
    always(&[paid.clone(), other], &expected("sub_old", "pro", ("active", "pro")), access);
    let paused = created("b", 9, &named("sub_new", 9, "paused", "price_team"));
    always(&[paid.clone(), paused], &expected("sub_old", "pro", ("active", "pro")), access);
    let newer = created("b", 9, &named("sub_new", 9, "trialing", "price_team"));
    always(&[paid, newer], &expected("sub_new", "team", ("active", "team")), access);
}

#[test]
fn of_subscriptions_that_give_nothing_the_newest_that_goes_on_is_shown() {
    let ended = deleted("a", 20, &named("sub_a", 9, "canceled", "price_pro"));
    let unpaid = created("b", 5, &named("sub_b", 0, "unpaid", "price_team"));
    let current = |fixture: &Fixture| fixture.customer().current_subscription_id.clone();
    always(&[ended.clone(), unpaid], &some("sub_b"), current);
    let also_ended = deleted("b", 5, &named("sub_b", 0, "canceled", "price_team"));
    always(&[ended, also_ended], &some("sub_a"), current);
}

#[test]
fn a_paid_first_invoice_makes_an_incomplete_subscription_active() {
    let begun = created("a", 0, &subscription("incomplete", "price_pro"));
    let paid = invoice_seen("b", 30, invoice("paid"));
    let shown = |fixture: &Fixture| {
        let row = fixture.work.get::<Subscription>("sub_1").unwrap();
        (row.status.clone(), fixture.customer().tier.clone(), fixture.license().map(|license| license.status))
    };
    always(&[begun.clone(), paid.clone()], &(some("active"), "pro".to_owned(), some("active")), shown);
    let expired =
        updated("c", 90, &subscription("incomplete", "price_pro"), &subscription("incomplete_expired", "price_pro"));
    always(&[begun, expired], &(some("incomplete_expired"), "free".to_owned(), None), shown);
}

#[test]
fn a_deleted_customer_keeps_no_subscription_seen_or_not() {
    let active = created("a", 0, &subscription("active", "price_pro"));
    let gone = stripe::Customer { id: CUSTOMER.to_owned(), deleted: true, ..stripe::Customer::default() };
    let gone = observed("b", 50, Object::Customer { before: None, after: gone, deleted: true });
    let shown = |fixture: &Fixture| {
        let row = fixture.work.get::<Subscription>("sub_1").unwrap();
        let license = fixture.license().unwrap();
        (row.status.clone(), row.ended_at, fixture.customer().tier.clone(), license.status, license.expires_at)
    };
    let end = (some("canceled"), Some(at(50)), "free".to_owned(), "expired".to_owned(), Some(at(50)));
    always(&[active.clone(), gone.clone()], &end, shown);
    always(&[invoice_seen("a", 5, invoice("paid")), gone.clone()], &end, shown);
    let own = (some("canceled"), Some(at(49)), "free".to_owned(), "expired".to_owned(), Some(at(49)));
    let told =
        deleted("c", 51, &stripe::Subscription { ended_at: Some(START + 49), ..subscription("canceled", "price_pro") });
    always(&[active, gone, told], &own, shown);
}

#[test]
fn what_only_announces_changes_nothing_of_its_second() {
    let (trial, team) = (subscription("trialing", "price_pro"), subscription("active", "price_team"));
    let announced = Observation { is_announcement: true, ..snapshot("z", 10, &subscription("trialing", "price_team")) };
    let events = [created("a", 0, &trial), announced, updated("b", 10, &trial, &team)];
    always(&events, &expected("sub_1", "team", ("active", "team")), access);
}

#[test]
fn a_subscription_that_comes_with_another_customer_is_taken_from_the_first() {
    let of =
        |customer: &str| stripe::Subscription { customer: customer.to_owned(), ..subscription("active", "price_pro") };
    let events = [created("a", 0, &of(CUSTOMER)), snapshot("b", 9, &of("cus_2"))];
    let tiers = |fixture: &Fixture| {
        let tier = |id: &str| fixture.work.get::<Customer>(id).map(|customer| customer.tier.clone());
        (tier(CUSTOMER), tier("cus_2"))
    };
    always(&events, &(some("free"), some("pro")), tiers);
}

#[test]
fn a_revoked_licence_stays_so_whatever_its_subscription_does() {
    let mut fixture = Fixture::new().see_all(&[created("a", 0, &subscription("active", "price_pro"))]);
    let revoked = License { status: "revoked".to_owned(), revoked_at: Some(at(1)), ..fixture.license().unwrap() };
    fixture.work.insert(revoked);
    fixture.work.release_savepoint();
    fixture.see(&deleted("b", 9, &subscription("canceled", "price_pro")));
    fixture.see(&created("c", 20, &named("sub_2", 20, "active", "price_team")));
    let license = fixture.license().unwrap();
    assert_eq!((&*license.status, license.revoked_at, &*license.tier), ("revoked", Some(at(1)), "team"));
}

#[test]
fn every_status_of_stripe_is_of_one_class() {
    for (status, class) in [
        ("trialing", Some(StatusClass::Live)),
        ("unpaid", Some(StatusClass::OnHold)),
        ("canceled", Some(StatusClass::Ended)),
        ("on_holiday", None),
    ] {
        assert_eq!(StatusClass::of(status), class);
    }
}
