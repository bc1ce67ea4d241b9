//! What is deleted of old events, and what is kept.

use tollgate_shared::clock::from_unix;

use super::*;
use crate::on_each_engine;
use crate::webhooks::WebhookEvent;

fn event(n: i64, status: Status) -> WebhookEvent {
    WebhookEvent {
        id: format!("evt_{}_{n}", status.name()),
        r#type: "invoice.paid".to_owned(),
        api_version: None,
        livemode: None,
        account: None,
        object_id: None,
        customer_id: None,
        status: status.name().to_owned(),
        reason: None,
        attempts: 1,
        last_error: None,
        created_at: None,
        received_at: from_unix(n).unwrap(),
        processed_at: None,
        next_attempt_at: None,
        payload: Bytes::from_static(b"{}"),
    }
}

#[test]
fn old_events_that_have_ended_are_deleted_in_pages() {
    on_each_engine!(async |db| {
        let statuses = [Status::Processed, Status::Ignored, Status::Failed, Status::DeadLettered];
        let rows: Vec<_> = (0..10).flat_map(|n| statuses.map(|status| event(n, status))).collect();
        let mut tx = db.write().await.unwrap();
        tx.insert(&rows.iter().collect::<Vec<_>>()).await.unwrap();
        let before = from_unix(7).unwrap();
        let mut pages = Vec::new();
        for _ in 0..4 {
            pages.push(delete_ended(&mut tx, Status::Processed, before, 3).await.unwrap());
        }
        assert_eq!(pages, [3, 3, 1, 0]);
        let left: Vec<(String, i64)> =
            tx.sql("SELECT status, count(*) FROM webhook_events GROUP BY status ORDER BY status").all().await.unwrap();
        let left: Vec<_> = left.iter().map(|(status, count)| (status.as_str(), *count)).collect();
        assert_eq!(left, [("dead_lettered", 10), ("failed", 10), ("ignored", 10), ("processed", 3)]);
    });
}
