//! What the clock alone brings about: a date that comes near, a grace that ends, a bank debit that takes its days. Pure: a
//! job looks at every membership, and writes what is not there yet.

use chrono::Duration;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::contributions::{Contribution, ContributionStatus};
use crate::memberships::{Membership, MembershipStatus};
use crate::notifications::facts::Facts;
use crate::notifications::notice::Notice;
use crate::notifications::of_pods::{facts_of, next_date, notice};
use crate::notifications::template::Template;
use crate::pods::Pod;

pub use crate::notifications::of_plans::of_grace;
pub use crate::notifications::of_pods::GRACE_ENDING;

/// How long before a date its members are reminded of it.
pub const REMINDED_BEFORE: Duration = Duration::hours(72);

/// How long the end of a grace is told of: where no job ran for so long, it is no news.
const GRACE_ENDED_FOR: Duration = Duration::days(7);

/// How long after an invoice is due an attempt that is not known to have failed is under way: a card's failure, which is
/// told in an event of its own, comes within seconds.
const UNDER_WAY_AFTER: Duration = Duration::hours(1);

/// What a member is to be told now.
pub fn of_membership(row: &Membership, pod: &Pod, now: Timestamp) -> Vec<Notice> {
    [contribution_due(row, pod, now), grace(row, pod, now)].into_iter().flatten().collect()
}

fn contribution_due(row: &Membership, pod: &Pod, now: Timestamp) -> Option<Notice> {
    let is_to_pay = matches!(row.status(now), MembershipStatus::Active | MembershipStatus::PastDue);
    let date = next_date(row, pod, now).filter(|date| is_to_pay && *date - now <= REMINDED_BEFORE)?;
    let facts = Facts {
        due_at: Some(rfc3339(date)),
        contribution_progress: Some(row.contribution_progress),
        contributions_total: row.contributions_total,
        ..facts_of(row, Some(pod))
    };
    Some(notice(Template::ContributionDue, format!("{}:{}", row.id, date.timestamp()), row, facts))
}

fn grace(row: &Membership, pod: &Pod, now: Timestamp) -> Option<Notice> {
    let end = row.grace_ends_at.filter(|end| *end - now < GRACE_ENDING && now - *end < GRACE_ENDED_FOR)?;
    let template = match row.status(now) {
        MembershipStatus::PastDue => Template::GraceEnding,
        MembershipStatus::Failed => Template::GraceEnded,
        _ => return None,
    };
    let facts = Facts {
        amount: Some(row.overdue_amount).filter(|amount| *amount > 0),
        attempts: Some(row.attempts),
        next_attempt_at: row.next_attempt_at.map(rfc3339),
        failure_code: row.failure_code.clone(),
        ..facts_of(row, Some(pod))
    };
    let subject = format!("{}:{}", row.id, end.timestamp());
    Some(notice(template, subject, row, facts.with_grace(Some(end), now)))
}

/// Whether a member is to be told that a bank debit is under way.
pub fn of_contribution(row: &Contribution, membership: &Membership, pod: &Pod, now: Timestamp) -> Option<Notice> {
    let is_under_way = row.status() == ContributionStatus::Pending && now - row.due_at >= UNDER_WAY_AFTER;
    let facts = Facts {
        contribution_id: Some(row.id.clone()),
        invoice_id: row.invoice_id.clone(),
        amount: Some(row.amount),
        currency: Some(row.currency.clone()),
        due_at: Some(rfc3339(row.due_at)),
        ..facts_of(membership, Some(pod))
    };
    let subject = row.invoice_id.clone().unwrap_or_else(|| row.id.clone());
    is_under_way.then(|| notice(Template::PaymentPending, subject, membership, facts))
}
