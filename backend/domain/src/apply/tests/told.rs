//! What people are told of, by Stripe's events and by what is done here: each thing once.

use tollgate_shared::clock::rfc3339;

use super::savings::{self, fixture as pod_fixture};
use super::*;
use crate::memberships::leaving::cancel_pod;
use crate::memberships::moving::move_next_date;
use crate::memberships::{Membership, settled};
use crate::notifications::{Message, Notification, Template, timed};
use crate::payouts::{self, NewPayout};
use crate::pods::Pod;

const WEEK: i64 = 7 * DAY;

/// The templates of what was told, in order.
fn told(fixture: &Fixture) -> Vec<String> {
    fixture.work.appended::<Notification>().map(|row| row.template.clone()).collect()
}

/// The same of mails, for a customer of nobody.
fn mailed(fixture: &Fixture) -> Vec<String> {
    let mails = fixture.work.appended::<Message>().filter(|row| row.channel == "email");
    mails.map(|row| row.template.clone()).collect()
}

/// Does what a route or a job does.
fn act(fixture: &mut Fixture, rule: impl FnOnce(&mut UnitOfWork)) {
    rule(&mut fixture.work);
    notifications::follow(&mut fixture.work, &fixture.settings, None);
    fixture.work.release_savepoint();
}

fn failing(id: &str, seconds: i64, attempt: i64, next: Option<i64>) -> Observation {
    let state = stripe::Invoice {
        attempt_count: attempt,
        next_payment_attempt: next.map(|next| START + next),
        ..invoice("open")
    };
    observed(id, seconds, Object::Invoice(state, true))
}

fn subscribed() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.see(&created("made", 0, &subscription("active", "price_pro")));
    fixture
}

#[test]
fn a_plans_payer_is_told_of_the_first_failure_and_of_the_fourth() {
    let mut fixture = subscribed();
    for attempt in 1..=5 {
        let event = failing(&format!("f{attempt}"), attempt * DAY, attempt, Some((attempt + 1) * DAY));
        fixture.see(&event);
        fixture.see(&event);
    }
    fixture.see(&invoice_seen("paid", 6 * DAY, invoice("paid")));
    assert_eq!(mailed(&fixture), ["payment_failing", "payment_recovered"]);
    let message = fixture.work.appended::<Message>().next().unwrap();
    assert_eq!((message.event_id.as_deref(), message.data["attempts"].as_i64()), (Some("evt_f4"), Some(4)));
    assert_eq!(message.data["planName"], "Pro, monthly");
}

#[test]
fn the_last_attempt_that_there_will_be_alarms_at_once() {
    let mut fixture = subscribed();
    fixture.see(&failing("f1", DAY, 1, None));
    assert_eq!(mailed(&fixture), ["payment_failing"]);
}

#[test]
fn a_payment_that_failed_once_and_is_paid_is_no_news() {
    let mut fixture = subscribed();
    fixture.see(&failing("f1", DAY, 1, Some(2 * DAY)));
    fixture.see(&invoice_seen("paid", 2 * DAY, invoice("paid")));
    fixture.see(&failing("f2", DAY + 1, 2, Some(2 * DAY)));
    assert_eq!(mailed(&fixture), Vec::<String>::new(), "what comes late of it neither");
}

#[test]
fn who_has_to_confirm_a_payment_is_told_so() {
    let mut fixture = subscribed();
    let asked = stripe::Invoice { needs_action: true, ..invoice("open") };
    fixture.see(&invoice_seen("asked", DAY, asked.clone()));
    fixture.see(&invoice_seen("again", DAY + 60, asked));
    fixture.see(&invoice_seen("paid", 2 * DAY, invoice("paid")));
    assert_eq!(mailed(&fixture), ["payment_action_required", "payment_recovered"]);
}

#[test]
fn what_is_paid_at_the_checkout_is_no_news_in_any_order() {
    let first = |status: &str| stripe::Invoice { billing_reason: some("subscription_create"), ..invoice(status) };
    let asked = stripe::Invoice { needs_action: true, ..first("open") };
    let asked = invoice_seen("asked", 1, asked);
    let active = snapshot("active", 3, &subscription("active", "price_pro"));
    let paid = invoice_seen("paid", 2, first("paid"));
    for rest in [[&asked, &active, &paid], [&asked, &paid, &active], [&active, &asked, &paid]] {
        let mut fixture = Fixture::new();
        fixture.see(&created("made", 0, &subscription("incomplete", "price_pro")));
        for observation in rest {
            fixture.see(observation);
        }
        assert_eq!(mailed(&fixture), Vec::<String>::new(), "{rest:?}");
    }
}

#[test]
fn a_trial_that_ends_is_told_of_by_stripes_word_alone() {
    let mut fixture = Fixture::new();
    let trial = stripe::Subscription { trial_end: Some(START + 3 * DAY), ..subscription("trialing", "price_pro") };
    fixture.see(&created("made", 0, &trial));
    assert_eq!(mailed(&fixture), Vec::<String>::new());
    let announced = Observation { is_announcement: true, ..snapshot("soon", 60, &trial) };
    fixture.see(&announced);
    assert_eq!(mailed(&fixture), ["trial_ending"]);
    let over = stripe::Subscription { trial_end: Some(START - DAY), ..trial };
    fixture.see(&Observation { is_announcement: true, ..snapshot("late", 61, &over) });
    assert_eq!(mailed(&fixture), ["trial_ending"], "it is over");
}

#[test]
fn a_member_is_told_of_joining_paying_and_of_the_end() {
    let (mut fixture, pod, membership) = pod_fixture();
    let named = savings::savings(&pod, &membership);
    let state = |status: &str| stripe::Subscription { pod: named.clone(), ..subscription(status, "price_of_pod") };
    fixture.see(&created("made", 0, &state("active")));
    for number in 1..=3 {
        let paid = savings::weekly(&named, number, "paid");
        fixture.see(&invoice_seen(&format!("paid_{number}"), number * WEEK + 90, paid.clone()));
        fixture.see(&invoice_seen(&format!("again_{number}"), number * WEEK + 91, paid));
    }
    let over = stripe::Subscription { ended_at: Some(START + 4 * WEEK), ..state("canceled") };
    fixture.see(&deleted("over", 4 * WEEK, &over));
    let told = told(&fixture);
    assert_eq!(told, ["pod_joined", "payment_received", "payment_received", "payment_received", "pod_completed"]);
    let last = fixture.work.appended::<Notification>().last().unwrap();
    let sums = [&last.data["contributionProgress"], &last.data["totalContributed"]].map(serde_json::Value::as_i64);
    assert_eq!((sums, &last.data["podName"]), ([Some(3), Some(15_000)], &"Ajo".into()));
}

#[test]
fn a_contribution_that_fails_is_told_of_until_it_is_paid() {
    let (mut fixture, pod, membership) = pod_fixture();
    let named = savings::savings(&pod, &membership);
    fixture.see(&created(
        "made",
        0,
        &stripe::Subscription { pod: named.clone(), ..subscription("active", "price_of_pod") },
    ));
    let failed = |attempt: i64, next: Option<i64>| stripe::Invoice {
        attempt_count: attempt,
        next_payment_attempt: next.map(|next| START + next),
        hosted_invoice_url: some("https://pay.example/1"),
        ..savings::weekly(&named, 1, "open")
    };
    fixture.see(&observed("f1", WEEK + 60, Object::Invoice(failed(1, Some(WEEK + DAY)), true)));
    fixture.see(&observed("f2", WEEK + DAY, Object::Invoice(failed(2, None), true)));
    fixture.see(&invoice_seen("paid", WEEK + 2 * DAY, savings::weekly(&named, 1, "paid")));
    assert_eq!(
        told(&fixture),
        ["pod_joined", "payment_failed", "payment_failing", "payment_received", "payment_recovered"]
    );
    let failing = fixture.work.appended::<Notification>().nth(2).unwrap();
    assert_eq!((&failing.data["daysLeft"], &failing.data["payUrl"]), (&15.into(), &"https://pay.example/1".into()));
    assert_eq!(failing.data["amount"], 5000);
}

#[test]
fn who_leaves_is_told_once_and_who_is_called_off_otherwise() {
    let (mut fixture, pod, membership) = pod_fixture();
    let named = savings::savings(&pod, &membership);
    let state = stripe::Subscription { pod: named, ..subscription("active", "price_of_pod") };
    fixture.see(&created("made", 0, &state));
    act(&mut fixture, |work| move_next_date(work, &pod.id, at(WEEK + DAY)).unwrap());
    act(&mut fixture, |work| cancel_pod(work, &pod.id, Some("moved away")));
    let over = stripe::Subscription { ended_at: Some(START + 60), ..state };
    fixture.see(&deleted("over", 60, &over));
    assert_eq!(told(&fixture), ["pod_joined", "pod_date_changed", "pod_canceled"]);
    let moved = fixture.work.appended::<Notification>().nth(1).unwrap();
    assert_eq!(moved.data["dueAt"], rfc3339(at(WEEK + DAY)));

    let (mut fixture, pod, membership) = pod_fixture();
    let named = savings::savings(&pod, &membership);
    let state = stripe::Subscription { pod: named, ..subscription("active", "price_of_pod") };
    fixture.see(&created("made", 0, &state));
    fixture.see(&deleted("over", WEEK, &stripe::Subscription { ended_at: Some(START + WEEK), ..state }));
    act(&mut fixture, |work| settled::settle(work, &membership.id, RetryOwner::Stripe));
    assert_eq!(told(&fixture), ["pod_joined", "pod_left"]);
}

#[test]
fn a_payout_is_told_to_whom_it_went() {
    let (mut fixture, pod, membership) = pod_fixture();
    let payout = || NewPayout {
        pod_id: pod.id.clone(),
        membership_id: membership.id.clone(),
        amount: 5000,
        currency: "ngn".to_owned(),
        reference: "first".to_owned(),
        paid_at: None,
        note: None,
    };
    for _ in 0..2 {
        act(&mut fixture, |work| drop(payouts::note(work, payout(), 5000).unwrap()));
    }
    assert_eq!(told(&fixture), ["pod_payout"]);
}

#[test]
fn a_date_that_is_near_and_a_grace_that_ends_are_told_by_the_clock() {
    let (fixture, pod, membership) = pod_fixture();
    let row = Membership { subscription_id: some("sub_1"), ..membership };
    let templates = |row: &Membership, pod: &Pod, seconds: i64| -> Vec<Template> {
        timed::of_membership(row, pod, at(seconds)).into_iter().map(|notice| notice.template).collect()
    };
    assert_eq!(templates(&row, &pod, WEEK - 3 * DAY - 1), []);
    assert_eq!(templates(&row, &pod, WEEK - 3 * DAY), [Template::ContributionDue]);
    assert_eq!(templates(&row, &pod, WEEK - 1), [Template::ContributionDue]);
    assert_eq!(templates(&row, &pod, WEEK), []);
    let leaving = Membership { leaves_at: Some(at(WEEK)), ..row.clone() };
    assert_eq!(templates(&leaving, &pod, WEEK - DAY), [], "there is nothing to come");
    let overdue = Membership { grace_ends_at: Some(at(9 * DAY)), overdue_amount: 5000, ..row };
    assert_eq!(templates(&overdue, &pod, 7 * DAY), []);
    assert_eq!(templates(&overdue, &pod, 7 * DAY + 1), [Template::GraceEnding]);
    assert_eq!(templates(&overdue, &pod, 9 * DAY), [Template::GraceEnded]);
    assert_eq!(templates(&overdue, &pod, 17 * DAY), [], "that is no news");
    drop(fixture);
}
