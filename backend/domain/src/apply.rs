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
//! | `payments`, `payment_methods` | whoever holds the row itself, taken after the customers' |
//! | `licenses`, `license_events` | whoever holds the row of their customer |
//! | `api_keys`, `widgets` | added once a customer, which unique constraints see to |
//! | `changes` | only ever added to, by whoever holds the row of their customer |

use std::collections::BTreeSet;

use tollgate_shared::Timestamp;

use crate::api_keys::StoredKey;
use crate::audit::{AuditEntry, Cause};
use crate::customers::{self, Customer};
use crate::entitlements;
use crate::events::LicenseEvent;
use crate::invoices::{self, Invoice};
use crate::licenses::{self, License};
use crate::payment_methods::{self, PaymentMethod};
use crate::payments::{self, Payment};
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
    /// Payments.
    pub payments: BTreeSet<String>,
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
    match &observation.object {
        Object::Customer { .. } | Object::Subscription { .. } => {}
        Object::CheckoutSession(session, _) => {
            touched.payments.insert(session.id.clone());
            touched.payments.extend(session.payment_intent.clone());
        }
        Object::Invoice(invoice, _) => {
            touched.invoices.insert(invoice.id.clone());
            touched.payments.insert(invoice.id.clone());
            touched.payments.extend(invoice.payment_intent.clone());
        }
        Object::InvoicePayment(payment) => touched.payments.extend(payment.payment_intent.clone()),
        Object::PaymentIntent(intent) => {
            touched.payments.insert(intent.id.clone());
        }
        Object::PaymentMethod(method, _) => {
            touched.payment_methods.insert(method.id.clone());
        }
        Object::Charge(_) | Object::Refund(_) | Object::Dispute(_) => {}
    }
}

/// Loads what is touched, each customer's row first and for writing: two replicas then take one customer in turn.
/// Locks are taken table by table, in the order of keys, so that they cannot wait for each other in a circle.
pub async fn load(tx: &mut Tx, settings: &Settings, now: Timestamp, touched: &Touched) -> Result<UnitOfWork, DbError> {
    let default_tier = settings.plans.default_tier();
    let customers = load_or_make(tx, &touched.customers, |id| Customer::placeholder(now, id, default_tier)).await?;
    let subscriptions: Vec<Subscription> = tx.load("customer_id", &touched.customers, Lock::None).await?;
    let mut invoices: Vec<Invoice> = tx.load("id", &touched.invoices, Lock::None).await?;
    if settings.plans.past_due_days().is_some() {
        let ids = subscriptions.iter().map(|subscription| subscription.id.clone()).collect();
        invoices.extend(tx.load::<Invoice>("subscription_id", &ids, Lock::None).await?);
    }
    let mut work = UnitOfWork::new(now, settings.rng.clone());
    work.add_loaded(customers);
    work.add_loaded(subscriptions);
    work.add_loaded(invoices);
    work.add_loaded(load_or_make(tx, &touched.payments, Payment::placeholder).await?);
    work.add_loaded(load_or_make(tx, &touched.payment_methods, PaymentMethod::placeholder).await?);
    work.add_loaded::<License>(tx.load("customer_id", &touched.customers, Lock::None).await?);
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
            }
            payments::apply_session(work, observation, session, *outcome)
        }
        Object::Invoice(invoice, failed) => {
            let event = invoices::apply(work, observation, invoice, *failed);
            payments::apply_invoice(work, observation, invoice);
            if let Some(customer) = subscriptions::infer(work, plans, invoice) {
                entitlements::grant(work, settings, observation.livemode, customer, "active");
            }
            event
        }
        Object::InvoicePayment(payment) => {
            if let (Some(intent), Some(invoice)) = (&payment.payment_intent, &payment.invoice) {
                payments::link_intent(work, intent, invoice);
            }
            None
        }
        Object::PaymentIntent(intent) => {
            payments::apply_intent(work, observation, intent);
            None
        }
        Object::PaymentMethod(method, change) => {
            payment_methods::apply(work, observation, method, *change);
            None
        }
        // What is given back has no effect yet.
        Object::Charge(_) | Object::Refund(_) | Object::Dispute(_) => None,
    };
    let Some(customer) = customer_of(observation) else { return };
    entitlements::follow(work, settings, Cause::stripe(observation), customer);
    if let Some(event) = event {
        licenses::append_event(work, customer, event);
    }
}

/// The customer whose entitlement an observation may change. A payment's or a card's does not.
fn customer_of(observation: &Observation) -> Option<&str> {
    match &observation.object {
        Object::Customer { after, .. } => Some(&after.id),
        Object::Subscription { after, .. } => Some(&after.customer),
        Object::CheckoutSession(session, _) => session.customer.as_deref(),
        Object::Invoice(invoice, _) => invoice.customer.as_deref(),
        Object::InvoicePayment(_)
        | Object::PaymentIntent(_)
        | Object::PaymentMethod(..)
        | Object::Charge(_)
        | Object::Refund(_)
        | Object::Dispute(_) => None,
    }
}

#[cfg(test)]
mod tests;
