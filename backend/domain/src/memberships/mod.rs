//! Memberships: one user's part in one pod, each with a subscription of its own at Stripe.
//!
//! Life of a row: *joining* while Stripe is asked for its subscription, with a seat held for an hour; *active* once the
//! subscription is known, whoever tells of it first; *past due* while a payment is overdue and its grace runs, *failed*
//! when that is over; *completed* or *canceled* when its subscription has ended, after or before all was paid. What a
//! member has paid and owes is summed up in the row by [`settle`](settled::settle), whatever event changed it.

pub mod joining;
pub mod leaving;
pub mod lists;
mod load;
pub mod moving;
mod planned;
pub mod retrying;
pub mod rounds;
pub mod settled;
mod store;
pub mod tied;
pub mod tries;
pub mod view;

use chrono::Duration;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::record;
use tollgate_shared::Timestamp;

use crate::pods::Pod;

pub use self::load::{Wanted, load};
pub use self::store::{ended_here, get, live, of_pod, of_subscription, of_user_in, waiting};

record! {
    /// A row of `memberships`.
    pub struct Membership in "memberships" references "pods" {
        /// `mbr_…`
        pub id: String,
        /// What it is a part of.
        pub pod_id: String,
        /// Whose it is.
        pub user_id: String,
        /// Pod and user, while it holds a seat: nobody has two.
        pub seat_of: Option<String>,
        /// Which one to join it was, from 1.
        pub position: i64,
        /// `cus_…` who pays.
        pub customer_id: Option<String>,
        /// `pm_…` that was named to pay with.
        pub payment_method_id: Option<String>,
        /// The first date on which it pays.
        pub first_date: Timestamp,
        /// When it was begun.
        pub joined_at: Timestamp,
        /// Until when a seat is held without a subscription.
        pub joining_until: Timestamp,
        /// When Stripe was first asked to make its subscription.
        pub asked_at: Option<Timestamp>,
        /// `sub_…`, once it is known.
        pub subscription_id: Option<String>,
        /// How many contributions there are in all; none for a pod without an end.
        pub contributions_total: Option<i64>,
        /// Stripe's status of that.
        pub subscription_status: Option<String>,
        /// The end of its period.
        pub current_period_end: Option<Timestamp>,
        /// When it will have left.
        pub leaves_at: Option<Timestamp>,
        /// How often its leaving was asked for or taken back.
        pub leave_count: i64,
        /// What was asked for last: a time, or `never`.
        pub leave_asked: Option<String>,
        /// When it was ended here, whatever its subscription.
        pub ended_here_at: Option<Timestamp>,
        /// Why.
        pub end_reason: Option<String>,
        /// When its subscription ended, or it was ended here.
        pub over_at: Option<Timestamp>,
        /// Whether that was at the pod's own end.
        pub is_over_in_time: bool,
        /// The date that its subscription was last asked to be moved to.
        pub date_asked: Option<Timestamp>,
        /// When it gave its seat back for good.
        pub ended_at: Option<Timestamp>,
        /// How many contributions were paid.
        pub contribution_progress: i64,
        /// What was paid, in the currency's minor unit.
        pub total_contributed: i64,
        /// What is under way.
        pub pending_amount: i64,
        /// What is overdue.
        pub overdue_amount: i64,
        /// How often the oldest overdue contribution was tried.
        pub attempts: i64,
        /// When it is tried next.
        pub next_attempt_at: Option<Timestamp>,
        /// Until when it may be overdue.
        pub grace_ends_at: Option<Timestamp>,
        /// Why it failed.
        pub failure_code: Option<String>,
        /// `pm_…` that is charged now, as far as that is known.
        pub charged_method_id: Option<String>,
    }
}

/// How long a seat is held while Stripe is asked.
pub const JOINING_LASTS: Duration = Duration::hours(1);

/// What a membership is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MembershipStatus {
    /// Stripe is asked for its subscription.
    Joining,
    /// Nothing is overdue.
    Active,
    /// Something is overdue, and the grace of that runs.
    PastDue,
    /// A grace is over.
    Failed,
    /// Ended after all was paid.
    Completed,
    /// Ended before.
    Canceled,
    /// Never came to be: shown to nobody.
    Gone,
}

impl MembershipStatus {
    /// The status of that name on the wire.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "joining" => Some(Self::Joining),
            "active" => Some(Self::Active),
            "past_due" => Some(Self::PastDue),
            "failed" => Some(Self::Failed),
            "completed" => Some(Self::Completed),
            "canceled" => Some(Self::Canceled),
            _ => None,
        }
    }

    /// Whether it holds a seat.
    pub fn holds_a_seat(self) -> bool {
        matches!(self, Self::Joining | Self::Active | Self::PastDue | Self::Failed)
    }

    /// Whether it has come to be and goes on.
    pub fn is_live(self) -> bool {
        self.holds_a_seat() && self != Self::Joining
    }
}

impl Membership {
    /// What it is at `now`.
    pub fn status(&self, now: Timestamp) -> MembershipStatus {
        if self.over_at.is_some() {
            return self.status_when_over(now);
        }
        match (&self.subscription_id, self.grace_ends_at) {
            (None, _) if self.joining_until > now => MembershipStatus::Joining,
            (None, _) => MembershipStatus::Gone,
            (Some(_), Some(end)) if end > now => MembershipStatus::PastDue,
            (Some(_), Some(_)) => MembershipStatus::Failed,
            (Some(_), None) => MembershipStatus::Active,
        }
    }

    /// One whose subscription ended with its pod waits for what is under way and for the grace of what failed.
    fn status_when_over(&self, now: Timestamp) -> MembershipStatus {
        let in_grace = self.grace_ends_at.is_some_and(|end| end > now);
        match self.contributions_total {
            Some(total) if self.contribution_progress >= total => MembershipStatus::Completed,
            _ if self.is_over_in_time && in_grace => MembershipStatus::PastDue,
            _ if self.is_over_in_time && self.pending_amount > 0 => MembershipStatus::Active,
            _ => MembershipStatus::Canceled,
        }
    }

    /// The next date on which it pays at `now`, if there is one.
    pub fn next_date(&self, pod: &Pod, now: Timestamp) -> Option<Timestamp> {
        let next = pod.next_contribution_date(now).map(|at| at.max(self.first_date));
        next.filter(|at| self.status(now).holds_a_seat() && self.leaves_at.is_none_or(|leaves| leaves > *at))
    }

    /// Whether something of it is under way or in grace.
    pub fn is_unsettled(&self, now: Timestamp) -> bool {
        let is_overdue = self.status(now) == MembershipStatus::PastDue;
        is_overdue || (self.pending_amount > 0 && self.status(now).holds_a_seat())
    }

    /// What stands in [`seat_of`](Self::seat_of) while it holds a seat.
    pub fn seat_key(pod_id: &str, user_id: &str) -> String {
        format!("{pod_id}:{user_id}")
    }
}

#[cfg(test)]
mod tests;
