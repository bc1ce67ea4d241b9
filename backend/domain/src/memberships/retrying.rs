//! A member asks for what is overdue to be paid once more.

use chrono::Duration;
use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;

use crate::charges::failures::Failure;
use crate::contributions::tries::RetryOwner;
use crate::contributions::{Contribution, ContributionStatus};
use crate::memberships::settled::{oldest_overdue, settle};

/// How often a member may ask in a day.
const ASKED_MAX: usize = 5;

/// How long an attempt may be in flight.
const IN_FLIGHT: Duration = Duration::minutes(2);

/// Why nothing is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRetry {
    /// Nothing is overdue.
    #[error("nothing is overdue")]
    NothingToPay,
    /// A payment is under way.
    #[error("a payment is under way already")]
    InProgress,
    /// It was asked for five times in a day.
    #[error("this was asked for too often today")]
    TooOften,
}

/// Notes that a member asks for the oldest overdue contribution to be paid; gives it, and which asking it is.
pub fn ask(work: &mut UnitOfWork, membership_id: &str) -> Result<(Contribution, usize), CannotRetry> {
    let now = work.now();
    let of_membership = |one: &&Contribution| one.membership_id == membership_id && one.counts();
    let contributions: Vec<&Contribution> = work.all().filter(of_membership).collect();
    let is_in_flight = |one: &&Contribution| one.asking_until.is_some_and(|until| until > now);
    let is_pending = |one: &&Contribution| one.status() == ContributionStatus::Pending;
    if contributions.iter().any(is_in_flight) {
        return Err(CannotRetry::InProgress);
    }
    let found = oldest_overdue(&contributions).filter(|one| one.invoice_id.is_some());
    let Some(found) = found else {
        let is_under_way = contributions.iter().any(is_pending);
        return Err(if is_under_way { CannotRetry::InProgress } else { CannotRetry::NothingToPay });
    };
    let today = contributions.iter().flat_map(|one| one.asked_at.iter()).filter(|at| now - **at < Duration::days(1));
    if today.count() >= ASKED_MAX {
        return Err(CannotRetry::TooOften);
    }
    let mut row = found.clone();
    row.asked_at.push(now);
    row.asking_until = Some(now + IN_FLIGHT);
    work.insert(row.clone());
    let number = row.asked_at.len();
    Ok((row, number))
}

/// What Stripe answered whoever asked; paid it is by its invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is paid, or no longer owed.
    Settled,
    /// A bank is told to pay, which takes days.
    UnderWay,
    /// It failed, for this reason where there is one, with `pm_…` where that is known.
    Failed {
        /// Stripe's decline code, else its code.
        code: Option<String>,
        /// `pm_…`
        method: Option<String>,
        /// Whether the issuer advises not to try that method again.
        is_advised_against: bool,
    },
    /// Nothing, or nothing about the payment: it may be under way.
    Unknown,
}

/// Notes what Stripe answered the user who asked.
pub fn answered(work: &mut UnitOfWork, contribution_id: &str, answer: &Answered, retries: RetryOwner) {
    let Some(mut row) = work.get_cloned::<Contribution>(contribution_id) else { return };
    row.note_answer(answer, work.now());
    let membership_id = row.membership_id.clone();
    row.settle(work);
    work.insert(row);
    settle(work, &membership_id, retries);
}

impl Contribution {
    /// Notes what Stripe answered an attempt that it was asked for.
    pub(super) fn note_answer(&mut self, answer: &Answered, now: Timestamp) {
        // Whoever asks next would make a second attempt beside one that may still be under way: the time that it has runs out.
        if *answer == Answered::Unknown {
            return;
        }
        self.asking_until = None;
        self.asked_since = (*answer == Answered::UnderWay).then_some(now);
        if let Answered::Failed { code: Some(code), method, is_advised_against } = answer {
            let failure = Failure::of_code(now.timestamp(), code);
            let is_advised_against = *is_advised_against;
            self.failures.see(method.as_deref().unwrap_or_default(), Failure { is_advised_against, ..failure });
        }
    }
}
