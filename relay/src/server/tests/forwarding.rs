//! What the backend gets, and in which batches.

use std::time::Duration;

use tollgate_shared::json_seq;

use super::backend::{Backend, Reply, until};
use super::harness::{Setup, TestRelay, TestResponse, event};

#[tokio::test]
async fn an_event_arrives_as_it_was_signed_with_its_ids_and_the_key() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    let body = "{ \"id\": \"evt_1\",\n  \"type\": \"x.y\", \"n\": 1.0e0, \"s\": \"\\u00e9é\" }\n".to_owned();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = relay.signed("/api/webhooks/stripe", body.clone());
    let request = request.header("x-request-id", "from-stripe").header("traceparent", trace);
    let request = request.header("x-internal-api-key", "forged").header("cookie", "a=b");
    assert_eq!(TestResponse::of(request).await.status, 200);
    backend.wait_for("evt_1", 1).await;
    let asked = &backend.asked()[0];
    assert_eq!(asked.path, "/subscriptions/internal/stripe-webhook");
    assert_eq!(asked.body, body);
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(asked.header("x-internal-api-key"), "internal");
    assert_eq!(asked.header("x-request-id"), "from-stripe");
    assert_eq!(asked.header("traceparent")[..36], trace[..36]);
    assert_ne!(asked.header("traceparent"), trace);
    assert_eq!((asked.header("cookie"), asked.header("stripe-signature")), ("", ""));
}

#[tokio::test]
async fn the_relays_own_secret_is_sent_instead_of_the_shared_key() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = Setup::with(&backend, &[("RELAY_INTERNAL_SECRET", "own")]).start().await;
    relay.take("evt_1").await;
    backend.wait_for("evt_1", 1).await;
    assert_eq!(backend.asked()[0].header("x-internal-api-key"), "own");
}

#[tokio::test]
async fn a_backend_that_speaks_only_http_1_gets_that() {
    let backend = Backend::start(|asked| match asked.headers.get("host") {
        // HTTP/2 has no such header.
        Some(_) => Reply::Confirm,
        None => Reply::Respond(500, String::new()),
    })
    .await;
    let relay = Setup::with(&backend, &[("BACKEND_HTTP", "1.1")]).start().await;
    relay.take("evt_1").await;
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_1"), 1);
}

/// A relay whose backend takes `first` and then responds no more, so that events wait.
async fn with_events_waiting(backend: &Backend, events: usize) -> TestRelay {
    let mut setup = Setup::with(backend, &[]);
    // What has no response is not given up either: only so many requests are in flight.
    setup.config.bounds.slow_after = Duration::from_secs(600);
    let relay = setup.start().await;
    relay.take("first").await;
    relay.wait_until_all_is_confirmed().await;
    backend.reply(|_| Reply::Wait);
    for n in 0..events {
        relay.take(&format!("evt_{n}")).await;
    }
    relay
}

#[tokio::test]
async fn what_waits_together_goes_together_to_a_backend_that_takes_sequences() {
    let backend = Backend::start(|_| Reply::ConfirmAndTakeSequences).await;
    let relay = with_events_waiting(&backend, 100).await;
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
    let asked = backend.asked();
    assert!(asked.len() < 20, "{} requests", asked.len());
    let largest = asked.iter().map(|asked| asked.events.len()).max();
    assert_eq!(largest, Some(64));
    assert!(asked.iter().all(|asked| asked.is_sequence() == (asked.events.len() > 1)));
    let together = asked.iter().find(|asked| asked.is_sequence()).unwrap();
    let mut bodies = Vec::new();
    for id in &together.events {
        json_seq::push(&mut bodies, event(id, "invoice.paid").as_bytes());
    }
    assert_eq!(together.body, bodies);
    assert!(together.header("x-request-id").starts_with("req_"));
    let mut events = backend.events();
    events.sort();
    events.dedup();
    assert_eq!((events.len(), backend.events().len()), (101, 101), "each once");
}

#[tokio::test]
async fn a_checkout_event_waits_for_neither_queued_nor_in_flight_ones() {
    let backend = Backend::start(|_| Reply::ConfirmAndTakeSequences).await;
    let relay = with_events_waiting(&backend, 200).await;
    let request_of = |id: &str| {
        let asked = backend.asked();
        asked.into_iter().find(|asked| asked.events.iter().any(|event| event == id)).unwrap().events
    };
    let buyer = |id: &'static str| tokio::spawn(TestResponse::of(relay.event(id, "checkout.session.completed")));
    let first = buyer("evt_first_buyer");
    backend.wait_for("evt_first_buyer", 1).await;
    assert_eq!(request_of("evt_first_buyer"), ["evt_first_buyer"]);
    let second = buyer("evt_second_buyer");
    until(|| relay.inner.journal.stats().unconfirmed == 202).await;
    backend.open_the_gate();
    for response in [first, second] {
        assert_eq!(response.await.unwrap().status, 200);
    }
    assert_eq!(request_of("evt_second_buyer")[0], "evt_second_buyer");
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.events().len(), 203, "each once");
}

#[tokio::test]
async fn each_goes_alone_to_a_backend_that_does_not_say_that_it_takes_sequences() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = with_events_waiting(&backend, 100).await;
    backend.reply(|_| Reply::Confirm);
    backend.open_the_gate();
    // The first responses of the gate do say so; from the next one on it is not so any more.
    relay.wait_until_all_is_confirmed().await;
    relay.take("evt_again").await;
    backend.wait_for("evt_again", 1).await;
    let alone = backend.asked().iter().filter(|asked| !asked.is_sequence()).count();
    assert!(alone >= 65, "as many as may be in flight went before any response: {alone}");
}

#[tokio::test]
async fn the_last_response_decides_whether_sequences_are_sent() {
    let backend = Backend::start(|_| Reply::ConfirmAndTakeSequences).await;
    let relay = TestRelay::with(&backend).await;
    let takes = || relay.inner.forwarder.backend().takes_sequences();
    assert!(!takes(), "not before it has said so");
    relay.take("evt_1").await;
    relay.wait_until_all_is_confirmed().await;
    assert!(takes());
    backend.reply(|_| Reply::Confirm);
    relay.take("evt_2").await;
    relay.wait_until_all_is_confirmed().await;
    assert!(!takes());
}

#[tokio::test]
async fn long_events_do_not_go_in_one_company() {
    let backend = Backend::start(|_| Reply::ConfirmAndTakeSequences).await;
    let relay = with_events_waiting(&backend, 4).await;
    for n in 0..5 {
        let body = event(&format!("evt_long_{n}"), &"x".repeat(400_000));
        assert_eq!(TestResponse::of(relay.signed("/api/webhooks/stripe", body)).await.status, 200);
    }
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
    let longest = backend.asked().iter().map(|asked| asked.body.len()).max().unwrap();
    assert!((400_000..=1024 * 1024 + 128).contains(&longest), "{longest}");
}

#[tokio::test]
async fn of_several_in_one_request_only_those_that_failed_are_delivered_again() {
    let backend = Backend::start(|_| Reply::ConfirmAndTakeSequences).await;
    let relay = with_events_waiting(&backend, 20).await;
    // Two are in flight; the others go together and meet this.
    backend.reply(|_| Reply::FailOnly(&["evt_7", "evt_9"]));
    backend.open_the_gate();
    backend.wait_for("evt_7", 3).await;
    backend.wait_for("evt_9", 3).await;
    assert_eq!(relay.inner.journal.stats().unconfirmed, 2);
    backend.reply(|_| Reply::ConfirmAndTakeSequences);
    relay.wait_until_all_is_confirmed().await;
    for n in (0..20).filter(|n| ![7, 9].contains(n)) {
        assert_eq!(backend.times(&format!("evt_{n}")), 1, "evt_{n}");
    }
}

#[tokio::test]
async fn an_event_that_makes_the_backend_refuse_its_company_holds_up_no_other() {
    let backend = Backend::start(|_| Reply::ConfirmAndTakeSequences).await;
    let relay = with_events_waiting(&backend, 30).await;
    backend.reply(|asked| {
        if asked.events.iter().any(|id| id == "evt_13") {
            Reply::Respond(500, String::new())
        } else {
            Reply::ConfirmAndTakeSequences
        }
    });
    backend.open_the_gate();
    until(|| relay.inner.journal.stats().unconfirmed == 1).await;
    backend.reply(|_| Reply::Confirm);
    relay.wait_until_all_is_confirmed().await;
}

/// A backend that `hanging` events make hang, each with a request of its own, and its relay.
async fn with_slow_requests(hanging: usize) -> (Backend, TestRelay) {
    let backend = Backend::start(|asked| {
        if asked.events.iter().any(|id| id.starts_with("hang")) { Reply::Wait } else { Reply::ConfirmAndTakeSequences }
    })
    .await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.bounds.slow_after = Duration::from_millis(5);
    let relay = setup.start().await;
    for n in 0..hanging {
        relay.take(&format!("hang_{n}")).await;
        backend.wait_for(&format!("hang_{n}"), 1).await;
    }
    (backend, relay)
}

#[tokio::test]
async fn events_that_make_the_backend_hang_hold_up_no_other() {
    let (backend, relay) = with_slow_requests(20).await;
    let checkout = TestResponse::of(relay.event("evt_1", "checkout.session.completed")).await;
    assert_eq!(checkout.status, 200);
    assert_eq!(backend.times("evt_1"), 1);
    assert_eq!(relay.inner.journal.stats().unconfirmed, 20);
}

#[tokio::test]
async fn an_event_that_waits_for_a_slot_goes_when_slow_ones_end() {
    // More than may be in flight to a backend that takes sequences, which it says only then.
    let (backend, relay) = with_slow_requests(70).await;
    relay.take("evt_1").await;
    until(|| relay.inner.forwarder.backend().takes_sequences()).await;
    relay.take("evt_2").await;
    assert_eq!(backend.times("evt_2"), 0);
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_2"), 1);
}
