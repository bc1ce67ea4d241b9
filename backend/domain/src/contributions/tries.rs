//! When an overdue contribution is tried again, and by whom: one of the two owners that `POD_RETRIES` names, never both.
//!
//! `stripe`: by its own schedule, which is ended when the grace is over. `tollgate`: Stripe's schedule is ended at the first
//! failure, and once Stripe has confirmed that, we try at growing intervals until the grace is over. A try's number is kept
//! before Stripe is asked, and is the same until Stripe has answered.

use chrono::{Duration, SubsecRound as _};
use serde::{Deserialize, Serialize};
use tollgate_shared::Timestamp;

use crate::charges::failures::{Failure, Failures};
use crate::contributions::{Contribution, ContributionStatus};

/// How many hours after the failure before the first tries are made; the last one holds for all later ones.
const HOURS: [i64; 6] = [1, 2, 4, 8, 16, 24];

/// How often one invoice is tried.
const TRIES_MAX: usize = 10;

/// How often an invoice is tried by bank debit: as often as Nacha lets a debit be presented again.
const BANK_DEBIT_TRIES_MAX: usize = 2;

/// How long after its return a bank debit is tried again, at the earliest.
const BANK_DEBIT_REST: Duration = Duration::hours(24);

/// How often one payment method is tried within [`METHOD_SPAN`], for whatever: Visa's line.
const METHOD_TRIES_MAX: usize = 15;

/// See [`METHOD_TRIES_MAX`].
const METHOD_SPAN: Duration = Duration::days(30);

/// Who tries again what was not paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryOwner {
    /// Stripe, by the account's settings.
    #[default]
    Stripe,
    /// We do.
    Tollgate,
}

/// A try of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When it was begun.
    pub at: Timestamp,
    /// `pm_…` that was to be charged, as far as that was known.
    pub method: Option<String>,
    /// When it failed, once it has.
    pub failed_at: Option<Timestamp>,
}

/// What is to be done about an overdue contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Stripe's schedule is to be ended, since we try from here on.
    Take,
    /// It is to be ended, since the grace is over.
    Stop,
    /// It is to be tried.
    Try,
}

/// Why it is not tried (any more) by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTry {
    /// Nothing is overdue, or something is under way.
    NothingOverdue,
    /// Stripe does, or nobody.
    ByStripe,
    /// Its payment method was refused for good, and no other one is known.
    Refused,
    /// It was tried ten times.
    TriedOut,
    /// Its bank debit was presented twice more.
    DebitedOut,
    /// The grace is over before its time comes.
    GraceOver,
}

/// What counts beside the contribution itself.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Who tries what fails.
    pub owner: RetryOwner,
    /// Whether its payer has left: then nobody tries.
    pub has_left: bool,
    /// Until when something may be tried.
    pub grace_ends_at: Timestamp,
    /// `pm_…` that would be charged now, as far as that is known.
    pub method: Option<&'a str>,
    /// When that one was tried, for this contribution or another one.
    pub tried_with_method: &'a [Timestamp],
}

impl Contribution {
    /// What is to be done next, and when. What lies in the past is due.
    pub fn next_step(&self, situation: &Situation<'_>) -> Option<(Step, Timestamp)> {
        let is_open = self.invoice_id.is_some() && self.invoice_status.as_deref() == Some("open");
        if !is_open || self.status() != ContributionStatus::Failed {
            return None;
        }
        let stop = (Step::Stop, situation.grace_ends_at);
        match (self.schedule_ended_at, situation.owner) {
            (None, owner) if owner == RetryOwner::Stripe || situation.has_left => Some(stop),
            (None, _) => {
                // Whichever comes first, where the first failure became known late.
                let take = (Step::Take, self.first_failed_at.unwrap_or(self.due_at));
                Some(if take.1 < stop.1 { take } else { stop })
            }
            (Some(_), _) => self.next_try(situation).ok().map(|at| (Step::Try, at)),
        }
    }

    /// When it is tried by us, or why it is not. What we have once taken over from Stripe stays ours, whoever owns what fails
    /// from then on: nobody else would try it.
    pub fn next_try(&self, situation: &Situation<'_>) -> Result<Timestamp, NoTry> {
        if self.status() != ContributionStatus::Failed || self.invoice_id.is_none() {
            return Err(NoTry::NothingOverdue);
        }
        let is_ours = situation.owner == RetryOwner::Tollgate || self.schedule_ended_at.is_some();
        if situation.has_left || !is_ours {
            return Err(NoTry::ByStripe);
        }
        let at = self.time_of_next(situation)?;
        if at < situation.grace_ends_at { Ok(at) } else { Err(NoTry::GraceOver) }
    }

    fn time_of_next(&self, situation: &Situation<'_>) -> Result<Timestamp, NoTry> {
        if let Some(unanswered) = self.tries.last().filter(|_| self.is_trying) {
            return Ok(unanswered.at);
        }
        let failed_at = self.failed_before();
        let own = self.failure_of(situation.method);
        if own.is_some_and(Failure::is_final) {
            return Err(NoTry::Refused);
        }
        if self.tries.len() >= TRIES_MAX {
            return Err(NoTry::TriedOut);
        }
        let hours = HOURS.get(self.tries.len()).or(HOURS.last()).copied().unwrap_or_default();
        let mut at = failed_at + Duration::hours(hours);
        // Another payment method than the one that was refused for good: at once.
        if own.is_none() && self.failures.last().is_some_and(Failure::is_final) {
            at = failed_at;
        }
        if self.failures.is_bank_debit(situation.method.unwrap_or_default()) {
            if self.tries.iter().filter(|one| is_by_debit(&self.failures, one)).count() >= BANK_DEBIT_TRIES_MAX {
                return Err(NoTry::DebitedOut);
            }
            at = at.max(failed_at + BANK_DEBIT_REST);
        }
        Ok(after_others(at, situation.tried_with_method))
    }

    /// Why the payment method that would be charged now failed last. A failure that names no method is of whichever it was.
    fn failure_of(&self, method: Option<&str>) -> Option<&Failure> {
        self.failures.of_method(method.unwrap_or_default()).or_else(|| self.failures.of_method(""))
    }

    /// The failure that the next try's time counts from: of our last try, else of Stripe's. What its payer asked for moves
    /// nothing.
    fn failed_before(&self) -> Timestamp {
        if let Some(last) = self.tries.last() {
            return last.failed_at.unwrap_or(last.at);
        }
        let is_of_payer = |asked: &Timestamp| Some(asked.trunc_subsecs(0)) <= self.last_failed_at;
        let last = self.last_failed_at.filter(|_| !self.asked_at.iter().any(is_of_payer));
        last.or(self.first_failed_at).unwrap_or(self.due_at)
    }

    /// How many tries of ours Stripe has answered.
    pub fn tries_answered(&self) -> usize {
        self.tries.len() - usize::from(self.is_trying && !self.tries.is_empty())
    }

    /// Begins a try at `now`, or goes on with the one that was not answered; its number.
    pub fn begin_try(&mut self, now: Timestamp, method: Option<&str>) -> usize {
        if !self.is_trying {
            // A failure of the same second was before it.
            let at = self.last_failed_at.map_or(now, |failed| now.max(failed + Duration::seconds(1)));
            self.tries.push(Try { at, method: method.map(str::to_owned), failed_at: None });
            self.is_trying = true;
        }
        self.tries.len()
    }

    /// Notes that the last try has failed at `at`.
    pub fn fail_try(&mut self, at: Timestamp) {
        self.is_trying = false;
        if let Some(last) = self.tries.last_mut() {
            last.failed_at = last.failed_at.or(Some(at));
        }
    }

    /// Forgets the last try: there was nothing to be paid.
    pub fn withdraw_try(&mut self) {
        if self.is_trying {
            self.is_trying = false;
            self.tries.pop();
        }
    }

    /// A failure that Stripe tells of is that of the last try, if it came after it.
    pub(super) fn settle_try(&mut self) {
        let Some(failed_at) = self.last_failed_at else { return };
        let is_its = |last: &Try| last.failed_at.is_none() && last.at.trunc_subsecs(0) <= failed_at;
        if self.tries.last().is_some_and(is_its) {
            self.fail_try(failed_at);
        }
    }
}

fn is_by_debit(failures: &Failures, one: &Try) -> bool {
    failures.is_bank_debit(one.method.as_deref().unwrap_or_default())
}

/// `at`, or as soon after it as the payment method has not been tried too often.
fn after_others(at: Timestamp, tried: &[Timestamp]) -> Timestamp {
    let mut tried = tried.to_vec();
    tried.sort_unstable();
    // Of the tries that count the one that has to be past before there may be another.
    let first_that_counts = tried.len().checked_sub(METHOD_TRIES_MAX).map(|index| tried[index]);
    first_that_counts.map_or(at, |first| at.max(first + METHOD_SPAN))
}

#[cfg(test)]
mod tests;
