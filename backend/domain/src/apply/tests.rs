//! The rules of [`super::apply`], without a database: observations in, rows out.

mod access;
mod money;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Rng, Secrets, Timestamp};

use super::apply;
use crate::api_keys::StoredKey;
use crate::audit::AuditEntry;
use crate::customers::Customer;
use crate::events::LicenseEvent;
use crate::invoices::Invoice;
use crate::licenses::{self, License};
use crate::payments::Payment;
use crate::plans::Plans;
use crate::sealer::Sealer;
use crate::settings::Settings;
use crate::subscriptions::Subscription;
use crate::widgets::Widget;
use crate::widgets::defaults::WidgetDefaults;
use tollgate_db::UnitOfWork;
use tollgate_stripe::{self as stripe, Item, Line, Object, Observation, PriceRef, SessionOutcome};

const CUSTOMER: &str = "cus_1";
const START: i64 = 1_750_000_000;

const PLANS: &str = r#"
default_tier = "free"
past_due_days = 14

[[plan]]
id = "pro_monthly"
tier = "pro"
name = "Pro, monthly"
stripe_price = "price_pro"
currency = "usd"
unit_amount = 2900
interval = "month"
max_activations = 3

[[plan]]
id = "team_monthly"
tier = "team"
name = "Team, monthly"
stripe_price = "price_team"
currency = "usd"
unit_amount = 9900
interval = "month"
max_activations = 10
"#;

/// The rows, and what they are changed by.
struct Fixture {
    settings: Settings,
    work: UnitOfWork,
}

impl Fixture {
    fn new() -> Self {
        Self::at(at(0))
    }

    fn at(now: Timestamp) -> Self {
        let rng = Rng::seeded(7);
        let settings = Settings {
            plans: Arc::new(Plans::parse(PLANS).expect("the plans of this test are right")),
            widgets: Arc::new(WidgetDefaults::parse(r#"[{"name": "default", "config": {"theme": "light"}}]"#).unwrap()),
            sealer: Arc::new(Sealer::new(&Secrets::parse("0123456789abcdef0123456789abcdef").unwrap())),
            rng: rng.clone(),
            livemode: None,
        };
        Self { settings, work: UnitOfWork::new(now, rng) }
    }

    fn see(&mut self, observation: &Observation) {
        apply(&mut self.work, &self.settings, observation);
        self.work.release_savepoint();
    }

    fn see_all<'a>(mut self, seen: impl IntoIterator<Item = &'a Observation>) -> Self {
        for observation in seen {
            self.see(observation);
        }
        self
    }

    fn customer(&self) -> &Customer {
        self.work.get(CUSTOMER).expect("the customer is known")
    }

    fn license(&self) -> Option<License> {
        licenses::of_customer(&self.work, CUSTOMER).cloned()
    }

    fn told(&self) -> Vec<&str> {
        self.work.appended().map(|event: &LicenseEvent| &*event.r#type).collect()
    }

    /// Everything but what is random, and the logs of what was seen in which order.
    fn end(&self) -> End {
        let customer = |row: Customer| (row.id.clone(), Customer { last_change: 0, ..row });
        let rows = |license: License| License { id: String::new(), key: String::new(), last_seq: 0, ..license };
        End {
            customers: self.work.all().cloned().map(customer).collect(),
            subscriptions: self.work.all().cloned().map(|row: Subscription| (row.id.clone(), row)).collect(),
            invoices: self.work.all().cloned().map(|row: Invoice| (row.id.clone(), row)).collect(),
            payments: self.work.all().cloned().map(|row: Payment| (row.id.clone(), row)).collect(),
            licenses: self.work.all().cloned().map(rows).collect(),
            api_keys: self.work.appended::<StoredKey>().count(),
            widgets: self.work.appended::<Widget>().count(),
        }
    }
}

#[derive(Debug, PartialEq)]
struct End {
    customers: BTreeMap<String, Customer>,
    subscriptions: BTreeMap<String, Subscription>,
    invoices: BTreeMap<String, Invoice>,
    payments: BTreeMap<String, Payment>,
    licenses: Vec<License>,
    api_keys: usize,
    widgets: usize,
}

fn at(seconds: i64) -> Timestamp {
    from_unix(START + seconds).unwrap()
}

fn observed(id: &str, seconds: i64, object: Object) -> Observation {
    Observation {
        source: format!("evt_{id}"),
        is_creation: false,
        is_announcement: false,
        account: None,
        seen_at: at(seconds),
        livemode: Some(false),
        object,
    }
}

fn subscription(status: &str, price: &str) -> stripe::Subscription {
    let price = PriceRef { id: Some(price.to_owned()), ..PriceRef::default() };
    let item = Item {
        id: "si_1".to_owned(),
        price,
        quantity: Some(1),
        period_start: Some(START),
        period_end: Some(START + 2_600_000),
    };
    stripe::Subscription {
        id: "sub_1".to_owned(),
        customer: CUSTOMER.to_owned(),
        status: status.to_owned(),
        created: Some(START),
        items: vec![item],
        item_count: 1,
        ..stripe::Subscription::default()
    }
}

fn updated(id: &str, seconds: i64, before: &stripe::Subscription, after: &stripe::Subscription) -> Observation {
    observed(id, seconds, Object::Subscription { before: Some(before.clone()), after: after.clone(), ended: false })
}

fn snapshot(id: &str, seconds: i64, after: &stripe::Subscription) -> Observation {
    observed(id, seconds, Object::Subscription { before: None, after: after.clone(), ended: false })
}

fn created(id: &str, seconds: i64, after: &stripe::Subscription) -> Observation {
    Observation { is_creation: true, ..snapshot(id, seconds, after) }
}

fn deleted(id: &str, seconds: i64, after: &stripe::Subscription) -> Observation {
    observed(id, seconds, Object::Subscription { before: None, after: after.clone(), ended: true })
}

fn invoice(status: &str) -> stripe::Invoice {
    let price = PriceRef { id: Some("price_pro".to_owned()), ..PriceRef::default() };
    stripe::Invoice {
        id: "in_1".to_owned(),
        customer: Some(CUSTOMER.to_owned()),
        subscription: Some("sub_1".to_owned()),
        status: status.to_owned(),
        currency: Some("usd".to_owned()),
        amount_due: 2900,
        amount_paid: if status == "paid" { 2900 } else { 0 },
        created: Some(START),
        paid_at: (status == "paid").then_some(START + 5),
        lines: vec![Line {
            price,
            quantity: Some(2),
            period_end: Some(START + 100),
            of_subscription_item: true,
            ..Line::default()
        }],
        ..stripe::Invoice::default()
    }
}

fn invoice_seen(id: &str, seconds: i64, invoice: stripe::Invoice) -> Observation {
    observed(id, seconds, Object::Invoice(invoice, false))
}

fn session(reference: Option<&str>, metadata: Option<&str>) -> stripe::CheckoutSession {
    stripe::CheckoutSession {
        id: "cs_1".to_owned(),
        mode: Some("subscription".to_owned()),
        payment_status: Some("paid".to_owned()),
        customer: Some(CUSTOMER.to_owned()),
        subscription: Some("sub_1".to_owned()),
        client_reference_id: reference.map(str::to_owned),
        user_id: metadata.map(str::to_owned),
        ..stripe::CheckoutSession::default()
    }
}

fn completed(id: &str, seconds: i64, session: stripe::CheckoutSession) -> Observation {
    observed(id, seconds, Object::CheckoutSession(session, SessionOutcome::Completed))
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
fn a_failed_payment_is_told_and_so_is_the_one_that_follows() {
    let active = subscription("active", "price_pro");
    let failed = |n| stripe::Invoice { attempt_count: n, ..invoice("open") };
    let fixture = Fixture::new().see_all(&[
        created("a", 0, &active),
        observed("b", 10, Object::Invoice(failed(1), true)),
        observed("b", 10, Object::Invoice(failed(1), true)),
        updated("c", 11, &active, &subscription("past_due", "price_pro")),
        invoice_seen("d", 20, invoice("paid")),
    ]);
    assert_eq!(
        fixture.told(),
        ["license_created", "subscription_created", "payment_failed", "subscription_past_due", "payment_succeeded"]
    );
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
fn an_intent_that_pays_an_invoice_belongs_to_it_whichever_comes_first() {
    let intent = stripe::PaymentIntent {
        id: "pi_1".to_owned(),
        status: Some("succeeded".to_owned()),
        amount: 2900,
        ..stripe::PaymentIntent::default()
    };
    let tie = stripe::InvoicePayment {
        id: "inpay_1".to_owned(),
        invoice: Some("in_1".to_owned()),
        payment_intent: Some("pi_1".to_owned()),
        ..stripe::InvoicePayment::default()
    };
    let events = [observed("a", 0, Object::PaymentIntent(intent)), observed("b", 1, Object::InvoicePayment(tie))];
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
                let fixture = Fixture::new().see_all(order.map(|place| &events[place]));
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

/// A life of one customer: events that follow each other, several a second, as one true history of a subscription and
/// its invoices gives them.
fn life() -> impl Strategy<Value = Vec<Observation>> {
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
