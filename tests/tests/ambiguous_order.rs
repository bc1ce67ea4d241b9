//! Snapshots that no event tells apart: Stripe is asked how the object is.

use serde_json::json;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe, delivery};
use tollgate_tests::wait::{SOON, wait_until};
use tollgate_tests::{Stack, StackConfig, on_each_engine};

/// How many subscriptions each test has: without asking, each would be right with one half of a chance.
const SUBSCRIPTIONS: usize = 8;

/// Customers who schedule the end of their subscription and think again within one second, and the only two events that
/// we are sent of each: what was before is not known, so each of the two may be the last.
fn there_and_back(stripe: &mut Stripe) -> (Vec<(String, String)>, Vec<Event>) {
    let bought: Vec<_> = (0..SUBSCRIPTIONS)
        .map(|number| {
            let customer = stripe.sign_up(&format!("{number}@example.com"), "Ada", None);
            let (subscription, _) = stripe.checkout(&customer, &Checkout::default());
            (customer, subscription)
        })
        .collect();
    let first = stripe.pass(3600).occurrences.len();
    for (_, subscription) in &bought {
        stripe.schedule_cancel(subscription);
        stripe.undo_cancel(subscription);
    }
    let events = delivery::only(&stripe.events_since(first, ApiVersion::Endive), |event_type| {
        event_type == "customer.subscription.updated"
    });
    assert_eq!(events.len(), 2 * SUBSCRIPTIONS);
    (bought, events)
}

/// An event that does not tell what it changed.
fn without_what_was_before(event: &Event) -> Event {
    let mut json = event.json();
    json["data"].as_object_mut().expect("an event has data").remove("previous_attributes");
    Event::of(&json)
}

async fn is_to_end(stack: &Stack, customer: &str) -> Option<bool> {
    stack.customer(customer).await?["subscription"]["cancelAtPeriodEnd"].as_bool()
}

on_each_engine!(an_order_that_no_event_tells_is_settled_by_asking_stripe, async |engine| {
    let mut stripe = Stripe::fresh();
    let (bought, events) = there_and_back(&mut stripe);
    let api = Api::start(&stripe).await;
    // Within the ambiguous second nobody can know what will yet happen in it.
    api.fail(&[500, 429]);
    let config = StackConfig::on(engine).backend("STRIPE_API_BASE", &api.base).backend("STRIPE_SECRET_KEY", SECRET_KEY);
    let stack = Stack::spawn(config.backend("RUST_LOG", "trace")).await;
    stack.tell(&events).await;
    let path = |subscription: &str| format!("/v1/subscriptions/{subscription}");
    wait_until("Stripe is asked again after both failures", SOON, async || api.asked().len() >= 3).await;
    stripe.pass(1);
    api.is_now(&stripe);
    for (customer, subscription) in &bought {
        wait_until("Stripe was asked", SOON, async || api.asked().contains(&path(subscription))).await;
        // One that was asked for too early, or in vain, is asked for again.
        let settled = format!("refetched {subscription} from Stripe");
        wait_until("Stripe's answer is in effect", SOON, async || stack.logs().contains(&settled)).await;
        wait_until("it is as Stripe says", SOON, async || is_to_end(&stack, customer).await == Some(false)).await;
    }
    // What is true of one second is not asked for again.
    let asked = api.asked().len();
    stack.tell(&events).await;
    for (customer, _) in &bought {
        assert_eq!(is_to_end(&stack, customer).await, Some(false));
    }
    assert_eq!(api.asked().len(), asked);
    assert_eq!(stack.events("status=failed").await, Vec::<serde_json::Value>::new());
    let log = stack.logs();
    assert!(log.contains("refetched sub_") && !log.contains(SECRET_KEY));
});

on_each_engine!(a_customer_is_asked_for_as_well_and_one_that_stripe_does_not_know_holds_up_no_other, async |engine| {
    let mut stripe = Stripe::fresh();
    let name = |customer: &str| format!("first of {customer}");
    let customers: Vec<_> =
        (0..SUBSCRIPTIONS).map(|number| stripe.sign_up(&format!("{number}@example.com"), "Ada", None)).collect();
    for customer in &customers {
        stripe.rename(customer, "first@example.com", &name(customer));
    }
    let first = stripe.pass(3600).occurrences.len();
    for customer in &customers {
        stripe.rename(customer, "second@example.com", "second");
        stripe.rename(customer, "first@example.com", &name(customer));
    }
    let events = stripe.events_since(first, ApiVersion::Endive);
    assert_eq!(events.len(), 2 * SUBSCRIPTIONS);
    let mut known = stripe.clone();
    known.pass(1).customers.remove(&customers[0]);
    let api = Api::start(&known).await;
    let config = StackConfig::on(engine).backend("STRIPE_API_BASE", &api.base).backend("STRIPE_SECRET_KEY", SECRET_KEY);
    let stack = Stack::spawn(config).await;
    stack.tell(&events).await;
    for customer in &customers[1..] {
        let is_named = async || stack.customer(customer).await.is_some_and(|body| body["name"] == name(customer));
        wait_until("the name is Stripe's", SOON, is_named).await;
    }
    let path = format!("/v1/customers/{}", customers[0]);
    wait_until("the unknown one was asked for", SOON, async || api.asked().contains(&path)).await;
    assert!(stack.customer(&customers[0]).await.is_some(), "what its events said stays");
});

on_each_engine!(a_response_of_the_same_second_as_an_event_is_asked_for_again, async |engine| {
    let mut stripe = Stripe::fresh();
    let (bought, events) = there_and_back(&mut stripe);
    // What Stripe answers at first is from a second in which there was more to come.
    let api = Api::start(stripe.pass(1)).await;
    let first = stripe.occurrences.len();
    for (_, subscription) in &bought {
        stripe.schedule_cancel(subscription);
    }
    let later = stripe.events_since(first, ApiVersion::Endive);
    let later: Vec<_> = later.iter().map(without_what_was_before).collect();
    let config = StackConfig::on(engine).backend("STRIPE_API_BASE", &api.base).backend("STRIPE_SECRET_KEY", SECRET_KEY);
    let stack = Stack::spawn(config).await;
    // Every event is to be there before Stripe's first answer.
    api.fail(&[500; 8]);
    stack.tell(&events).await;
    wait_until("Stripe is asked", SOON, async || !api.asked().is_empty()).await;
    stack.tell(&later).await;
    api.recover();
    let asked = api.asked().len();
    wait_until("Stripe is asked a second time", SOON, async || api.asked().len() >= asked + 2).await;
    api.is_now(stripe.pass(1));
    for (customer, _) in &bought {
        wait_until("it is as Stripe says", SOON, async || is_to_end(&stack, customer).await == Some(true)).await;
    }
});

on_each_engine!(without_a_key_the_larger_event_id_decides, async |engine| {
    let mut stripe = Stripe::fresh();
    let (bought, events) = there_and_back(&mut stripe);
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    stack.tell(&delivery::reversed(&events)).await;
    for (pair, (customer, _)) in events.chunks(2).zip(&bought) {
        let last = pair.iter().max_by(|a, b| a.id.cmp(&b.id)).expect("there are two");
        let its = last.json()["data"]["object"]["cancel_at_period_end"].as_bool();
        assert_eq!(is_to_end(&stack, customer).await, its);
    }
    assert_eq!(stack.customer(&bought[0].0).await.expect("it is known")["tier"], json!("pro"));
});
