//! The client against a stateful Stripe: what it sends, when it asks again, and what it makes of the answers.

use std::time::Duration;

use serde_json::Value;
use tollgate_shared::Rng;
use tollgate_tests::stripe::rest::{Api, Fault, SECRET_KEY};
use tollgate_tests::stripe::{Checkout, Stripe};

use super::*;
use crate::testing::config;

const ACTION: [&str; 2] = ["cancel", "user_1"];

/// A Stripe with one subscriber.
async fn stripe() -> (Api, String) {
    let mut stripe = Stripe::new(1);
    let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_1"));
    let (subscription, _) = stripe.checkout(&customer, &Checkout::default());
    (Api::start(&stripe).await, subscription)
}

fn client(base: &str) -> Client {
    let config = config(&[("STRIPE_SECRET_KEY", SECRET_KEY), ("STRIPE_API_BASE", base)]);
    let client = Client::open(&config.stripe, &Rng::seeded(1)).unwrap().unwrap();
    let [attempt, user, background] = [200, 4000, 4000].map(Duration::from_millis);
    let backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(1) };
    client.with_timeouts(Timeouts { attempt, user, background, backoff })
}

fn cancel(subscription: &str) -> Call {
    let form = Form::default().with("cancel_at_period_end", true);
    Call::post("subscriptions.update", &["subscriptions", subscription]).with(form)
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[rocket::async_test]
async fn what_is_done_twice_for_one_action_is_done_once() {
    let (api, subscription) = stripe().await;
    let client = client(&api.base);
    let action = Action::of_state(&ACTION);
    let (first, second) =
        (client.act(&cancel(&subscription), &action).await, client.act(&cancel(&subscription), &action).await);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(json(&first)["cancel_at_period_end"], true);
    assert_eq!((first.is_replayed, second.is_replayed), (false, true));
    assert_eq!(first.body, second.body);
    let keys: Vec<_> = api.changes().into_iter().map(|asked| asked.key).collect();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

#[rocket::async_test]
async fn each_call_asks_for_one_version() {
    let (api, subscription) = stripe().await;
    let client = client(&api.base);
    client.read(&Call::get("subscriptions.read", &["subscriptions", &subscription])).await.unwrap();
    client.act(&cancel(&subscription), &Action::of_state(&ACTION)).await.unwrap();
    client.once(&cancel(&subscription), "a key").await.unwrap();
    let end = Call::delete("subscriptions.cancel", &["subscriptions", &subscription]).in_background();
    client.act(&end, &Action::of_state(&["end"])).await.unwrap();
    let versions: Vec<_> = api.calls().into_iter().filter_map(|asked| asked.version).collect();
    assert_eq!(versions, [VERSION; 4]);
}

#[rocket::async_test]
async fn a_lost_answer_is_asked_for_again_and_it_happened_once() {
    let (api, subscription) = stripe().await;
    api.fault(&[Fault::AnswerLost]);
    let events = api.change(|stripe| stripe.occurrences.len());
    let answer = client(&api.base).act(&cancel(&subscription), &Action::of_state(&ACTION)).await.unwrap();
    assert_eq!((json(&answer)["cancel_at_period_end"].clone(), answer.is_replayed), (true.into(), true));
    assert_eq!(api.change(|stripe| stripe.occurrences.len()), events + 1);
    assert_eq!(api.changes().len(), 2);
}

#[rocket::async_test]
async fn what_fails_for_a_moment_is_tried_three_times() {
    let (api, subscription) = stripe().await;
    let client = client(&api.base);
    api.fail(&[500, 409]);
    client.act(&cancel(&subscription), &Action::of_state(&ACTION)).await.unwrap();
    assert_eq!(api.calls().len(), 3);
    api.fail(&[500; 3]);
    let failed = client.read(&Call::get("subscriptions.read", &["subscriptions", &subscription])).await.unwrap_err();
    assert_eq!((failed.to_string(), api.calls().len()), ("Stripe answered 500".to_owned(), 6));
}

#[rocket::async_test]
async fn too_many_requests_are_not_answered_by_more() {
    let (api, subscription) = stripe().await;
    let client = client(&api.base);
    let read = Call::get("subscriptions.read", &["subscriptions", &subscription]);
    api.fail(&[429]);
    assert_eq!(client.read(&read).await.unwrap_err().to_string(), "Stripe answered 429 rate_limit");
    assert_eq!(api.calls().len(), 1);
    api.fault(&[Fault::StatusWith(429, vec![("stripe-should-retry", "true".to_owned())])]);
    client.read(&read).await.unwrap();
    assert_eq!(api.calls().len(), 3, "unless Stripe says so");
}

#[rocket::async_test]
async fn whoever_gets_no_answer_does_not_know_whether_it_was_done() {
    let (api, subscription) = stripe().await;
    let client = client(&api.base);
    api.fault(&[Fault::Silent, Fault::Silent, Fault::Silent]);
    let lost = client.act(&cancel(&subscription), &Action::of_state(&ACTION)).await.unwrap_err();
    assert!(matches!(lost, CallError::Lost(_)), "{lost:?}");
    // That it is refused now says nothing of what became of it.
    api.fault(&[Fault::AnswerLost, Fault::Status(429)]);
    let lost = client.act(&cancel(&subscription), &Action::of_state(&ACTION)).await.unwrap_err();
    assert!(matches!(lost, CallError::Lost(_)), "{lost:?}");
    assert!(api.change(|stripe| stripe.subscriptions[&subscription].cancel_at_period_end));
}

#[rocket::async_test]
async fn a_stripe_that_is_not_there_has_done_nothing() {
    let client = client("http://127.0.0.1:1");
    let failed = client.act(&cancel("sub_1"), &Action::of_state(&ACTION)).await.unwrap_err();
    assert!(matches!(failed, CallError::Unreachable(_)), "{failed:?}");
}

#[rocket::async_test]
async fn what_an_earlier_press_was_refused_is_no_answer_to_this_one() {
    let (api, subscription) = stripe().await;
    let client = client(&api.base);
    let no_such = cancel("sub_unknown");
    let action = Action::of_state(&ACTION);
    for attempts in [1, 3] {
        let refused = client.act(&no_such, &action).await.unwrap_err();
        assert!(refused.refusal().unwrap().is_out_of_date());
        assert_eq!(api.calls().len(), attempts, "the second is asked under its own key, after the first one's");
    }
    let named = Action::named(&ACTION);
    for attempts in [4, 5] {
        client.act(&no_such, &named).await.unwrap_err();
        assert_eq!(api.calls().len(), attempts, "whoever names it asks what came of it");
    }
    client.act(&cancel(&subscription), &action.step("another")).await.unwrap();
}

#[rocket::async_test]
async fn stripe_refuses_parameters_that_it_does_not_know() {
    let (api, subscription) = stripe().await;
    let call = Call::post("subscriptions.update", &["subscriptions", &subscription]);
    let refused =
        client(&api.base).act(&call.with(Form::default().with("coupon", "x")), &Action::of_state(&ACTION)).await;
    assert_eq!(refused.unwrap_err().to_string(), "Stripe answered 400 parameter_unknown");
}
