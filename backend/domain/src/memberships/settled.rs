//! What a membership comes to: a function of its subscription, its contributions, its pod and the clock, whatever the
//! order in which they became known.

use chrono::Duration;
use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use crate::contributions::tries::RetryOwner;
use crate::contributions::{Contribution, ContributionStatus};
use crate::customers::Customer;
use crate::memberships::Membership;
use crate::memberships::planned::plan;
use crate::pods::Pod;
use crate::subscriptions::Subscription;

/// How long before its pod's end a subscription may end and still have ended with it: Stripe's clock and ours differ.
const END_TOLERANCE: Duration = Duration::hours(1);

/// Brings a membership into step with what it follows from, as far as that is here, and says what is to be done about what
/// is overdue. `retries` are whose.
pub fn settle(work: &mut UnitOfWork, membership_id: &str, retries: RetryOwner) {
    let Some(was) = work.get::<Membership>(membership_id) else { return };
    let Some(pod) = work.get::<Pod>(&was.pod_id) else { return };
    let mut row = was.clone();
    let subscription = row.subscription_id.as_deref().and_then(|id| work.get::<Subscription>(id));
    if let Some(subscription) = subscription {
        row.follow_subscription(subscription, pod);
        row.charged_method_id = charged_by(work, subscription);
    }
    row.over_at = row.over_at.or(row.ended_here_at);
    let of_membership =
        |one: &&Contribution| one.membership_id == row.id && one.counts() && one.currency == pod.currency;
    let contributions: Vec<&Contribution> = work.all().filter(of_membership).collect();
    row.sum_up(&contributions);
    let overdue = oldest_overdue(&contributions);
    row.follow_overdue(overdue, subscription, pod);
    let oldest = overdue.map(|one| one.id.clone());
    plan(work, &row, retries);
    row.next_attempt_at = oldest.and_then(|id| work.get::<Contribution>(&id)?.next_attempt_at);
    row.follow_seat(work.now());
    if work.get(membership_id) != Some(&row) {
        work.insert(row);
    }
}

/// What is charged for a subscription, in Stripe's order, as far as that is known: its own method, else its customer's.
fn charged_by(work: &UnitOfWork, subscription: &Subscription) -> Option<String> {
    let customer = || work.get::<Customer>(&subscription.customer_id);
    let by_customer =
        || customer()?.default_payment_method_id.clone().or_else(|| customer()?.default_source_id.clone());
    subscription.default_payment_method().map(str::to_owned).or_else(by_customer)
}

/// Of what should have been paid and was not, what was owed first.
pub fn oldest_overdue<'c>(contributions: &[&'c Contribution]) -> Option<&'c Contribution> {
    let overdue = contributions.iter().copied().filter(|one| one.status().is_overdue());
    overdue.min_by_key(|one| (one.due_at, &one.id))
}

impl Membership {
    /// Holds a seat, or has given it back, as its status says.
    pub(super) fn follow_seat(&mut self, now: Timestamp) {
        if self.status(now).holds_a_seat() {
            self.seat_of = Some(Self::seat_key(&self.pod_id, &self.user_id));
            self.ended_at = None;
        } else {
            self.seat_of = None;
            self.ended_at = self.ended_at.or(self.over_at);
        }
    }

    fn follow_subscription(&mut self, subscription: &Subscription, pod: &Pod) {
        let ends_at = pod.ends_at();
        self.customer_id = Some(subscription.customer_id.clone());
        self.subscription_status.clone_from(&subscription.status);
        self.current_period_end = subscription.current_period_end;
        // Every subscription of a pod with an end is to end with it: that is no leaving.
        let in_time = |at: Timestamp| ends_at.is_some_and(|end| at >= end - END_TOLERANCE);
        self.leaves_at = subscription.announced_end().filter(|at| !in_time(*at));
        let ended_at = subscription.ended_at.filter(|_| !subscription.is_live());
        self.over_at = self.ended_here_at.into_iter().chain(ended_at).min();
        self.is_over_in_time = self.over_at.is_some_and(in_time);
    }

    fn sum_up(&mut self, contributions: &[&Contribution]) {
        let sum = |of: &dyn Fn(&Contribution) -> i64| {
            contributions.iter().fold(0_i64, |sum, one| sum.saturating_add(of(one)))
        };
        let amount_if = |is: bool, one: &Contribution| if is { one.amount } else { 0 };
        self.contribution_progress = contributions.iter().filter(|one| one.status().was_paid()).count() as i64;
        self.total_contributed = sum(&Contribution::in_pot);
        self.pending_amount = sum(&|one| amount_if(one.status() == ContributionStatus::Pending, one));
        self.overdue_amount = sum(&|one| amount_if(one.status().is_overdue(), one));
    }

    /// Of an endpoint that is told nothing of invoices the subscription says that something is overdue.
    fn follow_overdue(&mut self, overdue: Option<&Contribution>, subscription: Option<&Subscription>, pod: &Pod) {
        let is_overdue = |row: &&Subscription| matches!(row.access_status.as_deref(), Some("past_due" | "unpaid"));
        let by_subscription = || subscription.filter(is_overdue)?.past_due.as_ref()?.begin().and_then(from_unix);
        let since = match overdue {
            Some(one) => one.first_failed_at.or(Some(one.due_at)),
            None if self.pending_amount > 0 => None,
            None => by_subscription(),
        };
        self.grace_ends_at = since.map(|since| since + Duration::days(pod.grace_days));
        self.attempts = overdue.map_or(0, Contribution::attempts_in_all);
        self.failure_code = overdue.and_then(|one| one.failure_code.clone());
    }
}
