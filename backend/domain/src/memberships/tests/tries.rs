//! Tries of what is overdue: one at a time, by whoever holds it.

use super::*;
use crate::charges::failures::Failure;
use crate::contributions::Contribution;
use crate::contributions::tries::{RetryOwner, Step, Try};
use crate::customers::Customer;
use crate::invoices::Invoice;
use crate::memberships::retrying::{self, Answered, CannotRetry, ask};
use crate::memberships::settled::settle;
use crate::memberships::tries::{answered, begin, let_rest, schedule_ended, take_up};
use crate::plans::Plans;
use crate::subscriptions::Subscription;

const OURS: RetryOwner = RetryOwner::Tollgate;

fn hours(hours: i64) -> Timestamp {
    start() + Duration::hours(hours)
}

/// The same rows some hours later.
fn later(work: &UnitOfWork, at: i64) -> UnitOfWork {
    let mut later = UnitOfWork::new(hours(at), Rng::seeded(3));
    later.add_loaded(work.all::<Pod>().cloned().collect());
    later.add_loaded(work.all::<Membership>().cloned().collect());
    later.add_loaded(work.all::<Contribution>().cloned().collect());
    later
}

/// A member of whom an invoice failed at hour 0, by `pm_1`, which is charged.
fn overdue(user: &str, code: &str) -> (UnitOfWork, Contribution) {
    let mut work = UnitOfWork::new(start(), Rng::seeded(1));
    let pod = pod(&mut work);
    let row = Membership { charged_method_id: Some("pm_1".to_owned()), ..joined(&mut work, &pod, user) };
    work.insert(row.clone());
    let one = failed(&mut work, &row, "in_1", code);
    settle(&mut work, &row.id, OURS);
    (work, one)
}

fn failed(work: &mut UnitOfWork, row: &Membership, invoice: &str, code: &str) -> Contribution {
    let mut one = Contribution::new(work, (&row.id, &row.pod_id, &row.user_id), "ngn");
    one.take_invoice(&Invoice {
        status: "open".to_owned(),
        amount_due: 5000,
        attempts: 1,
        failed_attempts: 1,
        first_failed_at: Some(start()),
        last_failed_at: Some(start()),
        ..Invoice::placeholder(invoice)
    });
    one.failures.see("pm_1", Failure::of_code(start().timestamp(), code));
    one.settle(work);
    work.insert(one.clone());
    one
}

fn row(work: &UnitOfWork, one: &Contribution) -> Contribution {
    work.get_cloned(&one.id).unwrap()
}

fn step(taken: Option<(Contribution, Step)>) -> Option<Step> {
    taken.map(|(_, step)| step)
}

#[test]
fn stripe_is_told_first_and_then_we_try() {
    let (mut work, one) = overdue("user_1", "insufficient_funds");
    let shown = row(&work, &one);
    assert_eq!((shown.step_at, shown.next_attempt_at), (Some(start()), Some(hours(1))));
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), Some(Step::Take));
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), None, "somebody is at it");
    assert_eq!(ask(&mut work, &one.membership_id).map(|_| ()), Err(CannotRetry::InProgress), "a user waits too");
    schedule_ended(&mut work, &one.id, OURS);
    assert_eq!(row(&work, &one).step_at, Some(hours(1)));
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), None, "its time has not come");
    let mut work = later(&work, 1);
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), Some(Step::Try));
    assert_eq!(begin(&mut work, &one.id, OURS), Some(1));
    let code = Some("insufficient_funds".to_owned());
    answered(&mut work, &one.id, &Answered::Failed { code, method: None, is_advised_against: false }, hours(1), OURS);
    let shown = row(&work, &one);
    assert_eq!((shown.attempts_in_all(), shown.next_attempt_at, shown.asking_until), (2, Some(hours(3)), None));
    let member: &Membership = work.get(&one.membership_id).unwrap();
    assert_eq!((member.attempts, member.next_attempt_at), (2, Some(hours(3))));
}

#[test]
fn what_was_not_answered_may_be_under_way() {
    let (mut work, one) = overdue("user_1", "insufficient_funds");
    let (asked, number) = ask(&mut work, &one.membership_id).unwrap();
    retrying::answered(&mut work, &asked.id, &Answered::Unknown, OURS);
    assert_eq!(number, 1);
    assert_eq!(ask(&mut work, &one.membership_id).map(|_| ()), Err(CannotRetry::InProgress));
    let mut work = later(&work, 1);
    assert!(ask(&mut work, &one.membership_id).is_ok(), "its time is over");
}

#[test]
fn what_an_issuer_advises_ends_the_tries_of_its_card() {
    for is_advised_against in [false, true] {
        let (mut work, one) = overdue("user_1", "insufficient_funds");
        schedule_ended(&mut work, &one.id, OURS);
        let mut work = later(&work, 1);
        take_up(&mut work, &one.id, OURS).unwrap();
        begin(&mut work, &one.id, OURS).unwrap();
        let code = Some("generic_decline".to_owned());
        let answer = Answered::Failed { code, method: None, is_advised_against };
        answered(&mut work, &one.id, &answer, hours(1), OURS);
        assert_eq!(row(&work, &one).next_attempt_at.is_none(), is_advised_against);
    }
}

#[test]
fn a_process_that_died_leaves_its_try_to_the_next_one() {
    let (mut work, one) = overdue("user_1", "insufficient_funds");
    schedule_ended(&mut work, &one.id, OURS);
    let mut work = later(&work, 1);
    take_up(&mut work, &one.id, OURS).unwrap();
    assert_eq!(begin(&mut work, &one.id, OURS), Some(1));
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), None);
    let mut work = later(&work, 2);
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), Some(Step::Try), "its time is over");
    assert_eq!(begin(&mut work, &one.id, OURS), Some(1), "the same one");
    let_rest(&mut work, &one.id);
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), None, "it rests");
    // It comes to light that it has paid.
    let mut paid = row(&work, &one);
    paid.invoice_status = Some("paid".to_owned());
    paid.settle(&work);
    work.insert(paid);
    assert_eq!(begin(&mut work, &one.id, OURS), None);
    let shown = row(&work, &one);
    assert_eq!((shown.is_trying, shown.attempts_in_all(), shown.step_at), (false, 2, None));
}

#[test]
fn nothing_is_tried_when_the_grace_is_over_or_the_member_is_gone() {
    let (mut work, one) = overdue("user_1", "insufficient_funds");
    schedule_ended(&mut work, &one.id, OURS);
    let mut late = later(&work, 24 * 7);
    assert_eq!(step(take_up(&mut late, &one.id, OURS)), None, "it was due all along");
    let shown = row(&late, &one);
    assert_eq!((shown.step_at, shown.next_attempt_at), (None, None));

    let (mut work, one) = overdue("user_1", "insufficient_funds");
    let member: Membership = work.get_cloned(&one.membership_id).unwrap();
    work.insert(Membership { over_at: Some(start()), ..member });
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), None);
    assert_eq!(row(&work, &one).step_at, Some(hours(24 * 7)), "but Stripe's own tries end in time");
    let mut late = later(&work, 24 * 7);
    assert_eq!(step(take_up(&mut late, &one.id, OURS)), Some(Step::Stop));
}

#[test]
fn what_is_charged_is_the_subscriptions_own_or_its_customers() {
    let (mut work, one) = overdue("user_1", "lost_card");
    schedule_ended(&mut work, &one.id, OURS);
    assert_eq!(row(&work, &one).step_at, None, "refused for good");
    let plans = Plans::parse("default_tier = \"free\"").unwrap();
    let customer = Customer::placeholder(start(), "cus_1", &plans);
    work.insert(Customer { default_payment_method_id: Some("pm_2".to_owned()), ..customer });
    work.insert(Subscription::of(&work, "sub_of_user_1", "cus_1"));
    settle(&mut work, &one.membership_id, OURS);
    assert_eq!(row(&work, &one).step_at, Some(start()), "another one is tried at once");
    assert_eq!(step(take_up(&mut work, &one.id, OURS)), Some(Step::Try));
}

#[test]
fn tries_of_one_method_count_over_all_that_it_pays_for() {
    let (mut work, one) = overdue("user_1", "insufficient_funds");
    let member: Membership = work.get_cloned(&one.membership_id).unwrap();
    let other = failed(&mut work, &member, "in_2", "insufficient_funds");
    let tries = (0..15).map(|number| Try {
        at: hours(number - 24),
        method: Some("pm_1".to_owned()),
        failed_at: Some(hours(number - 24)),
    });
    work.insert(Contribution { tries: tollgate_db::Json(tries.collect()), ..other });
    schedule_ended(&mut work, &one.id, OURS);
    assert_eq!(row(&work, &one).step_at, None, "within the grace it is too many");
}
