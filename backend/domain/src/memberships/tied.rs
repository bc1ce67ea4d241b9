//! What Stripe tells of a pod's subscription, taken into the membership that it is of.

use std::collections::BTreeSet;

use tollgate_db::UnitOfWork;
use tollgate_stripe::{Object, Observation, PodRef};

use crate::charges::{self, Charge};
use crate::contributions::tries::RetryOwner;
use crate::contributions::{Contribution, ReportedPayment};
use crate::customers::Customer;
use crate::invoices::Invoice;
use crate::memberships::settled::settle;
use crate::memberships::{Membership, MembershipStatus};
use crate::pods::Pod;
use crate::subscriptions::Subscription;

/// Takes in what `observation` tells of pods: after all else of it is done. Where no membership is here it does nothing.
/// `retries` are whose.
pub fn follow(work: &mut UnitOfWork, observation: &Observation, retries: RetryOwner) {
    if work.all::<Membership>().next().is_none() {
        return;
    }
    match &observation.object {
        Object::Subscription { after, .. } => tie(work, &after.id, &after.pod),
        Object::Invoice(invoice, _) => {
            if let Some(subscription) = &invoice.subscription {
                tie(work, subscription, &invoice.pod);
            }
            contribute(work, &invoice.id);
        }
        _ => {}
    }
    for id in touched_by(work, observation) {
        settle_contributions(work, &id, observation);
        settle(work, &id, retries);
    }
}

/// Makes a subscription that pays into a pod that of its membership, if it is nobody's yet: of the one that its metadata
/// names, else of the one that its customer's user has in that pod.
fn tie(work: &mut UnitOfWork, subscription_id: &str, named: &PodRef) {
    let Some(subscription) = work.get_cloned::<Subscription>(subscription_id) else { return };
    let Some(pod_id) = subscription.pod_id.clone().or_else(|| named.pod_id.clone()) else { return };
    let is_of = |row: &&Membership| row.subscription_id.as_deref() == Some(subscription_id);
    if work.all().any(|row: &Membership| is_of(&row)) {
        return;
    }
    let by_snapshot = || subscription.history.last()?.state.pod.membership_id.as_deref();
    let by_name = named.membership_id.as_deref().or_else(by_snapshot).and_then(|id| work.get::<Membership>(id));
    let user = work.get::<Customer>(&subscription.customer_id).and_then(|customer| customer.user_id.clone());
    let user = user.or_else(|| subscription.user_id().map(str::to_owned));
    let by_user = || {
        let of_user = |row: &&Membership| row.pod_id == pod_id && Some(&row.user_id) == user.as_ref();
        work.all().filter(of_user).max_by_key(|row: &&Membership| (row.ended_at.is_none(), row.joined_at, &row.id))
    };
    let found = by_name.filter(|row| row.pod_id == pod_id).or_else(by_user);
    let Some(mut row) = found.filter(|row| row.subscription_id.is_none()).cloned() else { return };
    row.subscription_id = Some(subscription_id.to_owned());
    row.customer_id = Some(subscription.customer_id.clone());
    if row.status_before_tie(work) == MembershipStatus::Gone && !has_room_for(work, &row) {
        // Somebody else sits there now: what Stripe made all the same is ended.
        row.ended_here_at = Some(work.now());
    }
    let id = row.id.clone();
    work.insert(row);
    work.insert(Subscription { pod_id: Some(pod_id), membership_id: Some(id), ..subscription });
}

impl Membership {
    fn status_before_tie(&self, work: &UnitOfWork) -> MembershipStatus {
        Self { subscription_id: None, ..self.clone() }.status(work.now())
    }
}

/// Whether there is a seat for one that has lost its own, in a pod whose memberships are all here.
fn has_room_for(work: &UnitOfWork, row: &Membership) -> bool {
    let sits = |other: &&Membership| {
        other.pod_id == row.pod_id && other.id != row.id && other.status(work.now()).holds_a_seat()
    };
    let seats_max = work.get::<Pod>(&row.pod_id).map_or(0, |pod| pod.members_max);
    let others: Vec<_> = work.all().filter(sits).collect();
    (others.len() as i64) < seats_max && !others.iter().any(|other| other.user_id == row.user_id)
}

/// Makes the contribution that an invoice of a membership is, and joins what was reported of it. An invoice of 0 is none.
fn contribute(work: &mut UnitOfWork, invoice_id: &str) {
    let Some(invoice) = work.get_cloned::<Invoice>(invoice_id) else { return };
    let of_invoice =
        |row: &&Membership| row.subscription_id.is_some() && row.subscription_id == invoice.subscription_id;
    let Some(membership) = work.all().find(of_invoice).cloned() else { return };
    let known = work.all().find(|one: &&Contribution| one.invoice_id.as_deref() == Some(invoice_id)).cloned();
    if known.is_none() && invoice.amount_due == 0 && invoice.amount_paid == 0 {
        return;
    }
    let known = known.or_else(|| reported_before(work, &membership, invoice_id));
    let currency = invoice.currency.clone().unwrap_or_default();
    let whose = (&*membership.id, &*membership.pod_id, &*membership.user_id);
    let mut row = known.unwrap_or_else(|| Contribution::new(work, whose, &currency));
    row.take_invoice(&invoice);
    row.settle(work);
    work.insert(row);
}

/// The contribution that was reported before its invoice was known.
fn reported_before(work: &UnitOfWork, membership: &Membership, invoice_id: &str) -> Option<Contribution> {
    let pays = |reference: &str| charges::of_payee(work, invoice_id).any(|charge| charge.is_named(reference));
    let names = |report: &&ReportedPayment| report.id == invoice_id || pays(&report.id);
    let reports = work.all().filter(|report: &&ReportedPayment| report.membership_id == membership.id);
    let report = reports.filter(names).min_by_key(|report| &report.id)?;
    work.get_cloned::<Contribution>(&report.contribution_id).filter(|one| one.invoice_id.is_none())
}

/// The memberships that an observation may change, of those that are here.
fn touched_by(work: &UnitOfWork, observation: &Observation) -> BTreeSet<String> {
    let customer = observation.customer();
    let of_customer =
        work.all().filter(|row: &&Membership| row.customer_id.is_some() && row.customer_id.as_deref() == customer);
    let (charge, invoice) = money_of(observation);
    let payee = charge.and_then(|key| work.get::<Charge>(key)).and_then(|row| row.belongs_to.as_deref());
    let is_touched = |one: &&Contribution| {
        let by_invoice = one.invoice_id.as_deref().is_some_and(|id| Some(id) == invoice || Some(id) == payee);
        by_invoice || (one.reference.is_some() && one.reference.as_deref() == charge)
    };
    let by_money = work.all().filter(is_touched).map(|one: &Contribution| one.membership_id.clone());
    of_customer.map(|row| row.id.clone()).chain(by_money).collect()
}

/// The charge's key and the invoice that an observation of money is about.
fn money_of(observation: &Observation) -> (Option<&str>, Option<&str>) {
    match &observation.object {
        Object::Invoice(invoice, _) => (invoice.payment_intent.as_deref(), Some(&invoice.id)),
        Object::InvoicePayment(payment) => (payment.payment_intent.as_deref(), payment.invoice.as_deref()),
        Object::PaymentIntent(intent) => (Some(&intent.id), intent.invoice.as_deref()),
        Object::Charge(charge) => (Some(charges::key_of_charge(charge)), charge.invoice.as_deref()),
        Object::Refund(refund) => (Some(charges::key_of_refund(refund)), None),
        Object::Dispute(dispute) => (Some(charges::key_of_dispute(dispute)), None),
        _ => (None, None),
    }
}

/// Brings the contributions of a membership that `observation` is about into step, and joins those that have turned out
/// to be one.
fn settle_contributions(work: &mut UnitOfWork, membership_id: &str, observation: &Observation) {
    let (charge, _) = money_of(observation);
    if let Some(charge) = charge {
        join_reported(work, charge);
    }
    let rows: Vec<_> = work.all().filter(|one: &&Contribution| one.membership_id == membership_id).cloned().collect();
    for mut row in rows {
        let was = row.clone();
        row.settle(work);
        if row != was {
            work.insert(row);
        }
    }
}

/// Moves what was reported of a payment, by the name of its intent or of an attempt, to the contribution of the invoice that it
/// turns out to pay.
pub fn join_reported(work: &mut UnitOfWork, reference: &str) {
    let Some(charge) = charges::paying(work, reference) else { return };
    let is_its = |one: &&Contribution| one.invoice_id == charge.belongs_to;
    let Some(target) = work.all().find(is_its).map(|one| one.id.clone()) else { return };
    let is_moved = |report: &&ReportedPayment| charge.is_named(&report.id) && report.contribution_id != target;
    let moved: Vec<ReportedPayment> = work.all().filter(is_moved).cloned().collect();
    for report in moved {
        work.insert(ReportedPayment { contribution_id: target.clone(), ..report });
    }
}
