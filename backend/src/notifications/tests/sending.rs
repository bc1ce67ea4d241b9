//! What becomes of messages, on both engines: by a real mail server, and by a gateway that checks each call.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_db::page::Page;
use tollgate_domain::apply::Touched;
use tollgate_domain::notifications::sending::{IN_HOUR_MAX, Queue};
use tollgate_domain::notifications::{self, Claimed, Facts, Filter, Notice, Recipient, Template, view};
use tollgate_shared::{Clock, Rng};
use tollgate_tests::python;
use tollgate_tests::script::Script;
use tollgate_tests::wait::{SOON, wait_until};

use crate::app::App;
use crate::notifications::sending::{send_all, send_due};
use crate::on_each_engine;
use crate::testing::{AUTH_SECRET, TestApp, TestResponse, bearer, config, sign_token, signed_in};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A mail server, and the variables that name it.
pub(super) async fn mail_server() -> (Script, String) {
    let mut server = python::start("mail_server.py", &[]);
    let port = server.next().await.unwrap()["port"].as_u64().unwrap();
    (server, format!("smtp://127.0.0.1:{port}?tls=none"))
}

pub(super) async fn app_with_mail(db: Db, url: &str) -> TestApp {
    let variables =
        [("SMTP_URL", url), ("MAIL_FROM", "Acme <billing@example.com>"), ("PUBLIC_URL", "https://relay.example")];
    TestApp::with(db, &variables).await
}

/// `cus_1`, who is `user_1`, with that address.
pub(super) async fn customer(app: &TestApp, event: &str, address: Option<&str>) {
    let customer = json!({
        "id": "cus_1", "object": "customer", "name": "Ada", "email": address, "metadata": { "user_id": "user_1" },
    });
    app.take(event, if event == "evt_0" { "customer.created" } else { "customer.updated" }, customer).await;
}

/// Tells `user_1` something.
pub(super) async fn tell(app: &TestApp, template: Template, subject: &str) {
    tell_to(app, Recipient::user("user_1", Some("cus_1")), template, subject).await;
}

/// Tells somebody something.
pub(super) async fn tell_to(app: &TestApp, recipient: Recipient, template: Template, subject: &str) {
    tell_of(app, recipient, template, subject, 500_000).await;
}

/// The same of an amount.
pub(super) async fn tell_of(app: &TestApp, recipient: Recipient, template: Template, subject: &str, amount: i64) {
    let facts = Facts {
        pod_id: Some("pod_1".to_owned()),
        pod_name: Some("Ajo".to_owned()),
        amount: Some(amount),
        currency: Some("ngn".to_owned()),
        due_at: Some("2025-06-18T15:06:40Z".to_owned()),
        ..Facts::default()
    };
    let notice = Notice { template, subject: subject.to_owned(), recipient, facts };
    let touched = Touched::default();
    let told = app.inner.write(&touched, |work| {
        notifications::tell(work, &notice, None);
        Ok::<_, std::convert::Infallible>(())
    });
    told.await.unwrap();
}

/// Each message, the oldest first, as an operator sees it.
pub(super) async fn messages(app: &TestApp) -> Vec<Value> {
    let page = Page { limit: 100, after: None };
    let mut tx = app.inner.read().await.unwrap();
    let list = view::messages(&mut tx, &Filter::default(), &page).await.unwrap();
    list.data.iter().rev().map(|row| serde_json::to_value(row).unwrap()).collect()
}

/// The oldest e-mail.
async fn mail(app: &TestApp) -> Value {
    messages(app).await.into_iter().find(|row| row["channel"] == "email").unwrap()
}

/// Channel, status and reason of each.
pub(super) async fn stands(app: &TestApp) -> Vec<(String, String, Option<String>)> {
    let text = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    let rows = messages(app).await;
    let mut stands: Vec<_> = rows
        .iter()
        .map(|row| (text(row, "channel").unwrap(), text(row, "status").unwrap(), text(row, "reason")))
        .collect();
    stands.sort();
    stands
}

pub(super) fn stand(channel: &str, status: &str, reason: Option<&str>) -> (String, String, Option<String>) {
    (channel.to_owned(), status.to_owned(), reason.map(str::to_owned))
}

pub(super) async fn ask(app: &TestApp, method: Method, path: &str, body: &Value) -> TestResponse {
    ask_as(app, &user(), method, path, body).await
}

/// A request of somebody who is signed in.
pub(super) async fn ask_as(
    app: &TestApp,
    signed_in: &Header<'static>,
    method: Method,
    path: &str,
    body: &Value,
) -> TestResponse {
    let request = app.client.req(method, path.to_owned()).header(signed_in.clone());
    TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
}

/// `user_1`, for good.
pub(super) fn user() -> Header<'static> {
    token("user_1")
}

/// `Authorization` of a user, for good.
pub(super) fn token(user_id: &str) -> Header<'static> {
    let claims = json!({ "sub": user_id, "exp": 4_000_000_000_i64 });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

/// A gateway that answers `status`, and an app that calls it. By the clock of this machine, which signatures are checked by.
pub(super) async fn gateway(db: Db, status: u16, variables: &[(&str, &str)]) -> (Script, TestApp) {
    let mut gateway = python::start("gateway.py", &[SECRET]);
    let said = gateway.next().await.unwrap();
    let url = format!("{}/{status}", said["url"].as_str().unwrap());
    let variables = [&[("PUSH_WEBHOOK_URL", &*url), ("PUSH_WEBHOOK_SECRET", SECRET)], variables].concat();
    let app = App::new(Arc::new(config(&variables)), db, Clock::system(), Rng::system());
    (gateway, TestApp::of(app).await)
}

#[test]
fn a_mail_is_sent_once_however_many_replicas_send() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let app = app_with_mail(db.clone(), &url).await;
        let replica = app.replica(db).await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::PodJoined, "mbr_1").await;
        tell(&app, Template::PodJoined, "mbr_1").await;
        let passes = tokio::join!(send_all(&app.inner), send_all(&replica.inner), send_all(&app.inner));
        let taken: usize = <[_; 3]>::from(passes).into_iter().map(Result::unwrap).sum();
        assert_eq!(taken, 1);
        let got = server.next().await.unwrap();
        assert_eq!((&got["to"], &got["headers"]["Subject"]), (&json!(["ada@example.net"]), &json!("Welcome to Ajo")));
        assert!(got["parts"]["text/plain"].as_str().unwrap().contains("You contribute NGN 5,000.00"), "{got}");
        assert!(got["parts"]["text/html"].as_str().unwrap().contains("Hello Ada,"), "{got}");
        let end = got["headers"]["List-Unsubscribe"].as_str().unwrap();
        assert!(end.contains("https://relay.example/api/notifications/unsubscribe?token="), "{end}");
        assert_eq!(got["headers"]["X-Tollgate-Template"], "pod_joined");
        assert_eq!(
            stands(&app).await,
            [stand("email", "sent", None), stand("push", "skipped", Some("not_configured"))]
        );
        // Had it come twice, it would be the next to come.
        tell(&app, Template::GraceEnding, "mbr_1:1").await;
        assert_eq!(send_all(&app.inner).await, Ok(1));
        assert_eq!(server.next().await.unwrap()["headers"]["X-Tollgate-Template"], "grace_ending");
    });
}

#[test]
fn a_mail_that_is_put_off_is_tried_again_when_it_is_time() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let app = app_with_mail(db, &url).await;
        customer(&app, "evt_0", Some("greylisted@example.net")).await;
        tell(&app, Template::PodPayout, "pay_1").await;
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        let waiting = mail(&app).await;
        assert_eq!((&waiting["status"], &waiting["attempts"]), (&json!("queued"), &json!(1)));
        let error = waiting["lastError"].as_str().unwrap();
        assert!(error.contains("451") && !error.contains("greylisted@"), "{error}");
        app.inner.clock.advance(StdDuration::from_secs(59));
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(0));
        app.inner.clock.advance(StdDuration::from_secs(1));
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        assert_eq!(server.next().await.unwrap()["to"], json!(["greylisted@example.net"]));
        let sent = mail(&app).await;
        assert_eq!((&sent["status"], &sent["attempts"], &sent["lastError"]), (&json!("sent"), &json!(2), &Value::Null));
    });
}

#[test]
fn a_refused_mail_is_a_dead_letter_until_somebody_mends_it() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let app = app_with_mail(db, &url).await;
        customer(&app, "evt_0", Some("unknown@example.net")).await;
        tell(&app, Template::PodPayout, "pay_1").await;
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        let letters = app.look_up("/api/dlq?source=notification").await.json();
        let letter = letters["data"][0].clone();
        assert_eq!((&letter["type"], &letter["status"]), (&json!("pod_payout"), &json!("open")), "{letters}");
        assert_eq!((&letter["stripeCustomerId"], &letter["attempts"]), (&json!("cus_1"), &json!(1)));
        assert!(!letters.to_string().contains("example.net"), "{letters}");
        let message = mail(&app).await;
        assert_eq!((&message["id"], &message["status"]), (&letter["eventId"], &json!("dead_lettered")));

        let retry = format!("/api/dlq/retry/{}", letter["id"].as_str().unwrap());
        let retried = app.act(&retry, &json!({})).await.json();
        assert_eq!((&retried["status"], &retried["outcome"]), (&json!("retrying"), &json!("queued")));
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        let again = app.look_up("/api/dlq?source=notification").await.json();
        assert_eq!((&again["data"][0]["status"], &again["data"][0]["attempts"]), (&json!("open"), &json!(2)));

        customer(&app, "evt_1", Some("ada@example.net")).await;
        app.act(&retry, &json!({})).await;
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        assert_eq!(server.next().await.unwrap()["to"], json!(["ada@example.net"]));
        let ended = app.look_up("/api/dlq?source=notification").await.json();
        assert_eq!((&ended["data"][0]["status"], &ended["data"][0]["resolvedBy"]), (&json!("resolved"), &json!("ada")));
    });
}

#[test]
fn a_mail_server_that_stalls_holds_up_no_push() {
    on_each_engine!(async |db: Db| {
        let (_server, url) = mail_server().await;
        let mail = [("SMTP_URL", &*url), ("MAIL_FROM", "billing@example.com")];
        let (mut gateway, app) = gateway(db, 202, &mail).await;
        customer(&app, "evt_0", Some("stalls@example.net")).await;
        let phone = json!({ "kind": "app", "platform": "ios", "token": "a-token", "name": "Phone" });
        let device = ask(&app, Method::Post, "/api/notifications/devices", &phone).await;
        assert_eq!(device.status, 201, "{device:?}");
        assert_eq!(ask(&app, Method::Post, "/api/notifications/devices", &phone).await.status, 200);
        tell(&app, Template::GraceEnding, "mbr_1:1").await;
        let inner = app.inner.clone();
        let stalled = tokio::spawn(async move { send_due(&inner, Queue::Email).await });
        assert_eq!(send_due(&app.inner, Queue::Push).await, Ok(1));
        assert_eq!(send_due(&app.inner, Queue::App).await, Ok(1));
        let got = gateway.next().await.unwrap();
        assert_eq!((&got["push"]["platform"], &got["push"]["token"]), (&json!("ios"), &json!("a-token")));
        assert_eq!(got["push"]["data"]["template"], "grace_ending");
        let push = stands(&app).await.into_iter().find(|(channel, ..)| channel == "push");
        assert_eq!(push, Some(stand("push", "sent", None)));
        let shown = app.as_user(Method::Get, "/api/notifications/devices", &user()).await.json();
        assert!(shown["data"][0]["lastSentAt"].is_string() && shown["data"][0].get("token").is_none(), "{shown}");
        stalled.abort();
    });
}

#[test]
fn a_mail_that_stalls_holds_up_no_other() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let app = app_with_mail(db, &url).await;
        customer(&app, "evt_0", Some("stalls@example.net")).await;
        tell(&app, Template::PodPayout, "pay_0").await;
        let inner = app.inner.clone();
        let sending = tokio::spawn(async move { send_due(&inner, Queue::Email).await });
        let is_under_way = |row: &Value| row["channel"] == "email" && row["attempts"] == 1;
        wait_until("the first is under way", SOON, async || messages(&app).await.iter().any(is_under_way)).await;
        customer(&app, "evt_1", Some("ada@example.net")).await;
        for number in 1..=8 {
            tell(&app, Template::PodPayout, &format!("pay_{number}")).await;
        }
        for _ in 1..=8 {
            assert_eq!(server.next().await.unwrap()["to"], json!(["ada@example.net"]));
        }
        assert!(!sending.is_finished(), "it still is");
        sending.abort();
    });
}

#[test]
fn each_device_is_told_once_and_one_that_is_gone_is_removed() {
    on_each_engine!(async |db: Db| {
        let (_gateway, app) = gateway(db, 410, &[]).await;
        customer(&app, "evt_0", None).await;
        for token in ["one", "two"] {
            let device = json!({ "kind": "app", "platform": "android", "token": token });
            assert_eq!(ask(&app, Method::Post, "/api/notifications/devices", &device).await.status, 201);
        }
        tell(&app, Template::GraceEnding, "mbr_1:1").await;
        send_due(&app.inner, Queue::Push).await.unwrap();
        assert_eq!(send_due(&app.inner, Queue::Push).await, Ok(0));
        assert_eq!(send_due(&app.inner, Queue::App).await, Ok(2));
        let skipped = stand("push", "skipped", Some("no_device"));
        assert_eq!(stands(&app).await[1..], [skipped.clone(), skipped]);
        let shown = app.as_user(Method::Get, "/api/notifications/devices", &user()).await.json();
        assert_eq!(shown["data"], json!([]));
    });
}

#[test]
fn what_is_not_sent_says_why() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        // A server that nobody listens to would stand still in the end.
        let heard = tokio::spawn(async move { while server.next().await.is_some() {} });
        let app = app_with_mail(db, &url).await;
        let path = "/api/notifications/preferences";
        let reason = async |template: Template, subject: &str| {
            tell(&app, template, subject).await;
            send_due(&app.inner, Queue::Email).await.unwrap();
            let mut mails = messages(&app).await.into_iter().filter(|row| row["channel"] == "email");
            mails.next_back().unwrap()["reason"].clone()
        };
        customer(&app, "evt_0", None).await;
        assert_eq!(reason(Template::PodJoined, "1").await, "no_address");
        customer(&app, "evt_1", Some("ada@example.net")).await;
        ask(&app, Method::Put, path, &json!({ "categories": { "pods": [] } })).await;
        app.inner.clock.advance(StdDuration::from_secs(1));
        assert_eq!(reason(Template::PodJoined, "2").await, "off");
        ask(&app, Method::Put, path, &json!({ "categories": { "pods": ["email"] } })).await;
        tell(&app, Template::ContributionDue, "3").await;
        app.inner.clock.advance(StdDuration::from_secs(25 * 3600));
        send_due(&app.inner, Queue::Email).await.unwrap();
        let is_late = |row: &Value| row["template"] == "contribution_due" && row["channel"] == "email";
        let late = messages(&app).await.into_iter().find(is_late);
        assert_eq!(late.unwrap()["reason"], "late");
        for number in 0..IN_HOUR_MAX {
            app.inner.clock.advance(StdDuration::from_secs(1));
            assert_eq!(reason(Template::PodPayout, &format!("pay_{number}")).await, Value::Null, "{number}");
        }
        app.inner.clock.advance(StdDuration::from_secs(1));
        assert_eq!(reason(Template::PodPayout, "pay_more").await, "too_many");
        app.inner.clock.advance(StdDuration::from_secs(3600));
        assert_eq!(reason(Template::PodPayout, "pay_later").await, Value::Null);
        heard.abort();
    });
}

#[test]
fn a_message_whose_process_died_is_sent_by_another() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let app = app_with_mail(db, &url).await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::PodPayout, "pay_1").await;
        let now = app.inner.clock.now();
        let mut tx = app.inner.begin_write().await.unwrap();
        let claimed = notifications::claim(&mut tx, Queue::Email, now, 10).await.unwrap();
        assert_eq!(claimed.to_try.len(), 1);
        assert_eq!(notifications::claim(&mut tx, Queue::Email, now, 10).await, Ok(Claimed::default()));
        tx.commit().await.unwrap();
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(0), "somebody is at it");
        app.inner.clock.advance(StdDuration::from_secs(300));
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        assert_eq!(server.next().await.unwrap()["to"], json!(["ada@example.net"]));
    });
}

#[test]
fn a_device_is_what_a_browser_or_a_gateway_gave() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let keys = json!({
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "auth": "BTBZMqHH6r4Tts7J_aSIgg",
        });
        let endpoint = "https://fcm.googleapis.com/fcm/send/1";
        let path = "/api/notifications/devices";
        let browser = json!({ "kind": "webpush", "endpoint": endpoint, "keys": keys, "name": "Laptop" });
        let made = ask(&app, Method::Post, path, &browser).await;
        assert_eq!((made.status, &made.json()["kind"]), (201, &json!("webpush")), "{made:?}");
        for (name, value, param) in [
            ("endpoint", json!("https://127.0.0.1/push"), "endpoint"),
            ("endpoint", json!("http://fcm.googleapis.com/fcm/send/1"), "endpoint"),
            ("keys", json!({ "p256dh": "AAAA", "auth": "AAAA" }), "keys"),
            ("keys", Value::Null, "keys"),
            ("kind", json!("pigeon"), "kind"),
            ("name", json!("n".repeat(101)), "name"),
        ] {
            let mut bad = browser.clone();
            bad[name] = value;
            let refused = ask(&app, Method::Post, path, &bad).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())), "{bad}");
        }
        let id = made.json()["id"].as_str().unwrap().to_owned();
        let mut spelled = browser.clone();
        spelled["endpoint"] = json!("https://FCM.googleapis.com:443/fcm/%73end/1");
        let same = ask(&app, Method::Post, path, &spelled).await;
        assert_eq!((same.status, &same.json()["id"]), (200, &json!(id)), "one browser is told once: {same:?}");
        for _ in 0..2 {
            let removed = app.as_user(Method::Delete, &format!("{path}/{id}"), &signed_in("user_1", "user")).await;
            assert_eq!(removed.status, 204);
        }
        assert_eq!(app.see(path).await.json()["data"], json!([]));
        assert_eq!(app.see("/api/notifications/push-key").await.refusal(), (503, "push_not_configured".to_owned()));
    });
}

#[test]
fn without_an_address_of_ours_a_mail_is_ended_by_a_mail() {
    on_each_engine!(async |db: Db| {
        let (mut server, url) = mail_server().await;
        let variables = [
            ("SMTP_URL", &*url),
            ("MAIL_FROM", "billing@example.com"),
            ("MAIL_REPLY_TO", "Help <help+me@example.com>"),
        ];
        let app = TestApp::with(db, &variables).await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::ContributionDue, "mbr_1:1").await;
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        let got = server.next().await.unwrap();
        let end = "mailto:help+me@example.com?subject=unsubscribe%20reminders";
        assert_eq!(got["headers"]["List-Unsubscribe"], format!("<{end}>"));
        assert_eq!(got["headers"].get("List-Unsubscribe-Post"), None, "a button that posts has nowhere to");
        for part in ["text/plain", "text/html"] {
            assert!(got["parts"][part].as_str().unwrap().contains(end), "{got}");
        }
        // What is no list has no way to end it.
        tell(&app, Template::GraceEnding, "mbr_1:1").await;
        assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1));
        assert_eq!(server.next().await.unwrap()["headers"].get("List-Unsubscribe"), None);
    });
}

#[test]
fn a_message_that_never_gets_through_ends_as_a_dead_letter() {
    on_each_engine!(async |db: Db| {
        // Nobody listens there.
        let app = app_with_mail(db, "smtp://127.0.0.1:1?tls=none").await;
        customer(&app, "evt_0", Some("ada@example.net")).await;
        tell(&app, Template::PodPayout, "pay_1").await;
        for minutes in [0, 1, 4, 25, 90, 240, 1080] {
            app.inner.clock.advance(StdDuration::from_secs(minutes * 60));
            assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(1), "after {minutes} minutes");
        }
        let message = mail(&app).await;
        assert_eq!((&message["status"], &message["attempts"]), (&json!("dead_lettered"), &json!(7)));
        assert_eq!(message["reason"], "retries_exhausted");
        let metrics = app.get("/metrics").await.body;
        assert!(metrics.contains("tollgate_backend_dead_letters{source=\"notification\"} 1"), "{metrics}");
        assert!(metrics.contains("tollgate_backend_messages_queued 1"), "the push, whose queue nobody looked at");
    });
}
