//! What an observation does, in the order in which it does it. Pure: the rows that it may touch are loaded before
//! ([`load`]), and written after by whoever began the transaction.
//!
//! The order is a rule of its own: what the object itself says comes first, then what the customer may use, then what
//! its apps are told, so that a licence's log begins with the licence.
//!
//! Who may write which table, under which lock. Locks are taken in this order, and within a table in the order of keys:
//!
//! | table | written by whoever holds |
//! |---|---|
//! | `customers` | the row itself; made first where it is missing, since what is not there cannot be locked |
//! | `subscriptions`, `purchases`, `changes` | the row of their customer |
//! | `invoices` | the row of their customer; the row itself, made where it is missing, if they name none |
//! | `prices` | nothing: it says what was seen, and hardly ever changes |
//! | `charges`, `payment_methods` | the row itself, made where it is missing |
//! | `payments` | an invoice's: the row of its customer; an intent's: its charge; others: the row itself, made where it is missing |
//! | `licenses` | the row of their customer, and the row itself, which keeps its machines in place |
//! | `machines` | the licence's row, to count them; the row itself, to say when it was last seen |
//! | `sessions` | the row itself; the machine's, to open one |
//! | `acknowledgements` | the row itself: an app that says something of an event waits for nothing else |
//! | `license_logs`, `license_events`, `syncs` | the log's row: a machine appends without the licence's row |
//! | `api_keys`, `widgets` | the row of their customer; unique constraints say that what is given once is there already |
//! | `pods` | the row itself: seats are counted under it |
//! | `memberships` | the row itself; the pod's, to get a seat |
//! | `contributions`, `reported_payments` | the row of their membership |
//! | `payouts` | the row of their pod |
//! | `notifications`, `messages` | nothing: what there is one of is a unique constraint; whoever sends a message takes its row, in one statement |
//! | `notification_preferences`, `devices` | the row of their user; a customer's own of nobody's: the row itself |
//! | `users` | the row itself, made where it is missing; after those of customers |
//! | `remembered_requests` | the row itself, made where it is missing, the last of all |
//! | `support_tickets`, `support_messages` | the ticket's row; to open one, the row of `support_desks` |
//! | `releases`, `release_files` | the row of their channel in `release_channels` |
//! | `stored_files` | the row itself, made where it is missing |
//! | `console_sessions` | the row itself, in one statement |
//! | `operator_acts` | nothing: rows are only added |
//! | `sightings` | the row itself, in one statement; a subscription's: the row of its customer |
//! | `alerts` | the one row of `alert_watches`, and the row itself: an operator silences it without the former |
//! | `alert_messages` | the one row of `alert_watches`, to write one; whoever sends it takes its row, in one statement |
//! | `stripe_calls` | the row itself, in one statement: each process adds to it |
//! | `membership_rounds` | the row itself, in one statement: its job runs once at a time |
//! | `reconciliations` | the row itself, in one statement: of two runs of one name the last word stands |
//! | `cron_runs` | the row itself: whoever inserts it runs the job |
//! | `analytics_points` | the row itself, in one statement: its job runs once at a time, and two runs write the same |
//! | `analytics_samples` | nothing: a process writes rows of its own |
//! | `dead_letters` | the row itself, in one statement: whoever comes second renews it |
//! | `deployment_keys` | the row itself, made where it is missing |

pub mod made;
mod touched;

use std::collections::BTreeSet;

use tollgate_shared::Timestamp;

use self::touched::customer_of;
use crate::api_keys::StoredKey;
use crate::audit::{AuditEntry, Cause};
use crate::charges::{self, Charge};
use crate::customers::{self, Customer};
use crate::entitlements;
use crate::events::LicenseEvent;
use crate::idempotency;
use crate::invoices::{self, Invoice};
use crate::licenses::{self, License, LicenseLog, machines};
use crate::memberships;
use crate::notifications;
use crate::payment_methods::{self, PaymentMethod};
use crate::payments::{self, Payment};
use crate::plans::Plans;
use crate::plans::prices::{self, KnownPrice};
use crate::purchases::{self, Purchase};
use crate::releases;
use crate::settings::Settings;
use crate::subscriptions::{self, Subscription, savings};
use crate::support;
use crate::users::User;
use crate::widgets::Widget;
use tollgate_db::{DbError, Lock, Record, Tx, UnitOfWork};
use tollgate_stripe::{Object, Observation, SessionOutcome};

pub use self::touched::Touched;

/// Loads what is touched, each customer's row first and for writing: two replicas then take one customer in turn.
/// Locks are taken table by table, in the order of keys, so that they cannot wait for each other in a circle.
pub async fn load(tx: &mut Tx, settings: &Settings, now: Timestamp, touched: &Touched) -> Result<UnitOfWork, DbError> {
    let mut work = if touched.is_of_nobody() {
        UnitOfWork::new(now, settings.rng.clone())
    } else {
        load_nouns(tx, settings, now, touched).await?
    };
    support::load(tx, &mut work, &touched.support).await?;
    releases::load(tx, &mut work, &touched.releases).await?;
    idempotency::load(tx, &mut work, &touched.requests).await?;
    Ok(work)
}

async fn load_nouns(
    tx: &mut Tx,
    settings: &Settings,
    now: Timestamp,
    touched: &Touched,
) -> Result<UnitOfWork, DbError> {
    if !touched.licenses.is_empty() {
        let mut work = UnitOfWork::new(now, settings.rng.clone());
        licenses::load(tx, &mut work, &touched.licenses).await?;
        return Ok(work);
    }
    let mut customers = touched.customers.clone();
    customers.extend(customers_by_rows(tx, settings, touched).await?);
    loop {
        let work = load_with(tx, settings, now, touched, &customers).await?;
        // Whose they are may have become known while a row was waited for; rare, and so is what this may collide with.
        let known = customers_by_rows(tx, settings, touched).await?;
        if known.is_subset(&customers) {
            return Ok(work);
        }
        customers.extend(known);
    }
}

/// The customers whom only rows name: who may have bought for good what is paid or given back.
async fn customers_by_rows(tx: &mut Tx, settings: &Settings, touched: &Touched) -> Result<BTreeSet<String>, DbError> {
    purchases::customers_of(tx, &settings.plans, &touched.charges_of_somebody, &touched.paid_invoices).await
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
    let customers = &load_customers(tx, plans, &mut work, customers, &touched.subscriptions).await?;
    load_invoices(tx, plans, &mut work, touched).await?;
    let shown = work.all::<Subscription>().flat_map(Subscription::price_ids).chain(&touched.prices);
    let prices = prices::to_look_up(plans, shown);
    work.add_seldom_changed::<KnownPrice>(tx.load("id", &prices, Lock::None).await?);
    load_money(tx, plans, &mut work, touched).await?;
    let has_bought = |id: &&String| work.get::<Customer>(id).is_some_and(|customer| customer.has_purchases);
    let buyers = customers.iter().filter(has_bought).cloned().collect();
    purchases::load(tx, &mut work, plans, &buyers).await?;
    work.add_seldom_changed(load_or_make(tx, &touched.payment_methods, PaymentMethod::placeholder).await?);
    let licenses: Vec<License> = tx.load("customer_id", customers, Lock::ForUpdate).await?;
    let logs = licenses.iter().map(|license| license.id.clone()).collect();
    // Read alone: that nobody comes or goes is what the licence's row is locked for.
    work.add_seldom_changed(machines::in_seats_of(tx, &logs, Lock::None).await?);
    work.add_loaded::<LicenseLog>(tx.load("license_id", &logs, Lock::ForUpdate).await?);
    work.add_loaded(licenses);
    // Of these a webhook changes none: its statement is to stay the same.
    if !touched.api_keys.is_empty() {
        work.add_loaded::<StoredKey>(tx.load("id", &touched.api_keys, Lock::ForUpdate).await?);
    }
    if !touched.widgets.is_empty() {
        work.add_loaded::<Widget>(tx.load("id", &touched.widgets, Lock::ForUpdate).await?);
    }
    if !touched.users.is_empty() {
        work.add_loaded(load_or_make(tx, &touched.users, |id| User::placeholder(now, id)).await?);
    }
    memberships::load(tx, &mut work, touched.of_pods()).await?;
    work.expect_appended_if_absent::<StoredKey>();
    work.expect_appended_if_absent::<Widget>();
    work.expect_appended::<AuditEntry>();
    work.expect_appended::<LicenseEvent>();
    Ok(work)
}

/// Loads customers and their subscriptions; gives the customers' ids. Of `subscriptions` one that has been another
/// customer's so far brings that one with it, since its access follows too. It is locked after the others, against the
/// order of keys: Stripe moves no subscription, and should two of these ever wait for each other the database ends it.
async fn load_customers(
    tx: &mut Tx,
    plans: &Plans,
    work: &mut UnitOfWork,
    customers: &BTreeSet<String>,
    subscriptions: &BTreeSet<String>,
) -> Result<BTreeSet<String>, DbError> {
    let now = work.now();
    let placeholder = |id: &str| Customer::placeholder(now, id, plans);
    work.add_loaded(load_or_make(tx, customers, placeholder).await?);
    let by = [("customer_id", customers), ("id", subscriptions)];
    let (of_customers, elsewhere): (Vec<Subscription>, Vec<Subscription>) = tx
        .load_by_either(by, Lock::None)
        .await?
        .into_iter()
        .partition(|subscription: &Subscription| customers.contains(&subscription.customer_id));
    work.add_loaded(of_customers);
    let others: BTreeSet<_> = elsewhere.into_iter().map(|subscription| subscription.customer_id).collect();
    work.add_loaded(load_or_make(tx, &others, placeholder).await?);
    work.add_loaded::<Subscription>(tx.load("customer_id", &others, Lock::None).await?);
    Ok(customers.union(&others).cloned().collect())
}

/// Loads the invoices that are touched, and the latest one of each subscription that is past due: of no other does it
/// matter since when it failed.
async fn load_invoices(tx: &mut Tx, plans: &Plans, work: &mut UnitOfWork, touched: &Touched) -> Result<(), DbError> {
    let mut ids = touched.invoices.clone();
    if plans.past_due_days().is_some() {
        let past_due = work.all().filter(|row: &&Subscription| row.access_status.as_deref() == Some("past_due"));
        ids.extend(past_due.filter_map(|row| row.latest_invoice_id.clone()));
    }
    work.add_loaded::<Invoice>(tx.load("id", &ids, Lock::ForUpdate).await?);
    work.add_loaded(load_or_make(tx, &touched.invoices_of_nobody, Invoice::placeholder).await?);
    Ok(())
}

/// Loads the payments that are touched and what was given back of them. Of what is sold for good, something may have been
/// given back before it was seen; and neither the invoice nor what pays it names what the other one does, so that of two
/// writers one has to wait for the invoice's payment, and only then knows what pays it.
async fn load_money(tx: &mut Tx, plans: &Plans, work: &mut UnitOfWork, touched: &Touched) -> Result<(), DbError> {
    work.add_loaded(tx.load_or_insert(&touched.charges.values().collect::<Vec<_>>()).await?);
    let mut made = touched.payments.clone();
    if plans.sell_for_good() {
        made.extend(touched.paid_invoices.iter().chain(&touched.guarded_payments).cloned());
    }
    work.add_loaded(load_or_make(tx, &made, Payment::placeholder).await?);
    let intents = touched.charges.keys().cloned().collect();
    let by = [("id", &touched.guarded_payments), ("payment_intent_id", &intents)];
    work.add_loaded::<Payment>(tx.load_by_either(by, Lock::ForUpdate).await?);
    if plans.sell_for_good() {
        work.add_loaded::<Charge>(tx.load("belongs_to", &touched.purchases, Lock::ForUpdate).await?);
    }
    Ok(())
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

/// Does what `observation` does, which Stripe showed us.
pub fn apply(work: &mut UnitOfWork, settings: &Settings, observation: &Observation) {
    apply_because(work, settings, observation, Cause::stripe(observation));
}

/// Does what `observation` does, which `cause` has brought about.
pub fn apply_because(work: &mut UnitOfWork, settings: &Settings, observation: &Observation, cause: Cause<'_>) {
    let plans = &*settings.plans;
    let mut customers = customers_of(work, observation);
    for customer in &customers {
        entitlements::reapply_plans(work, settings, customer);
    }
    if let Some(customer) = customer_of(observation) {
        customers::note_origin(work, plans, observation, customer);
        if prices::learn(work, plans, observation) {
            subscriptions::recompute_all(work, plans, customer);
        }
    }
    let event = match &observation.object {
        Object::Customer { before, after, deleted } => {
            customers::apply(work, plans, observation, before.as_ref(), after, *deleted);
            None
        }
        Object::Subscription { before, after, ended } => {
            let status = subscriptions::apply(work, plans, observation, before.as_ref(), after, *ended);
            // A stale snapshot gives licence and key too, so that the order of arrival makes no difference.
            if let Some(status) = status {
                entitlements::grant(work, settings, observation.livemode, &after.customer, &status);
            }
            None
        }
        Object::CheckoutSession(session, outcome) => {
            if let (SessionOutcome::Completed | SessionOutcome::AsyncSucceeded, Some(customer)) =
                (outcome, &session.customer)
            {
                customers::claim_by_session(work, plans, observation, customer, session);
                let contact = [session.customer_email.as_ref(), session.customer_name.as_ref()];
                let made = (&*session.id, session.created);
                customers::note_contact(work, plans, observation, customer, made, contact);
                if let Some(subscription) = &session.subscription {
                    subscriptions::name(work, observation, subscription, customer);
                }
                if let Some(buyer) = purchases::apply_session(work, plans, observation.livemode, session) {
                    customers::note_purchase(work, plans, buyer);
                }
            }
            let subscription = session.subscription.as_deref().and_then(|id| work.get::<Subscription>(id));
            let is_of_pod = subscription.is_some_and(Subscription::is_of_pod);
            payments::apply_session(work, observation, session, *outcome).filter(|_| !is_of_pod)
        }
        Object::Invoice(invoice, failed) => {
            let is_of_pod = savings::is_of_pod(work, invoice);
            let event = invoices::apply(work, observation, invoice, *failed);
            if let Some(customer) = &invoice.customer {
                let contact = [invoice.customer_email.as_ref(), invoice.customer_name.as_ref()];
                let made = (&*invoice.id, invoice.created);
                customers::note_contact(work, plans, observation, customer, made, contact);
            }
            payments::apply_invoice(work, observation, invoice);
            if !is_of_pod && let Some(buyer) = purchases::apply_invoice(work, observation.livemode, invoice) {
                customers::note_purchase(work, plans, buyer);
            }
            if let Some(customer) = subscriptions::infer(work, plans, observation, invoice) {
                entitlements::grant(work, settings, observation.livemode, customer, "active");
            }
            // A licence is shared at work, savings are not: apps are told nothing of pods.
            event.filter(|_| !is_of_pod)
        }
        Object::InvoicePayment(payment) => {
            if let (Some(intent), Some(invoice)) = (&payment.payment_intent, &payment.invoice) {
                payments::link_intent(work, intent, Some(invoice), None);
            }
            None
        }
        Object::PaymentIntent(intent) => {
            charges::apply_intent(work, observation, intent);
            payments::apply_intent(work, observation, intent)
        }
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
    customers.append(&mut customers_of(work, observation));
    for customer in &customers {
        if let Some(at) = work.get::<Customer>(customer).and_then(Customer::deleted_at) {
            subscriptions::end_with_customer(work, plans, customer, at);
        }
        entitlements::follow(work, settings, cause, customer);
    }
    if let (Some(customer), Some(event)) = (customer_of(observation), event) {
        licenses::append_event(work, customer, event);
    }
    memberships::tied::follow(work, observation, settings.pod_retries);
    // Of what else has changed people are told by [`notifications::follow`], when whoever called this is done too.
    notifications::note_trial_ending(work, settings, observation);
}

/// The customer whose entitlement an observation may change, with whoever bought what was paid or given back, and with whose the subscription has been so far that the
/// observation is about; as far as their rows are here.
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
    let subscription = match &observation.object {
        Object::Subscription { after, .. } => Some(&after.id),
        Object::CheckoutSession(session, _) => session.subscription.as_ref(),
        Object::Invoice(invoice, _) => invoice.subscription.as_ref(),
        _ => None,
    };
    let by_subscription = subscription.and_then(|id| work.get::<Subscription>(id)).map(|row| &*row.customer_id);
    customer_of(observation).into_iter().chain(by_rows).chain(by_subscription).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
