//! The rules of [`super::apply`], without a database: observations in, rows out.

mod access;
mod any_order;
mod by_invoices;
mod customers;
mod grace;
mod logs;
mod money;
mod plans;
mod pods;
mod savings;
mod told;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use chrono::Duration;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Rng, Secrets, Timestamp};

use super::apply;
use crate::api_keys::StoredKey;
use crate::audit::AuditEntry;
use crate::contributions::tries::RetryOwner;
use crate::customers::Customer;
use crate::events::LicenseEvent;
use crate::invoices::Invoice;
use crate::licenses::{self, License};
use crate::notifications;
use crate::payments::Payment;
use crate::plans::Plans;
use crate::sealer::Sealer;
use crate::settings::Settings;
use crate::subscriptions::Subscription;
use crate::testing::orders;
use crate::widgets::Widget;
use crate::widgets::defaults::WidgetDefaults;
use tollgate_db::UnitOfWork;
use tollgate_stripe::{self as stripe, Item, Line, Object, Observation, PriceRef, SessionOutcome};

const CUSTOMER: &str = "cus_1";
const START: i64 = 1_750_000_000;
const DAY: i64 = 86_400;

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
        Self::with(now, PLANS)
    }

    /// With these plans.
    fn selling(plans: &str) -> Self {
        Self::with(at(0), plans)
    }

    fn with(now: Timestamp, plans: &str) -> Self {
        let rng = Rng::seeded(7);
        let settings = Settings {
            plans: Arc::new(Plans::parse(plans).expect("the plans of this test are right")),
            widgets: Arc::new(WidgetDefaults::parse(r#"[{"name": "default", "config": {"theme": "light"}}]"#).unwrap()),
            sealer: Arc::new(Sealer::new(&Secrets::parse("0123456789abcdef0123456789abcdef").unwrap())),
            pod_retries: RetryOwner::Stripe,
            rng: rng.clone(),
            livemode: None,
            machines_stale_after: Duration::days(30),
            alert_attempts: 4,
        };
        Self { settings, work: UnitOfWork::new(now, rng) }
    }

    fn see(&mut self, observation: &Observation) {
        apply(&mut self.work, &self.settings, observation);
        notifications::follow(&mut self.work, &self.settings, Some(&observation.source));
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

/// From a fixture of `fixture`, in each order of `events`, each of them twice, `of` has to be `expected`.
fn always_from<T: PartialEq + Debug>(
    fixture: impl Fn() -> Fixture,
    events: &[Observation],
    expected: &T,
    of: impl Fn(&Fixture) -> T,
) {
    for order in orders(events) {
        let end = fixture().see_all(order.iter().chain(&order));
        let names: Vec<_> = order.iter().map(|observation| &observation.source).collect();
        assert_eq!(&of(&end), expected, "{names:?}");
    }
}

/// At `now`, in each order of `events`, each of them twice, `of` has to be `expected`.
fn always_at<T: PartialEq + Debug>(now: Timestamp, events: &[Observation], expected: &T, of: impl Fn(&Fixture) -> T) {
    always_from(|| Fixture::at(now), events, expected, of);
}

/// In each order of `events`, each of them twice, `of` has to be `expected`.
fn always<T: PartialEq + Debug>(events: &[Observation], expected: &T, of: impl Fn(&Fixture) -> T) {
    always_at(at(0), events, expected, of);
}

#[expect(clippy::unnecessary_wraps, reason = "what the fields of objects are")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
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

fn named(id: &str, created: i64, status: &str, price: &str) -> stripe::Subscription {
    stripe::Subscription { id: id.to_owned(), created: Some(START + created), ..subscription(status, price) }
}

fn failed(id: &str, event: &str, seconds: i64) -> Observation {
    let failing = stripe::Invoice { id: id.to_owned(), attempt_count: 1, ..invoice("open") };
    observed(event, seconds, Object::Invoice(failing, true))
}
