//! How a user's things are at Stripe, taken in on demand.

use serde_json::json;

use super::{Scene, later, refusal};
use crate::on_each_engine;

const SYNC: [&str; 2] = ["/api/stripe/sync", "/api/stripe/subscriptions/sync"];

#[test]
fn what_no_event_has_brought_is_brought_and_told() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        later(&scene);
        let (customer, subscription) = (scene.customer.clone(), scene.subscription.clone());
        scene.api.change(|stripe| {
            stripe.schedule_cancel_at(&subscription);
            stripe.rename(&customer, "ada@example.com", "Ada Lovelace");
        });
        for path in SYNC {
            let is_first = path == SYNC[0];
            let synced = scene.press(path, &json!({})).await;
            let body = synced.json();
            assert_eq!((synced.status, &body["changed"]), (200, &json!(is_first)), "{body}");
            assert_eq!(body["subscription"]["cancelScheduled"], true);
            let found = body["differences"].as_array().unwrap();
            let of =
                |object: &str, field: &str| found.iter().find(|it| it["object"] == *object && it["field"] == *field);
            let ends = of(&subscription, "cancelScheduled").map(|it| (&it["was"], &it["is"]));
            assert_eq!(ends, is_first.then_some((&json!(false), &json!(true))), "{body}");
            assert_eq!(of(&customer, "name").map(|it| &it["is"]), is_first.then_some(&json!("Ada Lovelace")));
        }
        assert_eq!(scene.shown().await["name"], "Ada Lovelace");
        assert_eq!(scene.api.changes(), [], "it only reads");
    });
}

#[test]
fn who_was_deleted_unheard_keeps_a_name_and_has_no_plan() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        later(&scene);
        scene.api.change(|stripe| stripe.delete_customer(&scene.customer));
        let synced = scene.press(SYNC[0], &json!({})).await;
        assert_eq!((synced.status, &synced.json()["subscription"]["status"]), (200, &json!("canceled")), "{synced:?}");
        let shown = scene.shown().await;
        assert_eq!((&shown["deleted"], &shown["name"], &shown["tier"]), (&json!(true), &json!("Ada"), &json!("free")));
        assert_eq!(shown["userId"], "user_1");
        assert_eq!(scene.press(SYNC[0], &json!({})).await.refusal(), refusal("no_customer", 404));
        scene.hear().await;
        assert_eq!(scene.shown().await, shown, "its events say the same");
    });
}
