//! What users do with their API keys, on both engines.

use std::time::Duration;

use rocket::http::{ContentType, Method};
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{TestApp, TestResponse, assert_only_for_users, db_that_is_away, signed_in};

const PATH: &str = "/api/api-keys";

impl TestApp {
    /// A POST by the user `user_1`.
    async fn ask(&self, path: &str, body: &Value) -> TestResponse {
        let request = self.client.post(path.to_owned()).header(signed_in("user_1", "user"));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    async fn made_key(&self) -> (String, String) {
        let made = self.ask(PATH, &json!({})).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    }

    /// The id of the key that the subscription of a customer gave.
    async fn given_key(&self, customer: &str) -> String {
        let state = self.get(&format!("/v1/customers/{customer}")).await.json();
        state["apiKeys"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn verdict(&self, key: &str) -> Value {
        self.post("/v1/api-keys/verify", &json!({ "key": key })).await.json()
    }

    async fn changes(&self) -> Vec<(Value, Value, Value)> {
        let list = self.see("/api/subscriptions/history?limit=100").await.json();
        let by_user = list["data"].as_array().unwrap().iter().filter(|change| change["actor"] == "user");
        by_user.map(|change| (change["change"].clone(), change["from"].clone(), change["to"].clone())).collect()
    }
}

#[test]
fn a_key_is_shown_when_it_is_made_and_never_again() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let made = app.ask(PATH, &json!({ "name": " for the build " })).await;
        assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")));
        let made = made.json();
        let key = made["key"].as_str().unwrap();
        assert!(key.starts_with("tg_test_") && key.starts_with(made["prefix"].as_str().unwrap().trim_end_matches('…')));
        let good = app.verdict(key).await;
        assert_eq!((&good["valid"], &good["keyId"], &good["userId"]), (&json!(true), &made["id"], &json!("user_1")));

        let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
        let shown = app.see(&path).await.json();
        let expected = json!({ "id": made["id"], "prefix": made["prefix"], "createdAt": "2025-06-15T15:06:40Z", "revokedAt": null });
        assert_eq!(shown, expected);
        let list = app.see(PATH).await.json();
        assert!(list["data"].as_array().unwrap().contains(&expected) && !list.to_string().contains(key));
        let again = app.ask(&format!("{path}/reveal"), &json!({})).await;
        assert_eq!(again.refusal(), (409, "already_revealed".to_owned()));
        assert_eq!(app.changes().await, [(json!("api_key_made"), json!(null), made["id"].clone())]);
    });
}

#[test]
fn keys_are_listed_newest_first_over_all_customers() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        app.subscriber("cus_2", "user_1").await;
        app.subscriber("cus_3", "user_2").await;
        app.inner.clock.advance(Duration::from_secs(10));
        let (newest, _) = app.made_key().await;
        let first = app.see(&format!("{PATH}?limit=2")).await.json();
        assert_eq!(first["data"][0]["id"], newest);
        let second = app.see(&format!("{PATH}?limit=2&cursor={}", first["nextCursor"].as_str().unwrap())).await.json();
        assert_eq!((second["data"].as_array().unwrap().len(), &second["hasMore"]), (1, &json!(false)), "three in all");
    });
}

#[test]
fn the_key_of_a_subscription_is_revealed_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let id = app.given_key("cus_1").await;
        let path = format!("{PATH}/{id}/reveal");
        let (nothing, body) = (json!({}), json!({}));
        let (one, other) = tokio::join!(app.ask(&path, &nothing), app.ask(&path, &body));
        let (shown, refused) = if one.status == 200 { (one, other) } else { (other, one) };
        assert_eq!(shown.status, 200, "{shown:?}");
        assert_eq!(refused.refusal(), (409, "already_revealed".to_owned()), "two at once");
        let shown = shown.json();
        assert_eq!(app.verdict(shown["key"].as_str().unwrap()).await["keyId"], id);
        let mut tx = app.inner.read().await.unwrap();
        let sealed: Vec<(Option<Vec<u8>>,)> =
            tx.sql("SELECT sealed FROM api_keys WHERE id = $1").bind(&*id).all().await.unwrap();
        assert_eq!(sealed, [(None,)], "the copy is wiped");
        assert_eq!(app.changes().await, [(json!("api_key_revealed"), json!(null), json!(id))]);
    });
}

#[test]
fn a_key_that_is_over_is_not_revealed() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let path = format!("{PATH}/{}", app.given_key("cus_1").await);
        app.ask(&format!("{path}/roll"), &json!({ "graceSeconds": 60 })).await;
        app.inner.clock.advance(Duration::from_secs(60));
        let refused = app.ask(&format!("{path}/reveal"), &json!({})).await;
        assert_eq!(refused.refusal(), (409, "already_revoked".to_owned()));
    });
}

#[test]
fn a_rolled_key_works_for_its_grace() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let (id, old) = app.made_key().await;
        let rolled = app.ask(&format!("{PATH}/{id}/roll"), &json!({ "graceSeconds": 60 })).await;
        assert_eq!(rolled.status, 201, "{rolled:?}");
        let rolled = rolled.json();
        let new = rolled["key"].as_str().unwrap();
        app.inner.clock.advance(Duration::from_secs(59));
        assert_eq!((&app.verdict(&old).await["valid"], &app.verdict(new).await["valid"]), (&json!(true), &json!(true)));
        app.inner.clock.advance(Duration::from_secs(1));
        assert_eq!(app.verdict(&old).await, json!({ "valid": false, "code": "revoked" }));
        assert_eq!(app.verdict(new).await["valid"], true);
        assert_eq!(app.see(&format!("{PATH}/{id}")).await.json()["revokedAt"], "2025-06-15T15:07:40Z");
        let again = app.ask(&format!("{PATH}/{id}/roll"), &json!({})).await;
        assert_eq!(again.refusal(), (409, "already_revoked".to_owned()));
        assert_eq!(app.changes().await[0], (json!("api_key_rolled"), json!(id), rolled["id"].clone()));
    });
}

#[test]
fn a_key_that_is_rolled_twice_at_once_is_rolled_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let (id, old) = app.made_key().await;
        let (path, body) = (format!("{PATH}/{id}/roll"), json!({}));
        let (one, other) = tokio::join!(app.ask(&path, &body), app.ask(&path, &body));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
        assert_eq!(app.see(PATH).await.json()["data"].as_array().unwrap().len(), 3, "given, made and rolled");
        assert_eq!(app.verdict(&old).await["code"], "revoked", "without a grace at once");
    });
}

#[test]
fn a_revoked_key_is_over_and_may_be_revoked_again() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let (id, key) = app.made_key().await;
        let path = format!("{PATH}/{id}");
        app.ask(&format!("{path}/roll"), &json!({ "graceSeconds": 60 })).await;
        for _ in 0..2 {
            let revoked = app.as_user(Method::Delete, &path, &signed_in("user_1", "user")).await;
            assert_eq!((revoked.status, &*revoked.body), (204, ""));
        }
        assert_eq!(app.verdict(&key).await["code"], "revoked", "within the grace too");
        let revocations = app.changes().await.into_iter().filter(|(change, ..)| change == "api_key_revoked");
        assert_eq!(revocations.count(), 1);
    });
}

#[test]
fn another_users_key_is_not_there() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        app.subscriber("cus_2", "user_2").await;
        let not_found = (404, "not_found".to_owned());
        for id in [&*app.given_key("cus_2").await, "key_of_nobody"] {
            let path = format!("{PATH}/{id}");
            assert_eq!(app.see(&path).await.refusal(), not_found);
            for act in ["reveal", "roll"] {
                assert_eq!(app.ask(&format!("{path}/{act}"), &json!({})).await.refusal(), not_found, "{act}");
            }
            let user = signed_in("user_1", "admin");
            assert_eq!(app.as_user(Method::Delete, &path, &user).await.refusal(), not_found);
        }
        let state = app.get("/v1/customers/cus_2").await.json();
        assert_eq!((&state["apiKeys"][0]["revokedAt"], &state["apiKeys"][1]), (&json!(null), &json!(null)));
    });
}

#[test]
fn who_is_no_customer_yet_gets_no_key() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        assert_eq!(app.ask(PATH, &json!({})).await.refusal(), (404, "no_customer".to_owned()));
    });
}

#[rocket::async_test]
async fn a_name_and_a_grace_have_their_bounds() {
    let app = TestApp::on(db_that_is_away()).await;
    for name in [json!(""), json!(" "), json!("x".repeat(101)), json!("a\nb"), json!(5)] {
        let refused = app.ask(PATH, &json!({ "name": name })).await;
        assert_eq!(refused.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("name".to_owned())));
    }
    for grace in [json!(-1), json!(2_592_001), json!("60"), json!(1.5)] {
        let refused = app.ask("/api/api-keys/key_1/roll", &json!({ "graceSeconds": grace })).await;
        assert_eq!(refused.refused_parameter().2.as_deref(), Some("graceSeconds"));
    }
}

#[rocket::async_test]
async fn only_who_is_signed_in_has_keys() {
    let (one, reveal, roll) = ("/api/api-keys/key_1", "/api/api-keys/key_1/reveal", "/api/api-keys/key_1/roll");
    assert_only_for_users(&[
        (Method::Get, PATH),
        (Method::Post, PATH),
        (Method::Get, one),
        (Method::Delete, one),
        (Method::Post, reveal),
        (Method::Post, roll),
    ])
    .await;
}
