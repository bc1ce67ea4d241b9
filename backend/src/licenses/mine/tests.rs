//! What users see of their licences, through Rocket's local client, on both engines.

use rocket::http::Method;
use serde_json::json;

use crate::on_each_engine;
use crate::testing::{TestApp, assert_only_for_users, signed_in, subscription_of};

const PATH: &str = "/api/license";

impl TestApp {
    async fn holder(&self, customer: &str, user_id: &str) -> String {
        self.subscriber(customer, user_id).await;
        self.license_of(customer).await
    }
}

#[test]
fn a_user_sees_the_licences_of_all_their_customers() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let (first, second) = (app.holder("cus_2", "user_1").await, app.holder("cus_1", "user_1").await);
        app.holder("cus_3", "user_2").await;
        let machine = app.seat(&first, "a hash").await;
        let list = app.as_user(Method::Get, PATH, &signed_in("user_1", "user")).await.json();
        let mut ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|license| &license["id"]).collect();
        ids.sort_by_key(|id| id.as_str());
        let mut expected = [&first, &second];
        expected.sort();
        assert_eq!(ids, expected, "{list}");
        assert_eq!(list.as_object().unwrap().len(), 1, "nothing but `data`");

        let shown = list["data"].as_array().unwrap().iter().find(|license| license["id"] == *first).unwrap();
        assert!(shown["key"].as_str().unwrap().len() > 25);
        assert_eq!(
            (&shown["activations"], &shown["maxActivations"], &shown["planId"], &shown["graceEndsAt"]),
            (&json!(1), &json!(3), &json!("pro_monthly"), &json!(null))
        );
        let expected = json!([{
            "id": machine, "name": "Ada's", "platform": "linux", "appVersion": "1.0.0",
            "activatedAt": "2025-06-15T15:06:40Z", "lastSeenAt": "2025-06-15T15:06:40Z", "stale": false,
        }]);
        assert_eq!(shown["machines"], expected);
    });
}

#[test]
fn who_has_bought_nothing_has_no_licences() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.holder("cus_1", "user_1").await;
        let list = app.as_user(Method::Get, PATH, &signed_in("user_2", "admin")).await;
        assert_eq!((list.status, list.json()), (200, json!({ "data": [] })));
    });
}

#[test]
fn a_user_frees_the_seat_of_their_own_machine() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let license = app.holder("cus_1", "user_1").await;
        let machine = app.seat(&license, "a hash").await;
        let path = format!("/api/license/machines/{machine}");
        for _ in 0..2 {
            let freed = app.as_user(Method::Delete, &path, &signed_in("user_1", "user")).await;
            assert_eq!((freed.status, &*freed.body), (204, ""));
        }
        let told = app.log_of(&license, "machine_deactivated").await;
        assert_eq!((told.len(), &told[0]["machine"]["id"]), (1, &json!(machine)));
        let list = app.as_user(Method::Get, PATH, &signed_in("user_1", "user")).await.json();
        assert_eq!((&list["data"][0]["activations"], &list["data"][0]["machines"]), (&json!(0), &json!([])));
        // The same machine takes a seat again, as another activation.
        assert_ne!(app.seat(&license, "a hash").await, machine);
    });
}

#[test]
fn another_users_machine_is_not_there() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let license = app.holder("cus_1", "user_1").await;
        let machine = app.seat(&license, "a hash").await;
        let path = format!("/api/license/machines/{machine}");
        for (path, user) in [(&*path, "user_2"), ("/api/license/machines/mac_of_nobody", "user_1")] {
            let refused = app.as_user(Method::Delete, path, &signed_in(user, "admin")).await;
            assert_eq!(refused.refusal(), (404, "not_found".to_owned()), "{path}");
        }
        assert_eq!(app.log_of(&license, "machine_deactivated").await, [json!(null); 0]);
    });
}

#[test]
fn a_machine_of_a_customer_without_a_user_is_nobodys() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let mut subscription = subscription_of("cus_1", "active");
        subscription["metadata"] = json!({});
        app.take("evt_1", "customer.subscription.created", subscription).await;
        let machine = app.seat(&app.license_of("cus_1").await, "a hash").await;
        let path = format!("/api/license/machines/{machine}");
        let refused = app.as_user(Method::Delete, &path, &signed_in("user_1", "user")).await;
        assert_eq!(refused.refusal(), (404, "not_found".to_owned()));
    });
}

#[rocket::async_test]
async fn only_who_is_signed_in_sees_licences() {
    assert_only_for_users(&[(Method::Get, PATH), (Method::Delete, "/api/license/machines/mac_1")]).await;
}
