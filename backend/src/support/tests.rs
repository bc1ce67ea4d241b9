//! Tickets through Rocket's local client, on both engines.

use std::time::Duration;

use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::testing::{TestApp, TestResponse, assert_only_for_users, signed_in};

const PATH: &str = "/api/support";

impl TestApp {
    /// A POST of JSON by a user.
    async fn write_in(&self, user_id: &str, path: &str, body: &Value) -> TestResponse {
        let request = self.client.post(path.to_owned()).header(signed_in(user_id, "user"));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    /// Opens a ticket of `user_1`; gives it.
    async fn ticket(&self, subject: &str) -> Value {
        let opened = self.write_in("user_1", PATH, &json!({ "subject": subject, "message": "Since today." })).await;
        assert_eq!(opened.status, 201, "{opened:?}");
        opened.json()
    }
}

#[test]
fn a_ticket_goes_from_question_to_answer_and_back() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let license = app.get("/v1/customers/cus_1").await.json()["licenses"][0]["id"].clone();
        let body = json!({
            "subject": " It does not start ", "message": "Since <b>today</b>.\n\u{0}", "category": "technical",
            "priority": "high", "licenseId": license,
        });
        let opened = app.write_in("user_1", PATH, &body).await;
        assert_eq!(opened.status, 201, "{opened:?}");
        let opened = opened.json();
        let head = json!({
            "id": opened["id"], "number": 1, "subject": "It does not start", "category": "technical", "priority": "high",
            "status": "open", "licenseId": license, "createdAt": "2025-06-15T15:06:40Z",
            "updatedAt": "2025-06-15T15:06:40Z",
        });
        assert_eq!(app.see(PATH).await.json()["data"], json!([head]));
        let path = format!("{PATH}/{}", opened["id"].as_str().unwrap());
        let shown = app.see(&path).await.json();
        assert_eq!(
            (&shown["messages"][0]["from"], &shown["messages"][0]["internal"]),
            (&json!("customer"), &json!(false))
        );
        assert_eq!(shown["messages"][0]["text"], "Since <b>today</b>.\n\u{fffd}");

        app.inner.clock.advance(Duration::from_secs(60));
        let admin = format!("/api/admin/support/{}", opened["id"].as_str().unwrap());
        let respond = format!("{admin}/respond");
        let noted = app.act(&respond, &json!({ "message": "Known fault.", "internal": true })).await.json();
        assert_eq!((&noted["status"], &noted["userId"]), (&json!("open"), &json!("user_1")));
        assert_eq!(app.see(&path).await.json(), shown, "a note is nothing to its customer");
        let answered = app.act(&respond, &json!({ "message": "Try 1.4.1." })).await.json();
        assert_eq!(answered["status"], "answered");
        assert_eq!(answered, app.look_up(&admin).await.json());
        let texts = |ticket: &Value| {
            let messages = ticket["messages"].as_array().unwrap();
            messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&answered)[1..], ["Known fault.", "Try 1.4.1."]);
        let seen = app.see(&path).await.json();
        assert_eq!(texts(&seen)[1..], ["Try 1.4.1."]);
        assert_eq!(seen["updatedAt"], "2025-06-15T15:07:40Z");

        let again = app.write_in("user_1", &format!("{path}/messages"), &json!({ "message": "It does." })).await;
        assert_eq!((again.status, &again.json()["status"]), (200, &json!("open")));
        for _ in 0..2 {
            let closed = app.write_in("user_1", &format!("{path}/close"), &json!({})).await;
            assert_eq!((closed.status, &closed.json()["status"]), (200, &json!("closed")));
        }
        app.inner.clock.advance(Duration::from_secs(60));
        let closed = app.act(&respond, &json!({ "message": "Good.", "status": "closed" })).await.json();
        assert_eq!(closed["status"], "closed");
        let told = app.see("/api/notifications").await.json()["data"].clone();
        let told: Vec<_> =
            told.as_array().unwrap().iter().map(|told| (&told["template"], &told["data"]["text"])).collect();
        let reply = json!("support_reply");
        assert_eq!(
            told,
            [(&reply, &json!("Good.")), (&reply, &json!("Try 1.4.1."))],
            "of each answer once, of no note"
        );
    });
}

#[test]
fn what_operators_answer_is_in_the_audit_trail() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let id = app.ticket("Help").await["id"].as_str().unwrap().to_owned();
        let respond = format!("/api/admin/support/{id}/respond");
        let answered = app.act(&respond, &json!({ "message": "Here." })).await.json();
        let trail = app.look_up(&format!("/api/admin/audit?target={id}")).await.json();
        let act = &trail["data"][0];
        assert_eq!((&act["action"], &act["actor"]), (&json!("ticket.respond"), &json!("ada")));
        assert_eq!(act["before"], json!({ "status": "open" }));
        let message = &answered["messages"][1]["id"];
        assert_eq!(act["after"], json!({ "status": "answered", "messageId": message, "internal": false }));
        let unknown = app.act("/api/admin/support/tkt_unknown/respond", &json!({ "message": "Here." })).await;
        assert_eq!(unknown.refusal(), (404, "not_found".to_owned()));
    });
}

#[test]
fn operators_find_tickets_by_what_they_know() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let license = app.get("/v1/customers/cus_1").await.json()["licenses"][0]["id"].as_str().unwrap().to_owned();
        let first = app.ticket("First").await;
        app.inner.clock.advance(Duration::from_secs(1));
        let about = json!({ "subject": "Second", "message": "Hello", "licenseId": license });
        app.write_in("user_1", PATH, &about).await;
        app.inner.clock.advance(Duration::from_secs(1));
        app.write_in("user_2", PATH, &json!({ "subject": "Third", "message": "Hello" })).await;
        let id = first["id"].as_str().unwrap();
        app.act(&format!("/api/admin/support/{id}/respond"), &json!({ "message": "Here." })).await;
        let found = async |query: &str| {
            let list = app.look_up(&format!("/api/admin/support?{query}")).await.json();
            let rows = list["data"].as_array().unwrap().iter();
            rows.map(|row| row["subject"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for (query, expected) in [
            ("", &["Third", "Second", "First"][..]),
            ("status=open", &["Third", "Second"]),
            ("q=user_1", &["Second", "First"]),
            ("q=user_1&status=answered", &["First"]),
            ("q=%232", &["Second"]),
            ("q=2&status=closed", &[]),
            (&*format!("q={id}"), &["First"]),
            (&format!("q={license}"), &["Second"]),
            ("q=nobody", &[]),
        ] {
            assert_eq!(found(query).await, expected, "{query}");
        }
        let page = app.look_up("/api/admin/support?limit=2").await.json();
        let next = format!("limit=2&cursor={}", page["nextCursor"].as_str().unwrap());
        assert_eq!(found(&next).await, ["First"]);
        let odd = app.look_up("/api/admin/support?status=lost").await;
        assert_eq!(odd.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("status".to_owned())));
    });
}

#[test]
fn a_users_tickets_are_nobody_elses() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let license = app.get("/v1/customers/cus_1").await.json()["licenses"][0]["id"].clone();
        let id = app.ticket("Mine").await["id"].as_str().unwrap().to_owned();
        let not_found = (404, "not_found".to_owned());
        let path = format!("{PATH}/{id}");
        let shown = app.as_user(Method::Get, &path, &signed_in("user_2", "user")).await;
        assert_eq!(shown.refusal(), not_found);
        let hello = json!({ "message": "Hello" });
        assert_eq!(app.write_in("user_2", &format!("{path}/messages"), &hello).await.refusal(), not_found);
        assert_eq!(app.write_in("user_2", &format!("{path}/close"), &json!({})).await.refusal(), not_found);
        let about = json!({ "subject": "Not mine", "message": "Hello", "licenseId": license });
        assert_eq!(app.write_in("user_2", PATH, &about).await.refusal(), not_found);
        let list = app.as_user(Method::Get, PATH, &signed_in("user_2", "user")).await.json();
        assert_eq!(list["data"], json!([]));
        let refused = app.as_user(Method::Get, "/api/admin/support", &signed_in("user_1", "user")).await;
        assert_eq!(refused.refusal(), (403, "forbidden".to_owned()));
    });
}

#[test]
fn a_user_opens_twenty_tickets_a_day_even_at_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for _ in 0..18 {
            app.ticket("Again").await;
        }
        let body = json!({ "subject": "At once", "message": "Hello" });
        let at_once = futures_util::future::join_all((0..6).map(|_| app.write_in("user_1", PATH, &body))).await;
        let mut statuses: Vec<_> = at_once.iter().map(|response| response.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 201, 429, 429, 429, 429]);
        let numbers =
            at_once.iter().filter(|response| response.status == 201).map(|response| response.json()["number"].clone());
        let mut numbers: Vec<_> = numbers.map(|number| number.as_i64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [19, 20]);
        let refused = app.write_in("user_1", PATH, &body).await;
        assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
        assert_eq!(refused.header("retry-after"), Some("86401"));
        assert_eq!(app.write_in("user_2", PATH, &body).await.status, 201);
    });
}

#[test]
fn a_ticket_that_is_sent_twice_is_opened_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let send = async || {
            let request = app.client.post(PATH).header(signed_in("user_1", "user")).header(ContentType::JSON);
            let request = request.header(Header::new("Idempotency-Key", "once"));
            TestResponse::of(request.body(r#"{"subject": "Help", "message": "Now"}"#)).await.json()
        };
        assert_eq!(send().await, send().await);
        assert_eq!(app.see(PATH).await.json()["data"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn what_a_ticket_cannot_be_is_refused_by_name() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for (param, value) in [
            ("subject", json!(" ")),
            ("subject", json!("x".repeat(201))),
            ("subject", json!("a\nb")),
            ("message", json!("\n ")),
            ("message", json!("x".repeat(10_001))),
            ("category", json!("gossip")),
            ("priority", json!("now")),
        ] {
            let mut body = json!({ "subject": "é".repeat(200), "message": "😀".repeat(10_000) });
            body[param] = value;
            let refused = app.write_in("user_1", PATH, &body).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())));
        }
        let largest = json!({ "subject": "é".repeat(200), "message": "😀".repeat(10_000) });
        assert_eq!(app.write_in("user_1", PATH, &largest).await.status, 201);
        let id = app.ticket("Help").await["id"].as_str().unwrap().to_owned();
        let respond = format!("/api/admin/support/{id}/respond");
        for (param, body) in
            [("message", json!({ "message": "" })), ("status", json!({ "message": "x", "status": "lost" }))]
        {
            let refused = app.act(&respond, &body).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())));
        }
    });
}

#[rocket::async_test]
async fn tickets_are_for_users_alone() {
    assert_only_for_users(&[(Method::Get, PATH), (Method::Get, "/api/support/tkt_1")]).await;
}
