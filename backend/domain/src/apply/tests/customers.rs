//! Whose customer it is, and what is known of it.

use super::*;
use crate::audit::Cause;
use crate::customers;
use crate::entitlements;

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

#[test]
fn who_was_deleted_and_is_asked_for_keeps_name_and_user() {
    let customer = |deleted: bool| stripe::Customer {
        id: CUSTOMER.to_owned(),
        name: some("Ada"),
        user_id: some("user_1"),
        created: Some(START),
        deleted,
        ..stripe::Customer::default()
    };
    let seen = |source: &str, second: i64, after: stripe::Customer| {
        let deleted = after.deleted;
        observed(source, second, Object::Customer { before: None, after, deleted })
    };
    let known = seen("a", 0, customer(false));
    let name_alone = stripe::Customer { id: CUSTOMER.to_owned(), deleted: true, ..stripe::Customer::default() };
    let asked = seen("said", 30, name_alone);
    let shown = |fixture: &Fixture| {
        let row = fixture.customer();
        (row.name.clone(), row.user_id.clone(), row.deleted_at())
    };
    let fixture = Fixture::new().see_all([&known, &asked]);
    assert_eq!(shown(&fixture), (some("Ada"), some("user_1"), Some(at(30))));
    // Its event says since when, whichever comes first.
    let told = seen("b", 20, stripe::Customer { name: some("Ada Lovelace"), ..customer(true) });
    always(&[known, asked, told], &(some("Ada Lovelace"), some("user_1"), Some(at(20))), shown);
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
