//! A pod's subscription is no plan: what a plan gives neither comes nor goes by it.

use proptest::prelude::*;
use proptest::sample::Index;

use super::any_order::life;
use super::*;
use tollgate_stripe::PodRef;

fn pod() -> PodRef {
    PodRef { pod_id: some("pod_1"), membership_id: None }
}

/// The same event of a subscription that pays into a pod, at a plan's price; none of what is no subscription's.
fn in_a_pod(observation: &Observation) -> Option<Observation> {
    let of_pod =
        |state: &stripe::Subscription| stripe::Subscription { id: "sub_pod".to_owned(), pod: pod(), ..state.clone() };
    let object = match &observation.object {
        Object::Subscription { before, after, ended } => {
            Object::Subscription { before: before.as_ref().map(of_pod), after: of_pod(after), ended: *ended }
        }
        Object::Invoice(invoice, failed) => Object::Invoice(invoice_of_pod(invoice), *failed),
        _ => return None,
    };
    Some(Observation { source: format!("{}_pod", observation.source), object, ..observation.clone() })
}

fn invoice_of_pod(invoice: &stripe::Invoice) -> stripe::Invoice {
    stripe::Invoice { id: "in_pod".to_owned(), subscription: some("sub_pod"), pod: pod(), ..invoice.clone() }
}

/// What a customer has by plans, and what its apps were told.
fn by_plans(fixture: &Fixture) -> impl PartialEq + Debug {
    let told: Vec<_> = fixture.told().into_iter().map(str::to_owned).collect();
    let end = fixture.end();
    let changes: Vec<_> =
        fixture.work.appended().map(|entry: &AuditEntry| (entry.change.clone(), entry.to_value.clone())).collect();
    (end.customers, end.licenses, end.api_keys, end.widgets, end.subscriptions.get("sub_1").cloned(), told, changes)
}

proptest! {
    #[test]
    fn a_plan_and_a_pod_of_one_customer_do_not_touch(
        plan in life(), pod in life(), places in prop::collection::vec(any::<Index>(), 60)
    ) {
        let mut mixed = plan.clone();
        for (event, place) in pod.iter().filter_map(in_a_pod).zip(places) {
            mixed.insert(place.index(mixed.len() + 1), event);
        }
        let (alone, beside) = (Fixture::new().see_all(&plan), Fixture::new().see_all(&mixed));
        prop_assert_eq!(by_plans(&alone), by_plans(&beside));
    }

    #[test]
    fn savings_alone_give_nothing(pod in life(), order in prop::collection::vec(any::<Index>(), 0..40)) {
        let pod: Vec<_> = pod.iter().filter_map(in_a_pod).collect();
        let end = Fixture::new().see_all(order.iter().map(|index| index.get(&pod)).chain(&pod)).end();
        prop_assert_eq!((end.licenses.len(), end.api_keys, end.widgets), (0, 0, 0));
        prop_assert_eq!(&*end.customers[CUSTOMER].tier, "free");
        prop_assert_eq!(&end.customers[CUSTOMER].current_subscription_id, &None);
    }
}

#[test]
fn savings_give_nothing_by_whatever_event_they_show_themselves() {
    let active = stripe::Subscription { pod: pod(), ..subscription("active", "price_pro") };
    let paid = stripe::Invoice { pod: pod(), ..invoice("paid") };
    // An old endpoint's invoices may name no pod; the subscription does.
    let events = [created("1", 0, &active), invoice_seen("2", 5, paid), completed("3", 6, session(None, None))];
    always(&events, &(0, None, some("pod_1"), some("pod_1")), |end| {
        let current = end.customer().current_subscription_id.clone();
        let subscription = end.work.get::<Subscription>("sub_1").unwrap();
        let invoice = end.work.get::<Invoice>("in_1").unwrap();
        (end.end().licenses.len(), current, subscription.pod_id.clone(), invoice.pod_id.clone())
    });
}

#[test]
fn money_of_a_pod_counts_and_no_app_hears_of_it() {
    let bought = subscription("active", "price_pro");
    let paid = invoice_of_pod(&invoice("paid"));
    let failing = stripe::Invoice { attempt_count: 1, ..invoice_of_pod(&invoice("open")) };
    let events =
        [created("1", 0, &bought), observed("2", 1, Object::Invoice(failing, true)), invoice_seen("3", 5, paid)];
    let end = Fixture::new().see_all(&events);
    assert_eq!(end.told(), ["license_created", "subscription_created"]);
    let payment = end.work.get::<Payment>("in_pod").unwrap();
    assert_eq!((payment.status.as_deref(), payment.amount), (Some("succeeded"), 2900));
}
