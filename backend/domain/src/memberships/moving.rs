//! The next date of a pod is moved, and the subscriptions of its members follow.

use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;

use crate::memberships::Membership;
use crate::pods::Pod;

/// Why a date is not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotMove {
    /// Something is pending or in grace.
    #[error("a contribution is under way; move the date when it is settled")]
    UnderWay,
    /// There is no next date, or no such pod.
    #[error("this pod has no date to come")]
    Closed,
}

/// Moves the next date of a pod whose memberships are all here; later ones count from it.
pub fn move_next_date(work: &mut UnitOfWork, pod_id: &str, at: Timestamp) -> Result<(), CannotMove> {
    let now = work.now();
    let mut pod: Pod = work.get_cloned(pod_id).ok_or(CannotMove::Closed)?;
    pod.next_contribution_date(now).ok_or(CannotMove::Closed)?;
    let of_pod = || work.all().filter(|row: &&Membership| row.pod_id == pod_id);
    if of_pod().any(|row| row.is_unsettled(now)) {
        return Err(CannotMove::UnderWay);
    }
    let to_begin: Vec<_> =
        of_pod().filter(|row| row.first_date > now && row.subscription_id.is_some()).cloned().collect();
    let moved = pod.schedule().moved(now, at);
    pod.set_schedule(&moved, now);
    pod.moving_since = Some(now);
    work.insert(pod);
    for row in to_begin {
        work.insert(Membership { first_date: at, ..row });
    }
    Ok(())
}

/// The date that a membership's subscription is to be moved to, if it is to be: one whose period ends at another moment
/// than the pod's next date. Where its period is over it is Stripe that has not said how it goes on, and to move it would
/// leave a contribution out.
pub fn to_be_moved(row: &Membership, pod: &Pod, now: Timestamp) -> Option<Timestamp> {
    let next = pod.next_contribution_date(now)?;
    let period_end = row.current_period_end.filter(|end| *end > now)?;
    let is_to_stay = row.status(now).is_live() && row.leaves_at.is_none() && !row.is_unsettled(now);
    (is_to_stay && period_end != next && row.date_asked != Some(next)).then_some(next)
}

/// Notes that Stripe is asked to move a membership's subscription.
pub fn note_asked(work: &mut UnitOfWork, membership_id: &str, date: Timestamp) {
    if let Some(row) = work.get_cloned::<Membership>(membership_id) {
        work.insert(Membership { date_asked: Some(date), ..row });
    }
}

/// Notes that the subscriptions of a pod have followed.
pub fn note_moved(work: &mut UnitOfWork, pod_id: &str, since: Option<Timestamp>) {
    if let Some(pod) = work.get_cloned::<Pod>(pod_id).filter(|pod| pod.moving_since == since) {
        work.insert(Pod { moving_since: None, ..pod });
    }
}
