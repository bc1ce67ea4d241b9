//! What is to be done about a membership's overdue contributions, and when.

use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;

use crate::contributions::tries::{RetryOwner, Situation, Step};
use crate::contributions::{Contribution, ContributionStatus};
use crate::memberships::Membership;

/// Says of each of a membership's contributions what is to be done about it and when, and when it is tried next.
pub(super) fn plan(work: &mut UnitOfWork, row: &Membership, owner: RetryOwner) {
    let facts = Facts::of(work, row, owner);
    let of_membership = |one: &&Contribution| one.membership_id == row.id;
    let contributions: Vec<_> = work.all().filter(of_membership).cloned().collect();
    for was in contributions {
        let step_at = facts.as_ref().and_then(|facts| facts.step(&was, work.now())).map(|(_, at)| at);
        // Until the first attempt has failed it is Stripe that makes it, whoever makes the next ones.
        let is_taken = owner == RetryOwner::Tollgate || was.schedule_ended_at.is_some();
        let is_ours = is_taken && was.status() != ContributionStatus::Due;
        let next_try = || facts.as_ref()?.next_try(&was, work.now());
        let next_attempt_at = if is_ours { next_try() } else { was.next_attempt_at };
        if (step_at, next_attempt_at) != (was.step_at, was.next_attempt_at) {
            work.insert(Contribution { next_attempt_at, step_at, ..was });
        }
    }
}

/// What of a membership counts for tries.
pub(super) struct Facts {
    owner: RetryOwner,
    has_left: bool,
    grace_ends_at: Timestamp,
    /// `pm_…` that is charged now, as far as that is known.
    pub(super) method: Option<String>,
    tried_with_method: Vec<Timestamp>,
}

impl Facts {
    /// None where nothing of it is overdue.
    pub(super) fn of(work: &UnitOfWork, row: &Membership, owner: RetryOwner) -> Option<Self> {
        let grace_ends_at = row.grace_ends_at?;
        let method = row.charged_method_id.clone();
        let tries = work.all().flat_map(|one: &Contribution| one.tries.iter());
        let with_it = tries.filter(|one| method.is_some() && one.method == method).map(|one| one.at);
        let tried_with_method = with_it.collect();
        // Who has left is not tried any more; Stripe's own schedule ends with the grace all the same.
        let has_left = row.over_at.is_some() && !row.is_over_in_time;
        Some(Self { owner, has_left, grace_ends_at, method, tried_with_method })
    }

    /// What is to be done about a contribution of it, and when. Once the grace is over nothing is tried, whenever it was due.
    pub(super) fn step(&self, one: &Contribution, now: Timestamp) -> Option<(Step, Timestamp)> {
        one.next_step(&self.situation()).filter(|(step, _)| *step != Step::Try || now < self.grace_ends_at)
    }

    fn next_try(&self, one: &Contribution, now: Timestamp) -> Option<Timestamp> {
        one.next_try(&self.situation()).ok().filter(|_| now < self.grace_ends_at)
    }

    fn situation(&self) -> Situation<'_> {
        let Self { owner, has_left, grace_ends_at, .. } = *self;
        let (method, tried_with_method) = (self.method.as_deref(), &*self.tried_with_method);
        Situation { owner, has_left, grace_ends_at, method, tried_with_method }
    }
}
