//! A membership and its contributions, by Stripe's events and by what the company tells itself, in any order.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::charges::Charge;
use crate::contributions::reported::{Report, report};
use crate::contributions::tries::RetryOwner;
use crate::contributions::{Contribution, ContributionStatus};
use crate::memberships::joining::{Joined, join};
use crate::memberships::settled::settle;
use crate::memberships::{Membership, MembershipStatus};
use crate::pods::schedule::Cadence;
use crate::pods::{self, NewPod, Pod};
use tollgate_stripe::{InvoicePayment, PaymentIntent, PodRef, Refund};

const WEEK: i64 = 7 * DAY;

/// Something that is told of a pod.
#[derive(Clone, Debug)]
enum Told {
    ByStripe(Box<Observation>),
    ByCompany { reference: &'static str, status: &'static str },
}

/// A pod of three weekly contributions that begins a week from the start, of which a user has become a member.
pub(super) fn fixture() -> (Fixture, Pod, Membership) {
    let mut fixture = Fixture::new();
    let new = NewPod {
        name: "Ajo".to_owned(),
        description: None,
        is_public: true,
        amount: 5000,
        currency: "ngn".to_owned(),
        cadence: Cadence::Weekly,
        contributions_total: Some(3),
        first_date: at(WEEK),
        grace_days: 7,
        members_max: 2,
    };
    let pod = pods::create(&mut fixture.work, new, None);
    let Ok(Joined::Begun(membership)) = join(&mut fixture.work, &pod.id, "user_1", Some(CUSTOMER), None) else {
        panic!("there is a seat");
    };
    fixture.work.release_savepoint();
    (fixture, pod, membership)
}

pub(super) fn savings(pod: &Pod, membership: &Membership) -> PodRef {
    PodRef { pod_id: Some(pod.id.clone()), membership_id: Some(membership.id.clone()) }
}

pub(super) fn weekly(pod: &PodRef, number: i64, status: &str) -> stripe::Invoice {
    stripe::Invoice {
        id: format!("in_{number}"),
        currency: some("ngn"),
        amount_due: 5000,
        amount_paid: if status == "paid" { 5000 } else { 0 },
        created: Some(START + number * WEEK),
        paid_at: (status == "paid").then_some(START + number * WEEK + 90),
        attempt_count: 1,
        pod: pod.clone(),
        lines: vec![],
        ..invoice(status)
    }
}

fn intent(number: i64, status: &str) -> PaymentIntent {
    PaymentIntent {
        id: format!("pi_{number}"),
        customer: some(CUSTOMER),
        status: some(status),
        amount: 5000,
        amount_received: Some(if status == "succeeded" { 5000 } else { 0 }),
        currency: some("ngn"),
        created: Some(START + number * WEEK),
        ..PaymentIntent::default()
    }
}

fn tie(number: i64) -> Object {
    Object::InvoicePayment(InvoicePayment {
        id: format!("inpay_{number}"),
        invoice: Some(format!("in_{number}")),
        payment_intent: Some(format!("pi_{number}")),
        status: some("paid"),
    })
}

/// Three contributions: the first paid at once and half of it given back, the second after a failure, the third by a bank
/// debit of which the company hears first; then the subscription is over. `shape_of_old`: an invoice names its intent.
fn story(pod: &PodRef, shape_of_old: bool) -> Vec<Told> {
    let state = |status: &str| stripe::Subscription { pod: pod.clone(), ..subscription(status, "price_of_pod") };
    let seen = |number: i64, status: &str| {
        let named = shape_of_old.then(|| format!("pi_{number}"));
        stripe::Invoice { payment_intent: named, ..weekly(pod, number, status) }
    };
    let over = stripe::Subscription { ended_at: Some(START + 4 * WEEK), ..state("canceled") };
    let refund = Refund {
        id: "re_1".to_owned(),
        payment_intent: some("pi_1"),
        charge: some("ch_1"),
        status: some("succeeded"),
        amount: 2500,
        currency: some("ngn"),
        ..Refund::default()
    };
    let mut events = vec![
        created("made", 0, &state("active")),
        observed("paid_1", WEEK + 90, Object::Invoice(seen(1, "paid"), false)),
        observed("intent_1", WEEK + 90, Object::PaymentIntent(intent(1, "succeeded"))),
        observed("refund", WEEK + DAY, Object::Refund(refund)),
        observed("failed_2", 2 * WEEK + 60, Object::Invoice(seen(2, "open"), true)),
        observed("paid_2", 2 * WEEK + DAY, Object::Invoice(seen(2, "paid"), false)),
        observed("intent_3", 3 * WEEK + 60, Object::PaymentIntent(intent(3, "processing"))),
        observed("open_3", 3 * WEEK + 60, Object::Invoice(seen(3, "open"), false)),
        observed("paid_3", 3 * WEEK + 4 * DAY, Object::Invoice(seen(3, "paid"), false)),
        deleted("over", 4 * WEEK, &over),
    ];
    // In the old shapes it is the invoices that name their intents.
    if !shape_of_old {
        events.extend((1..=3).map(|number| observed(&format!("tie_{number}"), number * WEEK + 90, tie(number))));
    }
    let mut told: Vec<_> = events.into_iter().map(|event| Told::ByStripe(Box::new(event))).collect();
    told.extend([
        Told::ByCompany { reference: "pi_3", status: "pending" },
        Told::ByCompany { reference: "pi_3", status: "succeeded" },
        Told::ByCompany { reference: "in_2", status: "succeeded" },
    ]);
    told
}

fn tell(fixture: &mut Fixture, pod: &Pod, membership: &Membership, told: &Told) {
    match told {
        Told::ByStripe(observation) => fixture.see(observation),
        Told::ByCompany { reference, status } => {
            let work = &mut fixture.work;
            if work.get::<Charge>(reference).is_none() && reference.starts_with("pi_") {
                work.insert(Charge::placeholder(reference));
            }
            let whose = (&*membership.id, &*pod.id, "user_1");
            let told = Report { reference, whose, amount: 5000, currency: "ngn", status, invoice: None };
            report(work, &told).expect("it is the same as before");
            settle(work, &membership.id, RetryOwner::Stripe);
            work.release_savepoint();
        }
    }
}

/// What it comes to: the membership, and each contribution by its invoice, without ids.
fn end(fixture: &Fixture, membership: &Membership) -> (Membership, Vec<Contribution>) {
    let mut contributions: Vec<_> = fixture.work.all().filter(|one: &&Contribution| one.counts()).cloned().collect();
    contributions.sort_by(|a, b| a.invoice_id.cmp(&b.invoice_id));
    for one in &mut contributions {
        one.id.clear();
    }
    (fixture.work.get_cloned(&membership.id).unwrap(), contributions)
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_a_pods_events_ends_in_the_same(
        order in prop::collection::vec(any::<Index>(), 0..40), shape_of_old: bool
    ) {
        let (mut fixture, pod, membership) = fixture();
        let all = story(&savings(&pod, &membership), shape_of_old);
        let chosen = order.iter().map(|index| index.get(&all));
        for told in chosen.chain(all.iter().rev()) {
            tell(&mut fixture, &pod, &membership, told);
        }
        let (row, contributions) = end(&fixture, &membership);
        prop_assert_eq!(row.status(at(5 * WEEK)), MembershipStatus::Completed);
        prop_assert_eq!((row.contribution_progress, row.total_contributed), (3, 12_500));
        prop_assert_eq!((row.pending_amount, row.overdue_amount, row.grace_ends_at), (0, 0, None));
        prop_assert_eq!((&row.seat_of, row.subscription_id.as_deref()), (&None, Some("sub_1")));
        let seen: Vec<_> = contributions.iter().map(|one| {
            (one.invoice_id.clone(), one.reference.clone(), one.status(), one.in_pot())
        }).collect();
        let paid = ContributionStatus::Succeeded;
        let of = |number: i64, in_pot: i64| (Some(format!("in_{number}")), Some(format!("pi_{number}")), paid, in_pot);
        prop_assert_eq!(seen, vec![of(1, 2500), of(2, 5000), of(3, 5000)]);
        prop_assert!(fixture.told().is_empty() && fixture.license().is_none());
    }
}

#[test]
fn month_by_month_a_membership_is_what_a_person_would_expect() {
    let (mut fixture, pod, membership) = fixture();
    let named = savings(&pod, &membership);
    let state = stripe::Subscription { pod: named.clone(), ..subscription("trialing", "price_of_pod") };
    let shown = |fixture: &Fixture, seconds: i64| {
        let row: &Membership = fixture.work.get(&membership.id).unwrap();
        let sums = (row.total_contributed, row.pending_amount, row.overdue_amount);
        (row.status(at(seconds)), row.contribution_progress, sums)
    };
    assert_eq!(shown(&fixture, 60), (MembershipStatus::Joining, 0, (0, 0, 0)));
    fixture.see(&created("made", 0, &state));
    assert_eq!(shown(&fixture, 60), (MembershipStatus::Active, 0, (0, 0, 0)));
    // An invoice of 0 does nothing.
    let free = stripe::Invoice { amount_due: 0, amount_paid: 0, ..weekly(&named, 0, "paid") };
    fixture.see(&observed("free", 1, Object::Invoice(free, false)));
    assert_eq!(shown(&fixture, 60), (MembershipStatus::Active, 0, (0, 0, 0)));
    fixture.see(&observed("under_way", WEEK, Object::Invoice(weekly(&named, 1, "open"), false)));
    assert_eq!(shown(&fixture, WEEK), (MembershipStatus::Active, 0, (0, 5000, 0)));
    fixture.see(&observed("came_back", WEEK + 4 * DAY, Object::Invoice(weekly(&named, 1, "open"), true)));
    assert_eq!(shown(&fixture, WEEK + 4 * DAY), (MembershipStatus::PastDue, 0, (0, 0, 5000)));
    let row: &Membership = fixture.work.get(&membership.id).unwrap();
    assert_eq!(row.grace_ends_at, Some(at(WEEK + 11 * DAY)), "seven days from the first failure");
    // The next one is paid; the first stays overdue.
    fixture.see(&observed("paid_2", 2 * WEEK + 60, Object::Invoice(weekly(&named, 2, "paid"), false)));
    assert_eq!(shown(&fixture, WEEK + 12 * DAY), (MembershipStatus::Failed, 1, (5000, 0, 5000)));
    fixture.see(&observed("paid_1", 3 * WEEK, Object::Invoice(weekly(&named, 1, "paid"), false)));
    assert_eq!(shown(&fixture, 3 * WEEK), (MembershipStatus::Active, 2, (10_000, 0, 0)));
    // What is paid in another currency is shown and in no sum.
    let foreign = stripe::Invoice { currency: some("usd"), ..weekly(&named, 3, "paid") };
    fixture.see(&observed("foreign", 3 * WEEK + 60, Object::Invoice(foreign, false)));
    assert_eq!(shown(&fixture, 3 * WEEK), (MembershipStatus::Active, 2, (10_000, 0, 0)));
}

#[test]
fn a_subscription_made_elsewhere_is_its_users_in_that_pod() {
    let (mut fixture, pod, membership) = fixture();
    let customer = stripe::Customer { id: CUSTOMER.to_owned(), user_id: some("user_1"), ..stripe::Customer::default() };
    let before = Object::Customer { before: None, after: customer, deleted: false };
    fixture.see(&observed("customer", 0, before));
    let named = PodRef { pod_id: Some(pod.id.clone()), membership_id: None };
    let other = PodRef { pod_id: some("pod_of_others"), membership_id: None };
    let state = |id: &str, pod: PodRef| stripe::Subscription { pod, ..self::named(id, 0, "active", "price_of_pod") };
    fixture.see(&created("other", 1, &state("sub_other", other)));
    fixture.see(&created("made", 1, &state("sub_9", named.clone())));
    fixture.see(&created("second", 2, &state("sub_10", named)));
    let row: &Membership = fixture.work.get(&membership.id).unwrap();
    assert_eq!(row.subscription_id.as_deref(), Some("sub_9"));
    // Its metadata may go: it stays what it is.
    let bare = stripe::Subscription { pod: PodRef::default(), ..self::named("sub_9", 0, "active", "price_pro") };
    fixture.see(&snapshot("bare", 5, &bare));
    assert_eq!(fixture.work.get::<Subscription>("sub_9").unwrap().pod_id, Some(pod.id.clone()));
    assert_eq!(fixture.customer().tier, "free");
    assert!(fixture.license().is_none());
}
