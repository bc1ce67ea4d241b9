use chrono::Duration;
use tollgate_db::UnitOfWork;
use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::*;
use crate::memberships::joining::{JoinError, Joined, give_back, join};
use crate::memberships::leaving::{AtStripe, NotAMember, cancel_pod, leave, stay, still_owed};
use crate::pods::schedule::Cadence;
use crate::pods::{self, NewPod, Pod, PodStatus};

mod tries;

fn start() -> Timestamp {
    from_unix(1_750_000_000).unwrap()
}

/// A pod of two seats and three contributions, a week apart, the first in three days.
fn pod(work: &mut UnitOfWork) -> Pod {
    let new = NewPod {
        name: "Ajo".to_owned(),
        description: None,
        is_public: true,
        amount: 5000,
        currency: "ngn".to_owned(),
        cadence: Cadence::Weekly,
        contributions_total: Some(3),
        first_date: start() + Duration::days(3),
        grace_days: 7,
        members_max: 2,
    };
    pods::create(work, new, Some("user_1".to_owned()))
}

/// The same rows at another time.
fn at(work: &UnitOfWork, days: i64) -> UnitOfWork {
    let mut later = UnitOfWork::new(start() + Duration::days(days), Rng::seeded(2));
    later.add_loaded(work.all::<Pod>().cloned().collect());
    later.add_loaded(work.all::<Membership>().cloned().collect());
    later
}

fn begun(work: &mut UnitOfWork, pod: &Pod, user: &str) -> Membership {
    match join(work, &pod.id, user, None, None) {
        Ok(Joined::Begun(row)) => row,
        other => panic!("{other:?}"),
    }
}

/// With a subscription, whose first period ends with the first date.
fn joined(work: &mut UnitOfWork, pod: &Pod, user: &str) -> Membership {
    let row = begun(work, pod, user);
    let row = Membership {
        subscription_id: Some(format!("sub_of_{user}")),
        subscription_status: Some("active".to_owned()),
        current_period_end: Some(pod.first_date),
        ..row
    };
    work.insert(row.clone());
    row
}

#[test]
fn the_last_seat_is_taken_once() {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    assert_eq!(begun(&mut work, &pod, "user_1").position, 1);
    assert_eq!(begun(&mut work, &pod, "user_2").position, 2);
    assert_eq!(join(&mut work, &pod.id, "user_3", None, None), Err(JoinError::Full));
    let again = join(&mut work, &pod.id, "user_2", None, None);
    assert!(matches!(again, Ok(Joined::Resumed(row)) if row.position == 2), "its own it keeps");
}

#[test]
fn a_seat_that_was_given_back_is_free_and_one_that_nobody_came_for() {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    let refused = begun(&mut work, &pod, "user_1");
    joined(&mut work, &pod, "user_2");
    give_back(&mut work, &refused.id);
    assert_eq!(work.get::<Membership>(&refused.id).unwrap().status(start()), MembershipStatus::Gone);
    let third = begun(&mut work, &pod, "user_3");
    assert_eq!(third.position, 3);
    assert_eq!(third.status(start() + Duration::minutes(59)), MembershipStatus::Joining);
    let mut later = at(&work, 1);
    assert_eq!(later.get::<Membership>(&third.id).unwrap().status(later.now()), MembershipStatus::Gone);
    let fourth = begun(&mut later, &pod, "user_4");
    assert_eq!(fourth.position, 3, "who never came is not counted");
}

#[test]
fn a_pod_with_an_end_takes_nobody_late() {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    assert_eq!(join(&mut at(&work, 3), &pod.id, "user_1", None, None), Err(JoinError::Closed));
    let endless = Pod { contributions_total: None, ..pod.clone() };
    work.insert(endless);
    let row = begun(&mut at(&work, 4), &pod, "user_1");
    assert_eq!(row.first_date, start() + Duration::days(10));
}

#[test]
fn who_leaves_before_the_first_date_leaves_at_once() {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    let row = joined(&mut work, &pod, "user_1");
    let end = AtStripe::End { subscription: "sub_of_user_1".to_owned(), number: 1 };
    assert_eq!(leave(&mut work, &row.id, false, None), Ok(end.clone()));
    assert_eq!(leave(&mut work, &row.id, true, None), Ok(end), "asked again it is the same");
    let joining = begun(&mut work, &pod, "user_2");
    assert_eq!(leave(&mut work, &joining.id, false, None), Ok(AtStripe::Nothing));
    assert_eq!(leave(&mut work, &joining.id, false, None), Err(NotAMember));
}

#[test]
fn who_leaves_later_leaves_with_the_period_and_may_stay_after_all() {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    let row = joined(&mut work, &pod, "user_1");
    let period_end = start() + Duration::days(10);
    work.insert(Membership { current_period_end: Some(period_end), ..row.clone() });
    let mut work = at(&work, 4);
    let subscription = || "sub_of_user_1".to_owned();
    let leaving = AtStripe::EndAt { subscription: subscription(), at: Some(period_end), number: 1 };
    assert_eq!(leave(&mut work, &row.id, false, None), Ok(leaving));
    let asked: Membership = work.get_cloned(&row.id).unwrap();
    work.insert(Membership { leaves_at: Some(period_end), ..asked });
    assert_eq!(leave(&mut work, &row.id, false, None), Ok(AtStripe::Nothing), "it is to leave already");
    let staying = AtStripe::EndAt { subscription: subscription(), at: pod.ends_at(), number: 2 };
    assert_eq!(stay(&mut work, &row.id), staying);
    let asked: Membership = work.get_cloned(&row.id).unwrap();
    work.insert(Membership { leaves_at: None, ..asked });
    assert_eq!(stay(&mut work, &row.id), AtStripe::Nothing);
    let again = leave(&mut work, &row.id, false, None);
    assert!(matches!(again, Ok(AtStripe::EndAt { number: 3, .. })), "another leaving is another change: {again:?}");
}

#[test]
fn a_pod_that_is_called_off_ends_every_membership() {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    let (member, joining) = (joined(&mut work, &pod, "user_1"), begun(&mut work, &pod, "user_2"));
    cancel_pod(&mut work, &pod.id, Some("no interest"));
    assert_eq!(work.get::<Pod>(&pod.id).unwrap().status(start(), false), PodStatus::Canceled);
    for id in [&member.id, &joining.id] {
        let row: Membership = work.get_cloned(id).unwrap();
        assert_eq!((row.status(start()), &row.seat_of), (MembershipStatus::Canceled, &None));
        assert_eq!(still_owed(&mut work, id) == AtStripe::Nothing, *id == joining.id);
    }
    assert_eq!(join(&mut work, &pod.id, "user_3", None, None), Err(JoinError::Closed));
}

#[test]
fn a_grace_runs_out_by_the_clock() {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    let row = joined(&mut work, &pod, "user_1");
    let grace_ends_at = Some(start() + Duration::days(7));
    let overdue = Membership { grace_ends_at, overdue_amount: 5000, ..row };
    let status = |row: &Membership, days: i64| row.status(start() + Duration::days(days));
    assert_eq!([6, 7].map(|days| status(&overdue, days)), [MembershipStatus::PastDue, MembershipStatus::Failed]);
    // Its subscription has ended with the pod: it waits for what is in grace or under way, and no longer.
    let over = Membership { over_at: pod.ends_at(), is_over_in_time: true, contribution_progress: 2, ..overdue };
    assert_eq!([6, 7].map(|days| status(&over, days)), [MembershipStatus::PastDue, MembershipStatus::Canceled]);
    let under_way = Membership { grace_ends_at: None, overdue_amount: 0, pending_amount: 5000, ..over.clone() };
    assert_eq!(status(&under_way, 60), MembershipStatus::Active);
    let paid = Membership { contribution_progress: 3, pending_amount: 0, ..under_way };
    assert_eq!(status(&paid, 60), MembershipStatus::Completed);
    let left = Membership { is_over_in_time: false, ..over };
    assert_eq!(status(&left, 6), MembershipStatus::Canceled);
}
