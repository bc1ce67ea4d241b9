//! How the relay ends.

use tollgate_journal::OpenError;

use super::backend::{Backend, Reply, within};
use super::harness::{Setup, TestRelay, TestResponse};
use crate::server::{Relay, StartError};

#[tokio::test]
async fn what_is_in_flight_is_finished_and_nothing_new_is_taken() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let relay = TestRelay::with(&backend).await;
    let mut idle = relay.connect().await;
    let in_flight = tokio::spawn(TestResponse::of(relay.event("evt_1", "checkout.session.completed")));
    backend.wait_for("evt_1", 1).await;
    let (addr, admin_addr, journal) = (relay.inner.addr, relay.inner.admin_addr, relay.inner.journal.clone());
    let draining = tokio::spawn(relay.inner.drain());
    // The idle one is closed at once, and nobody new gets in.
    assert_eq!(idle.read_to_end().await, "");
    within(async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} }).await;
    assert!(!in_flight.is_finished() && !draining.is_finished());
    let ready = format!("http://{admin_addr}/ready");
    assert_eq!(TestResponse::of(relay.client.get(ready)).await.error(), (503, "not_ready".into()));
    backend.open_the_gate();
    assert_eq!(in_flight.await.unwrap().status, 200);
    within(draining).await.unwrap();
    assert_eq!(journal.stats().unconfirmed, 0);
}

#[tokio::test]
async fn a_confirmation_that_comes_during_the_drain_is_kept() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let relay = TestRelay::with(&backend).await;
    relay.take("evt_1").await;
    backend.wait_for("evt_1", 1).await;
    let draining = tokio::spawn(relay.inner.drain());
    backend.open_the_gate();
    within(draining).await.unwrap();
    let relay = relay.setup.start().await;
    assert_eq!(relay.inner.journal.stats().unconfirmed, 0);
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_and_not_lost() {
    let backend = Backend::start(|_| Reply::Wait).await;
    let mut setup = Setup::with(&backend, &[]);
    setup.config.limits.drain_timeout = std::time::Duration::from_millis(50);
    let relay = setup.start().await;
    let request = relay.event("evt_1", "checkout.session.completed");
    let in_flight = tokio::spawn(async move { request.send().await.map(|response| response.status()) });
    backend.wait_for("evt_1", 1).await;
    within(relay.inner.drain()).await;
    assert!(in_flight.await.unwrap().is_err());
    let relay = relay.setup.start().await;
    assert_eq!(relay.inner.journal.stats().unconfirmed, 1);
    backend.open_the_gate();
    relay.wait_until_all_is_confirmed().await;
}

#[tokio::test]
async fn a_second_relay_on_the_same_folder_refuses_to_start() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    let second =
        Relay::start(relay.setup.config.clone(), tollgate_shared::Clock::system(), tollgate_shared::Rng::system());
    let Err(error) = second.await else { panic!("it started") };
    assert!(matches!(error, StartError::Journal(OpenError::Locked(_))), "{error:?}");
}
