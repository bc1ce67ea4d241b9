//! What a user may ask of a subscription, by how it stands.

use tollgate_shared::Timestamp;

use crate::plans::{Plan, Sale};
use crate::subscriptions::Subscription;

/// What a cancellation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// It ends with its period.
    AtPeriodEnd,
    /// It ends now.
    Now,
    /// It is to end already.
    IsScheduled,
}

/// How an announced end is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reactivation {
    /// It was to end with its period.
    OfFlag,
    /// It was to end at a date.
    OfDate,
}

/// Why it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// It is over.
    #[error("the subscription has ended, which is for good; subscribe again")]
    AlreadyCanceled,
    /// There is nothing to be taken back.
    #[error("the subscription is not to end, so there is nothing to take back")]
    NotCancelScheduled,
    /// It is on that plan already.
    #[error("the subscription is on this plan already")]
    SamePlan,
}

impl Subscription {
    /// What it comes to when a user cancels it.
    pub fn cancellation(&self, immediately: bool) -> Result<Cancellation, Impossible> {
        match (self.is_live(), immediately) {
            (false, _) => Err(Impossible::AlreadyCanceled),
            (true, true) => Ok(Cancellation::Now),
            (true, false) if self.is_cancel_scheduled() => Ok(Cancellation::IsScheduled),
            (true, false) => Ok(Cancellation::AtPeriodEnd),
        }
    }

    /// How a user takes its end back.
    pub fn reactivation(&self) -> Result<Reactivation, Impossible> {
        match (self.is_live(), self.cancel_at_period_end, self.cancel_at) {
            (false, ..) => Err(Impossible::AlreadyCanceled),
            (true, true, _) => Ok(Reactivation::OfFlag),
            (true, false, Some(_)) => Ok(Reactivation::OfDate),
            (true, false, None) => Err(Impossible::NotCancelScheduled),
        }
    }

    /// Whether it can be moved to `plan`, which has to be one of subscriptions.
    pub fn can_change_to(&self, plan: &Plan) -> Result<(), Impossible> {
        debug_assert_eq!(plan.sale(), Sale::Recurring);
        match (self.is_live(), self.plan_id.as_deref()) {
            (false, _) => Err(Impossible::AlreadyCanceled),
            (true, Some(id)) if id == plan.id => Err(Impossible::SamePlan),
            _ => Ok(()),
        }
    }

    /// As of when a change that is made at `now` is prorated: Stripe takes no date outside of the period. Our clock may be
    /// behind Stripe's, and while a subscription is paused its last period is over and none begins.
    pub fn prorated_at(&self, now: Timestamp) -> Timestamp {
        let at = self.current_period_start.map_or(now, |start| start.max(now));
        let paused_until = self.current_period_end.filter(|_| self.status.as_deref() == Some("paused"));
        paused_until.map_or(at, |end| end.min(at))
    }

    /// The item that its plan is of, as Stripe names it: the one that is shown.
    pub fn chosen_item_id(&self) -> Option<&str> {
        let items = &self.history.last()?.state.items;
        let of_price = items.iter().find(|item| item.price.id.is_some() && item.price.id == self.price_id);
        of_price.or(items.first()).map(|item| &*item.id).filter(|id| !id.is_empty())
    }

    /// Whether it waits for its first payment, which may never come.
    pub fn is_waiting(&self) -> bool {
        self.status.as_deref() == Some("incomplete")
    }

    /// Names the state that it is in: another snapshot, another name.
    pub fn state_name(&self) -> &str {
        self.history.last().map_or("", |last| &last.source)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn subscription(status: &str, flag: bool, date: Option<Timestamp>) -> Subscription {
        let mut row = Subscription::placeholder(Timestamp::UNIX_EPOCH, "sub_1", "cus_1");
        row.status = Some(status.to_owned());
        (row.cancel_at_period_end, row.cancel_at) = (flag, date);
        row
    }

    #[test]
    fn what_is_to_end_already_ends_at_once_only_where_that_is_asked() {
        let cancel = |status, flag, now| subscription(status, flag, None).cancellation(now);
        assert_eq!(cancel("active", false, false), Ok(Cancellation::AtPeriodEnd));
        assert_eq!(cancel("past_due", false, true), Ok(Cancellation::Now));
        assert_eq!(cancel("active", true, false), Ok(Cancellation::IsScheduled));
        assert_eq!(cancel("active", true, true), Ok(Cancellation::Now));
        for now in [true, false] {
            assert_eq!(cancel("canceled", false, now), Err(Impossible::AlreadyCanceled));
        }
    }

    #[test]
    fn a_change_is_prorated_as_of_a_time_within_the_period() {
        let at = |seconds| from_unix(seconds).unwrap();
        let prorated = |status, now| {
            let mut row = subscription(status, false, None);
            (row.current_period_start, row.current_period_end) = (Some(at(100)), Some(at(200)));
            row.prorated_at(at(now))
        };
        assert_eq!(prorated("active", 150), at(150));
        assert_eq!(prorated("active", 90), at(100), "our clock is behind");
        assert_eq!(prorated("active", 250), at(250), "the next one has begun, and is not known here yet");
        assert_eq!((prorated("paused", 150), prorated("paused", 250)), (at(150), at(200)));
        assert_eq!(subscription("active", false, None).prorated_at(at(7)), at(7));
    }

    #[test]
    fn an_end_is_taken_back_in_the_way_in_which_it_was_announced() {
        let back = |status, flag, date| subscription(status, flag, date).reactivation();
        let date = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(back("active", true, date), Ok(Reactivation::OfFlag));
        assert_eq!(back("active", false, date), Ok(Reactivation::OfDate));
        assert_eq!(back("active", false, None), Err(Impossible::NotCancelScheduled));
        assert_eq!(back("canceled", true, date), Err(Impossible::AlreadyCanceled));
    }
}
