use tollgate_db::UnitOfWork;
use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::*;
use crate::invoices::Invoice;

/// Hours after the first failure.
fn at(hours: i64) -> Timestamp {
    from_unix(1_750_000_000).unwrap() + Duration::hours(hours)
}

fn days(days: i64) -> Timestamp {
    at(24 * days)
}

/// An invoice that failed once, at hour 0, for this reason and by `pm_1`.
fn failed(code: &str) -> Contribution {
    let work = UnitOfWork::new(at(0), Rng::seeded(1));
    let mut row = Contribution::new(&work, ("mbr_1", "pod_1", "user_1"), "ngn");
    row.take_invoice(&Invoice {
        status: "open".to_owned(),
        amount_due: 5000,
        attempts: 1,
        failed_attempts: 1,
        first_failed_at: Some(at(0)),
        last_failed_at: Some(at(0)),
        ..Invoice::placeholder("in_1")
    });
    row.failures.see("pm_1", Failure::of_code(at(0).timestamp(), code));
    row.settle(&work);
    row
}

fn taken(code: &str) -> Contribution {
    Contribution { schedule_ended_at: Some(at(0)), ..failed(code) }
}

/// Ours, with seven days of grace, by `pm_1`.
fn ours() -> Situation<'static> {
    Situation {
        owner: RetryOwner::Tollgate,
        has_left: false,
        grace_ends_at: Timestamp::UNIX_EPOCH,
        method: Some("pm_1"),
        tried_with_method: &[],
    }
}

fn seven_days() -> Situation<'static> {
    Situation { grace_ends_at: days(7), ..ours() }
}

/// Tries and fails at each time that there is, each call taking a minute. Hours after the first failure, and why it ends.
fn tried_until_the_end(mut row: Contribution, situation: &Situation<'_>) -> (Vec<i64>, NoTry) {
    let (mut times, mut rest) = (Vec::new(), Duration::zero());
    loop {
        match row.next_try(situation) {
            Ok(due) => {
                times.push((due - rest - at(0)).num_hours());
                row.begin_try(due, situation.method);
                rest += Duration::minutes(1);
                row.fail_try(due + Duration::minutes(1));
            }
            Err(why) => return (times, why),
        }
    }
}

#[test]
fn tries_are_made_at_growing_intervals_until_the_grace_ends() {
    let week = [1, 3, 7, 15, 31, 55, 79, 103, 127, 151];
    assert_eq!(tried_until_the_end(taken("insufficient_funds"), &seven_days()), (week.to_vec(), NoTry::TriedOut));
    let three_days = Situation { grace_ends_at: days(3), ..ours() };
    assert_eq!(tried_until_the_end(taken("insufficient_funds"), &three_days), (week[..6].to_vec(), NoTry::GraceOver));
    let at_its_end = Situation { grace_ends_at: at(1), ..ours() };
    assert_eq!(taken("insufficient_funds").next_try(&at_its_end), Err(NoTry::GraceOver), "not in its last second");
    let none = Situation { grace_ends_at: at(0), ..ours() };
    assert_eq!(tried_until_the_end(taken("insufficient_funds"), &none), (vec![], NoTry::GraceOver));
    let month = Situation { grace_ends_at: days(30), ..ours() };
    assert_eq!(tried_until_the_end(taken("insufficient_funds"), &month), (week.to_vec(), NoTry::TriedOut), "ten");
}

#[test]
fn stripes_schedule_is_ended_before_ours_begins_or_when_the_grace_ends() {
    let by_stripe = Situation { owner: RetryOwner::Stripe, ..seven_days() };
    let row = failed("insufficient_funds");
    assert_eq!(row.next_step(&by_stripe), Some((Step::Stop, days(7))));
    assert_eq!(row.next_try(&by_stripe), Err(NoTry::ByStripe));
    assert_eq!(row.next_step(&seven_days()), Some((Step::Take, at(0))));
    assert_eq!(row.next_try(&seven_days()), Ok(at(1)), "what is shown until that is confirmed");
    let known_late = Situation { grace_ends_at: at(0), ..ours() };
    assert_eq!(row.next_step(&known_late), Some((Step::Stop, at(0))));
    assert_eq!(taken("insufficient_funds").next_step(&seven_days()), Some((Step::Try, at(1))));
}

#[test]
fn what_was_taken_over_stays_ours_until_its_payer_leaves() {
    let row = taken("insufficient_funds");
    let by_stripe = Situation { owner: RetryOwner::Stripe, ..seven_days() };
    assert_eq!(row.next_step(&by_stripe), Some((Step::Try, at(1))), "Stripe would not try it any more");
    for owner in [RetryOwner::Stripe, RetryOwner::Tollgate] {
        let left = Situation { owner, has_left: true, ..seven_days() };
        assert_eq!((row.next_step(&left), row.next_try(&left)), (None, Err(NoTry::ByStripe)));
        assert_eq!(failed("insufficient_funds").next_step(&left), Some((Step::Stop, days(7))));
    }
}

#[test]
fn what_is_not_overdue_is_left_alone() {
    for (status, amount_paid, asked_since) in
        [("paid", 5000, None), ("void", 0, None), ("uncollectible", 0, None), ("open", 0, Some(at(1)))]
    {
        let work = UnitOfWork::new(at(0), Rng::seeded(1));
        let mut row = Contribution { amount_paid, asked_since, ..taken("insufficient_funds") };
        row.invoice_status = Some(status.to_owned());
        row.settle(&work);
        assert_eq!(row.next_step(&seven_days()), None, "{status}");
        assert_eq!(row.next_try(&seven_days()), Err(NoTry::NothingOverdue), "{status}");
    }
}

#[test]
fn a_refusal_for_good_ends_the_tries_until_the_method_changes() {
    let codes = [
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "stolen_card",
        "expired_card",
        "fraudulent",
        "do_not_try_again",
        "revocation_of_authorization",
        "revocation_of_all_authorizations",
        "authentication_required",
        "highest_risk_level",
        "transaction_not_allowed",
        "account_closed",
        "no_account",
    ];
    for code in codes {
        let row = taken(code);
        assert_eq!(row.next_step(&seven_days()), None, "{code}");
        assert_eq!(row.next_try(&seven_days()), Err(NoTry::Refused), "{code}");
        let another = Situation { method: Some("pm_2"), ..seven_days() };
        assert_eq!(row.next_try(&another), Ok(at(0)), "at once");
    }
    // Of one that nothing names it is the one that is charged.
    let mut row = taken("insufficient_funds");
    row.failures.see("", Failure::of_code(at(2).timestamp(), "stolen_card"));
    let another = Situation { method: Some("pm_2"), ..seven_days() };
    assert_eq!(row.next_try(&another), Err(NoTry::Refused));
}

#[test]
fn another_method_that_fails_too_is_tried_by_the_schedule() {
    let mut row = taken("lost_card");
    let another = Situation { method: Some("pm_2"), ..seven_days() };
    assert_eq!(row.begin_try(at(5), Some("pm_2")), 1);
    row.fail_try(at(5));
    row.failures.see("pm_2", Failure::of_code(at(5).timestamp(), "insufficient_funds"));
    assert_eq!(row.next_try(&another), Ok(at(7)));
    assert_eq!(row.next_try(&seven_days()), Err(NoTry::Refused), "the old one stays refused");
    row.failures.see("pm_2", Failure::of_code(at(6).timestamp(), "fraudulent"));
    assert_eq!(row.next_try(&another), Err(NoTry::Refused));
    let third = Situation { method: Some("pm_3"), ..seven_days() };
    assert_eq!(row.next_try(&third), Ok(at(5)), "one, at once");
}

#[test]
fn a_method_that_only_a_user_tried_does_not_end_the_tries() {
    let mut row = taken("insufficient_funds");
    row.asked_at.push(at(0) + Duration::minutes(10));
    row.last_failed_at = Some(at(0) + Duration::minutes(10));
    row.failures.see("pm_9", Failure::of_code(at(0).timestamp() + 600, "lost_card"));
    assert_eq!(row.next_try(&seven_days()), Ok(at(1)), "and moves no schedule");
}

#[test]
fn a_bank_debit_is_tried_twice_a_day_after_it_came_back() {
    let mut row = taken("insufficient_funds");
    let debit = Failure { is_bank_debit: true, ..Failure::of_code(at(0).timestamp(), "insufficient_funds") };
    row.failures.see("pm_1", debit);
    let month = Situation { grace_ends_at: days(30), ..ours() };
    assert_eq!(row.next_try(&month), Ok(at(24)));
    row.begin_try(at(24), Some("pm_1"));
    row.fail_try(days(5));
    assert_eq!(row.next_try(&month), Ok(days(6)));
    row.begin_try(days(6), Some("pm_1"));
    row.fail_try(days(9));
    assert_eq!(row.next_try(&month), Err(NoTry::DebitedOut));
    let card = Situation { method: Some("pm_2"), ..month };
    assert_eq!(row.next_try(&card), Ok(days(9) + Duration::hours(4)), "what another method is tried by is no debit");
}

#[test]
fn no_method_is_tried_more_than_fifteen_times_in_thirty_days() {
    let row = taken("insufficient_funds");
    let others: Vec<_> = (0..15).map(|number| days(-20) + Duration::hours(number)).collect();
    let month = Situation { grace_ends_at: days(30), ..ours() };
    assert_eq!(row.next_try(&Situation { tried_with_method: &others[1..], ..month }), Ok(at(1)));
    let crowded = Situation { tried_with_method: &others, ..month };
    assert_eq!(row.next_try(&crowded), Ok(days(10)), "when the first of them is thirty days past");
    assert_eq!(
        row.next_try(&Situation { tried_with_method: &others, ..seven_days() }),
        Err(NoTry::GraceOver),
        "which is too late"
    );
}

#[test]
fn a_try_without_an_answer_is_the_same_one_again_and_not_counted() {
    let mut row = taken("insufficient_funds");
    assert_eq!(row.attempts_in_all(), 1);
    assert_eq!(row.begin_try(at(1), Some("pm_1")), 1);
    assert_eq!((row.next_step(&seven_days()), row.attempts_in_all()), (Some((Step::Try, at(1))), 1));
    assert_eq!(row.begin_try(at(2), Some("pm_2")), 1, "the same");
    let over = Situation { grace_ends_at: at(1), ..ours() };
    assert_eq!(row.next_step(&over), None, "nothing after the grace");
    row.fail_try(at(3));
    assert_eq!((row.next_try(&seven_days()), row.attempts_in_all()), (Ok(at(5)), 2));
    assert_eq!(row.begin_try(at(5), Some("pm_1")), 2);
    row.withdraw_try();
    assert_eq!((row.tries.len(), row.next_try(&seven_days())), (1, Ok(at(5))), "there was nothing to pay");
}

#[test]
fn a_failure_that_stripe_tells_of_is_that_of_the_try_before_it() {
    let work = UnitOfWork::new(at(0), Rng::seeded(1));
    let mut row = taken("insufficient_funds");
    row.begin_try(at(1) + Duration::milliseconds(700), Some("pm_1"));
    row.settle(&work);
    assert!(row.is_trying, "the failure before is not its own");
    // The event comes before the answer does, of the same second.
    row.last_failed_at = Some(at(1));
    row.settle(&work);
    assert_eq!((row.is_trying, row.tries[0].failed_at), (false, Some(at(1))));
    row.fail_try(at(1) + Duration::seconds(5));
    assert_eq!(row.next_try(&seven_days()), Ok(at(3)), "the first word of it counts");
    // One at once after a failure of the same second is after it.
    row.begin_try(at(1), Some("pm_1"));
    row.settle(&work);
    assert!(row.is_trying);
}

#[test]
fn what_its_payer_asked_for_moves_no_schedule() {
    let mut row = taken("insufficient_funds");
    row.asked_at.push(at(0) + Duration::minutes(30));
    row.last_failed_at = Some(at(0) + Duration::minutes(31));
    assert_eq!((row.next_try(&seven_days()), row.attempts_in_all()), (Ok(at(1)), 2));
    row.begin_try(at(1), Some("pm_1"));
    row.fail_try(at(1));
    row.asked_at.push(at(2));
    row.last_failed_at = Some(at(2));
    assert_eq!(row.next_try(&seven_days()), Ok(at(3)));
    // Stripe has tried again before it was told not to: its last one counts.
    let mut row = taken("insufficient_funds");
    row.last_failed_at = Some(days(3));
    assert_eq!(row.next_try(&seven_days()), Ok(days(3) + Duration::hours(1)));
}
