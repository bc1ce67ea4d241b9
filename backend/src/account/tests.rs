//! The page and who is signed in at it, through Rocket's local client.

use std::fs;
use std::path::Path;
use std::time::Duration as StdDuration;

use chrono::Duration;
use reqwest::Url;
use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Rng, Secrets};

use super::page::FILES;
use crate::http::assets::SHARED;
use crate::http::auth::link;
use crate::on_each_engine;
use crate::testing::{AUTH_SECRET, START, TestApp, TestResponse, bearer, db_that_is_away, signed_in};

const SESSION: &str = "/account/session";

/// The token of a link to `user_1`, made now by whoever has `secret`.
fn link_under(secret: &str, lasts: Duration) -> String {
    let secrets = Secrets::parse(secret).unwrap();
    let url = Url::parse("https://pay.example.com/elsewhere?x=y").unwrap();
    let (now, user) = (from_unix(START).unwrap(), ("user_1", Some("ada@example.com")));
    let url = link::make(&secrets, &url, &Rng::system(), now, lasts, user);
    let token = url.as_str().strip_prefix("https://pay.example.com/account#link=");
    token.expect("its address is the page's, its token the fragment").to_owned()
}

fn link() -> String {
    link_under(AUTH_SECRET, Duration::minutes(15))
}

impl TestApp {
    async fn follow(&self, link: &str, headers: &[(&'static str, &'static str)]) -> TestResponse {
        let mut request = self.client.req(Method::Post, SESSION).header(ContentType::JSON);
        for (name, value) in headers {
            request.add_header(Header::new(*name, *value));
        }
        TestResponse::of(request.body(json!({ "link": link }).to_string())).await
    }

    async fn by_cookie(&self, method: Method, path: &'static str, cookie: &str) -> TestResponse {
        self.as_user(method, path, &Header::new("cookie", cookie.to_owned())).await
    }
}

/// What a browser sends back of the cookie that it was given.
fn given(response: &TestResponse) -> String {
    let cookie = response.header("set-cookie").expect("a cookie is set");
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn a_link_signs_in_once_by_a_cookie_that_no_script_reads() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let link = link();
        let first = app.follow(&link, &[("x-forwarded-proto", "https")]).await;
        assert_eq!((first.status, &*first.body), (204, ""));
        let cookie = first.header("set-cookie").unwrap();
        for word in ["HttpOnly", "SameSite=Strict", "Path=/", "Secure", "Max-Age=43200"] {
            assert!(cookie.contains(word), "{word} is not in {cookie}");
        }
        let me = app.by_cookie(Method::Get, "/api/user/me", &format!("theme=dark; {}", given(&first))).await;
        assert_eq!(
            (me.status, &me.json()["userId"], &me.json()["email"]),
            (200, &json!("user_1"), &json!("ada@example.com"))
        );
        assert_eq!(app.follow(&link, &[]).await.refusal(), (401, "unauthorized".to_owned()));

        let plain = app.follow(&self::link(), &[]).await;
        assert!(!plain.header("set-cookie").unwrap().contains("Secure"), "{plain:?}");
        // As long as a day's work, and no operator's.
        assert_eq!(
            app.by_cookie(Method::Get, "/api/admin/audit", &given(&plain)).await.refusal(),
            (403, "forbidden".to_owned())
        );
        app.inner.clock.advance(StdDuration::from_secs(12 * 3600 + 15));
        let late = app.by_cookie(Method::Get, "/api/user/me", &given(&plain)).await;
        assert_eq!(late.refusal(), (401, "unauthorized".to_owned()));
    });
}

#[test]
fn a_link_pressed_twice_at_once_signs_in_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let link = link();
        let (one, other) = futures_util::join!(app.follow(&link, &[]), app.follow(&link, &[]));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 401]);
    });
}

#[rocket::async_test]
async fn a_link_is_no_token_and_no_token_is_a_link() {
    let app = TestApp::on(db_that_is_away()).await;
    let link = link();
    let unauthorized = (401, "unauthorized".to_owned());
    let me = app.as_user(Method::Get, "/api/user/me", &bearer(&link)).await;
    assert_eq!(me.refusal(), unauthorized, "as a bearer token");
    for cookie in ["tollgate_account", "authjs.session-token"] {
        let seen = app.by_cookie(Method::Get, "/api/user/me", &format!("{cookie}={link}")).await;
        assert_eq!(seen.refusal(), unauthorized, "in {cookie}");
    }
    let over = link_under(AUTH_SECRET, Duration::seconds(-15));
    let spoilt = format!("{link}A");
    let of_another = link_under("another-secret", Duration::minutes(15));
    for bad in ["", "hunter2", "a.b.c", &over, &spoilt, &of_another] {
        let refused = app.follow(bad, &[]).await;
        assert_eq!((refused.refusal(), refused.header("set-cookie")), (unauthorized.clone(), None), "{bad}");
    }
    // A good one, which may have been used.
    assert_eq!(app.follow(&link, &[]).await.refusal(), (503, "database_unavailable".to_owned()));
}

#[rocket::async_test]
async fn no_form_of_another_site_signs_anybody_in_or_out() {
    let app = TestApp::on(db_that_is_away()).await;
    for (method, body) in [(Method::Post, json!({ "link": link() }).to_string()), (Method::Delete, "x=y".to_owned())] {
        let request = app.client.req(method, SESSION).header(ContentType::Form).body(body);
        let refused = TestResponse::of(request).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type".to_owned()), "{method}");
    }
    let deleted = TestResponse::of(app.client.delete(SESSION)).await;
    assert_eq!(deleted.status, 204);
    assert!(deleted.header("set-cookie").unwrap().starts_with("tollgate_account=; "), "{deleted:?}");
    assert!(deleted.header("set-cookie").unwrap().contains("Max-Age=0"), "{deleted:?}");
}

#[test]
fn the_page_learns_how_somebody_signed_in_and_where_else_they_can() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("APP_URL", "https://app.example.com")]).await;
        let says = |by: Value| json!({ "signedInBy": by, "appUrl": "https://app.example.com/" });
        let nobody = TestResponse::of(app.client.get(SESSION)).await;
        assert_eq!((nobody.status, nobody.json()), (200, says(json!(null))));
        assert_eq!(app.see(SESSION).await.json(), says(json!("token")));
        let visit = given(&app.follow(&link(), &[]).await);
        assert_eq!(app.by_cookie(Method::Get, SESSION, &visit).await.json(), says(json!("link")));
    });
}

#[rocket::async_test]
async fn who_pays_comes_back_to_the_page() {
    let app = TestApp::with(db_that_is_away(), &[("PUBLIC_URL", "https://pay.example.com")]).await;
    let buy = async |urls: Value| {
        let mut order = json!({ "planId": "pro_monthly" });
        order.as_object_mut().unwrap().extend(urls.as_object().unwrap().clone());
        let request = app.client.post("/api/stripe/checkout/create").header(signed_in("user_1", "user"));
        TestResponse::of(request.header(ContentType::JSON).body(order.to_string())).await.refusal()
    };
    let back = "https://pay.example.com/account?checkout=success";
    // It would go on to Stripe.
    let taken = (503, "stripe_not_configured".to_owned());
    assert_eq!(buy(json!({ "successUrl": back, "cancelUrl": back })).await, taken);
    assert_eq!(buy(json!({})).await, taken);
    let elsewhere = json!({ "successUrl": "https://app.example.com/" });
    assert_eq!(buy(elsewhere).await, (422, "invalid_parameter".to_owned()));
}

#[rocket::async_test]
async fn the_page_and_each_of_its_files_say_what_browsers_have_to_heed() {
    let app = TestApp::on(db_that_is_away()).await;
    let files = FILES.iter().chain(&SHARED).map(|file| format!("/account/{}", file.name));
    for path in files.chain(["/account".to_owned()]) {
        let response = TestResponse::of(app.client.get(path.clone())).await;
        assert_eq!(response.status, 200, "{path}");
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        let says = |name| response.header(name).unwrap().to_owned();
        assert_eq!((says("x-content-type-options"), says("referrer-policy")), ("nosniff".into(), "no-referrer".into()));
        let expected = match path.rsplit('.').next().unwrap() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(says("content-type"), expected, "{path}");
        let known = Header::new("if-none-match", says("etag"));
        let again = TestResponse::of(app.client.get(path.clone()).header(known)).await;
        assert_eq!((again.status, &*again.body), (304, ""), "{path}");
    }
    let none = TestResponse::of(app.client.get("/account/mod.rs")).await;
    assert_eq!(none.refusal(), (404, "not_found".to_owned()));
}

#[test]
fn every_file_of_the_page_is_served() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/account/page");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "index.html").collect();
    names.sort();
    let mut served: Vec<_> = FILES.iter().map(|file| file.name.to_owned()).collect();
    served.sort();
    assert_eq!(names, served);
}
