//! Customers, for operators, through Rocket's local client, on both engines.

use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_db::Engine;
use tollgate_db::testing::block_on;

use super::*;
use crate::on_each_engine;
use crate::schema::testing::migrated;
use crate::testing::{TestApp, TestResponse, bearer, db_that_is_away, signed_in, subscription_of};

impl TestApp {
    async fn customers(&self, query: &str) -> Vec<String> {
        let listed = self.look_up(&format!("/api/admin/customers{query}")).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        let ids = listed.json()["data"].as_array().unwrap().clone();
        ids.iter().map(|row| row["stripeCustomerId"].as_str().unwrap().to_owned()).collect()
    }

    async fn acts_on(&self, target: &str) -> Vec<String> {
        let acts = self.look_up(&format!("/api/admin/audit?target={target}")).await.json();
        let acts = acts["data"].as_array().unwrap().clone();
        acts.iter().map(|act| act["action"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn customers_are_listed_by_tier_status_and_name() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.named_subscriber("cus_1", "Ada", "ada@example.com").await;
        app.named_subscriber("cus_2", "Adam", "adam@example.com").await;
        app.take("evt_3", "customer.subscription.created", subscription_of("cus_3", "canceled")).await;
        for (query, ids) in [
            ("", &["cus_3", "cus_2", "cus_1"][..]),
            ("?tier=pro", &["cus_2", "cus_1"]),
            ("?status=canceled", &["cus_3"]),
            ("?status=active&tier=pro", &["cus_2", "cus_1"]),
            ("?status=active&tier=free", &[]),
            ("?q=ad", &["cus_1", "cus_2"]),
            ("?q=cus_2", &["cus_2"]),
            ("?q=ADAM@example.com", &["cus_2"]),
            ("?q=user_of_cus_1", &["cus_1"]),
            ("?q=ad&status=canceled", &[]),
            ("?q=nobody", &[]),
        ] {
            assert_eq!(app.customers(query).await, ids, "{query}");
        }
        let shown = app.look_up("/api/admin/customers?q=cus_1").await.json();
        assert_eq!(
            (&shown["data"][0]["status"], &shown["data"][0]["planId"], &shown["data"][0]["licenseStatus"]),
            (&json!("active"), &json!("pro_monthly"), &json!("active"))
        );
    });
}

#[test]
fn each_customer_is_on_one_page_of_any_list() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for number in 0..5 {
            app.named_subscriber(&format!("cus_{number}"), &format!("Ada {}", number / 2), "ada@example.com").await;
        }
        for query in ["", "&tier=pro", "&status=active", "&status=active&tier=pro", "&q=ada", "&q=ada@example.com"] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = app.look_up(&format!("/api/admin/customers?limit=2{query}{cursor}")).await.json();
                seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["stripeCustomerId"].to_string()));
                let Some(next) = page["nextCursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let mut once = seen.clone();
            once.sort();
            once.dedup();
            assert_eq!((seen.len(), once.len()), (5, 5), "{query}: {seen:?}");
        }
        let next = app.look_up("/api/admin/customers?limit=2").await.json()["nextCursor"].clone();
        let other = app.look_up(&format!("/api/admin/customers?q=ada&cursor={}", next.as_str().unwrap())).await;
        assert_eq!(other.refused_parameter().2.as_deref(), Some("cursor"), "a place of another list");
    });
}

#[test]
fn one_customer_is_shown_with_what_happened_and_that_it_was() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.named_subscriber("cus_1", "Ada", "ada@example.com").await;
        let shown = app.look_up("/api/admin/customers/cus_1").await;
        assert_eq!(shown.status, 200, "{shown:?}");
        let shown = shown.json();
        assert_eq!((&shown["tier"], &shown["email"]), (&json!("pro"), &json!("ada@example.com")));
        assert_eq!(shown["events"].as_array().unwrap().len(), 2);
        assert!(!shown["changes"].as_array().unwrap().is_empty());
        assert_eq!((&shown["machines"], &shown["deadLetters"]), (&json!([]), &json!([])));
        app.look_up("/api/admin/customers/cus_1").await;
        assert_eq!(app.acts_on("cus_1").await, ["customer.look"], "one look, however often it is asked again");
        assert_eq!(app.look_up("/api/admin/customers/cus_9").await.refusal(), (404, "not_found".to_owned()));
    });
}

#[test]
fn an_operator_says_for_good_whose_customer_one_is() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.named_subscriber("cus_1", "Ada", "ada@example.com").await;
        let link = async |user: &str, reason: Value| {
            app.act("/api/admin/customers/cus_1/link", &json!({ "userId": user, "reason": reason })).await
        };
        assert_eq!(link("user_9", json!(" ")).await.refused_parameter().2.as_deref(), Some("reason"));
        assert_eq!(app.acts_on("cus_1").await, [""; 0]);
        for _ in 0..2 {
            let linked = link("user_9", json!("by phone")).await;
            assert_eq!((linked.status, &linked.json()["userId"]), (200, &json!("user_9")), "{linked:?}");
        }
        assert_eq!(link("user_8", json!("no")).await.refusal(), (409, "already_linked".to_owned()));
        let mut acts = app.acts_on("cus_1").await;
        acts.sort();
        assert_eq!(acts, ["customer.link", "customer.look"], "who links one sees its keys, too");
    });
}

#[rocket::async_test]
async fn without_a_key_of_stripes_a_customer_is_not_synced() {
    let app = TestApp::on(db_that_is_away()).await;
    let refused = app.act("/api/admin/customers/cus_1/sync", &json!({})).await;
    assert_eq!(refused.status, 503, "{refused:?}");
}

#[rocket::async_test]
async fn only_operators_look_customers_up() {
    let app = TestApp::on(db_that_is_away()).await;
    for path in [
        "/api/admin/customers",
        "/api/admin/customers/cus_1",
        "/api/admin/search?q=cus_1",
        "/api/admin/stats",
        "/api/admin/licenses",
        "/api/admin/licenses/lic_1",
    ] {
        assert_eq!(app.get(path).await.refusal(), (401, "unauthorized".to_owned()), "the internal key opens {path}");
        let as_user = app.as_user(Method::Get, path, &signed_in("user_1", "user")).await;
        assert_eq!(as_user.refusal(), (403, "forbidden".to_owned()), "{path}");
        let by_key = app.as_user(Method::Get, path, &bearer("AAAAA-BBBBB-CCCCC-DDDDD-EEEEE")).await;
        assert_eq!(by_key.refusal(), (401, "unauthorized".to_owned()), "{path}");
        let operator = TestResponse::of(app.client.req(Method::Get, path).header(signed_in("ada", "admin"))).await;
        assert_eq!(operator.refusal(), (503, "database_unavailable".to_owned()), "{path}");
    }
}

#[test]
fn every_list_of_customers_goes_by_an_index_on_both_engines() {
    block_on(async {
        let statements = customer_list::STATEMENTS.map(str::to_owned);
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            assert_eq!(database.refused(&statements).await, []);
            assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
            // Of few all are read, and those alone put in order.
            let of_few = customer_list::OF_MANY_AND_FEW.map(|[_, few]| few.to_owned());
            let mut slow = database.slow(&of_few, &[]).await;
            slow.retain(|(_, step)| !step.contains("Sort") && !step.contains("FOR ORDER BY"));
            assert_eq!(slow, [], "on {engine:?}");
        }
    });
}

#[test]
fn the_same_customers_are_found_whether_many_or_few_have_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (number, name) in ["Ada", "Bob", "Adam", "Adele"].into_iter().enumerate() {
            app.named_subscriber(&format!("cus_{number}"), name, "ada@example.com").await;
        }
        let mut tx = app.inner.read().await.unwrap();
        for (statements, having) in
            customer_list::OF_MANY_AND_FEW.into_iter().zip([&["pro"][..], &["active"], &["active", "pro"]])
        {
            for (after, found) in [("", &["cus_0", "cus_2", "cus_3"][..]), ("adam", &["cus_3"])] {
                for sql in statements {
                    let last = if after.is_empty() { "" } else { "cus_2" };
                    let query = tx.sql(sql).bind("ad").bind("ad\u{10FFFF}").bind(after).bind(last).bind(10_i64);
                    let query = having.iter().fold(query, |query, only| query.bind(*only));
                    let rows: Vec<(String, String)> = query.all().await.unwrap();
                    assert_eq!(rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), found, "{sql}");
                }
            }
        }
    });
}
