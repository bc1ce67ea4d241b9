//! The private listener.

use super::backend::{Backend, Reply};
use super::stand::{Answer, Stand};

#[tokio::test]
async fn it_says_that_the_relay_lives_and_whether_it_takes_events() {
    let mut backend = Backend::start(|_| Reply::Confirm).await;
    let stand = Stand::with(&backend).await;
    assert_eq!(stand.admin("/live").await.status, 200);
    assert_eq!(stand.admin("/ready").await.status, 200);
    backend.go_away().await;
    assert_eq!(stand.admin("/ready").await.status, 200, "the backend makes no difference");
    stand.relay.journal.close().await;
    assert_eq!(stand.admin("/ready").await.error(), (503, "not_ready".into()));
    assert_eq!(stand.admin("/live").await.status, 200);
}

#[tokio::test]
async fn it_has_nothing_else() {
    let backend = Backend::start(|_| Reply::Confirm).await;
    let stand = Stand::with(&backend).await;
    for path in ["/", "/api/webhooks/stripe", "/metrics/", "/ready/x"] {
        assert_eq!(stand.admin(path).await.error(), (404, "not_found".into()), "{path}");
    }
    let url = format!("http://{}/ready", stand.relay.admin_addr);
    let answer = Answer::of(stand.client.post(url)).await;
    assert_eq!(answer.error(), (405, "method_not_allowed".into()));
    assert_eq!(answer.headers["allow"], "GET, HEAD");
}

#[tokio::test]
async fn metrics_say_how_far_behind_the_backend_is() {
    let backend = Backend::start(|_| Reply::Answer(403, String::new())).await;
    let stand = Stand::with(&backend).await;
    for id in ["evt_1", "evt_2"] {
        stand.take(id).await;
    }
    let answer = stand.admin("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let has = |metrics: &str, line: &str| assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    has(&answer.body, "tollgate_relay_unconfirmed_events 2");
    has(&answer.body, r#"tollgate_relay_webhooks_total{answer="received"} 2"#);
    has(&answer.body, "tollgate_relay_journal_can_append 1");
    let age = answer.body.lines().find_map(|line| line.strip_prefix("tollgate_relay_oldest_unconfirmed_seconds "));
    assert!(age.unwrap().parse::<f64>().unwrap() > 0.0);
    backend.reply(|_| Reply::Confirm);
    stand.wait_until_all_is_confirmed().await;
    let caught_up = stand.admin("/metrics").await.body;
    has(&caught_up, "tollgate_relay_unconfirmed_events 0");
    has(&caught_up, "tollgate_relay_oldest_unconfirmed_seconds 0");
}
