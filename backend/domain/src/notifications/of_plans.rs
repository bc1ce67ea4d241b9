//! What customers of plans are told.

use tollgate_db::{Change, UnitOfWork};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::customers::Customer;
use crate::invoices::Invoice;
use crate::notifications::facts::Facts;
use crate::notifications::notice::{Notice, Recipient};
use crate::notifications::of_pods::{GRACE_ENDING, needs_action};
use crate::notifications::template::Template;
use crate::settings::Settings;
use crate::subscriptions::Subscription;

/// What an invoice of a plan has come to.
pub(super) fn of_invoice(
    work: &UnitOfWork,
    settings: &Settings,
    change: &Change<'_, Invoice>,
    notices: &mut Vec<Notice>,
) {
    let Change { before, after: row } = *change;
    let failed_before = before.map_or(0, |before| before.failed_attempts);
    let may_matter = row.failed_attempts > 0 || row.action_required_at.is_some();
    let subscription = || work.get::<Subscription>(row.subscription_id.as_deref()?);
    let Some(subscription) = subscription().filter(|_| may_matter && row.pod_id.is_none()) else { return };
    let Some(recipient) = row.customer_id.as_deref().and_then(|id| recipient(work, id)) else { return };
    if subscription.is_of_pod() {
        return;
    }
    let mut add = |template| {
        notices.push(Notice {
            template,
            subject: row.id.clone(),
            recipient: recipient.clone(),
            facts: of_payment(work, settings, subscription, row),
        });
    };
    // Whoever pays the first one is still at the checkout, and sees what became of it. That is the invoice's own word: how
    // its subscription stands meanwhile depends on which event is taken first.
    let is_alarming = |row: &Invoice| is_alarming(row, settings.alert_attempts) && !row.is_first;
    let was_alarming = before.is_some_and(is_alarming);
    if row.status == "open" {
        if row.failed_attempts > 0 && failed_before == 0 {
            add(Template::PaymentFailed);
        }
        if is_alarming(row) && !was_alarming {
            add(Template::PaymentFailing);
        }
        if needs_action(change) && !row.is_first {
            add(Template::PaymentActionRequired);
        }
    }
    let was_open = before.is_some_and(|before| before.status == "open");
    if row.status == "paid" && was_open {
        let needed_action = before.is_some_and(|before| before.action_required_at.is_some()) && !row.is_first;
        if was_alarming || needed_action || is_grace_ending(work, subscription) {
            add(Template::PaymentRecovered);
        }
    }
}

/// Whether so many attempts have failed, or the last one that there will be.
fn is_alarming(row: &Invoice, alert_attempts: i64) -> bool {
    let has_failed = row.status == "open" && row.failed_attempts > 0;
    has_failed && (row.next_attempt_at.is_none() || row.failed_attempts >= alert_attempts)
}

/// Whether the grace of its customer was about to end before.
fn is_grace_ending(work: &UnitOfWork, subscription: &Subscription) -> bool {
    let before = work.before::<Customer>(&subscription.customer_id);
    let end = before.and_then(|row| row.entitled_until);
    end.is_some_and(|end| end - work.now() < GRACE_ENDING)
}

fn of_payment(work: &UnitOfWork, settings: &Settings, subscription: &Subscription, row: &Invoice) -> Facts {
    let customer = work.get::<Customer>(&subscription.customer_id);
    let is_open = row.status == "open";
    let facts = Facts {
        subscription_id: Some(subscription.id.clone()),
        invoice_id: Some(row.id.clone()),
        plan_name: plan_name(settings, subscription),
        amount: Some(if is_open { row.amount_due } else { row.amount_paid }),
        currency: row.currency.clone(),
        attempts: Some(row.attempts),
        next_attempt_at: row.next_attempt_at.map(rfc3339).filter(|_| is_open),
        paid_at: row.paid_at.map(rfc3339),
        pay_url: row.hosted_invoice_url.clone().filter(|_| is_open),
        ..Facts::default()
    };
    facts.with_grace(customer.and_then(|row| row.entitled_until).filter(|_| is_open), work.now())
}

/// Whether a customer's grace has ended by time alone: it is told by whoever ends the entitlement.
pub(super) fn of_customer(work: &UnitOfWork, settings: &Settings, change: &Change<'_, Customer>) -> Option<Notice> {
    let end = change.before?.entitled_until.filter(|end| *end <= work.now())?;
    if change.after.entitled_until.is_some() {
        return None;
    }
    let subscription: &Subscription = work.get(change.after.current_subscription_id.as_deref()?)?;
    of_grace(settings, subscription, change.after, end, work.now())
}

/// What is told of a grace of a plan that ends at `end`, over or not.
pub fn of_grace(
    settings: &Settings,
    subscription: &Subscription,
    customer: &Customer,
    end: Timestamp,
    now: Timestamp,
) -> Option<Notice> {
    if subscription.access_status.as_deref() != Some("past_due") {
        return None;
    }
    let facts = Facts {
        subscription_id: Some(subscription.id.clone()),
        invoice_id: subscription.latest_invoice_id.clone(),
        plan_name: plan_name(settings, subscription),
        ..Facts::default()
    };
    Some(Notice {
        template: if end <= now { Template::GraceEnded } else { Template::GraceEnding },
        subject: format!("{}:{}", subscription.id, end.timestamp()),
        recipient: recipient_of(customer),
        facts: facts.with_grace(Some(end), now),
    })
}

/// Whom something of a customer is told.
pub(super) fn recipient(work: &UnitOfWork, customer_id: &str) -> Option<Recipient> {
    work.get::<Customer>(customer_id).map(recipient_of)
}

fn recipient_of(row: &Customer) -> Recipient {
    Recipient { user_id: row.user_id.clone(), customer_id: Some(row.id.clone()) }
}

/// What the plan of a subscription is called.
pub(super) fn plan_name(settings: &Settings, row: &Subscription) -> Option<String> {
    Some(settings.plans.by_id(row.plan_id.as_deref()?)?.name.clone())
}
