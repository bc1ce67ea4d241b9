//! Which memberships are loaded, with all that they follow from. Where nothing of a pod is touched it is no statement.
//!
//! Locks are taken in this order: the pods in which somebody may get a seat, then memberships. Whoever has a seat keeps it
//! without the pod's row, so that a thousand members who pay in one minute do not wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::{DbError, Lock, Tx, UnitOfWork};
use tollgate_stripe::PodRef;

use crate::charges::Charge;
use crate::contributions::{Contribution, ReportedPayment};
use crate::customers::Customer;
use crate::memberships::Membership;
use crate::payouts::Payout;
use crate::pods::Pod;
use crate::subscriptions::Subscription;

/// What of pods may be touched, by whoever knows what is.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Subscriptions that say themselves, or by their invoices, that they pay into a pod.
    pub savings: BTreeMap<&'a str, &'a PodRef>,
    /// Memberships by their ids.
    pub memberships: BTreeSet<String>,
    /// Pods that are locked, with all of their memberships.
    pub pods: BTreeSet<String>,
    /// Invoices that something is said of.
    pub invoices: BTreeSet<String>,
    /// Pods whose payouts are wanted too.
    pub payouts: BTreeSet<String>,
    /// Charges of which something was given back.
    pub given_back: BTreeSet<String>,
}

/// Loads what of pods may be touched, after all else.
pub async fn load(tx: &mut Tx, work: &mut UnitOfWork, mut wanted: Wanted<'_>) -> Result<(), DbError> {
    wanted.memberships.extend(by_money(tx, work, &wanted).await?);
    let found = find(tx, work, &wanted).await?;
    let with_a_seat_to_get = found.iter().filter(|row| row.subscription_id.is_none()).map(|row| row.pod_id.clone());
    let locked: BTreeSet<_> = with_a_seat_to_get.chain(wanted.pods.iter().cloned()).collect();
    if found.is_empty() && locked.is_empty() {
        return Ok(());
    }
    let read: BTreeSet<_> = found.iter().map(|row| row.pod_id.clone()).filter(|id| !locked.contains(id)).collect();
    let mut pods: Vec<Pod> = tx.load("id", &locked, Lock::ForUpdate).await?;
    pods.extend(tx.load::<Pod>("id", &read, Lock::None).await?);
    work.add_seldom_changed(pods);

    let others: Vec<Membership> = tx.load("pod_id", &locked, Lock::None).await?;
    // Whatever of a customer is here may be settled, and then by all that it follows from.
    let is_of_customer =
        |row: &&Membership| row.customer_id.as_deref().is_some_and(|id| work.get::<Customer>(id).is_some());
    let of_customers = others.iter().filter(is_of_customer).map(|row| row.id.clone());
    let ids: BTreeSet<_> = found.into_iter().map(|row| row.id).chain(of_customers).collect();
    let mut memberships: Vec<Membership> = tx.load("id", &ids, Lock::ForUpdate).await?;
    memberships.extend(others.into_iter().filter(|row| !ids.contains(&row.id)));
    work.add_seldom_changed(memberships);
    let contributions: Vec<Contribution> = tx.load("membership_id", &ids, Lock::None).await?;
    // What was told of by an attempt's name may be any that was paid: which one, its intent says.
    let mut payees = wanted.invoices.clone();
    if work.all().any(|row: &Charge| row.id.starts_with("ch_")) {
        payees.extend(contributions.iter().filter_map(|one| one.invoice_id.clone()));
    }
    work.add_seldom_changed(contributions);
    work.add_seldom_changed::<Payout>(tx.load("pod_id", &wanted.payouts, Lock::None).await?);
    work.add_seldom_changed::<ReportedPayment>(tx.load("membership_id", &ids, Lock::None).await?);
    let mut charges: Vec<Charge> = tx.load("belongs_to", &payees, Lock::None).await?;
    // Those that are here were taken for writing.
    charges.retain(|row| work.get::<Charge>(&row.id).is_none());
    work.add_loaded(charges);
    Ok(())
}

/// The memberships that may be touched, as they were before anything was locked.
async fn find(tx: &mut Tx, work: &UnitOfWork, wanted: &Wanted<'_>) -> Result<Vec<Membership>, DbError> {
    let of_pods = || work.all().filter(|row: &&Subscription| row.is_of_pod());
    let subscriptions: BTreeSet<_> =
        of_pods().map(|row| row.id.clone()).chain(wanted.savings.keys().map(|id| (*id).to_owned())).collect();
    let named = wanted.savings.values().filter_map(|pod| pod.membership_id.clone());
    let noted = of_pods().filter_map(|row| row.membership_id.clone());
    let ids: BTreeSet<_> = named.chain(noted).chain(wanted.memberships.iter().cloned()).collect();
    let by = [("id", &ids), ("subscription_id", &subscriptions)];
    let mut found: Vec<Membership> = tx.load_by_either(by, Lock::None).await?;
    let is_tied = |id: &str| found.iter().any(|row| row.subscription_id.as_deref() == Some(id));
    let untied = subscriptions.iter().filter(|id| !is_tied(id));
    let seats: BTreeSet<_> = untied.filter_map(|id| seat_of(work, wanted, id)).collect();
    let by_user: Vec<Membership> = tx.load("seat_of", &seats, Lock::None).await?;
    found.extend(by_user.into_iter().filter(|row| !ids.contains(&row.id)));
    Ok(found)
}

/// The seat that a subscription's customer's user may have in its pod.
fn seat_of(work: &UnitOfWork, wanted: &Wanted<'_>, subscription_id: &str) -> Option<String> {
    let row = work.get::<Subscription>(subscription_id);
    let named = || wanted.savings.get(subscription_id)?.pod_id.as_deref();
    let pod_id = row.and_then(|row| row.pod_id.as_deref()).or_else(named)?;
    let by_row = row.and_then(|row| work.get::<Customer>(&row.customer_id)).and_then(|row| row.user_id.as_deref());
    // Of one that is seen for the first time the customer is the one that is here.
    let mut users = work.all().filter_map(|row: &Customer| row.user_id.as_deref());
    Some(Membership::seat_key(pod_id, by_row.or_else(|| users.next())?))
}

/// The memberships of contributions of which something may have been given back, or that were reported.
async fn by_money(tx: &mut Tx, work: &UnitOfWork, wanted: &Wanted<'_>) -> Result<BTreeSet<String>, DbError> {
    let reported = work.all().filter_map(|row: &Charge| row.membership_id.clone());
    let mut memberships: BTreeSet<_> = reported.collect();
    let given_back = |row: &&Charge| row.refunded > 0 || wanted.given_back.contains(&row.id);
    let charges: Vec<_> = work.all().filter(given_back).collect();
    let intents = charges.iter().map(|row| row.id.clone()).collect();
    let payees = charges.iter().filter_map(|row| row.belongs_to.clone()).filter(|id| id.starts_with("in_"));
    let payees: BTreeSet<_> =
        if charges.is_empty() { BTreeSet::new() } else { payees.chain(wanted.invoices.iter().cloned()).collect() };
    let by = [("invoice_id", &payees), ("reference", &intents)];
    let contributions: Vec<Contribution> = tx.load_by_either(by, Lock::None).await?;
    memberships.extend(contributions.into_iter().map(|one| one.membership_id));
    Ok(memberships)
}
