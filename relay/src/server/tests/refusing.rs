//! A backend that refuses whatever it gets, although its `/ready` is good.

use std::time::Duration;

use tollgate_shared::backoff::Backoff;

use super::backend::{Asked, Backend, Reply, until};
use super::harness::{Setup, TestRelay, TestResponse};

/// What a wrong key, a wrong address, an overloaded or a broken backend answers.
const STATUSES: [u16; 7] = [401, 403, 404, 405, 429, 500, 503];

/// A backend that takes sequences and refuses everything with `status`, and a relay with so many events for it.
async fn refusing(status: u16, events: usize) -> (Backend, TestRelay) {
    let backend = Backend::start(|_| Reply::ConfirmAndTakeSequences).await;
    let mut setup = Setup::with(&backend, &[]);
    // However slow the machine: one request after the other.
    setup.config.bounds.slow_after = Duration::from_secs(600);
    let relay = setup.start().await;
    relay.take("first").await;
    relay.wait_until_all_is_confirmed().await;
    backend.reply(move |_| Reply::Refuse(status, None));
    for n in 0..events {
        relay.take(&format!("evt_{n}")).await;
    }
    until(|| relay.inner.forwarder.redelivery_count() == events).await;
    (backend, relay)
}

fn sizes(asked: &[Asked]) -> Vec<usize> {
    asked.iter().map(|asked| asked.events.len()).collect()
}

#[tokio::test]
async fn events_stay_together_and_go_together_as_soon_as_it_takes_one() {
    for status in STATUSES {
        let (backend, relay) = refusing(status, 200).await;
        // Long enough for every event to have failed often.
        let before = backend.asked().len();
        until(|| backend.asked().len() > before + 12).await;
        let refused = sizes(&backend.asked()[before..]);
        assert!(refused.iter().filter(|size| **size > 1).count() >= refused.len() / 2 - 1, "{status}: {refused:?}");
        let mended = backend.asked().len();
        backend.reply(|_| Reply::ConfirmAndTakeSequences);
        relay.wait_until_all_is_confirmed().await;
        let needed = backend.asked().len() - mended;
        assert!(needed <= 10, "{status}: 200 events took {needed} requests: {:?}", sizes(&backend.asked()[mended..]));
    }
}

#[tokio::test]
async fn one_request_after_the_other_tries_it() {
    let (backend, relay) = refusing(403, 300).await;
    backend.reply(|_| Reply::Wait);
    let before = backend.asked().len();
    until(|| backend.asked().len() > before).await;
    backend.wait_until_ready_was_asked_again(10).await;
    assert!(backend.asked().len() <= before + 1, "{:?}", sizes(&backend.asked()[before..]));
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn each_event_gets_its_turn() {
    let (backend, relay) = refusing(503, 200).await;
    let before = backend.asked().len();
    let tried = |n: usize| backend.asked()[before..].iter().any(|asked| asked.events.contains(&format!("evt_{n}")));
    until(|| (0..200).all(tried)).await;
    backend.reply(|_| Reply::ConfirmAndTakeSequences);
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn an_event_that_alone_makes_it_refuse_a_batch_is_found() {
    let (backend, relay) = refusing(500, 100).await;
    backend.reply(|asked| {
        if asked.events.iter().any(|id| id == "evt_13") {
            Reply::Refuse(500, None)
        } else {
            Reply::ConfirmAndTakeSequences
        }
    });
    until(|| relay.inner.journal.stats().unconfirmed == 1).await;
    backend.reply(|_| Reply::ConfirmAndTakeSequences);
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn when_it_asks_for_quiet_it_is_left_alone() {
    let backend = Backend::start(|_| Reply::Refuse(429, Some("3600"))).await;
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_1").await;
    backend.wait_for("evt_1", 1).await;
    until(|| relay.inner.forwarder.redelivery_count() == 1).await;
    relay.take("evt_2").await;
    // Without that header it would have been asked again after 20 ms.
    backend.wait_until_ready_was_asked_again(10).await;
    assert_eq!(backend.events(), ["evt_1"]);
    // But a buyer who waits is worth a try.
    assert_eq!(TestResponse::of(relay.event("evt_3", "checkout.session.completed")).await.status, 200);
    assert_eq!(backend.times("evt_3"), 1);
    assert_eq!(relay.inner.journal.stats().unconfirmed, 3);
}

#[tokio::test]
async fn one_event_that_is_refused_keeps_its_interval_beside_others_that_are_taken() {
    let backend = Backend::start(|asked| {
        if asked.events.iter().any(|id| id == "evt_bad") {
            Reply::Refuse(403, None)
        } else {
            Reply::ConfirmAndTakeSequences
        }
    })
    .await;
    let mut setup = Setup::with(&backend, &[]);
    let hour = Duration::from_secs(3600);
    setup.config.bounds.repeats = Backoff { first: hour, longest: hour };
    let relay = setup.start().await;
    relay.take("evt_bad").await;
    backend.wait_for("evt_bad", 1).await;
    for n in 0..20 {
        relay.take(&format!("evt_{n}")).await;
    }
    until(|| relay.inner.journal.stats().unconfirmed == 1).await;
    assert_eq!(backend.times("evt_bad"), 1);
}

#[tokio::test]
async fn metrics_say_that_it_takes_nothing_and_what_it_answers() {
    let (backend, relay) = refusing(403, 10).await;
    let metrics = async || relay.admin("/metrics").await.body;
    let refused = metrics().await;
    let has = |metrics: &str, line: &str| assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    has(&refused, "tollgate_relay_backend_up 0");
    assert!(!refused.contains(r#"forward_requests_total{status="4xx"} 0"#), "{refused}");
    assert!(refused.contains("tollgate_relay_forward_seconds_count "), "{refused}");
    assert!(refused.contains(r#"tollgate_relay_forward_batch_events_bucket{le="64"} "#), "{refused}");
    assert!(refused.contains("tollgate_relay_journal_commit_seconds_count "), "{refused}");
    has(&refused, "tollgate_relay_journal_damaged_bytes 0");
    has(&refused, "tollgate_relay_journal_last_failure_timestamp_seconds 0");
    let states = |metrics: &str| -> u64 {
        let of = |line: &str| {
            line.strip_prefix("tollgate_relay_redelivery_events{")?.split_once("} ")?.1.parse::<u64>().ok()
        };
        metrics.lines().filter_map(of).sum()
    };
    assert_eq!(states(&refused), 10, "{refused}");
    backend.reply(|_| Reply::ConfirmAndTakeSequences);
    relay.wait_until_all_is_confirmed().await;
    until(|| relay.inner.forwarder.redelivery_count() == 0).await;
    let mended = metrics().await;
    has(&mended, "tollgate_relay_backend_up 1");
    assert_eq!(states(&mended), 0, "{mended}");
}
