//! To leave a pod, to take that back, and to be put out of it. What is to be done at Stripe is said before it is done, with
//! a number that is kept: asked again, it is the same.

use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;

use crate::memberships::{Membership, MembershipStatus};
use crate::pods::Pod;

/// What is to be done with a membership's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtStripe {
    /// Nothing.
    Nothing,
    /// It is to end at once.
    End {
        /// `sub_…`
        subscription: String,
        /// Which change of its end it is.
        number: i64,
    },
    /// It is to end at a time, or never.
    EndAt {
        /// `sub_…`
        subscription: String,
        /// When; none: it goes on.
        at: Option<Timestamp>,
        /// Which change of its end it is.
        number: i64,
    },
}

/// Whoever asks has no part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no membership of this pod is going on")]
pub struct NotAMember;

/// Lets a member leave, at the end of the period or at once; before the first contribution it is always at once.
pub fn leave(
    work: &mut UnitOfWork,
    membership_id: &str,
    immediately: bool,
    reason: Option<&str>,
) -> Result<AtStripe, NotAMember> {
    let now = work.now();
    let mut row: Membership = work.get_cloned(membership_id).ok_or(NotAMember)?;
    row.end_reason = reason.map(str::to_owned).or(row.end_reason);
    let Some(subscription) = row.subscription_id.clone() else {
        if row.status(now) != MembershipStatus::Joining {
            return Err(NotAMember);
        }
        end_here(work, membership_id, reason);
        return Ok(AtStripe::Nothing);
    };
    if !row.status(now).holds_a_seat() {
        return Err(NotAMember);
    }
    let at_end = row.current_period_end.filter(|at| !immediately && now >= row.first_date && *at > now);
    let Some(at) = at_end else {
        let number = row.ask_at_stripe("now");
        work.insert(row);
        return Ok(AtStripe::End { subscription, number });
    };
    if row.leaves_at == Some(at) {
        return Ok(AtStripe::Nothing);
    }
    let number = row.ask_at_stripe(&at.timestamp().to_string());
    work.insert(row);
    Ok(AtStripe::EndAt { subscription, at: Some(at), number })
}

/// Takes a member's leaving back, if there is any.
pub fn stay(work: &mut UnitOfWork, membership_id: &str) -> AtStripe {
    let Some(mut row) = work.get_cloned::<Membership>(membership_id) else { return AtStripe::Nothing };
    let Some(subscription) = row.subscription_id.clone() else { return AtStripe::Nothing };
    if row.leaves_at.is_none() || !row.status(work.now()).is_live() {
        return AtStripe::Nothing;
    }
    let at = work.get::<Pod>(&row.pod_id).and_then(Pod::ends_at);
    let number = row.ask_at_stripe("never");
    work.insert(row);
    AtStripe::EndAt { subscription, at, number }
}

/// Ends a membership here and now, whatever Stripe does: its subscription is ended after it.
pub fn end_here(work: &mut UnitOfWork, membership_id: &str, reason: Option<&str>) {
    let Some(row) = work.get_cloned::<Membership>(membership_id) else { return };
    if !row.status(work.now()).holds_a_seat() {
        return;
    }
    let ended_here_at = row.ended_here_at.or(Some(work.now()));
    let end_reason = reason.map(str::to_owned).or(row.end_reason.clone());
    let mut row = Membership { ended_here_at, end_reason, over_at: ended_here_at, is_over_in_time: false, ..row };
    row.follow_seat(work.now());
    work.insert(row);
}

/// What is still to be done at Stripe of a membership that was ended here.
pub fn still_owed(work: &mut UnitOfWork, membership_id: &str) -> AtStripe {
    let Some(mut row) = work.get_cloned::<Membership>(membership_id) else { return AtStripe::Nothing };
    let owed = row.owed_at_stripe();
    work.insert(row);
    owed
}

/// Calls a pod off: each of its memberships ends with it.
pub fn cancel_pod(work: &mut UnitOfWork, pod_id: &str, reason: Option<&str>) {
    let Some(pod) = work.get_cloned::<Pod>(pod_id).filter(|pod| pod.canceled_at.is_none()) else { return };
    let (canceled_at, cancel_reason) = (Some(work.now()), reason.map(str::to_owned));
    work.insert(Pod { canceled_at, cancel_reason, ..pod });
    let of_pod = work.all().filter(|row: &&Membership| row.pod_id == pod_id);
    let ids: Vec<_> = of_pod.map(|row| row.id.clone()).collect();
    for id in ids {
        end_here(work, &id, reason);
    }
}

impl Membership {
    /// The number of a change of its end that is asked for: the same while the same is asked.
    fn ask_at_stripe(&mut self, what: &str) -> i64 {
        if self.leave_asked.as_deref() != Some(what) {
            self.leave_count += 1;
            self.leave_asked = Some(what.to_owned());
        }
        self.leave_count
    }

    /// What is to be done at Stripe with the subscription of one that was ended here.
    fn owed_at_stripe(&mut self) -> AtStripe {
        let is_over_there = matches!(self.subscription_status.as_deref(), Some("canceled" | "incomplete_expired"));
        match self.subscription_id.clone().filter(|_| self.ended_here_at.is_some() && !is_over_there) {
            Some(subscription) => AtStripe::End { subscription, number: self.ask_at_stripe("now") },
            None => AtStripe::Nothing,
        }
    }
}
