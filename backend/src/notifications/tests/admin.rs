//! Messages as operators see them, on both engines.

use std::time::Duration as StdDuration;

use rocket::http::Method;
use serde_json::{Value, json};
use tollgate_db::testing::block_on;
use tollgate_db::{Db, Engine};
use tollgate_domain::notifications::Template;
use tollgate_domain::notifications::sending::Queue;

use super::sending::{app_with_mail, ask, customer, mail_server, tell, user};
use crate::notifications::sending::send_due;
use crate::on_each_engine;
use crate::schema::source;
use crate::schema::testing::migrated;
use crate::testing::{TestApp, db_that_is_away, signed_in};

/// Of each message that is asked for, what it tells of and how.
async fn listed(app: &TestApp, query: &str) -> Vec<String> {
    let list = app.look_up(&format!("/api/admin/messages?{query}")).await;
    assert_eq!(list.status, 200, "{list:?}");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let data = list.json()["data"].as_array().unwrap().clone();
    data.iter()
        .map(|row| format!("{} {} {}", text(row, "template"), text(row, "channel"), text(row, "status")))
        .collect()
}

#[test]
fn messages_are_found_by_what_became_of_them() {
    on_each_engine!(async |db: Db| {
        let (_server, url) = mail_server().await;
        let app = app_with_mail(db, &url).await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::PodPayout, "pay_1").await;
        app.inner.clock.advance(StdDuration::from_secs(1));
        tell(&app, Template::SupportReply, "tkm_1").await;
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(2));
        assert_eq!(send_due(&app.inner, Queue::Push).await, Ok(2));
        app.inner.clock.advance(StdDuration::from_secs(1));
        tell(&app, Template::PaymentRecovered, "in_1").await;
        let sent = ["support_reply email sent", "pod_payout email sent"];
        for (query, expected) in [
            ("status=queued", &["payment_recovered email queued"][..]),
            ("status=sent", &sent),
            ("channel=push", &["support_reply push skipped", "pod_payout push skipped"]),
            ("template=pod_payout&status=sent", &["pod_payout email sent"]),
            ("template=pod_payout&channel=push", &["pod_payout push skipped"]),
            ("userId=user_1&status=sent", &sent),
            ("userId=user_1&template=payment_recovered", &["payment_recovered email queued"]),
            ("userId=user_2", &[]),
            ("status=dead_lettered", &[]),
        ] {
            assert_eq!(listed(&app, query).await, expected, "{query}");
        }
        assert_eq!(listed(&app, "").await.len(), 5);
        for (query, param) in
            [("status=lost", "status"), ("channel=pigeon", "channel"), ("template=greeting", "template")]
        {
            let refused = app.look_up(&format!("/api/admin/messages?{query}")).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())));
        }

        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.look_up(&format!("/api/admin/messages?limit=2{cursor}")).await.json();
            assert!(!page.to_string().contains("example.net") && !page.to_string().contains("Ajo"), "{page}");
            seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].to_string()));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    });
}

#[test]
fn a_customer_is_shown_with_messages_and_tickets() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::PodPayout, "pay_1").await;
        let ticket = json!({ "subject": "It does not start", "message": "Since today." });
        let asked = ask(&app, Method::Post, "/api/support", &ticket).await;
        assert_eq!(asked.status, 201, "{asked:?}");
        let shown = app.look_up("/api/admin/customers/cus_1").await.json();
        assert_eq!(shown["messages"].as_array().unwrap().len(), 2, "{shown}");
        assert_eq!(
            (&shown["tickets"][0]["subject"], &shown["tickets"][0]["userId"]),
            (&json!("It does not start"), &json!("user_1"))
        );
        assert!(!shown.to_string().contains("Since today."), "{shown}");
        let stats = app.look_up("/api/admin/stats").await.json();
        assert_eq!(stats["tickets"], json!({ "open": 1, "answered": 0, "closed": 0 }));
    });
}

#[rocket::async_test]
async fn only_operators_look_messages_up() {
    let app = TestApp::on(db_that_is_away()).await;
    let path = "/api/admin/messages";
    assert_eq!(app.get(path).await.refusal(), (401, "unauthorized".to_owned()), "by the internal key");
    let as_user = app.as_user(Method::Get, path, &user()).await;
    assert_eq!(as_user.refusal(), (403, "forbidden".to_owned()));
    let as_operator = app.as_user(Method::Get, path, &signed_in("ada", "admin")).await;
    assert_eq!(as_operator.refusal(), (503, "database_unavailable".to_owned()));
}

#[test]
fn every_list_of_messages_goes_by_an_index_on_both_engines() {
    block_on(async {
        let is_list = |(_, sql): &(String, String)| sql.contains("FROM messages") && sql.contains("LIMIT $");
        let statements: Vec<_> = source::statements().into_iter().filter(is_list).map(|(_, sql)| sql).collect();
        assert!(statements.len() >= 7, "{statements:?}");
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            assert_eq!(database.refused(&statements).await, []);
            assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
        }
    });
}
