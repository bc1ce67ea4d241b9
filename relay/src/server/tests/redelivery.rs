//! What was not confirmed at once is delivered later, as often as it takes and no more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_journal::reader::{Reader, Selection};
use tollgate_shared::backoff::Backoff;

use super::backend::{Backend, Reply, until};
use super::harness::{PATH, Setup, TestRelay, TestResponse, event, head};

/// An hour is never over in a test: what comes earlier has another reason.
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn nothing_but_a_2xx_that_says_received_ends_the_repeats() {
    let calls = AtomicUsize::new(0);
    let backend = Backend::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Respond(302, r#"{"received":true}"#.into()),
        1 => Reply::Respond(403, r#"{"error":{"code":"forbidden"}}"#.into()),
        2 => Reply::Respond(500, r#"{"error":{},"stored":true}"#.into()),
        3 => Reply::Respond(200, "<html>".into()),
        4 => Reply::Respond(200, r#"{"received":false}"#.into()),
        5 => Reply::HangUp,
        6 => Reply::Respond(404, String::new()),
        _ => Reply::Confirm,
    })
    .await;
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_1").await;
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_1"), 8);
    // Others come and go; this one does not come again.
    for id in ["evt_2", "evt_3"] {
        relay.take(id).await;
        relay.wait_until_all_is_confirmed().await;
    }
    assert_eq!(backend.times("evt_1"), 8);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Backend::start(|_| Reply::Confirm).await;
    let target = format!("http://{}/", elsewhere.addr);
    let backend = Backend::start(|_| Reply::Confirm).await;
    backend.reply(move |_| Reply::Redirect(target.clone()));
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_1").await;
    backend.wait_for("evt_1", 2).await;
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn when_the_backend_is_back_all_that_waits_comes_at_once_in_order_of_arrival() {
    let mut backend = Backend::away(|_| Reply::ConfirmAndTakeSequences).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    // However slow the machine: only a request that takes long may be overtaken.
    setup.config.bounds.slow_after = HOUR;
    let relay = setup.start().await;
    let ids: Vec<_> = (0..150).map(|n| format!("evt_{n}")).collect();
    for id in &ids {
        relay.take(id).await;
    }
    // Not one is on its way any more: each waits its hour.
    until(|| relay.inner.forwarder.redelivery_count() == ids.len()).await;
    backend.come_back().await;
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.events(), ids);
}

#[tokio::test]
async fn while_there_is_no_connection_events_are_only_kept_and_a_connection_is_enough_to_go_on() {
    let mut backend = Backend::away(|_| Reply::Confirm).await;
    // Something that answers, but has no such route.
    backend.set_ready(404);
    let relay = TestRelay::with(&backend).await;
    for id in ["evt_1", "evt_2", "evt_3"] {
        relay.take(id).await;
    }
    until(|| relay.inner.forwarder.redelivery_count() == 3).await;
    backend.come_back().await;
    relay.wait_until_all_is_confirmed().await;
    relay.take("evt_4").await;
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_4"), 1);
}

#[tokio::test]
async fn when_ready_is_good_again_what_had_failed_comes_at_once() {
    let backend = Backend::start(|_| Reply::Respond(503, String::new())).await;
    backend.set_ready(503);
    let mut setup = Setup::with(&backend, &[]);
    setup.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    let relay = setup.start().await;
    relay.take("evt_1").await;
    backend.wait_until_ready_was_asked_again(2).await;
    assert_eq!(backend.times("evt_1"), 1);
    backend.reply(|_| Reply::Confirm);
    backend.set_ready(200);
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_1"), 2);
}

#[tokio::test]
async fn a_backend_that_is_ready_and_refuses_is_not_asked_at_every_look() {
    let backend = Backend::start(|_| Reply::Respond(403, String::new())).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    let relay = setup.start().await;
    relay.take("evt_1").await;
    backend.wait_for("evt_1", 1).await;
    backend.wait_until_ready_was_asked_again(5).await;
    assert_eq!(backend.times("evt_1"), 1);
}

#[tokio::test]
async fn an_event_in_trouble_is_repeated_also_while_ready_is_not_good() {
    let backend = Backend::start(|_| Reply::Respond(500, String::new())).await;
    backend.set_ready(404);
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_1").await;
    backend.wait_for("evt_1", 5).await;
    backend.reply(|_| Reply::Confirm);
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn an_event_that_is_in_flight_is_not_delivered_a_second_time_beside_it() {
    let backend =
        Backend::start(
            |asked| {
                if asked.events == ["evt_slow"] { Reply::Wait } else { Reply::Respond(500, String::new()) }
            },
        )
        .await;
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_slow").await;
    backend.wait_for("evt_slow", 1).await;
    relay.take("evt_other").await;
    // By then the other path has been at the journal often.
    backend.wait_for("evt_other", 8).await;
    assert_eq!(backend.times("evt_slow"), 1);
    backend.reply(|_| Reply::Confirm);
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_slow"), 1);
}

#[tokio::test]
async fn what_was_unconfirmed_is_delivered_after_a_restart_and_what_was_confirmed_is_not() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    for id in ["evt_1", "evt_2"] {
        relay.take(id).await;
    }
    relay.wait_until_all_is_confirmed().await;
    backend.reply(|_| Reply::Respond(500, String::new()));
    for id in ["evt_3", "evt_4"] {
        relay.take(id).await;
        backend.wait_for(id, 1).await;
    }
    backend.reply(|_| Reply::Confirm);
    let relay = relay.restart().await;
    relay.wait_until_all_is_confirmed().await;
    assert!(backend.times("evt_3") >= 2 && backend.times("evt_4") >= 2);
    assert_eq!((backend.times("evt_1"), backend.times("evt_2")), (1, 1));
    let (before, relay) = (backend.events(), relay.restart().await);
    relay.take("evt_5").await;
    relay.wait_until_all_is_confirmed().await;
    assert_eq!(backend.events()[before.len()..], ["evt_5"]);
}

#[tokio::test]
async fn a_start_does_not_wait_for_what_is_left_from_before() {
    let backend = Backend::start(|_| Reply::Respond(500, String::new())).await;
    let relay = TestRelay::with(&backend).await;
    for n in 0..20 {
        relay.take(&format!("evt_{n}")).await;
    }
    backend.reply(|_| Reply::Wait);
    let relay = relay.restart().await;
    assert_eq!(relay.admin("/ready").await.status, 200);
    relay.take("evt_new").await;
    assert_eq!(relay.inner.journal.stats().unconfirmed, 21);
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn an_event_that_an_operator_discards_is_not_delivered_any_more() {
    let backend = Backend::start(|_| Reply::Respond(500, String::new())).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    let relay = setup.start().await;
    relay.take("evt_1").await;
    until(|| relay.inner.forwarder.redelivery_count() == 1).await;
    let journal = &relay.inner.journal;
    let position = journal.unconfirmed_after(None, 1)[0];
    assert!(journal.discard(position));
    relay.inner.forwarder.make_all_due();
    until(|| relay.inner.forwarder.redelivery_count() == 0).await;
    assert_eq!(backend.times("evt_1"), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_response_loses_no_event() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let relay = TestRelay::with(&backend).await;
    for n in 0..20 {
        let body = event(&format!("evt_{n}"), "checkout.session.completed");
        let mut raw = relay.connect().await;
        raw.send(head(&body, &format!("content-length: {}", body.len())) + &body).await;
        backend.wait_for(&format!("evt_{n}"), 1).await;
        drop(raw);
    }
    backend.open_the_gate();
    // Each was kept: otherwise it could not be confirmed.
    until(|| relay.inner.journal.stats().unconfirmed == 0 && confirmed_entries(&relay) == 20).await;
}

fn confirmed_entries(relay: &TestRelay) -> usize {
    let found = Reader::new(relay.setup.dir.path()).select(&Selection::default()).unwrap();
    found.iter().filter(|entry| entry.confirmed).count()
}

#[tokio::test]
async fn more_than_memory_should_hold_waits_in_the_journal() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.bounds.memory_bytes_max = 100_000;
    let relay = setup.start().await;
    // Each is allowed, but only one fits into memory at a time.
    for n in 0..3 {
        let body = event(&format!("evt_{n}"), &"x".repeat(60_000));
        assert_eq!(TestResponse::of(relay.signed(PATH, body)).await.status, 200);
    }
    let metrics = relay.admin("/metrics").await.body;
    assert!(metrics.contains("tollgate_relay_spilled_events_total 2\n"), "{metrics}");
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
    for n in 0..3 {
        assert!(backend.times(&format!("evt_{n}")) >= 1);
    }
}
