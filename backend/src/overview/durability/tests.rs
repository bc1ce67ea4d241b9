//! Whether anything is lost or late, on both engines.

use serde_json::json;

use super::percentile;
use crate::on_each_engine;
use crate::testing::{TestApp, db_that_is_away, event};
use crate::webhooks::routes::INTAKE_PATH;

#[test]
fn a_percentile_is_one_of_the_numbers() {
    assert_eq!(percentile(vec![], 95), None);
    assert_eq!(percentile(vec![7], 50), Some(7));
    assert_eq!(percentile((1..=100).rev().collect(), 95), Some(95));
    assert_eq!(percentile(vec![1, 2, 3], 50), Some(2));
}

#[test]
fn what_came_is_counted_by_what_became_of_it() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("RELAY_ADMIN_URLS", "http://127.0.0.1:1")]).await;
        app.subscriber("cus_1", "user_1").await;
        for (id, event_type) in [("evt_1", "something.else"), ("evt_2", "customer.subscription.updated")] {
            let event = event(id, event_type, &json!({ "object": "subscription" }));
            assert_eq!(app.post(INTAKE_PATH, &event).await.status, 200);
        }
        let shown = app.look_up("/api/monitoring/event-durability").await.json();
        let webhooks = &shown["webhooks"];
        let of = |name: &str| webhooks[name].as_i64().unwrap();
        assert_eq!([of("received"), of("processed"), of("ignored"), of("deadLettered"), of("failed")], [3, 1, 1, 1, 0]);
        assert_eq!((&webhooks["oldestFailedSeconds"], &webhooks["lagP95Ms"]), (&json!(null), &json!(null)));
        assert_eq!(
            (&shown["relays"][0]["url"], &shown["relays"][0]["reachable"]),
            (&json!("http://127.0.0.1:1/"), &json!(false))
        );
        assert_eq!((&shown["deadLetters"]["open"], &shown["hours"]), (&json!(1), &json!(24)));
        assert_eq!(shown["desktop"]["acknowledged"], 0);
        assert!(shown["desktop"]["made"].as_i64().unwrap() > 0, "{shown}");
    });
}

#[rocket::async_test]
async fn a_span_of_more_than_a_week_is_refused() {
    let app = TestApp::on(db_that_is_away()).await;
    for bad in ["0", "169", "x"] {
        let refused = app.look_up(&format!("/api/monitoring/event-durability?hours={bad}")).await;
        assert_eq!(refused.refused_parameter().2.as_deref(), Some("hours"), "{bad}");
    }
}
