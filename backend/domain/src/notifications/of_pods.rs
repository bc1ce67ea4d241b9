//! What members of pods are told.

use chrono::Duration;
use tollgate_db::{Change, UnitOfWork};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::contributions::{Contribution, ContributionStatus};
use crate::invoices::Invoice;
use crate::memberships::{Membership, MembershipStatus};
use crate::notifications::facts::Facts;
use crate::notifications::notice::{Notice, Recipient};
use crate::notifications::template::Template;
use crate::payouts::Payout;
use crate::pods::Pod;

/// How long before the end of a grace it is about to end.
pub const GRACE_ENDING: Duration = Duration::hours(48);

/// What a contribution has come to: paid, or not.
pub(super) fn of_contribution(
    work: &UnitOfWork,
    alert_attempts: i64,
    change: &Change<'_, Contribution>,
    notices: &mut Vec<Notice>,
) {
    let Change { before, after: row } = *change;
    let Some(membership) = work.get::<Membership>(&row.membership_id).filter(|_| row.counts()) else { return };
    let mut add = |template| notices.push(of_payment(work, template, membership, row));
    let was = before.map(Contribution::status);
    match row.status() {
        ContributionStatus::Succeeded if !was.is_some_and(ContributionStatus::was_paid) => {
            add(Template::PaymentReceived);
            if before.is_some_and(|before| was_alarming(work, alert_attempts, before)) {
                add(Template::PaymentRecovered);
            }
        }
        ContributionStatus::Failed => {
            if before.is_none_or(|before| before.first_failed_at.is_none()) {
                add(Template::PaymentFailed);
            }
            let was_known = before.is_some_and(|before| is_alarming(before, alert_attempts));
            if is_alarming(row, alert_attempts) && !was_known {
                add(Template::PaymentFailing);
            }
        }
        // Of what Stripe tells it is not known at once whether an attempt is under way or has failed: a job looks later.
        ContributionStatus::Pending
            if was != Some(ContributionStatus::Pending) && row.reported_status.as_deref() == Some("pending") =>
        {
            add(Template::PaymentPending);
        }
        _ => {}
    }
}

/// Whether so many attempts have failed, or the last one that there will be.
fn is_alarming(row: &Contribution, alert_attempts: i64) -> bool {
    let is_last = row.next_attempt_at.is_none();
    row.status() == ContributionStatus::Failed && (is_last || row.attempts_in_all() >= alert_attempts)
}

/// Whether its payer was told before that something has to be done.
fn was_alarming(work: &UnitOfWork, alert_attempts: i64, before: &Contribution) -> bool {
    let invoice = || before.invoice_id.as_deref().and_then(|id| work.get::<Invoice>(id));
    let membership = || work.before::<Membership>(&before.membership_id);
    let is_grace_ending = |row: &Membership| row.grace_ends_at.is_some_and(|end| end - work.now() < GRACE_ENDING);
    is_alarming(before, alert_attempts)
        || invoice().is_some_and(|row| row.action_required_at.is_some())
        || (before.status().is_overdue() && membership().is_some_and(is_grace_ending))
}

/// What is told of a payment of a membership.
pub(super) fn of_payment(work: &UnitOfWork, template: Template, membership: &Membership, row: &Contribution) -> Notice {
    let invoice = row.invoice_id.as_deref().and_then(|id| work.get::<Invoice>(id));
    let amount = if row.status().was_paid() { row.amount_paid } else { row.amount };
    let facts = Facts {
        contribution_id: Some(row.id.clone()),
        invoice_id: row.invoice_id.clone(),
        amount: Some(amount),
        currency: Some(row.currency.clone()),
        due_at: Some(rfc3339(row.due_at)),
        paid_at: row.paid_at.map(rfc3339),
        next_attempt_at: row.next_attempt_at.map(rfc3339),
        attempts: Some(row.attempts_in_all()),
        failure_code: row.failure_code.clone(),
        pay_url: invoice.filter(|row| row.status == "open").and_then(|row| row.hosted_invoice_url.clone()),
        contribution_progress: Some(membership.contribution_progress),
        contributions_total: membership.contributions_total,
        total_contributed: Some(membership.total_contributed),
        ..of_member(work, membership)
    };
    let subject = row.invoice_id.clone().unwrap_or_else(|| row.id.clone());
    notice(template, subject, membership, facts.with_grace(membership.grace_ends_at, work.now()))
}

/// The membership whose invoice it is.
pub(super) fn member_of<'w>(work: &'w UnitOfWork, row: &Invoice) -> Option<&'w Membership> {
    let subscription = row.subscription_id.as_deref()?;
    work.all().find(|membership: &&Membership| membership.subscription_id.as_deref() == Some(subscription))
}

/// Whether the payer of a contribution has come to have to confirm its payment.
pub(super) fn of_invoice(work: &UnitOfWork, change: &Change<'_, Invoice>, membership: &Membership) -> Option<Notice> {
    let is_of = |one: &&Contribution| one.invoice_id.as_deref() == Some(&*change.after.id);
    let contribution = work.all().find(is_of)?;
    needs_action(change).then(|| of_payment(work, Template::PaymentActionRequired, membership, contribution))
}

/// Whether an invoice has come to be one whose payer has to confirm its payment.
pub(super) fn needs_action(change: &Change<'_, Invoice>) -> bool {
    let was_known = change.before.is_some_and(|before| before.action_required_at.is_some());
    change.after.action_required_at.is_some() && !was_known && change.after.status == "open"
}

/// Whether somebody has become a member, or is one no longer. Who is called off with the pod is told so.
pub(super) fn of_membership(work: &UnitOfWork, change: &Change<'_, Membership>) -> Option<Notice> {
    let Change { before, after: row } = *change;
    row.subscription_id.as_ref()?;
    let pod: &Pod = work.get(&row.pod_id)?;
    let status = row.status(work.now());
    let template = if before.is_none_or(|before| before.subscription_id.is_none()) && status.holds_a_seat() {
        Template::PodJoined
    } else if row.ended_at.is_some() && before.is_some_and(|before| before.ended_at.is_none()) {
        match status {
            _ if pod.canceled_at.is_some() => return None,
            MembershipStatus::Completed => Template::PodCompleted,
            _ if row.is_over_in_time => Template::PodCompleted,
            _ => Template::PodLeft,
        }
    } else {
        return None;
    };
    let is_over = template != Template::PodJoined;
    let facts = Facts {
        due_at: next_date(row, pod, work.now()).map(rfc3339).filter(|_| !is_over),
        contribution_progress: Some(row.contribution_progress),
        contributions_total: row.contributions_total,
        total_contributed: Some(row.total_contributed),
        reason: row.end_reason.clone().filter(|_| is_over),
        ..of_member(work, row)
    };
    Some(notice(template, row.id.clone(), row, facts))
}

/// Whether a pod was called off, or a date of it moved: each of its members is told.
pub(super) fn of_pod(work: &UnitOfWork, change: &Change<'_, Pod>, notices: &mut Vec<Notice>) {
    let Change { before: Some(before), after: pod } = *change else { return };
    let members = || work.all::<Membership>().filter(|row| row.pod_id == pod.id && row.subscription_id.is_some());
    if pod.canceled_at.is_some() && before.canceled_at.is_none() {
        let was_in =
            |row: &&Membership| work.before::<Membership>(&row.id).unwrap_or(row).status(work.now()).holds_a_seat();
        notices.extend(members().filter(was_in).map(|row| {
            let facts = Facts {
                reason: pod.cancel_reason.clone(),
                total_contributed: Some(row.total_contributed),
                ..of_member(work, row)
            };
            notice(Template::PodCanceled, pod.id.clone(), row, facts)
        }));
    } else if pod.schedule() != before.schedule() {
        let to_stay = members().filter(|row| row.status(work.now()).is_live() && row.leaves_at.is_none());
        notices.extend(to_stay.filter_map(|row| {
            let date = next_date(row, pod, work.now())?;
            let facts = Facts { due_at: Some(rfc3339(date)), ..of_member(work, row) };
            Some(notice(Template::PodDateChanged, format!("{}:{}", pod.id, date.timestamp()), row, facts))
        }));
    }
}

/// Whether something was paid out to a member.
pub(super) fn of_payout(work: &UnitOfWork, change: &Change<'_, Payout>) -> Option<Notice> {
    let Change { before: None, after: payout } = *change else { return None };
    let membership: &Membership = work.get(&payout.membership_id)?;
    let facts = Facts {
        payout_id: Some(payout.id.clone()),
        amount: Some(payout.amount),
        paid_at: Some(rfc3339(payout.paid_at)),
        reference: Some(payout.reference.clone()),
        ..of_member(work, membership)
    };
    Some(notice(Template::PodPayout, payout.id.clone(), membership, facts))
}

/// When a member pays next.
pub(super) fn next_date(row: &Membership, pod: &Pod, now: Timestamp) -> Option<Timestamp> {
    let next = pod.next_contribution_date(now).map(|at| at.max(row.first_date));
    next.filter(|at| row.leaves_at.is_none_or(|leaves| leaves > *at))
}

/// What names a membership, and what it pays.
pub(super) fn of_member(work: &UnitOfWork, row: &Membership) -> Facts {
    facts_of(row, work.get::<Pod>(&row.pod_id))
}

/// The same of rows that were read.
pub(super) fn facts_of(row: &Membership, pod: Option<&Pod>) -> Facts {
    Facts {
        pod_id: Some(row.pod_id.clone()),
        pod_name: pod.map(|pod| pod.name.clone()),
        membership_id: Some(row.id.clone()),
        amount: pod.map(|pod| pod.amount),
        currency: pod.map(|pod| pod.currency.clone()),
        ..Facts::default()
    }
}

pub(super) fn notice(template: Template, subject: String, row: &Membership, facts: Facts) -> Notice {
    Notice { template, subject, recipient: Recipient::user(&row.user_id, row.customer_id.as_deref()), facts }
}
