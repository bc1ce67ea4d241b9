//! The private listener.

use super::backend::{Backend, Reply};
use super::harness::{TestRelay, TestResponse};

#[tokio::test]
async fn it_says_that_the_relay_lives_and_whether_it_takes_events() {
    let mut backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    assert_eq!(relay.admin("/live").await.status, 200);
    assert_eq!(relay.admin("/ready").await.status, 200);
    backend.go_away().await;
    assert_eq!(relay.admin("/ready").await.status, 200, "the backend makes no difference");
    relay.inner.journal.close().await;
    assert_eq!(relay.admin("/ready").await.error(), (503, "not_ready".into()));
    assert_eq!(relay.admin("/live").await.status, 200);
}

#[tokio::test]
async fn it_has_nothing_else() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let relay = TestRelay::with(&backend).await;
    for path in ["/", "/api/webhooks/stripe", "/metrics/", "/ready/x"] {
        assert_eq!(relay.admin(path).await.error(), (404, "not_found".into()), "{path}");
    }
    let url = format!("http://{}/ready", relay.inner.admin_addr);
    let response = TestResponse::of(relay.client.post(url)).await;
    assert_eq!(response.error(), (405, "method_not_allowed".into()));
    assert_eq!(response.headers["allow"], "GET, HEAD");
}

#[tokio::test]
async fn metrics_say_how_far_behind_the_backend_is() {
    let backend = Backend::start(|_| Reply::Respond(403, String::new())).await;
    let relay = TestRelay::with(&backend).await;
    for id in ["evt_1", "evt_2"] {
        relay.take(id).await;
    }
    let response = relay.admin("/metrics").await;
    assert_eq!(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let has = |metrics: &str, line: &str| assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    has(&response.body, "tollgate_relay_unconfirmed_events 2");
    has(&response.body, r#"tollgate_relay_webhooks_total{answer="received"} 2"#);
    has(&response.body, "tollgate_relay_journal_can_append 1");
    let age = response.body.lines().find_map(|line| line.strip_prefix("tollgate_relay_oldest_unconfirmed_seconds "));
    assert!(age.unwrap().parse::<f64>().unwrap() > 0.0);
    backend.reply(|_| Reply::Confirm);
    relay.wait_until_all_is_confirmed().await;
    let caught_up = relay.admin("/metrics").await.body;
    has(&caught_up, "tollgate_relay_unconfirmed_events 0");
    has(&caught_up, "tollgate_relay_oldest_unconfirmed_seconds 0");
}
