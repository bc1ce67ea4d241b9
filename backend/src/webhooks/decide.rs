//! What an observation does: pure, without I/O. It reads and changes a [`World`] that holds every row it may touch.

use std::collections::BTreeSet;

use tollgate_shared::{Rng, Timestamp};
use tollgate_stripe::{Object, Observation, SessionOutcome};

use crate::audit::Cause;
use crate::events::{self, News};
use crate::plans::Plans;
use crate::sealer::Sealer;
use crate::webhooks::world::World;
use crate::widgets::defaults::WidgetDefaults;
use crate::{customers, invoices, payment_methods, payments, subscriptions};

/// What decisions are made by, beside the rows.
pub struct Rules<'a> {
    /// What is on sale.
    pub plans: &'a Plans,
    /// What a new customer's widgets are.
    pub widgets: &'a WidgetDefaults,
    /// Encrypts the reveal-once copy of a key.
    pub sealer: &'a Sealer,
    /// For ids and keys.
    pub rng: &'a Rng,
    /// Whether a key is `tg_live_` where an event does not say its mode.
    pub livemode_by_default: bool,
}

/// The rows that an observation may touch, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Customers, each with its subscriptions and its licence.
    pub customers: BTreeSet<String>,
    /// Invoices.
    pub invoices: BTreeSet<String>,
    /// Payments.
    pub payments: BTreeSet<String>,
    /// Payment methods.
    pub payment_methods: BTreeSet<String>,
}

/// Adds what `seen` may touch.
pub fn needs(seen: &Observation, needs: &mut Needs) {
    needs.customers.extend(customer_of(seen).map(str::to_owned));
    match &seen.object {
        Object::Customer { .. } | Object::Subscription { .. } => {}
        Object::CheckoutSession(session, _) => {
            needs.payments.insert(session.id.clone());
            needs.payments.extend(session.payment_intent.clone());
        }
        Object::Invoice(invoice, _) => {
            needs.invoices.insert(invoice.id.clone());
            needs.payments.insert(invoice.id.clone());
            needs.payments.extend(invoice.payment_intent.clone());
        }
        Object::InvoicePayment(payment) => needs.payments.extend(payment.payment_intent.clone()),
        Object::PaymentIntent(intent) => {
            needs.payments.insert(intent.id.clone());
        }
        // What is given back has no effect yet.
        Object::Charge(_) | Object::Refund(_) | Object::Dispute(_) => {}
        Object::PaymentMethod(method, _) => {
            needs.payment_methods.insert(method.id.clone());
        }
    }
}

/// Takes `seen` into the world.
pub fn decide(rules: &Rules, now: Timestamp, seen: &Observation, world: &mut World) {
    let news = observe(rules, now, seen, world);
    let Some(customer) = customer_of(seen) else { return };
    let cause = Cause { actor: "stripe", event_id: Some(&seen.source) };
    customers::follow(rules, now, cause, customer, world);
    // After what follows from it, so that a licence's log begins with the licence.
    if let Some(News { told, data }) = news {
        events::tell(now, rules.rng, customer, told, data, world);
    }
}

fn observe(rules: &Rules, now: Timestamp, seen: &Observation, world: &mut World) -> Option<News> {
    match &seen.object {
        Object::Customer { before, after, deleted } => {
            customers::observe(rules, now, seen, before.as_ref(), after, *deleted, world);
        }
        Object::Subscription { before, after, ended } => {
            subscriptions::observe(rules, now, seen, before.as_ref(), after, *ended, world);
        }
        Object::CheckoutSession(session, outcome) => {
            if let SessionOutcome::Completed | SessionOutcome::AsyncSucceeded = outcome {
                customers::observe_session(rules, now, seen, session, world);
            }
            return payments::observe_session(seen, session, *outcome, world);
        }
        Object::Invoice(invoice, failed) => return invoices::observe(rules, now, seen, invoice, *failed, world),
        Object::InvoicePayment(payment) => {
            if let (Some(intent), Some(invoice)) = (&payment.payment_intent, &payment.invoice) {
                payments::tie(intent, invoice, world);
            }
        }
        Object::PaymentIntent(intent) => payments::observe_intent(seen, intent, world),
        Object::PaymentMethod(method, change) => payment_methods::observe(seen, method, *change, world),
        Object::Charge(_) | Object::Refund(_) | Object::Dispute(_) => {}
    }
    None
}

/// The customer whose entitlement an observation may change. A payment's or a card's does not.
fn customer_of(seen: &Observation) -> Option<&str> {
    match &seen.object {
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
