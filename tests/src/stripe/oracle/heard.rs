//! What an endpoint was sent of one customer, in the order in which it happened: which nobody but Stripe knows.

use std::collections::BTreeMap;

use crate::stripe::model::{
    Charge, CheckoutSession, Customer, Dispute, Invoice, PaymentIntent, PaymentMethod, Refund, Subscription,
};
use crate::stripe::{Object, Occurrence, Stripe};

/// The occurrences of one customer's life that an endpoint was sent.
pub(super) struct Heard<'a> {
    pub(super) stripe: &'a Stripe,
    pub(super) customer: &'a str,
    occurrences: Vec<&'a Occurrence>,
}

impl<'a> Heard<'a> {
    /// Those whose type `sent` is true of.
    pub(super) fn of(stripe: &'a Stripe, customer: &'a str, sent: impl Fn(&str) -> bool) -> Self {
        let occurrences = stripe.occurrences.iter().filter(|occurrence| sent(occurrence.event_type));
        let theirs = occurrences.filter(|occurrence| owner(stripe, occurrence) == Some(customer));
        Self { stripe, customer, occurrences: theirs.collect() }
    }

    /// Whether anything was heard that makes the customer known.
    pub(super) fn knows_the_customer(&self) -> bool {
        self.occurrences.iter().any(|occurrence| {
            let event_type = occurrence.event_type;
            let naming = ["customer.", "checkout.session.completed", "checkout.session.async", "invoice."];
            naming.iter().any(|start| event_type.starts_with(start))
        })
    }

    /// The newest snapshot of the customer itself.
    pub(super) fn customer(&self) -> Option<&'a Customer> {
        let event_types = ["customer.created", "customer.updated", "customer.deleted"];
        self.newest(&event_types, |object| match object {
            Object::Customer(customer) => Some(customer),
            _ => None,
        })
        .into_values()
        .next()
    }

    /// When the customer was deleted.
    pub(super) fn deleted_at(&self) -> Option<i64> {
        self.occurrences
            .iter()
            .find(|occurrence| occurrence.event_type == "customer.deleted")
            .map(|deleted| deleted.created)
    }

    /// Every snapshot of a subscription, the oldest first.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = &'a Subscription> {
        self.occurrences.iter().filter_map(|occurrence| match &occurrence.after {
            Object::Subscription(subscription) => Some(subscription),
            _ => None,
        })
    }

    /// The newest snapshot of each subscription.
    pub(super) fn subscriptions(&self) -> BTreeMap<&'a str, &'a Subscription> {
        self.snapshots().map(|subscription| (&*subscription.id, subscription)).collect()
    }

    /// The newest snapshot of each session that somebody went through.
    pub(super) fn sessions(&self) -> BTreeMap<&'a str, &'a CheckoutSession> {
        let event_types = [
            "checkout.session.completed",
            "checkout.session.async_payment_succeeded",
            "checkout.session.async_payment_failed",
        ];
        self.newest(&event_types, |object| match object {
            Object::CheckoutSession(session) => Some(session),
            _ => None,
        })
    }

    /// When a session was first known to be paid, if it is: by its own word or by that of its intent.
    pub(super) fn paid_at(&self, session: &CheckoutSession) -> Option<i64> {
        let says_so = |occurrence: &&&Occurrence| match &occurrence.after {
            Object::CheckoutSession(seen) => {
                let went_through = matches!(
                    occurrence.event_type,
                    "checkout.session.completed" | "checkout.session.async_payment_succeeded"
                );
                seen.id == session.id && went_through && seen.payment_status != "unpaid"
            }
            Object::PaymentIntent(intent) => {
                Some(&intent.id) == session.payment_intent.as_ref()
                    && occurrence.event_type == "payment_intent.succeeded"
            }
            _ => false,
        };
        self.occurrences.iter().find(says_so).map(|occurrence| occurrence.created)
    }

    /// The newest snapshot of each invoice.
    pub(super) fn invoices(&self) -> BTreeMap<&'a str, &'a Invoice> {
        self.newest(&[], |object| match object {
            Object::Invoice(invoice) => Some(invoice),
            _ => None,
        })
    }

    /// The newest snapshot of a payment intent.
    pub(super) fn intent(&self, id: &str) -> Option<&'a PaymentIntent> {
        self.newest(&[], |object| match object {
            Object::PaymentIntent(intent) => Some(intent),
            _ => None,
        })
        .get(id)
        .copied()
    }

    /// The newest snapshot of a card.
    pub(super) fn card(&self, id: &str) -> Option<&'a PaymentMethod> {
        self.newest(&[], |object| match object {
            Object::PaymentMethod(method) => Some(method),
            _ => None,
        })
        .get(id)
        .copied()
    }

    /// What was given back of each charge, by what was heard of it, and since when it is all of it.
    pub(super) fn given_back(&self) -> Vec<GivenBack<'a>> {
        let mut charges: BTreeMap<&str, GivenBack<'a>> = BTreeMap::new();
        for occurrence in &self.occurrences {
            let (charge, event) = match &occurrence.after {
                Object::Charge(charge) if occurrence.event_type == "charge.refunded" => {
                    (&charge.id, Word::Charge(charge))
                }
                Object::Refund(refund) => (&refund.charge, Word::Refund(refund)),
                Object::Dispute(dispute) if occurrence.event_type == "charge.dispute.closed" => {
                    (&dispute.charge, Word::Dispute(dispute))
                }
                _ => continue,
            };
            let truth = &self.stripe.charges[charge];
            charges.entry(charge).or_insert_with(|| GivenBack::of(truth)).hear(&event, occurrence.created);
        }
        charges.into_values().collect()
    }

    fn newest<T>(&self, event_types: &[&str], of: impl Fn(&'a Object) -> Option<&'a T>) -> BTreeMap<&'a str, &'a T> {
        let asked = self
            .occurrences
            .iter()
            .filter(|occurrence| event_types.is_empty() || event_types.contains(&occurrence.event_type));
        asked.filter_map(|occurrence| Some((occurrence.after.id(), of(&occurrence.after)?))).collect()
    }
}

/// The customer that an occurrence is about, whether or not its object names it.
fn owner<'a>(stripe: &'a Stripe, occurrence: &'a Occurrence) -> Option<&'a str> {
    let of_charge = |charge: &str| stripe.charges.get(charge).map(|charge| &*charge.customer);
    match &occurrence.after {
        Object::Refund(refund) => of_charge(&refund.charge),
        Object::Dispute(dispute) => of_charge(&dispute.charge),
        Object::InvoicePayment(payment) => stripe.invoices.get(&payment.invoice).map(|invoice| &*invoice.customer),
        _ => occurrence.customer(),
    }
}

enum Word<'a> {
    Charge(&'a Charge),
    Refund(&'a Refund),
    Dispute(&'a Dispute),
}

/// What became of the money of one charge after it was paid.
pub(super) struct GivenBack<'a> {
    pub(super) charge: &'a Charge,
    /// The most that the charge itself ever said.
    said: i64,
    refunds: BTreeMap<&'a str, &'a Refund>,
    lost_at: Option<i64>,
    whole_since: Option<i64>,
}

impl<'a> GivenBack<'a> {
    fn of(charge: &'a Charge) -> Self {
        Self { charge, said: 0, refunds: BTreeMap::new(), lost_at: None, whole_since: None }
    }

    fn hear(&mut self, word: &Word<'a>, at: i64) {
        match word {
            Word::Charge(charge) => self.said = self.said.max(charge.amount_refunded),
            Word::Refund(refund) => drop(self.refunds.insert(&refund.id, refund)),
            Word::Dispute(dispute) if dispute.status == "lost" => self.lost_at = self.lost_at.or(Some(at)),
            Word::Dispute(_) => {}
        }
        self.whole_since = if self.amount() < self.charge.amount { None } else { self.whole_since.or(Some(at)) };
    }

    /// How much was given back: a refund that failed is none.
    pub(super) fn amount(&self) -> i64 {
        let (failed, good): (Vec<_>, Vec<_>) = self.refunds.values().partition(|refund| refund.has_failed());
        let sum = |refunds: Vec<&&Refund>| refunds.iter().map(|refund| refund.amount).sum::<i64>();
        sum(good).max(self.said - sum(failed))
    }

    /// Since when nothing of what was paid is left: all of it was given back, or taken back by the bank.
    pub(super) fn undone_at(&self) -> Option<i64> {
        self.whole_since.into_iter().chain(self.lost_at).min()
    }
}
