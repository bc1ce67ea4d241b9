//! To get a seat in a pod, and to give one back. All of it under the pod's row lock: seats are counted in rows that nobody
//! else can add to meanwhile, so that two users cannot take the last one.

use tollgate_db::UnitOfWork;

use crate::memberships::{JOINING_LASTS, Membership, MembershipStatus};
use crate::pods::Pod;

/// A membership of somebody who asked to join.
#[derive(Clone, Debug, PartialEq)]
pub enum Joined {
    /// A seat was taken for it now.
    Begun(Membership),
    /// It was begun before, and Stripe is to be asked (once more).
    Resumed(Membership),
    /// It is there already.
    Member(Membership),
}

/// Why somebody cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Every seat is taken.
    #[error("every seat of this pod is taken")]
    Full,
    /// It takes nobody any more.
    #[error("this pod takes nobody any more")]
    Closed,
}

/// Takes a seat in a pod for a user, who then pays as `customer_id` (where it is known) by `payment_method_id` (where one
/// was named). Who has one keeps it.
pub fn join(
    work: &mut UnitOfWork,
    pod_id: &str,
    user_id: &str,
    customer_id: Option<&str>,
    payment_method_id: Option<&str>,
) -> Result<Joined, JoinError> {
    let now = work.now();
    let pod: Pod = work.get_cloned(pod_id).ok_or(JoinError::Closed)?;
    let of_pod = || work.all().filter(|row: &&Membership| row.pod_id == pod_id);
    let own = of_pod().find(|row| row.user_id == user_id && row.status(now).holds_a_seat()).cloned();
    match own {
        Some(row) if row.status(now) == MembershipStatus::Joining => return Ok(Joined::Resumed(row)),
        Some(row) => return Ok(Joined::Member(row)),
        None => {}
    }
    if !pod.takes_members(now) {
        return Err(JoinError::Closed);
    }
    if of_pod().filter(|row| row.status(now).holds_a_seat()).count() as i64 >= pod.members_max {
        return Err(JoinError::Full);
    }
    let shown = of_pod().filter(|row| row.status(now) != MembershipStatus::Gone);
    let position = shown.map(|row| row.position).max().unwrap_or(0) + 1;
    // A seat that was lost is free for another membership of the same user.
    let lost: Vec<_> = of_pod().filter(|row| row.user_id == user_id && row.seat_of.is_some()).cloned().collect();
    for row in lost {
        work.insert(Membership { seat_of: None, ..row });
    }
    let row = Membership::begin(work, &pod, user_id, position);
    let row = Membership {
        customer_id: customer_id.map(str::to_owned),
        payment_method_id: payment_method_id.map(str::to_owned),
        ..row
    };
    work.insert(row.clone());
    Ok(Joined::Begun(row))
}

/// Gives the seat back of a membership that Stripe has refused to make a subscription for.
pub fn give_back(work: &mut UnitOfWork, membership_id: &str) {
    let Some(row) = work.get_cloned::<Membership>(membership_id).filter(|row| row.subscription_id.is_none()) else {
        return;
    };
    work.insert(Membership { joining_until: work.now(), seat_of: None, asked_at: None, ..row });
}

/// Notes that Stripe is asked for its subscription now, by whom it is paid, and by what.
pub fn note_asked(work: &mut UnitOfWork, membership_id: &str, customer_id: &str) {
    let Some(row) = work.get_cloned::<Membership>(membership_id) else { return };
    let asked_at = row.asked_at.or(Some(work.now()));
    work.insert(Membership { asked_at, customer_id: Some(customer_id.to_owned()), ..row });
}

impl Membership {
    fn begin(work: &UnitOfWork, pod: &Pod, user_id: &str, position: i64) -> Self {
        let now = work.now();
        Self {
            id: work.new_id("mbr"),
            pod_id: pod.id.clone(),
            user_id: user_id.to_owned(),
            seat_of: Some(Self::seat_key(&pod.id, user_id)),
            position,
            customer_id: None,
            payment_method_id: None,
            first_date: pod.schedule().next_date(now),
            joined_at: now,
            joining_until: now + JOINING_LASTS,
            asked_at: None,
            subscription_id: None,
            contributions_total: pod.contributions_total,
            subscription_status: None,
            current_period_end: None,
            leaves_at: None,
            leave_count: 0,
            leave_asked: None,
            ended_here_at: None,
            end_reason: None,
            over_at: None,
            is_over_in_time: false,
            date_asked: None,
            ended_at: None,
            contribution_progress: 0,
            total_contributed: 0,
            pending_amount: 0,
            overdue_amount: 0,
            attempts: 0,
            next_attempt_at: None,
            grace_ends_at: None,
            failure_code: None,
            charged_method_id: None,
        }
    }

    /// Whether its first date is one cadence away or less, so that it can be the anchor of its subscription: Stripe takes
    /// none that is later than the first period would end by itself.
    pub fn is_first_date_near(&self, pod: &Pod) -> bool {
        self.first_date <= pod.schedule().cadence().after(self.joined_at, 1)
    }
}
