//! What was not confirmed at once is delivered later, as often as it takes and no more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_journal::reader::{Reader, Selection};
use tollgate_shared::backoff::Backoff;

use super::backend::{Backend, Reply, until};
use super::stand::{Answer, PATH, Plan, Stand, event, head};

/// An hour is never over in a test: what comes earlier has another reason.
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn nothing_but_a_2xx_that_says_received_ends_the_repeats() {
    let calls = AtomicUsize::new(0);
    let backend = Backend::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Answer(302, r#"{"received":true}"#.into()),
        1 => Reply::Answer(403, r#"{"error":{"code":"forbidden"}}"#.into()),
        2 => Reply::Answer(500, r#"{"error":{},"stored":true}"#.into()),
        3 => Reply::Answer(200, "<html>".into()),
        4 => Reply::Answer(200, r#"{"received":false}"#.into()),
        5 => Reply::HangUp,
        6 => Reply::Answer(404, String::new()),
        _ => Reply::Confirm,
    })
    .await;
    let stand = Stand::with(&backend).await;
    stand.take("evt_1").await;
    stand.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_1"), 8);
    // Others come and go; this one does not come again.
    for id in ["evt_2", "evt_3"] {
        stand.take(id).await;
        stand.wait_until_all_is_confirmed().await;
    }
    assert_eq!(backend.times("evt_1"), 8);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Backend::start(|_| Reply::Confirm).await;
    let target = format!("http://{}/", elsewhere.addr);
    let backend = Backend::start(|_| Reply::Confirm).await;
    backend.reply(move |_| Reply::Redirect(target.clone()));
    let stand = Stand::with(&backend).await;
    stand.take("evt_1").await;
    backend.wait_for("evt_1", 2).await;
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn when_the_backend_is_back_all_that_waits_comes_at_once_in_order_of_arrival() {
    let mut backend = Backend::away(|_| Reply::ConfirmAndTakeSequences).await;
    let mut plan = Plan::with(&backend, &[]);
    plan.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    // However slow the machine: only a request that takes long may be overtaken.
    plan.config.bounds.slow_after = HOUR;
    let stand = plan.start().await;
    let ids: Vec<_> = (0..150).map(|n| format!("evt_{n}")).collect();
    for id in &ids {
        stand.take(id).await;
    }
    // Not one is on its way any more: each waits its hour.
    until(|| stand.relay.forwarder.redelivery_count() == ids.len()).await;
    backend.come_back().await;
    stand.wait_until_all_is_confirmed().await;
    assert_eq!(backend.events(), ids);
}

#[tokio::test]
async fn while_there_is_no_connection_events_are_only_kept_and_a_connection_is_enough_to_go_on() {
    let mut backend = Backend::away(|_| Reply::Confirm).await;
    // Something that answers, but has no such route.
    backend.set_ready(404);
    let stand = Stand::with(&backend).await;
    for id in ["evt_1", "evt_2", "evt_3"] {
        stand.take(id).await;
    }
    until(|| stand.relay.forwarder.redelivery_count() == 3).await;
    backend.come_back().await;
    stand.wait_until_all_is_confirmed().await;
    stand.take("evt_4").await;
    stand.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_4"), 1);
}

#[tokio::test]
async fn when_ready_is_good_again_what_had_failed_comes_at_once() {
    let backend = Backend::start(|_| Reply::Answer(503, String::new())).await;
    backend.set_ready(503);
    let mut plan = Plan::with(&backend, &[]);
    plan.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    let stand = plan.start().await;
    stand.take("evt_1").await;
    backend.wait_until_ready_was_asked_again(2).await;
    assert_eq!(backend.times("evt_1"), 1);
    backend.reply(|_| Reply::Confirm);
    backend.set_ready(200);
    stand.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_1"), 2);
}

#[tokio::test]
async fn a_backend_that_is_ready_and_refuses_is_not_asked_at_every_look() {
    let backend = Backend::start(|_| Reply::Answer(403, String::new())).await;
    let mut plan = Plan::with(&backend, &[]);
    plan.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    let stand = plan.start().await;
    stand.take("evt_1").await;
    backend.wait_for("evt_1", 1).await;
    backend.wait_until_ready_was_asked_again(5).await;
    assert_eq!(backend.times("evt_1"), 1);
}

#[tokio::test]
async fn an_event_in_trouble_is_repeated_also_while_ready_is_not_good() {
    let backend = Backend::start(|_| Reply::Answer(500, String::new())).await;
    backend.set_ready(404);
    let stand = Stand::with(&backend).await;
    stand.take("evt_1").await;
    backend.wait_for("evt_1", 5).await;
    backend.reply(|_| Reply::Confirm);
    stand.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn an_event_that_is_under_way_is_not_delivered_a_second_time_beside_it() {
    let backend =
        Backend::start(
            |asked| {
                if asked.events == ["evt_slow"] { Reply::Wait } else { Reply::Answer(500, String::new()) }
            },
        )
        .await;
    let stand = Stand::with(&backend).await;
    stand.take("evt_slow").await;
    backend.wait_for("evt_slow", 1).await;
    stand.take("evt_other").await;
    // By then the other path has been at the journal often.
    backend.wait_for("evt_other", 8).await;
    assert_eq!(backend.times("evt_slow"), 1);
    backend.reply(|_| Reply::Confirm);
    backend.open_the_gate();
    stand.wait_until_all_is_confirmed().await;
    assert_eq!(backend.times("evt_slow"), 1);
}

#[tokio::test]
async fn what_was_unconfirmed_is_delivered_after_a_restart_and_what_was_confirmed_is_not() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let stand = Stand::with(&backend).await;
    for id in ["evt_1", "evt_2"] {
        stand.take(id).await;
    }
    stand.wait_until_all_is_confirmed().await;
    backend.reply(|_| Reply::Answer(500, String::new()));
    for id in ["evt_3", "evt_4"] {
        stand.take(id).await;
        backend.wait_for(id, 1).await;
    }
    backend.reply(|_| Reply::Confirm);
    let stand = stand.restart().await;
    stand.wait_until_all_is_confirmed().await;
    assert!(backend.times("evt_3") >= 2 && backend.times("evt_4") >= 2);
    assert_eq!((backend.times("evt_1"), backend.times("evt_2")), (1, 1));
    let (before, stand) = (backend.events(), stand.restart().await);
    stand.take("evt_5").await;
    stand.wait_until_all_is_confirmed().await;
    assert_eq!(backend.events()[before.len()..], ["evt_5"]);
}

#[tokio::test]
async fn a_start_does_not_wait_for_what_is_left_from_before() {
    let backend = Backend::start(|_| Reply::Answer(500, String::new())).await;
    let stand = Stand::with(&backend).await;
    for n in 0..20 {
        stand.take(&format!("evt_{n}")).await;
    }
    backend.reply(|_| Reply::Wait);
    let stand = stand.restart().await;
    assert_eq!(stand.admin("/ready").await.status, 200);
    stand.take("evt_new").await;
    assert_eq!(stand.relay.journal.stats().unconfirmed, 21);
    backend.open_the_gate();
    stand.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn an_event_that_an_operator_discards_is_not_delivered_any_more() {
    let backend = Backend::start(|_| Reply::Answer(500, String::new())).await;
    let mut plan = Plan::with(&backend, &[]);
    plan.config.bounds.repeats = Backoff { first: HOUR, longest: HOUR };
    let stand = plan.start().await;
    stand.take("evt_1").await;
    until(|| stand.relay.forwarder.redelivery_count() == 1).await;
    let journal = &stand.relay.journal;
    let position = journal.unconfirmed_after(None, 1)[0];
    assert!(journal.discard(position));
    stand.relay.forwarder.make_all_due();
    until(|| stand.relay.forwarder.redelivery_count() == 0).await;
    assert_eq!(backend.times("evt_1"), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_loses_no_event() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let stand = Stand::with(&backend).await;
    for n in 0..20 {
        let body = event(&format!("evt_{n}"), "checkout.session.completed");
        let mut raw = stand.connect().await;
        raw.send(head(&body, &format!("content-length: {}", body.len())) + &body).await;
        backend.wait_for(&format!("evt_{n}"), 1).await;
        drop(raw);
    }
    backend.open_the_gate();
    // Each was kept: otherwise it could not be confirmed.
    until(|| stand.relay.journal.stats().unconfirmed == 0 && confirmed_entries(&stand) == 20).await;
}

fn confirmed_entries(stand: &Stand) -> usize {
    let found = Reader::new(stand.plan.dir.path()).select(&Selection::default()).unwrap();
    found.iter().filter(|entry| entry.confirmed).count()
}

#[tokio::test]
async fn more_than_memory_should_hold_waits_in_the_journal() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let mut plan = Plan::with(&backend, &[]);
    plan.config.bounds.memory_bytes_max = 100_000;
    let stand = plan.start().await;
    // Each is allowed, but only one fits into memory at a time.
    for n in 0..3 {
        let body = event(&format!("evt_{n}"), &"x".repeat(60_000));
        assert_eq!(Answer::of(stand.signed(PATH, body)).await.status, 200);
    }
    let metrics = stand.admin("/metrics").await.body;
    assert!(metrics.contains("tollgate_relay_spilled_events_total 2\n"), "{metrics}");
    backend.open_the_gate();
    stand.wait_until_all_is_confirmed().await;
    for n in 0..3 {
        assert!(backend.times(&format!("evt_{n}")) >= 1);
    }
}
