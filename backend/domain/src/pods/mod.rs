//! Pods: groups that save together. Each member pays the same amount on the same dates, by a subscription of its own.
//!
//! A pod is *open* before its first date, *active* from then on, *completed* when its last period is over and nothing is
//! unsettled, or *canceled*. All but the last follows from the clock, so that none of it is kept.

pub mod schedule;
mod store;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{Json, UnitOfWork, record};
use tollgate_shared::Timestamp;

use crate::pods::schedule::{Anchor, Cadence, Schedule};

pub use crate::pods::store::{Filter, behind, get, joinable, moving, newest, of_ids, open_of, sums};

record! {
    /// A row of `pods`.
    pub struct Pod in "pods" {
        /// `pod_…`
        pub id: String,
        /// What its members call it.
        pub name: String,
        /// What it is for.
        pub description: Option<String>,
        /// Whether it is listed for everybody; else one needs its code.
        pub is_public: bool,
        /// What lets somebody see and join a private one.
        pub invite_code: String,
        /// The user who made it; none where an operator did.
        pub creator_id: Option<String>,
        /// What each member pays on each date, in the currency's minor unit.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: String,
        /// How far apart the dates are, as in [`Cadence::name`].
        pub cadence: String,
        /// How many dates there are; none for a pod without an end.
        pub contributions_total: Option<i64>,
        /// The first date.
        pub first_date: Timestamp,
        /// The dates that were moved, which later ones count from.
        pub moved_dates: Json<Vec<Anchor>>,
        /// The next date, as it was when somebody last looked: what lists are ordered by.
        pub next_date: Timestamp,
        /// For how many days after its first failure a payment may be overdue.
        pub grace_days: i64,
        /// How many members there may be at a time.
        pub members_max: i64,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it was called off.
        pub canceled_at: Option<Timestamp>,
        /// Why.
        pub cancel_reason: Option<String>,
        /// `price_…` of what its members pay at Stripe, once there is one.
        pub price_id: Option<String>,
        /// When a date of it was moved, until the subscriptions of its members have followed.
        pub moving_since: Option<Timestamp>,
    }
}

/// How far a pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodStatus {
    /// Its first date is to come.
    Open,
    /// It has begun.
    Active,
    /// Its last period is over, and nothing is unsettled.
    Completed,
    /// It was called off.
    Canceled,
}

/// What a new pod is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the row")]
pub struct NewPod {
    pub name: String,
    pub description: Option<String>,
    pub is_public: bool,
    pub amount: i64,
    pub currency: String,
    pub cadence: Cadence,
    pub contributions_total: Option<i64>,
    pub first_date: Timestamp,
    pub grace_days: i64,
    pub members_max: i64,
}

/// What a pod's memberships come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Memberships that hold a seat.
    pub members: i64,
    /// Memberships of which something is pending or in grace.
    pub unsettled: i64,
    /// What was paid into it, in its own currency's minor unit.
    pub contributed: i64,
    /// What was paid out of it.
    pub paid_out: i64,
}

/// Makes a pod. Its creator is no member by that.
pub fn create(work: &mut UnitOfWork, new: NewPod, creator_id: Option<String>) -> Pod {
    let pod = Pod {
        id: work.new_id("pod"),
        name: new.name,
        description: new.description,
        is_public: new.is_public,
        invite_code: invite_code(work),
        creator_id,
        amount: new.amount,
        currency: new.currency,
        cadence: new.cadence.name().to_owned(),
        contributions_total: new.contributions_total,
        first_date: new.first_date,
        moved_dates: Json(vec![]),
        next_date: new.first_date,
        grace_days: new.grace_days,
        members_max: new.members_max,
        created_at: work.now(),
        canceled_at: None,
        cancel_reason: None,
        price_id: None,
        moving_since: None,
    };
    work.insert(pod.clone());
    pod
}

/// A code that nobody guesses: 80 random bits, in letters and digits that are told apart when read aloud.
fn invite_code(work: &UnitOfWork) -> String {
    const DIGITS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
    let bytes = work.rng().bytes::<16>();
    bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()
}

impl Pod {
    /// Its dates.
    pub fn schedule(&self) -> Schedule {
        // Only names of cadences are ever written.
        let cadence = Cadence::named(&self.cadence).unwrap_or(Cadence::Monthly);
        Schedule::of(cadence, self.moved_dates.to_vec(), self.first_date)
    }

    /// Sets its dates.
    pub fn set_schedule(&mut self, schedule: &Schedule, now: Timestamp) {
        self.first_date = schedule.first();
        self.moved_dates = Json(schedule.anchors().iter().copied().filter(|anchor| anchor.index > 0).collect());
        self.next_date = schedule.next_date(now);
    }

    /// Sets the date that lists are ordered by to the next one.
    pub fn catch_up(&mut self, now: Timestamp) {
        self.next_date = self.schedule().next_date(now);
    }

    /// When it is over: the end of the last period. None for a pod without an end.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let total = self.contributions_total?;
        Some(self.schedule().date(total.try_into().unwrap_or(u32::MAX)))
    }

    /// The next date on which its members pay; none after the last one.
    pub fn next_contribution_date(&self, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule();
        let index = schedule.next_index(now);
        let is_last_over = self.contributions_total.is_some_and(|total| i64::from(index) >= total);
        (!is_last_over && self.canceled_at.is_none()).then(|| schedule.date(index))
    }

    /// How far it has come, where something of it is unsettled or is not.
    pub fn status(&self, now: Timestamp, is_unsettled: bool) -> PodStatus {
        let is_over = self.ends_at().is_some_and(|end| end <= now);
        match self.canceled_at {
            Some(_) => PodStatus::Canceled,
            None if now < self.first_date => PodStatus::Open,
            None if is_over && !is_unsettled => PodStatus::Completed,
            None => PodStatus::Active,
        }
    }

    /// Whether it takes anybody, were there a seat: one with an end takes nobody late, so that all pay equally often.
    pub fn takes_members(&self, now: Timestamp) -> bool {
        self.canceled_at.is_none() && (now < self.first_date || self.contributions_total.is_none())
    }

    /// Whether it was made by that user.
    pub fn is_of(&self, user_id: &str) -> bool {
        self.creator_id.as_deref() == Some(user_id)
    }

    /// The name of its product and the lookup key of its price at Stripe.
    pub fn name_at_stripe(&self) -> String {
        format!("tollgate_{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use tollgate_shared::Rng;
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn now() -> Timestamp {
        from_unix(1_750_000_000).unwrap()
    }

    fn pod(contributions_total: Option<i64>) -> Pod {
        let new = NewPod {
            name: "Ajo".to_owned(),
            description: None,
            is_public: true,
            amount: 5000,
            currency: "ngn".to_owned(),
            cadence: Cadence::Weekly,
            contributions_total,
            first_date: now() + Duration::days(3),
            grace_days: 7,
            members_max: 12,
        };
        create(&mut UnitOfWork::new(now(), Rng::seeded(1)), new, Some("user_1".to_owned()))
    }

    #[test]
    fn a_pod_goes_from_open_to_completed_by_the_clock() {
        let pod = pod(Some(2));
        let at = |days: i64| now() + Duration::days(days);
        assert_eq!(pod.ends_at(), Some(at(17)));
        for (days, status, next, takes) in [
            (0, PodStatus::Open, Some(3), true),
            (3, PodStatus::Active, Some(10), false),
            (10, PodStatus::Active, None, false),
            (16, PodStatus::Active, None, false),
            (17, PodStatus::Completed, None, false),
        ] {
            assert_eq!(pod.status(at(days), false), status, "{days}");
            assert_eq!(pod.next_contribution_date(at(days)), next.map(at), "{days}");
            assert_eq!(pod.takes_members(at(days)), takes, "{days}");
        }
        assert_eq!(pod.status(at(17), true), PodStatus::Active, "something may still come");
    }

    #[test]
    fn a_pod_without_an_end_takes_members_at_any_time() {
        let pod = pod(None);
        let late = now() + Duration::days(3650);
        assert_eq!((pod.ends_at(), pod.status(late, false)), (None, PodStatus::Active));
        assert!(pod.takes_members(late) && pod.next_contribution_date(late).is_some_and(|next| next > late));
        let canceled = Pod { canceled_at: Some(now()), ..pod };
        assert_eq!((canceled.status(late, false), canceled.takes_members(late)), (PodStatus::Canceled, false));
        assert_eq!(canceled.next_contribution_date(late), None);
    }

    #[test]
    fn no_two_codes_are_alike() {
        let work = UnitOfWork::new(now(), Rng::system());
        let (one, two) = (invite_code(&work), invite_code(&work));
        assert!(one != two && one.len() == 16 && one.chars().all(|digit| digit.is_ascii_alphanumeric()));
    }
}
