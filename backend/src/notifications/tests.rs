//! What people are told, on both engines: by Stripe's events and by the clock, and what they see of it.

mod admin;
mod once;
mod sending;
mod taking;
mod upgraded;

use std::sync::Arc;
use std::time::Duration as StdDuration;

use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_db::page::Page;
use tollgate_domain::notifications::{Category, Filter, view};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};

use crate::app::App;
use crate::entitlements::expire::Expire;
use crate::notifications::{by_time, unsubscribe};
use crate::on_each_engine;
use crate::testing::{
    AUTH_SECRET, PLANS, START, TestApp, TestResponse, assert_only_for_users, bearer, config_with_plans, event,
    sign_token, signed_in, subscription_of,
};
use crate::webhooks::routes::INTAKE_PATH;

const DAY: u64 = 86_400;

async fn ask(app: &TestApp, method: Method, path: &str, user: &str, body: &Value) -> TestResponse {
    let request = app.client.req(method, path.to_owned()).header(signed_in(user, "user"));
    TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
}

/// An invoice of `cus_1`, an attempt at which has failed, or which is paid.
fn invoice(id: &str, status: &str, attempts: i64) -> Value {
    json!({
        "id": id, "object": "invoice", "customer": "cus_1", "subscription": "sub_of_cus_1", "status": status,
        "currency": "usd", "amount_due": 2900, "amount_paid": if status == "paid" { 2900 } else { 0 },
        "attempt_count": attempts, "created": START, "next_payment_attempt": (attempts < 2).then_some(START + 86_400),
        "hosted_invoice_url": "https://invoice.example/1", "lines": { "object": "list", "data": [] },
    })
}

async fn templates(app: &TestApp, path: &str) -> Vec<String> {
    let shown = app.see(path).await.json();
    let data = shown["data"].as_array().unwrap_or_else(|| panic!("{shown}")).iter();
    data.map(|one| one["template"].as_str().unwrap().to_owned()).collect()
}

/// Every message, the newest first: its template and its channel.
async fn messages(app: &TestApp) -> Vec<(String, String)> {
    let page = Page { limit: 100, after: None };
    let mut tx = app.inner.read().await.unwrap();
    let list = view::messages(&mut tx, &Filter::default(), &page).await.unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = list.data.iter().map(|row| serde_json::to_value(row).unwrap());
    rows.map(|row| (text(&row, "template"), text(&row, "channel"))).collect()
}

async fn in_trouble(app: &TestApp) {
    app.subscriber("cus_1", "user_1").await;
    app.take("evt_1", "invoice.payment_failed", invoice("in_1", "open", 1)).await;
    app.inner.clock.advance(StdDuration::from_secs(1));
    app.take("evt_2", "invoice.payment_failed", invoice("in_1", "open", 2)).await;
}

#[rocket::async_test]
async fn notifications_are_for_users_alone() {
    assert_only_for_users(&[(Method::Get, "/api/notifications"), (Method::Get, "/api/notifications/preferences")])
        .await;
}

#[test]
fn a_user_sees_what_became_of_a_payment_and_marks_it_read() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::with(db, &[("PUBLIC_URL", "https://relay.example")]).await;
        in_trouble(&app).await;
        // All of it once more, and another's eyes.
        for (id, attempts) in [("evt_1", 1), ("evt_2", 2)] {
            let again = event(id, "invoice.payment_failed", &invoice("in_1", "open", attempts));
            assert_eq!(app.post(INTAKE_PATH, &again).await.json()["outcome"], "duplicate");
        }
        let shown = app.see("/api/notifications").await.json();
        assert_eq!(shown["unread"], 2);
        let newest = &shown["data"][0];
        assert_eq!(newest["title"], "Please act: USD 29.00 for Pro, monthly could not be collected");
        assert_eq!((&newest["category"], &newest["severity"]), (&json!("payments"), &json!("warning")));
        assert_eq!(
            (&newest["url"], &newest["data"]["invoiceId"]),
            (&json!("https://invoice.example/1"), &json!("in_1"))
        );
        assert!(newest["body"].as_str().unwrap().starts_with("We have tried 2 times to collect USD 29.00"), "{newest}");
        let others = app.as_user(Method::Get, "/api/notifications", &signed_in("user_2", "user")).await.json();
        assert_eq!((&others["data"], &others["unread"]), (&json!([]), &json!(0)));

        let path = format!("/api/notifications/{}/read", newest["id"].as_str().unwrap());
        assert_eq!(ask(&app, Method::Post, &path, "user_2", &json!({})).await.refusal().0, 404);
        let read = ask(&app, Method::Post, &path, "user_1", &json!({})).await.json();
        app.inner.clock.advance(StdDuration::from_secs(60));
        assert_eq!(ask(&app, Method::Post, &path, "user_1", &json!({})).await.json(), read, "again the same");
        assert_eq!(templates(&app, "/api/notifications?unread=true").await, ["payment_failed"]);
        let all = ask(&app, Method::Post, "/api/notifications/read-all", "user_1", &json!({})).await.json();
        assert_eq!((all, app.see("/api/notifications").await.json()["unread"].clone()), (json!({"read": 1}), json!(0)));
        let first = app.see("/api/notifications?limit=1").await.json();
        let next = format!("/api/notifications?limit=1&cursor={}", first["nextCursor"].as_str().unwrap());
        assert_eq!(templates(&app, &next).await, ["payment_failed"]);
    });
}

#[test]
fn each_message_is_written_once_with_what_it_tells_of() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        in_trouble(&app).await;
        app.inner.clock.advance(StdDuration::from_secs(1));
        app.take("evt_3", "invoice.paid", invoice("in_1", "paid", 2)).await;
        let replayed =
            app.act("/api/stripe/webhooks/replay", &json!({ "eventIds": ["evt_1", "evt_2", "evt_3"] })).await;
        assert_eq!(replayed.status, 200, "{replayed:?}");
        let mut written = messages(&app).await;
        written.sort();
        let of = |template: &str, channel: &str| (template.to_owned(), channel.to_owned());
        let mails = [of("payment_failing", "email"), of("payment_failing", "push"), of("payment_recovered", "email")];
        assert_eq!(written, mails);
        let mut tx = app.inner.read().await.unwrap();
        assert_eq!(view::of_event(&mut tx, "evt_2").await.unwrap().len(), 2);
        let shown = app.look_up("/api/admin/events/evt_2").await.json();
        assert_eq!(shown["messages"].as_array().map(Vec::len), Some(2), "{shown}");
        assert_eq!(view::of_customer(&mut tx, "cus_1", Some("user_1"), 25).await.unwrap().len(), 3);
        drop(tx);
        assert_eq!(
            templates(&app, "/api/notifications").await,
            ["payment_recovered", "payment_failing", "payment_failed"]
        );
    });
}

#[test]
fn a_dry_run_tells_nobody() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        app.take("evt_1", "invoice.payment_failed", invoice("in_1", "open", 2)).await;
        let before = messages(&app).await;
        let body = json!({ "eventIds": ["evt_1"], "dryRun": true });
        let dry = app.act("/api/stripe/webhooks/replay", &body).await.json();
        assert_eq!(dry["results"][0]["outcome"], "duplicate", "{dry}");
        assert_eq!(messages(&app).await, before);
    });
}

#[test]
fn a_user_chooses_language_zone_and_channels() {
    on_each_engine!(async |db: Db| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("de")).unwrap();
        let text = "Zahlung: {{ amount|money(currency, ',', '.') }}";
        std::fs::write(folder.path().join("de/payment_failed.subject"), text).unwrap();
        let app = TestApp::with(db, &[("TEMPLATES_DIR", folder.path().to_str().unwrap())]).await;
        in_trouble(&app).await;
        let path = "/api/notifications/preferences";
        let default = json!({
            "locale": "en", "timezone": "UTC", "channels": { "email": true, "push": true },
            "categories": {
                "payments": ["email", "push"], "reminders": ["email"], "pods": ["email"], "support": ["email"],
            },
        });
        assert_eq!(app.see(path).await.json(), default);
        let change = json!({
            "locale": "de-AT", "timezone": "Africa/Lagos", "channels": { "push": false },
            "categories": { "reminders": [], "pods": ["push", "email"] },
        });
        let changed = ask(&app, Method::Put, path, "user_1", &change).await;
        let mut wanted = default.clone();
        wanted["locale"] = json!("de-AT");
        wanted["timezone"] = json!("Africa/Lagos");
        wanted["channels"]["push"] = json!(false);
        wanted["categories"]["reminders"] = json!([]);
        wanted["categories"]["pods"] = json!(["email", "push"]);
        assert_eq!((changed.status, changed.json()), (200, wanted.clone()));
        assert_eq!(app.see(path).await.json(), wanted);
        let shown = app.see("/api/notifications").await.json();
        assert_eq!(shown["data"][1]["title"], "Zahlung: USD 29,00");
        for (bad, param) in [
            (json!({ "locale": "../en" }), "locale"),
            (json!({ "timezone": "Mars/Olympus" }), "timezone"),
            (json!({ "categories": { "spam": [] } }), "categories"),
            (json!({ "categories": { "pods": ["pigeon"] } }), "categories"),
        ] {
            let refused = ask(&app, Method::Put, path, "user_1", &bad).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())), "{bad}");
        }
    });
}

#[test]
fn a_link_in_a_mail_ends_mails_of_its_kind_when_its_button_is_pressed() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::with(db, &[("PUBLIC_URL", "https://relay.example")]).await;
        let link = unsubscribe::link(&app.inner, "user_1", Category::Pods).unwrap();
        let path = link.strip_prefix("https://relay.example").unwrap().to_owned();
        assert!(!link.contains("user_1"), "{link}");
        let categories = async || app.see("/api/notifications/preferences").await.json()["categories"].clone();
        let page = app.client.get(path.clone()).dispatch().await;
        assert_eq!(page.status().code, 200);
        assert!(page.into_string().await.unwrap().contains("<form method=\"post\">"));
        assert_eq!(categories().await["pods"], json!(["email"]), "scanners open links");
        for _ in 0..2 {
            let form = app.client.post(path.clone()).header(ContentType::Form).body("List-Unsubscribe=One-Click");
            assert_eq!(form.dispatch().await.status().code, 200);
        }
        assert_eq!((&categories().await["pods"], &categories().await["reminders"]), (&json!([]), &json!(["email"])));
        let wrong = app.client.post(format!("{path}x")).dispatch().await;
        assert_eq!(wrong.status().code, 404);
        assert_eq!(app.client.get("/api/notifications/unsubscribe").dispatch().await.status().code, 404);
        // One of nobody's user has preferences of its own.
        let link = unsubscribe::link(&app.inner, "cus_9", Category::Reminders).unwrap();
        let path = link.strip_prefix("https://relay.example").unwrap().to_owned();
        assert_eq!(app.client.post(path).dispatch().await.status().code, 200);
    });
}

/// Who is signed in so many days from the start.
fn signed_in_after(days: u64) -> Header<'static> {
    let claims = json!({ "sub": "user_1", "exp": START + i64::try_from(days * DAY).unwrap() + 3600 });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

#[test]
fn a_customer_in_grace_is_told_before_it_ends_and_when_it_has() {
    on_each_engine!(async |db: Db| {
        let config = config_with_plans(&format!("past_due_days = 14\n{PLANS}"), &[]);
        let clock = Clock::manual(from_unix(START).unwrap());
        let app = TestApp::of(App::new(Arc::new(config), db, clock, Rng::seeded(1))).await;
        app.subscriber("cus_1", "user_1").await;
        let mut past_due = subscription_of("cus_1", "past_due");
        past_due["latest_invoice"] = json!("in_1");
        app.take("evt_failed", "invoice.payment_failed", invoice("in_1", "open", 1)).await;
        app.take("evt_past_due", "customer.subscription.updated", past_due).await;
        let newest = async |days| {
            let shown = app.as_user(Method::Get, "/api/notifications", &signed_in_after(days)).await.json();
            shown["data"][0].clone()
        };
        assert_eq!(by_time::tell_all(&app.inner).await, Ok(0));
        app.inner.clock.advance(StdDuration::from_secs(13 * DAY));
        assert_eq!(by_time::tell_all(&app.inner).await, Ok(1));
        assert_eq!(by_time::tell_all(&app.inner).await, Ok(0), "each once");
        assert_eq!(newest(13).await["title"], "1 day left to pay for Pro, monthly");
        app.inner.clock.advance(StdDuration::from_secs(DAY));
        Expire::default().run(&app.inner).await.unwrap();
        let over = newest(14).await;
        assert_eq!((&over["template"], &over["severity"]), (&json!("grace_ended"), &json!("urgent")), "{over}");
        assert_eq!(by_time::tell_all(&app.inner).await, Ok(0));
    });
}
