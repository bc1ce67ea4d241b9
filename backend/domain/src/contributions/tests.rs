use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::*;
use crate::contributions::reported::{Mismatch, Report, report};

fn at(seconds: i64) -> Timestamp {
    from_unix(1_750_000_000 + seconds).unwrap()
}

fn work() -> UnitOfWork {
    UnitOfWork::new(at(0), Rng::seeded(1))
}

fn invoice(status: &str, attempts: i64, failed: i64) -> Invoice {
    Invoice {
        status: status.to_owned(),
        currency: Some("ngn".to_owned()),
        amount_due: 5000,
        amount_paid: if status == "paid" { 5000 } else { 0 },
        attempts,
        failed_attempts: failed,
        first_failed_at: (failed > 0).then(|| at(60)),
        last_failed_at: (failed > 0).then(|| at(60)),
        created_at: Some(at(0)),
        ..Invoice::placeholder("in_1")
    }
}

fn of(invoice: &Invoice) -> Contribution {
    let work = work();
    let mut row = Contribution::new(&work, ("mbr_1", "pod_1", "user_1"), "ngn");
    row.take_invoice(invoice);
    row.settle(&work);
    row
}

fn told<'a>(reference: &'a str, status: &'a str) -> Report<'a> {
    let whose = ("mbr_1", "pod_1", "user_1");
    Report { reference, whose, amount: 5000, currency: "ngn", status, invoice: None }
}

#[test]
fn an_invoice_is_due_then_under_way_then_failed_or_paid() {
    for (status, attempts, failed, expected) in [
        ("draft", 0, 0, ContributionStatus::Due),
        ("open", 0, 0, ContributionStatus::Due),
        ("open", 1, 0, ContributionStatus::Pending),
        ("open", 1, 1, ContributionStatus::Failed),
        ("open", 2, 1, ContributionStatus::Pending),
        ("uncollectible", 2, 2, ContributionStatus::Uncollectible),
        ("void", 2, 2, ContributionStatus::Void),
        ("paid", 2, 1, ContributionStatus::Succeeded),
    ] {
        let row = of(&invoice(status, attempts, failed));
        assert_eq!(row.status(), expected, "{status} {attempts} {failed}");
        assert_eq!(row.in_pot(), if status == "paid" { 5000 } else { 0 });
        assert_eq!(ContributionStatus::named(expected.name()), Some(expected));
    }
}

#[test]
fn what_its_payer_asked_for_is_under_way_until_it_fails() {
    let mut row = of(&invoice("open", 1, 1));
    row.asked_since = Some(at(100));
    row.settle(&work());
    assert_eq!(row.status(), ContributionStatus::Pending);
    row.take_invoice(&Invoice { last_failed_at: Some(at(200)), ..invoice("open", 1, 1) });
    row.settle(&work());
    assert_eq!(row.status(), ContributionStatus::Failed);
}

#[test]
fn what_was_given_back_is_not_in_the_pot() {
    let mut work = work();
    let charge =
        |id: &str, refunded| Charge { belongs_to: Some("in_1".to_owned()), refunded, ..Charge::placeholder(id) };
    let mut row = of(&invoice("paid", 1, 0));
    work.insert(charge("pi_1", 2000));
    row.settle(&work);
    assert_eq!((row.status(), row.in_pot()), (ContributionStatus::Succeeded, 3000));
    assert_eq!(row.reference.as_deref(), Some("pi_1"));
    work.insert(charge("pi_1", 5000));
    row.settle(&work);
    assert_eq!((row.status(), row.in_pot()), (ContributionStatus::Refunded, 0));
}

#[test]
fn a_report_moves_forward_and_never_back() {
    let mut work = work();
    for (status, expected) in [
        ("pending", ContributionStatus::Pending),
        ("failed", ContributionStatus::Failed),
        ("pending", ContributionStatus::Failed),
        ("succeeded", ContributionStatus::Succeeded),
        ("failed", ContributionStatus::Succeeded),
        ("refunded", ContributionStatus::Refunded),
        ("succeeded", ContributionStatus::Refunded),
    ] {
        let (row, _) = report(&mut work, &told("pi_1", status)).unwrap();
        assert_eq!(row.status(), expected, "{status}");
    }
    assert_eq!(work.all::<Contribution>().count(), 1);
}

#[test]
fn a_report_of_something_else_is_refused() {
    let mut work = work();
    let (_, is_new) = report(&mut work, &told("pi_1", "succeeded")).unwrap();
    assert!(is_new);
    for other in [
        Report { amount: 5001, ..told("pi_1", "succeeded") },
        Report { currency: "usd", ..told("pi_1", "succeeded") },
        Report { whose: ("mbr_2", "pod_2", "user_1"), ..told("pi_1", "succeeded") },
    ] {
        assert_eq!(report(&mut work, &other), Err(Mismatch));
    }
    assert!(!report(&mut work, &told("pi_1", "succeeded")).unwrap().1);
}

#[test]
fn two_names_of_one_payment_are_one_contribution() {
    let mut work = work();
    let (by_invoice, _) = report(&mut work, &told("in_1", "pending")).unwrap();
    let (by_intent, is_new) =
        report(&mut work, &Report { invoice: Some("in_1"), ..told("pi_1", "succeeded") }).unwrap();
    assert_eq!((&by_intent.id, is_new), (&by_invoice.id, true));
    assert_eq!((by_intent.status(), by_intent.in_pot()), (ContributionStatus::Succeeded, 5000));
    let other = Report { invoice: Some("in_1"), amount: 4000, ..told("ch_1", "succeeded") };
    assert_eq!(report(&mut work, &other), Err(Mismatch));
}
