//! Charges: what a payment intent pays, and what was given back of it.
//!
//! One row for an intent with all its charges, since it is the intent that an invoice or a session names; one for a
//! charge that was made without an intent. A row begins with the first event that names the intent, whatever it is
//! about: it is what two writers who both know something of one intent take in turn.

pub mod failures;
mod given_back;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use tollgate_db::{Json, UnitOfWork, record};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;
use tollgate_stripe::{self as stripe, Observation};

use crate::charges::failures::Failures;
use crate::charges::given_back::{GivenBack, Returned};

record! {
    /// A row of `charges`.
    pub struct Charge in "charges" {
        /// `pi_…`; `ch_…` of one without an intent.
        pub id: String,
        /// Who pays.
        pub customer_id: Option<String>,
        /// The invoice or session that is paid.
        pub belongs_to: Option<String>,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// What was seen of what was given back.
        pub given_back: Json<GivenBack>,
        /// What that comes to, in the currency's minor unit.
        pub refunded: i64,
        /// When the last of it was given back.
        pub refunded_at: Option<Timestamp>,
        /// When a dispute of it was lost.
        pub lost_at: Option<Timestamp>,
        /// The membership that it was reported for.
        pub membership_id: Option<String>,
        /// Why attempts at it failed.
        pub failures: Json<Failures>,
        /// The attempts that are known, `ch_…`: it may be told of by the name of one.
        pub charge_ids: Json<BTreeSet<String>>,
    }
}

impl Charge {
    /// A row of which only the name is known.
    pub fn placeholder(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            customer_id: None,
            belongs_to: None,
            currency: None,
            given_back: Json(GivenBack::default()),
            refunded: 0,
            refunded_at: None,
            lost_at: None,
            membership_id: None,
            failures: Json(Failures::default()),
            charge_ids: Json(BTreeSet::new()),
        }
    }

    /// Takes in that it pays `payee`, an invoice or a session, and who pays, as far as that is known.
    pub fn name(&mut self, payee: Option<&str>, customer: Option<&str>) {
        self.belongs_to = prefer_invoice(self.belongs_to.take(), payee.map(str::to_owned));
        // An intent has one payer; of two the same one, whichever came first.
        self.customer_id = self.customer_id.take().into_iter().chain(customer.map(str::to_owned)).max();
    }

    /// Takes in what an intent says of its attempts.
    pub fn see_intent(&mut self, intent: &stripe::PaymentIntent, at: i64) {
        self.failures.see_intent(intent, at);
        self.charge_ids.extend(intent.latest_charge.clone());
    }

    /// Whether it goes by this name: its own, or that of an attempt.
    pub fn is_named(&self, reference: &str) -> bool {
        self.id == reference || self.charge_ids.contains(reference)
    }

    fn of(work: &UnitOfWork, id: &str) -> Self {
        work.get_cloned(id).unwrap_or_else(|| Self::placeholder(id))
    }

    fn recount(&mut self) {
        let Returned { amount, at } = self.given_back.total();
        self.refunded = amount;
        self.refunded_at = at.and_then(from_unix);
    }
}

/// The row that a charge is in.
pub fn key_of_charge(charge: &stripe::Charge) -> &str {
    charge.payment_intent.as_deref().unwrap_or(&charge.id)
}

/// The row that a refund's charge is in.
pub fn key_of_refund(refund: &stripe::Refund) -> &str {
    refund.payment_intent.as_deref().or(refund.charge.as_deref()).unwrap_or(&refund.id)
}

/// The row that a dispute's charge is in.
pub fn key_of_dispute(dispute: &stripe::Dispute) -> &str {
    dispute.payment_intent.as_deref().or(dispute.charge.as_deref()).unwrap_or(&dispute.id)
}

/// Says what is known of `intent`: that it pays `payee`, an invoice or a session, and who pays. Gives its payee.
pub fn name(work: &mut UnitOfWork, intent: &str, payee: Option<&str>, customer: Option<&str>) -> Option<String> {
    let known = work.get::<Charge>(intent).is_some();
    let mut row = Charge::of(work, intent);
    let was = row.clone();
    row.name(payee, customer);
    let payee = row.belongs_to.clone();
    if row != was || !known {
        work.insert(row);
    }
    payee
}

/// Takes in the last attempt of an intent, and why it failed, if it did.
pub fn apply_intent(work: &mut UnitOfWork, observation: &Observation, intent: &stripe::PaymentIntent) {
    let was = Charge::of(work, &intent.id);
    let mut row = was.clone();
    row.see_intent(intent, observation.seen_at.timestamp());
    if row != was {
        work.insert(row);
    }
}

/// Takes in a charge of which something was given back.
pub fn apply_charge(work: &mut UnitOfWork, observation: &Observation, charge: &stripe::Charge) {
    name(work, key_of_charge(charge), charge.invoice.as_deref(), charge.customer.as_deref());
    let mut row = Charge::of(work, key_of_charge(charge));
    row.currency = row.currency.or_else(|| charge.currency.clone());
    row.given_back.see_charge(charge, observation.seen_at.timestamp());
    row.charge_ids.extend(charge.payment_intent.as_ref().map(|_| charge.id.clone()));
    row.recount();
    work.insert(row);
}

/// Takes in a refund. One that failed is none.
pub fn apply_refund(work: &mut UnitOfWork, observation: &Observation, refund: &stripe::Refund) {
    let mut row = Charge::of(work, key_of_refund(refund));
    row.currency = row.currency.or_else(|| refund.currency.clone());
    row.given_back.see_refund(refund, observation.seen_at.timestamp());
    row.recount();
    work.insert(row);
}

/// Takes in a dispute that ended: where it was lost, the payer has the money back.
pub fn apply_dispute(work: &mut UnitOfWork, observation: &Observation, dispute: &stripe::Dispute) {
    let mut row = Charge::of(work, key_of_dispute(dispute));
    if dispute.status.as_deref() == Some("lost") {
        row.lost_at = row.lost_at.into_iter().chain([observation.seen_at]).min();
    }
    work.insert(row);
}

/// The charges that pay `payee`, an invoice or a session.
pub fn of_payee<'w>(work: &'w UnitOfWork, payee: &str) -> impl Iterator<Item = &'w Charge> {
    work.all().filter(move |charge: &&Charge| charge.belongs_to.as_deref() == Some(payee))
}

/// The charge that goes by a name, and pays something that is known.
pub fn paying<'w>(work: &'w UnitOfWork, reference: &str) -> Option<&'w Charge> {
    work.all().find(|charge: &&Charge| charge.belongs_to.is_some() && charge.is_named(reference))
}

/// Of two payees of one intent the one that is counted: an invoice outranks the session that led to it.
pub fn prefer_invoice(a: Option<String>, b: Option<String>) -> Option<String> {
    a.into_iter().chain(b).max_by_key(|payee| (payee.starts_with("in_"), payee.clone()))
}
