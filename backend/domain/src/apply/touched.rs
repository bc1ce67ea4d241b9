//! Which rows observations may touch: what has to be loaded before they are applied.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_stripe::{Object, Observation, PodRef};

use crate::charges::{self, Charge};
use crate::memberships::Wanted;
use crate::payments;
use crate::plans::prices;
use crate::purchases;
use crate::releases;
use crate::support;

/// The rows that observations may touch, by their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Customers, each with its subscriptions and its licence.
    pub customers: BTreeSet<String>,
    /// Subscriptions, which may be another customer's so far.
    pub subscriptions: BTreeSet<String>,
    /// Invoices of those customers.
    pub invoices: BTreeSet<String>,
    /// Invoices that name no customer.
    pub invoices_of_nobody: BTreeSet<String>,
    /// Payment intents that something is said of, and charges without one: each with the payments that it is a part of.
    /// A row that is not there yet begins with what is said of it: most are then never written again.
    pub charges: BTreeMap<String, Charge>,
    /// Those of them whose customer is only known by their rows.
    pub charges_of_somebody: BTreeSet<String>,
    /// Invoices that a payment is said to pay, whose customer is only known by their rows.
    pub paid_invoices: BTreeSet<String>,
    /// Payments that are certain to be: each of these has a row from here on.
    pub payments: BTreeSet<String>,
    /// Those of an invoice or an intent, whose customer's row or charge is what two writers take in turn.
    pub guarded_payments: BTreeSet<String>,
    /// What was sold once.
    pub purchases: BTreeSet<String>,
    /// Prices that are shown.
    pub prices: BTreeSet<String>,
    /// Payment methods.
    pub payment_methods: BTreeSet<String>,
    /// API keys of those customers that are changed.
    pub api_keys: BTreeSet<String>,
    /// Widgets of those customers that are changed.
    pub widgets: BTreeSet<String>,
    /// Requests that are remembered, whatever else is touched.
    pub requests: BTreeSet<String>,
    /// Users: whoever signs in, or says something of themselves.
    pub users: BTreeSet<String>,
    /// Subscriptions that pay into a pod, by their own word or that of their invoices.
    pub savings: BTreeMap<String, PodRef>,
    /// Pods in which somebody may get a seat or lose one, with all of their memberships.
    pub pods: BTreeSet<String>,
    /// Those of them whose payouts are wanted too.
    pub payouts: BTreeSet<String>,
    /// Memberships, with what they follow from.
    pub memberships: BTreeSet<String>,
    /// Tickets, and who is about to open one; whatever else is touched.
    pub support: support::Wanted,
    /// Releases and their files, whatever else is touched.
    pub releases: releases::Wanted,
    /// Licences by themselves, without their customers; nothing else is then loaded. See [`load`](crate::licenses::load).
    pub licenses: BTreeSet<String>,
}

impl Touched {
    /// What hangs on one customer.
    pub fn customer(id: &str) -> Self {
        Self { customers: BTreeSet::from([id.to_owned()]), ..Self::default() }
    }

    /// One user, without their customers.
    pub fn user(id: &str) -> Self {
        Self { users: BTreeSet::from([id.to_owned()]), ..Self::default() }
    }

    /// One licence, with its machines and its log.
    pub fn license(id: &str) -> Self {
        Self { licenses: BTreeSet::from([id.to_owned()]), ..Self::default() }
    }

    /// A customer's API key, with the customer.
    pub fn api_key(customer_id: &str, id: &str) -> Self {
        Self { api_keys: BTreeSet::from([id.to_owned()]), ..Self::customer(customer_id) }
    }

    /// A customer's widget, with the customer.
    pub fn widget(customer_id: &str, id: &str) -> Self {
        Self { widgets: BTreeSet::from([id.to_owned()]), ..Self::customer(customer_id) }
    }

    /// A pod, with all of its memberships.
    pub fn pod(id: &str) -> Self {
        Self { pods: BTreeSet::from([id.to_owned()]), ..Self::default() }
    }

    /// A membership, with its customer where it has one.
    pub fn membership(id: &str, customer_id: Option<&str>) -> Self {
        let customers = customer_id.into_iter().map(str::to_owned).collect();
        Self { memberships: BTreeSet::from([id.to_owned()]), customers, ..Self::default() }
    }

    /// The same, with what the company tells of a payment of it, by `pi_…`, `in_…` or `ch_…`.
    pub fn reported(mut self, reference: &str) -> Self {
        if !reference.starts_with("in_") {
            self.charge(Some(reference), None, None);
        }
        self
    }

    /// Releases and their files.
    pub fn releases(wanted: releases::Wanted) -> Self {
        Self { releases: wanted, ..Self::default() }
    }

    /// What somebody who opens a ticket is counted by.
    pub fn new_ticket_of(user_id: &str) -> Self {
        let support = support::Wanted { opened_by: Some(user_id.to_owned()), ..Default::default() };
        Self { support, ..Self::default() }
    }

    /// A ticket, with its messages.
    pub fn ticket(id: &str) -> Self {
        let support = support::Wanted { tickets: BTreeSet::from([id.to_owned()]), ..Default::default() };
        Self { support, ..Self::default() }
    }

    /// A request that is remembered, and nothing else.
    pub fn request(id: &str) -> Self {
        Self { requests: BTreeSet::from([id.to_owned()]), ..Self::default() }
    }

    /// What of it is about pods.
    pub(super) fn of_pods(&self) -> Wanted<'_> {
        Wanted {
            savings: self.savings.iter().map(|(id, pod)| (&**id, pod)).collect(),
            memberships: self.memberships.clone(),
            pods: self.pods.clone(),
            payouts: self.payouts.clone(),
            invoices: self.invoices.union(&self.paid_invoices).cloned().collect(),
            given_back: self.charges_of_somebody.clone(),
        }
    }

    /// Whether only such rows are touched as stand for themselves.
    pub(super) fn is_of_nobody(&self) -> bool {
        let Self { requests, support, releases, .. } = Self::default();
        *self != Self::default() && Self { requests, support, releases, ..self.clone() } == Self::default()
    }

    /// Adds what `observation` may touch.
    pub fn add(&mut self, observation: &Observation) {
        self.customers.extend(customer_of(observation).map(str::to_owned));
        self.prices.extend(prices::ids_in(observation).cloned());
        match &observation.object {
            Object::Customer { .. } => {}
            Object::Subscription { after, .. } => {
                self.subscriptions.insert(after.id.clone());
                self.save(&after.id, &after.pod);
                self.invoices.extend(after.latest_invoice.clone().filter(|_| after.status == "past_due"));
            }
            Object::CheckoutSession(session, outcome) => {
                self.subscriptions.extend(session.subscription.clone());
                if payments::is_payment(session, *outcome) {
                    self.payments.insert(session.id.clone());
                    let payee = session.invoice.as_ref().unwrap_or(&session.id);
                    self.charge(session.payment_intent.as_deref(), Some(payee), session.customer.as_deref());
                    self.purchases.insert(purchases::id_of_session(session).to_owned());
                }
            }
            Object::Invoice(invoice, _) => {
                if let Some(subscription) = &invoice.subscription {
                    self.subscriptions.insert(subscription.clone());
                    self.save(subscription, &invoice.pod);
                }
                let invoices =
                    if invoice.customer.is_some() { &mut self.invoices } else { &mut self.invoices_of_nobody };
                invoices.insert(invoice.id.clone());
                self.charge(invoice.payment_intent.as_deref(), Some(&invoice.id), invoice.customer.as_deref());
                if invoice.status == "paid" {
                    let payments =
                        if invoice.customer.is_some() { &mut self.guarded_payments } else { &mut self.payments };
                    payments.insert(invoice.id.clone());
                }
                if purchases::has_sold(invoice) {
                    self.purchases.insert(invoice.id.clone());
                }
            }
            Object::InvoicePayment(payment) => {
                self.charge(payment.payment_intent.as_deref(), payment.invoice.as_deref(), None);
                self.paid_invoices.extend(payment.invoice.clone());
            }
            Object::PaymentIntent(intent) => {
                self.guarded_payments.insert(intent.id.clone());
                self.charge(Some(&intent.id), intent.invoice.as_deref(), intent.customer.as_deref());
                if let Some(charge) = self.charges.get_mut(&intent.id) {
                    charge.see_intent(intent, observation.seen_at.timestamp());
                }
            }
            Object::PaymentMethod(method, _) => {
                self.payment_methods.insert(method.id.clone());
            }
            Object::Charge(charge) => {
                let key = charges::key_of_charge(charge);
                self.charge(Some(key), charge.invoice.as_deref(), charge.customer.as_deref());
                self.charges_of_somebody.insert(key.to_owned());
            }
            Object::Refund(refund) => self.given_back(charges::key_of_refund(refund)),
            Object::Dispute(dispute) => self.given_back(charges::key_of_dispute(dispute)),
        }
    }

    fn save(&mut self, subscription: &str, pod: &PodRef) {
        if pod.pod_id.is_some() {
            self.savings.insert(subscription.to_owned(), pod.clone());
        }
    }

    fn charge(&mut self, key: Option<&str>, payee: Option<&str>, customer: Option<&str>) {
        let Some(key) = key else { return };
        let charge = self.charges.entry(key.to_owned()).or_insert_with(|| Charge::placeholder(key));
        charge.name(payee, customer);
    }

    fn given_back(&mut self, charge: &str) {
        self.charge(Some(charge), None, None);
        self.charges_of_somebody.insert(charge.to_owned());
    }
}

/// The customer whose entitlement an observation may change. A card's does not.
pub(super) fn customer_of(observation: &Observation) -> Option<&str> {
    match &observation.object {
        Object::PaymentMethod(..) => None,
        Object::PaymentIntent(intent) if intent.status.as_deref() != Some("succeeded") => None,
        _ => observation.customer(),
    }
}
