//! What users see and change of their widgets, on both engines.

use rocket::http::{ContentType, Method};
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{TestApp, TestResponse, assert_only_for_users, signed_in};

const PATH: &str = "/api/widgets";

impl TestApp {
    async fn configure(&self, path: &str, user: &str, body: &Value) -> TestResponse {
        let request = self.client.put(path.to_owned()).header(signed_in(user, "user"));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    async fn widget_of(&self, customer: &str) -> String {
        let state = self.get(&format!("/v1/customers/{customer}")).await.json();
        format!("{PATH}/{}", state["widgets"][0]["id"].as_str().unwrap())
    }
}

#[test]
fn a_user_sees_the_widgets_of_all_their_customers() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (customer, user) in [("cus_1", "user_1"), ("cus_2", "user_1"), ("cus_3", "user_2")] {
            app.subscriber(customer, user).await;
        }
        let list = app.see(PATH).await.json();
        assert_eq!(list["data"].as_array().unwrap().len(), 2, "{list}");
        let shown = &list["data"][0];
        let expected = json!({ "id": shown["id"], "name": "default", "config": { "theme": "light" } });
        assert_eq!(*shown, expected);
        let one = app.see(&format!("{PATH}/{}", shown["id"].as_str().unwrap())).await;
        assert_eq!((one.status, one.json()), (200, expected));
        let page = app.see(&format!("{PATH}?limit=1")).await.json();
        let next = app.see(&format!("{PATH}?limit=1&cursor={}", page["nextCursor"].as_str().unwrap())).await.json();
        assert_eq!((&page["data"][0], &next["data"][0]), (shown, &list["data"][1]));
    });
}

#[test]
fn a_widget_is_given_another_configuration() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let widget = app.widget_of("cus_1").await;
        let config = json!({ "theme": "dark", "nested": { "list": [1, null, "ü"] } });
        for _ in 0..2 {
            let changed = app.configure(&widget, "user_1", &json!({ "config": config })).await;
            assert_eq!((changed.status, &changed.json()["config"]), (200, &config));
        }
        assert_eq!(app.see(&widget).await.json()["config"], config);
        let state = app.get("/v1/customers/cus_1").await.json();
        assert_eq!(state["widgets"][0]["config"], config);
        let history = app.see("/api/subscriptions/history").await.json();
        let changes: Vec<_> =
            history["data"].as_array().unwrap().iter().filter(|change| change["change"] == "widget_changed").collect();
        assert_eq!(changes.len(), 1, "the same again changes nothing: {history}");
        assert_eq!((&changes[0]["actor"], &changes[0]["to"]), (&json!("user"), &state["widgets"][0]["id"]));
    });
}

#[test]
fn a_configuration_is_an_object() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let widget = app.widget_of("cus_1").await;
        for bad in [json!({}), json!({ "config": null }), json!({ "config": [] }), json!({ "config": "hunter2" })] {
            let refused = app.configure(&widget, "user_1", &bad).await;
            assert_eq!(refused.refused_parameter().2.as_deref(), Some("config"), "{bad}");
        }
        let form = app.client.put(widget.clone()).header(signed_in("user_1", "user"));
        let refused = TestResponse::of(form.header(ContentType::Form).body("config=1")).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type".to_owned()));
        assert_eq!(app.see(&widget).await.json()["config"], json!({ "theme": "light" }));
    });
}

#[test]
fn another_users_widget_is_not_there() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_2").await;
        let widget = app.widget_of("cus_1").await;
        for path in [&*widget, "/api/widgets/wid_of_nobody"] {
            assert_eq!(app.see(path).await.refusal(), (404, "not_found".to_owned()));
            let refused = app.configure(path, "user_1", &json!({ "config": {} })).await;
            assert_eq!(refused.refusal(), (404, "not_found".to_owned()));
        }
        assert_eq!(app.see(PATH).await.json()["data"], json!([]));
    });
}

#[test]
fn of_two_configurations_at_once_one_is_kept() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let widget = app.widget_of("cus_1").await;
        let (one, other) = (json!({ "config": { "n": 1 } }), json!({ "config": { "n": 2 } }));
        let (one, other) =
            tokio::join!(app.configure(&widget, "user_1", &one), app.configure(&widget, "user_1", &other));
        assert_eq!((one.status, other.status), (200, 200));
        let kept = app.see(&widget).await.json();
        assert!([one.json(), other.json()].contains(&kept), "{kept}");
    });
}

#[rocket::async_test]
async fn only_who_is_signed_in_sees_widgets() {
    let one = "/api/widgets/wid_1";
    assert_only_for_users(&[(Method::Get, PATH), (Method::Get, one), (Method::Put, one)]).await;
}
