//! What an observation does, in the order in which it does it. Pure: the rows that it may touch are loaded before
//! ([`load`]), and written after by whoever began the transaction.
//!
//! The order is a rule of its own: what the object itself says comes first, then what the customer may use, then what
//! its apps are told, so that a licence's log begins with the licence.
//!
//! | table | who writes it, under which lock |
//! |---|---|
//! | `customers` | whoever holds the customer's own row, which is taken first and in the order of ids |
//! | `subscriptions`, `invoices` | whoever holds the row of their customer |
//! | `charges`, `payments`, `payment_methods` | whoever holds the row itself, taken after the customers' in this order |
//! | `purchases` | whoever holds the row of their customer |
//! | `prices` | anybody: it says what was seen, and hardly ever changes |
//! | `licenses`, `license_events` | whoever holds the row of their customer |
//! | `api_keys`, `widgets` | added once a customer, which unique constraints see to |
//! | `changes` | only ever added to, by whoever holds the row of their customer |

use std::collections::BTreeSet;

use tollgate_shared::Timestamp;

use crate::api_keys::StoredKey;
use crate::audit::{AuditEntry, Cause};
use crate::charges::{self, Charge};
use crate::customers::{self, Customer};
use crate::entitlements;
use crate::events::LicenseEvent;
use crate::invoices::{self, Invoice};
use crate::licenses::{self, License};
use crate::payment_methods::{self, PaymentMethod};
use crate::payments::{self, Payment};
use crate::plans::prices::{self, KnownPrice};
use crate::purchases::{self, Purchase};
use crate::settings::Settings;
use crate::subscriptions::{self, Subscription};
use crate::widgets::Widget;
use tollgate_db::{DbError, Lock, Record, Tx, UnitOfWork};
use tollgate_stripe::{Object, Observation, SessionOutcome};

/// The rows that observations may touch, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Customers, each with its subscriptions and its licence.
    pub customers: BTreeSet<String>,
    /// Invoices.
    pub invoices: BTreeSet<String>,
    /// Payment intents that something is said of, and charges without one: each with the payments that it is a part of.
    pub charges: BTreeSet<String>,
    /// Those of them whose customer is only known by their rows.
    pub charges_of_somebody: BTreeSet<String>,
    /// Invoices that a payment is said to pay, whose customer is only known by their rows.
    pub paid_invoices: BTreeSet<String>,
    /// Payments that are certain to be: each of these has a row from here on.
    pub payments: BTreeSet<String>,
    /// What was sold once.
    pub purchases: BTreeSet<String>,
    /// Prices that are shown.
    pub prices: BTreeSet<String>,
    /// Payment methods.
    pub payment_methods: BTreeSet<String>,
}

impl Touched {
    /// What hangs on one customer.
    pub fn customer(id: &str) -> Self {
        Self { customers: BTreeSet::from([id.to_owned()]), ..Self::default() }
    }
}

/// Adds what `observation` may touch to `touched`.
pub fn touched_by(observation: &Observation, touched: &mut Touched) {
    touched.customers.extend(customer_of(observation).map(str::to_owned));
    touched.prices.extend(prices::ids_in(observation).cloned());
    match &observation.object {
        Object::Customer { .. } | Object::Subscription { .. } => {}
        Object::CheckoutSession(session, outcome) => {
            if payments::is_payment(session, *outcome) {
                touched.payments.insert(session.id.clone());
                touched.charges.extend(session.payment_intent.clone());
                touched.purchases.insert(purchases::id_of_session(session).to_owned());
            }
        }
        Object::Invoice(invoice, _) => {
            touched.invoices.insert(invoice.id.clone());
            touched.charges.extend(invoice.payment_intent.clone());
            if invoice.status == "paid" {
                touched.payments.insert(invoice.id.clone());
            }
            if purchases::has_sold(invoice) {
                touched.purchases.insert(invoice.id.clone());
            }
        }
        Object::InvoicePayment(payment) => {
            touched.charges.extend(payment.payment_intent.clone());
            touched.paid_invoices.extend(payment.invoice.clone());
        }
        Object::PaymentIntent(intent) => {
            touched.payments.insert(intent.id.clone());
            touched.charges.insert(intent.id.clone());
        }
        Object::PaymentMethod(method, _) => {
            touched.payment_methods.insert(method.id.clone());
        }
        Object::Charge(charge) => touched.given_back(charges::key_of_charge(charge)),
        Object::Refund(refund) => touched.given_back(charges::key_of_refund(refund)),
        Object::Dispute(dispute) => touched.given_back(charges::key_of_dispute(dispute)),
    }
}

impl Touched {
    fn given_back(&mut self, charge: &str) {
        self.charges.insert(charge.to_owned());
        self.charges_of_somebody.insert(charge.to_owned());
    }
}

/// Loads what is touched, each customer's row first and for writing: two replicas then take one customer in turn.
/// Locks are taken table by table, in the order of keys, so that they cannot wait for each other in a circle.
pub async fn load(tx: &mut Tx, settings: &Settings, now: Timestamp, touched: &Touched) -> Result<UnitOfWork, DbError> {
    let mut customers = touched.customers.clone();
    customers.extend(
        purchases::customers_of(tx, &settings.plans, &touched.charges_of_somebody, &touched.paid_invoices).await?,
    );
    loop {
        let work = load_with(tx, settings, now, touched, &customers).await?;
        // A charge whose customer became known while its row was waited for; rare, and so is what this may collide with.
        let payers = touched.charges_of_somebody.iter().filter_map(|id| work.get::<Charge>(id)?.customer_id.clone());
        let unknown: Vec<_> = payers.filter(|payer| !customers.contains(payer)).collect();
        if unknown.is_empty() {
            return Ok(work);
        }
        customers.extend(unknown);
    }
}

async fn load_with(
    tx: &mut Tx,
    settings: &Settings,
    now: Timestamp,
    touched: &Touched,
    customers: &BTreeSet<String>,
) -> Result<UnitOfWork, DbError> {
    let plans = &*settings.plans;
    let mut work = UnitOfWork::new(now, settings.rng.clone());
    let default_tier = plans.default_tier();
    work.add_loaded(load_or_make(tx, customers, |id| Customer::placeholder(now, id, default_tier)).await?);
    let subscriptions: Vec<Subscription> = tx.load("customer_id", customers, Lock::None).await?;
    let mut invoices: Vec<Invoice> = tx.load("id", &touched.invoices, Lock::None).await?;
    if plans.past_due_days().is_some() {
        let ids = subscriptions.iter().map(|subscription| subscription.id.clone()).collect();
        invoices.extend(tx.load::<Invoice>("subscription_id", &ids, Lock::None).await?);
    }
    let shown = subscriptions.iter().flat_map(Subscription::price_ids).chain(&touched.prices);
    work.add_loaded::<KnownPrice>(tx.load("id", &prices::to_look_up(plans, shown), Lock::None).await?);
    work.add_loaded(subscriptions);
    work.add_loaded(invoices);
    work.add_loaded(load_or_make(tx, &touched.charges, Charge::placeholder).await?);
    work.add_loaded(load_or_make(tx, &touched.payments, Payment::placeholder).await?);
    work.add_loaded::<Payment>(tx.load("payment_intent_id", &touched.charges, Lock::ForUpdate).await?);
    purchases::load(tx, &mut work, plans, customers, &touched.purchases).await?;
    work.add_loaded(load_or_make(tx, &touched.payment_methods, PaymentMethod::placeholder).await?);
    work.add_loaded::<License>(tx.load("customer_id", customers, Lock::None).await?);
    work.expect_appended_if_absent::<StoredKey>();
    work.expect_appended_if_absent::<Widget>();
    work.expect_appended::<AuditEntry>();
    work.expect_appended::<LicenseEvent>();
    Ok(work)
}

/// Loads rows for writing. A row that is not there yet is made first, since nothing can be locked that is not there.
async fn load_or_make<T: Record>(
    tx: &mut Tx,
    keys: &BTreeSet<String>,
    placeholder: impl Fn(&str) -> T,
) -> Result<Vec<T>, DbError> {
    let placeholders: Vec<T> = keys.iter().map(|key| placeholder(key)).collect();
    tx.load_or_insert(&placeholders.iter().collect::<Vec<_>>()).await
}

/// Does what `observation` does.
pub fn apply(work: &mut UnitOfWork, settings: &Settings, observation: &Observation) {
    let plans = &*settings.plans;
    if prices::learn(work, plans, observation)
        && let Some(customer) = customer_of(observation)
    {
        subscriptions::recompute_all(work, plans, customer);
    }
    let event = match &observation.object {
        Object::Customer { before, after, deleted } => {
            customers::apply(work, plans, observation, before.as_ref(), after, *deleted);
            None
        }
        Object::Subscription { before, after, ended } => {
            let status = subscriptions::apply(work, plans, observation, before.as_ref(), after, *ended);
            // A stale snapshot gives licence and key too, so that the order of arrival makes no difference.
            entitlements::grant(work, settings, observation.livemode, &after.customer, &status);
            None
        }
        Object::CheckoutSession(session, outcome) => {
            if let (SessionOutcome::Completed | SessionOutcome::AsyncSucceeded, Some(customer)) =
                (outcome, &session.customer)
            {
                customers::claim_by_session(work, plans, observation, customer, session);
                if let Some(subscription) = &session.subscription {
                    subscriptions::name(work, subscription, customer);
                }
                purchases::apply_session(work, observation.livemode, session);
            }
            payments::apply_session(work, observation, session, *outcome)
        }
        Object::Invoice(invoice, failed) => {
            let event = invoices::apply(work, observation, invoice, *failed);
            payments::apply_invoice(work, observation, invoice);
            purchases::apply_invoice(work, observation.livemode, invoice);
            if let Some(customer) = subscriptions::infer(work, plans, invoice) {
                entitlements::grant(work, settings, observation.livemode, customer, "active");
            }
            event
        }
        Object::InvoicePayment(payment) => {
            if let (Some(intent), Some(invoice)) = (&payment.payment_intent, &payment.invoice) {
                payments::link_intent(work, intent, Some(invoice), None);
            }
            None
        }
        Object::PaymentIntent(intent) => payments::apply_intent(work, observation, intent),
        Object::PaymentMethod(method, change) => {
            payment_methods::apply(work, observation, method, *change);
            None
        }
        Object::Charge(charge) => {
            charges::apply_charge(work, observation, charge);
            None
        }
        Object::Refund(refund) => {
            charges::apply_refund(work, observation, refund);
            None
        }
        Object::Dispute(dispute) => {
            charges::apply_dispute(work, observation, dispute);
            None
        }
    };
    for customer in customers_of(work, observation) {
        entitlements::follow(work, settings, Cause::stripe(observation), &customer);
    }
    if let (Some(customer), Some(event)) = (customer_of(observation), event) {
        licenses::append_event(work, customer, event);
    }
}

/// The customer whose entitlement an observation may change. A card's does not.
fn customer_of(observation: &Observation) -> Option<&str> {
    match &observation.object {
        Object::PaymentMethod(..) => None,
        Object::PaymentIntent(intent) if intent.status.as_deref() != Some("succeeded") => None,
        _ => observation.customer(),
    }
}

/// The same, with whoever bought what was paid or given back, as far as their rows are here.
fn customers_of(work: &UnitOfWork, observation: &Observation) -> BTreeSet<String> {
    let charge = match &observation.object {
        Object::Charge(charge) => Some(charges::key_of_charge(charge)),
        Object::Refund(refund) => Some(charges::key_of_refund(refund)),
        Object::Dispute(dispute) => Some(charges::key_of_dispute(dispute)),
        Object::InvoicePayment(payment) => payment.payment_intent.as_deref(),
        _ => None,
    };
    let charge = charge.and_then(|id| work.get::<Charge>(id));
    let bought = charge.and_then(|charge| work.get::<Purchase>(charge.belongs_to.as_deref()?));
    let by_rows = [charge.and_then(|charge| charge.customer_id.as_deref()), bought.map(|bought| &*bought.customer_id)];
    let by_rows = by_rows.into_iter().flatten().filter(|id| work.get::<Customer>(id).is_some());
    customer_of(observation).into_iter().chain(by_rows).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
