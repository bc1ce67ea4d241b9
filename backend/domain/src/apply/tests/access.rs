//! Who may use what, in every order in which it can be told.

use std::fmt::Debug;
use std::slice;

use super::*;
use crate::audit::Cause;
use crate::customers;
use crate::entitlements;
use crate::events::CustomerEvent;
use crate::subscriptions::StatusClass;

const DAY: i64 = 86_400;

/// Every order of `events`.
fn orders(events: &[Observation]) -> Vec<Vec<Observation>> {
    if events.len() < 2 {
        return vec![events.to_vec()];
    }
    (0..events.len())
        .flat_map(|index| {
            let mut rest = events.to_vec();
            let first = rest.remove(index);
            orders(&rest).into_iter().map(move |rest| [slice::from_ref(&first), &rest[..]].concat())
        })
        .collect()
}

/// At `now`, in each order of `events`, each of them twice, `of` has to be `expected`.
fn always_at<T: PartialEq + Debug>(now: Timestamp, events: &[Observation], expected: &T, of: impl Fn(&Fixture) -> T) {
    for order in orders(events) {
        let fixture = Fixture::at(now).see_all(order.iter().chain(&order));
        let names: Vec<_> = order.iter().map(|observation| &observation.source).collect();
        assert_eq!(&of(&fixture), expected, "{names:?}");
    }
}

fn always<T: PartialEq + Debug>(events: &[Observation], expected: &T, of: impl Fn(&Fixture) -> T) {
    always_at(at(0), events, expected, of);
}

#[expect(clippy::unnecessary_wraps, reason = "what the fields of objects are")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn named(id: &str, created: i64, status: &str, price: &str) -> stripe::Subscription {
    stripe::Subscription { id: id.to_owned(), created: Some(START + created), ..subscription(status, price) }
}

/// The current subscription, the tier, the licence's status and tier.
fn access(fixture: &Fixture) -> (Option<String>, String, Option<(String, String)>) {
    let customer = fixture.customer();
    let license = fixture.license().map(|license| (license.status, license.tier));
    (customer.current_subscription_id.clone(), customer.tier.clone(), license)
}

fn expected(current: &str, tier: &str, license: (&str, &str)) -> (Option<String>, String, Option<(String, String)>) {
    (some(current), tier.to_owned(), Some((license.0.to_owned(), license.1.to_owned())))
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

fn claims() -> [Observation; 5] {
    let customer = |user: Option<&str>| {
        let user_id = user.map(str::to_owned);
        let after = stripe::Customer { id: CUSTOMER.to_owned(), user_id, ..stripe::Customer::default() };
        Object::Customer { before: None, after, deleted: false }
    };
    let subscribed = |id: &str, created: i64, user: &str| stripe::Subscription {
        user_id: some(user),
        ..named(id, created, "active", "price_pro")
    };
    let by_session = |id: &str, created: i64, reference: Option<&str>, metadata: Option<&str>| {
        let made = Some(START + created);
        stripe::CheckoutSession { id: id.to_owned(), created: made, ..session(reference, metadata) }
    };
    [
        completed("e", 40, by_session("cs_1", 0, Some("by_reference"), None)),
        completed("d", 30, by_session("cs_2", 9, None, Some("by_session"))),
        completed("c", 50, by_session("cs_3", 5, None, Some("by_older_session"))),
        snapshot("b", 20, &subscribed("sub_1", 9, "by_subscription")),
        observed("a", 10, customer(Some("by_customer"))),
    ]
}

#[test]
fn the_strongest_claim_says_whose_customer_it_is() {
    let user = |fixture: &Fixture| fixture.customer().user_id.clone();
    let all = claims();
    always(&all[..1], &some("by_reference"), user);
    always(&all[..3], &some("by_session"), user);
    always(&all[..4], &some("by_subscription"), user);
    always(&all, &some("by_customer"), user);
}

#[test]
fn a_link_goes_before_every_claim_and_is_for_good() {
    let mut fixture = Fixture::new().see_all(&claims());
    let plans = fixture.settings.plans.clone();
    let mut link = |user: &str| {
        let linked = customers::link(&mut fixture.work, &plans, CUSTOMER, user);
        entitlements::follow(&mut fixture.work, &fixture.settings, Cause::system(), CUSTOMER);
        fixture.work.release_savepoint();
        (linked.is_ok(), fixture.customer().user_id.clone())
    };
    assert_eq!(link("linked"), (true, some("linked")));
    assert_eq!(link("linked"), (true, some("linked")));
    assert_eq!(link("other"), (false, some("linked")));
    fixture.see(&claims()[4]);
    assert_eq!(fixture.customer().user_id.as_deref(), Some("linked"));
}

#[test]
fn name_and_address_are_the_newest_invoices_until_a_snapshot_comes() {
    let with = |email: Option<&str>, name: Option<&str>| stripe::Invoice {
        customer_email: email.map(str::to_owned),
        customer_name: name.map(str::to_owned),
        ..invoice("paid")
    };
    let of_session = stripe::CheckoutSession {
        customer_email: some("old@example.com"),
        customer_name: some("B. Buyer"),
        ..session(None, None)
    };
    let events = [
        completed("a", 0, of_session),
        invoice_seen("b", 10, with(Some("new@example.com"), None)),
        invoice_seen("c", 5, with(Some("middle@example.com"), None)),
    ];
    let shown = |fixture: &Fixture| (fixture.customer().email.clone(), fixture.customer().name.clone());
    always(&events, &(some("new@example.com"), some("B. Buyer")), shown);
    // What happens later to an older invoice does not make it the newest.
    let made = |id: &str, created: i64, email: &str| stripe::Invoice {
        id: id.to_owned(),
        created: Some(START + created),
        ..with(Some(email), Some("B. Buyer"))
    };
    let events = [
        invoice_seen("a", 10, made("in_old", 10, "old@example.com")),
        invoice_seen("b", 20, made("in_new", 20, "new@example.com")),
        invoice_seen("c", 30, made("in_old", 10, "old@example.com")),
    ];
    always(&events, &(some("new@example.com"), some("B. Buyer")), shown);
    let after =
        stripe::Customer { id: CUSTOMER.to_owned(), email: some("own@example.com"), ..stripe::Customer::default() };
    let own = observed("d", 1, Object::Customer { before: None, after, deleted: false });
    always(&[&events[..], &[own]].concat(), &(some("own@example.com"), None), shown);
}

fn failed(id: &str, event: &str, seconds: i64) -> Observation {
    let failing = stripe::Invoice { id: id.to_owned(), attempt_count: 1, ..invoice("open") };
    observed(event, seconds, Object::Invoice(failing, true))
}

fn past_due(latest: Option<&str>) -> stripe::Subscription {
    stripe::Subscription { latest_invoice: latest.map(str::to_owned), ..subscription("past_due", "price_pro") }
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
fn what_an_object_is_of_is_kept_with_its_rows() {
    let origin =
        |observation: Observation| Observation { account: some("acct_1"), livemode: Some(true), ..observation };
    let events =
        [origin(created("a", 0, &subscription("active", "price_pro"))), origin(invoice_seen("b", 1, invoice("paid")))];
    let origins = |fixture: &Fixture| {
        let subscription = fixture.work.get::<Subscription>("sub_1").unwrap();
        let invoice = fixture.work.get::<Invoice>("in_1").unwrap();
        let customer = fixture.customer();
        [
            (customer.account.clone(), customer.livemode),
            (subscription.account.clone(), subscription.livemode),
            (invoice.account.clone(), invoice.livemode),
        ]
    };
    let origin = (some("acct_1"), Some(true));
    always(&events, &[origin.clone(), origin.clone(), origin], origins);
}

#[test]
fn the_audit_log_keeps_its_order() {
    let (active, late) = (subscription("active", "price_pro"), subscription("past_due", "price_team"));
    let fixture = Fixture::new().see_all(&[created("a", 0, &active), updated("b", 9, &active, &late)]);
    let numbers: Vec<_> = fixture.work.appended().map(|entry: &AuditEntry| entry.number).collect();
    assert_eq!(numbers, (1..=6).collect::<Vec<_>>());
    assert_eq!(fixture.customer().last_change, 6);
}

#[test]
fn what_happens_without_a_licence_is_said_too() {
    let mut fixture =
        Fixture::new().see_all(&[created("a", 0, &subscription("incomplete", "price_pro")), failed("in_1", "b", 5)]);
    fixture.work.release_savepoint();
    let told: Vec<_> = fixture.work.announced().map(|said: &CustomerEvent| said.event.event_type.name()).collect();
    assert_eq!((told, fixture.license()), (vec!["subscription_created", "payment_failed"], None));
}

#[test]
fn the_log_of_a_licence_does_not_repeat_its_key() {
    let fixture = Fixture::new().see_all(&[created("a", 0, &subscription("active", "price_pro"))]);
    let key = fixture.license().unwrap().key;
    let log: Vec<_> = fixture.work.appended().map(|event: &LicenseEvent| event.data.to_string()).collect();
    assert!(log.iter().all(|data| !data.contains(&key)), "{log:?}");
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
fn other_plans_give_tier_and_licence_to_whoever_they_entitle() {
    let strict = PLANS.replace("past_due_days = 14", "entitled_statuses = [\"active\"]");
    let mut fixture = Fixture::new();
    fixture.settings.plans = Arc::new(Plans::parse(&strict).unwrap());
    let mut fixture = fixture.see_all(&[created("a", 0, &subscription("trialing", "price_pro"))]);
    assert_eq!((fixture.customer().tier.as_str(), fixture.license()), ("free", None));
    fixture.settings.plans = Arc::new(Plans::parse(PLANS).unwrap());
    entitlements::reapply_plans(&mut fixture.work, &fixture.settings, CUSTOMER);
    assert_eq!((fixture.customer().tier.as_str(), fixture.license().unwrap().status.as_str()), ("pro", "active"));
    assert_eq!(fixture.customer().plans_digest, fixture.settings.plans.digest());
}

#[test]
fn an_event_under_other_plans_brings_the_customers_other_rows_along() {
    let renamed = PLANS.replace("tier = \"pro\"", "tier = \"gold\"");
    let mut fixture = Fixture::new().see_all(&[
        created("a", 9, &named("sub_1", 9, "active", "price_pro")),
        created("b", 0, &named("sub_2", 0, "active", "price_team")),
    ]);
    fixture.settings.plans = Arc::new(Plans::parse(&renamed).unwrap());
    fixture.see(&snapshot("c", 20, &named("sub_2", 0, "past_due", "price_team")));
    assert_eq!(fixture.customer().tier, "gold");
    let by_plans: Vec<_> = fixture.work.appended().filter(|entry: &&AuditEntry| entry.actor == "system").collect();
    assert_eq!(by_plans.len(), 1, "{by_plans:?}");
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

/// What invoices tell of a subscription that has no snapshot.
mod by_invoices {
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

    fn is(
        price: &str,
        quantity: i64,
        tier: &str,
        end: i64,
    ) -> (Option<String>, Option<i64>, String, Option<Timestamp>) {
        (some(price), Some(quantity), tier.to_owned(), Some(at(end)))
    }

    #[test]
    fn an_upgrade_is_what_is_charged_and_not_what_is_credited() {
        let first = paid("a", 0, &[charge("price_pro", 2900, 1, 0, 30 * DAY)]);
        let lines =
            [charge("price_pro", -1950, 1, 10 * DAY, 30 * DAY), charge("price_team", 8900, 1, 10 * DAY, 30 * DAY)];
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
    fn an_add_on_in_mid_period_takes_nothing_away() {
        let first = paid("a", 0, &[charge("price_pro", 2900, 1, 0, 30 * DAY)]);
        let addon = paid("b", 10 * DAY, &[charge("price_addon", 330, 1, 10 * DAY, 30 * DAY)]);
        always(&[first.clone(), addon.clone()], &is("price_pro", 1, "pro", 30 * DAY), told);
        let both =
            [charge("price_pro", 2900, 1, 30 * DAY, 60 * DAY), charge("price_addon", 500, 1, 30 * DAY, 60 * DAY)];
        always(&[first, addon, paid("c", 30 * DAY, &both)], &is("price_pro", 1, "pro", 60 * DAY), told);
    }

    #[test]
    fn a_price_of_no_plan_that_replaces_another_gives_no_tier() {
        let first = paid("a", 0, &[charge("price_pro", 2900, 1, 0, 30 * DAY)]);
        let lines =
            [charge("price_pro", -1950, 1, 10 * DAY, 30 * DAY), charge("price_other", 900, 1, 10 * DAY, 30 * DAY)];
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
}
