//! Looking for things, through Rocket's local client, on both engines.

use serde_json::{Value, json};
use tollgate_db::Engine;
use tollgate_db::testing::block_on;

use super::*;
use crate::on_each_engine;
use crate::schema::testing::migrated;
use crate::testing::{START, TestApp, db_that_is_away};

impl TestApp {
    /// A customer with a name and an address, and a subscription.
    pub(crate) async fn named_subscriber(&self, id: &str, name: &str, email: &str) {
        let customer = json!({ "id": id, "object": "customer", "name": name, "email": email, "created": START });
        self.take(&format!("evt_made_{id}"), "customer.created", customer).await;
        self.subscriber(id, &format!("user_of_{id}")).await;
    }

    async fn search(&self, text: &str) -> Vec<Value> {
        let found = self.look_up(&format!("/api/admin/search?q={}", escaped(text))).await;
        assert_eq!(found.status, 200, "{found:?}");
        found.json()["data"].as_array().unwrap().clone()
    }

    async fn first(&self, text: &str) -> (String, String) {
        let found = self.search(text).await;
        let first = found.first().unwrap_or_else(|| panic!("nothing is found for {text}"));
        (first["type"].as_str().unwrap().to_owned(), first["id"].as_str().unwrap().to_owned())
    }
}

fn of(r#type: &str, id: &str) -> (String, String) {
    (r#type.to_owned(), id.to_owned())
}

#[test]
fn what_an_operator_has_in_hand_is_found() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.named_subscriber("cus_1", "Ada Lovelace", "Ada@Example.com").await;
        let state = app.get("/v1/customers/cus_1").await.json();
        let license = state["licenses"][0]["id"].as_str().unwrap();
        let key = state["licenses"][0]["key"].as_str().unwrap();
        let ada = of("customer", "cus_1");
        for text in ["cus_1", "ada@example.com", "user_of_cus_1", "ada", "ADA LOVE"] {
            assert_eq!(app.first(text).await, ada, "{text}");
        }
        assert_eq!(app.first(license).await, of("license", license));
        assert_eq!(app.first(&key.to_lowercase()).await, of("license", license), "as it is typed");
        assert_eq!(app.first("evt_made_cus_1").await, of("event", "evt_made_cus_1"));
        assert_eq!(app.first("sub_of_cus_1").await, of("subscription", "sub_of_cus_1"));
        let shown = app.search("sub_of_cus_1").await;
        assert_eq!((&shown[0]["title"], &shown[0]["url"]), (&json!("active"), &json!("/console/customers/cus_1")));
        for text in ["lovelace", "nobody", "cus_", "%", "_da"] {
            assert_eq!(app.search(text).await, [json!(null); 0], "{text}");
        }
        assert!(!app.look_up("/api/admin/search?q=cus_1").await.body.contains(key), "no key is shown by the way");
    });
}

#[test]
fn of_money_that_names_no_customer_its_events_are_found() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (event, object) in [("evt_1", "pi_guest"), ("evt_2", "pi_other")] {
            let intent = json!({
                "id": object, "object": "payment_intent", "status": "succeeded", "customer": null, "currency": "usd",
                "amount": 2900, "amount_received": 2900, "created": START,
            });
            app.take(event, "payment_intent.succeeded", intent).await;
        }
        let found = app.search("pi_guest").await;
        assert_eq!(found[0]["url"], "/console/events?object=pi_guest", "{found:?}");
        for (query, expected) in [("object=pi_guest", "evt_1"), ("object=pi_other&status=processed", "evt_2")] {
            let listed = app.look_up(&format!("/api/admin/events?{query}")).await.json();
            assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
            assert_eq!(listed["data"][0]["id"], expected);
        }
        let none = app.look_up("/api/admin/events?object=pi_guest&type=invoice.paid").await.json();
        assert_eq!(none["data"], json!([]));
    });
}

#[test]
fn what_was_done_is_found_by_its_request() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let id = app.license_of("cus_1").await;
        let path = format!("/api/admin/licenses/{id}/revoke");
        let revoked = app.act(&path, &json!({ "reason": "chargeback" })).await;
        let found = app.search(&revoked.request_id.unwrap()).await;
        assert_eq!((found.len(), &found[0]["type"], &found[0]["title"]), (1, &json!("act"), &json!("license.revoke")));
    });
}

#[test]
fn the_exact_is_found_first_and_twenty_at_most() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for number in 0..25 {
            app.named_subscriber(&format!("cus_{number}"), &format!("Grace {number:02}"), "grace@example.com").await;
        }
        app.named_subscriber("grace", "Zoe", "zoe@example.com").await;
        let found = app.search("grace").await;
        assert_eq!((found.len(), &found[0]["id"], &found[1]["title"]), (20, &json!("grace"), &json!("Grace 00")));
        assert_eq!(app.search("grace@example.com").await.len(), 20);
    });
}

#[rocket::async_test]
async fn something_has_to_be_looked_for() {
    let app = TestApp::on(db_that_is_away()).await;
    for bad in ["", "?q=", "?q=%20", &format!("?q={}", "a".repeat(256))] {
        let refused = app.look_up(&format!("/api/admin/search{bad}")).await.refused_parameter();
        assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some("q".to_owned())), "{bad}");
    }
}

#[test]
fn each_look_goes_by_an_index_on_both_engines() {
    block_on(async {
        let statements = STATEMENTS.map(str::to_owned);
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            assert_eq!(database.refused(&statements).await, []);
            assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
        }
    });
}
