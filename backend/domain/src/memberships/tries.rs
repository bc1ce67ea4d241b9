//! Tries of what is overdue: whose turn it is, and what came of it. One at a time an invoice, whoever asks for it: who is
//! at it holds its row for a while.

use chrono::Duration;
use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;

use crate::contributions::Contribution;
use crate::contributions::tries::{RetryOwner, Step};
use crate::memberships::planned::Facts;
use crate::memberships::retrying::Answered;
use crate::memberships::settled::settle;

/// For how long whoever is at an invoice has it to itself: longer than a job's calls may take, each of which is given up
/// after a minute and a half.
const LEASE: Duration = Duration::minutes(8);

/// How long an invoice rests after a call that gave no answer.
const REST: Duration = Duration::minutes(1);

/// Takes up a contribution about which something is due, and holds it; none where nothing is, or somebody is at it.
pub fn take_up(work: &mut UnitOfWork, contribution_id: &str, owner: RetryOwner) -> Option<(Contribution, Step)> {
    let now = work.now();
    let membership_id = work.get::<Contribution>(contribution_id)?.membership_id.clone();
    // More may be here than when it was looked at last: what was tried for other contributions by the same customer.
    settle(work, &membership_id, owner);
    let row: Contribution = work.get_cloned(contribution_id)?;
    if row.asking_until.is_some_and(|until| until > now) {
        return None;
    }
    let facts = Facts::of(work, work.get(&membership_id)?, owner)?;
    let (step, _) = facts.step(&row, now).filter(|(_, at)| *at <= now)?;
    let row = Contribution { asking_until: Some(now + LEASE), ..row };
    work.insert(row.clone());
    Some((row, step))
}

/// Begins a try of a contribution that was taken up, or goes on with the one that was not answered: its number, which is
/// kept before Stripe is asked. None where it is not to be tried after all; it is then given back.
pub fn begin(work: &mut UnitOfWork, contribution_id: &str, owner: RetryOwner) -> Option<usize> {
    let now = work.now();
    let mut row: Contribution = work.get_cloned(contribution_id)?;
    let facts = Facts::of(work, work.get(&row.membership_id)?, owner);
    let step = facts.as_ref().and_then(|facts| facts.step(&row, now));
    let number = match (step, facts) {
        (Some((Step::Try, at)), Some(facts)) if at <= now => Some(row.begin_try(now, facts.method.as_deref())),
        _ => None,
    };
    if number.is_none() {
        row.asking_until = None;
        row.is_trying &= row.status().is_overdue();
    }
    finish(work, row, owner);
    number
}

/// Notes what Stripe answered a try, at `at` by its own clock.
pub fn answered(work: &mut UnitOfWork, contribution_id: &str, answer: &Answered, at: Timestamp, owner: RetryOwner) {
    let Some(mut row) = work.get_cloned::<Contribution>(contribution_id) else { return };
    let mut answer = answer.clone();
    if let Answered::Failed { method, .. } = &mut answer {
        *method = row.tries.last().and_then(|last| last.method.clone());
    }
    row.note_answer(&answer, work.now());
    match answer {
        // Somebody else has settled it before.
        Answered::Failed { .. } if !row.status().is_overdue() => row.withdraw_try(),
        Answered::Failed { .. } => row.fail_try(at),
        Answered::UnderWay | Answered::Settled => row.is_trying = false,
        Answered::Unknown => {}
    }
    finish(work, row, owner);
}

/// Notes that Stripe tries a contribution's invoice no more by itself.
pub fn schedule_ended(work: &mut UnitOfWork, contribution_id: &str, owner: RetryOwner) {
    let Some(mut row) = work.get_cloned::<Contribution>(contribution_id) else { return };
    row.schedule_ended_at = row.schedule_ended_at.or(Some(work.now()));
    row.asking_until = None;
    finish(work, row, owner);
}

/// Gives a contribution back that could not be seen to: it rests for a while.
pub fn let_rest(work: &mut UnitOfWork, contribution_id: &str) {
    if let Some(row) = work.get_cloned::<Contribution>(contribution_id) {
        work.insert(Contribution { asking_until: Some(work.now() + REST), ..row });
    }
}

fn finish(work: &mut UnitOfWork, mut row: Contribution, owner: RetryOwner) {
    row.settle(work);
    let membership_id = row.membership_id.clone();
    work.insert(row);
    settle(work, &membership_id, owner);
}
