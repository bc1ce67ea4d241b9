//! The console's page and who is signed in at it, through Rocket's local client.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration as StdDuration;

use reqwest::Url;
use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_db::Db;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Rng, Secrets};

use super::page::{FILES, VENDORED};
use crate::http::assets::SHARED;
use crate::http::auth::link;
use crate::on_each_engine;
use crate::testing::{
    ADMIN_KEY, AUTH_SECRET, INTERNAL_KEY, START, TestApp, TestResponse, bearer, db_that_is_away, sign_token,
};

const SESSION: &str = "/console/session";

const LETTERS: &str = "/api/dlq";

/// What a browser says of a request that a page of this origin makes, and what of others.
const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn app(db: Db) -> TestApp {
    TestApp::with(db, &[("ADMIN_API_KEY", ADMIN_KEY)]).await
}

fn admin_token(role: &str) -> String {
    let claims = json!({ "sub": "ada", "role": role, "exp": START + 3600 });
    sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET)
}

/// The token of a link, made now.
fn link() -> String {
    let (secrets, url) = (Secrets::parse(AUTH_SECRET).unwrap(), Url::parse("http://127.0.0.1:8000").unwrap());
    let url = link::make_for_console(&secrets, &url, &Rng::system(), from_unix(START).unwrap(), "grace");
    let token = url.as_str().strip_prefix("http://127.0.0.1:8000/console#link=");
    token.expect("its address is the console's, its token the fragment").to_owned()
}

impl TestApp {
    async fn sign_in_at_console(&self, body: &Value, headers: &[(&'static str, &'static str)]) -> TestResponse {
        let mut request = self.client.post(SESSION).header(ContentType::JSON);
        for (name, value) in headers {
            request.add_header(Header::new(*name, *value));
        }
        TestResponse::of(request.body(body.to_string())).await
    }

    /// A request with the console's cookie.
    async fn at_console(
        &self,
        (method, path): (Method, &str),
        cookie: &str,
        headers: &[(&'static str, &str)],
    ) -> TestResponse {
        let mut request = self.client.req(method, path.to_owned()).header(Header::new("cookie", cookie.to_owned()));
        for (name, value) in headers {
            request.add_header(Header::new(*name, (*value).to_owned()));
        }
        if method == Method::Post {
            request = request.header(ContentType::JSON).body("{}");
        }
        TestResponse::of(request).await
    }

    async fn cookie_by(&self, body: Value) -> String {
        let response = self.sign_in_at_console(&body, &[]).await;
        assert_eq!((response.status, &*response.body), (204, ""), "{response:?}");
        given(&response)
    }
}

/// What a browser sends back of the cookie that it was given.
fn given(response: &TestResponse) -> String {
    let cookie = response.header("set-cookie").expect("a cookie is set");
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn an_operator_signs_in_by_key_token_or_link_under_a_name() {
    on_each_engine!(async |db| {
        let app = app(db).await;
        for (body, actor) in [
            (json!({ "key": ADMIN_KEY }), "console:key"),
            (json!({ "key": ADMIN_KEY, "name": " Ada Lovelace " }), "console:Ada Lovelace"),
            (json!({ "token": admin_token("admin") }), "console:ada"),
            (json!({ "link": link() }), "console:grace"),
        ] {
            let cookie = app.cookie_by(body.clone()).await;
            let shown = app.at_console((Method::Get, SESSION), &cookie, &[]).await;
            assert_eq!((shown.status, &shown.json()["actor"]), (200, &json!(actor)), "{body}");
            assert_eq!(app.at_console((Method::Get, LETTERS), &cookie, &[]).await.status, 200, "{body}");
            let acts = app.look_up(&format!("/api/admin/audit?actor={}", actor.replace(' ', "%20"))).await.json();
            assert_eq!(acts["data"][0]["action"], "console.sign_in", "{body}");
        }
    });
}

#[test]
fn the_cookie_says_nothing_and_no_script_reads_it() {
    on_each_engine!(async |db| {
        let app = app(db).await;
        let key = json!({ "key": ADMIN_KEY });
        let first = app.sign_in_at_console(&key, &[("x-forwarded-proto", "https")]).await;
        let cookie = first.header("set-cookie").unwrap();
        for word in ["tollgate_console=", "HttpOnly", "SameSite=Strict", "Path=/", "Secure", "Max-Age=43200"] {
            assert!(cookie.contains(word), "{word} is not in {cookie}");
        }
        let plain = app.sign_in_at_console(&key, &[]).await;
        assert!(!plain.header("set-cookie").unwrap().contains("Secure"), "{plain:?}");
        assert_ne!(given(&first), given(&plain));
        let mut tx = app.inner.read().await.unwrap();
        let rows: Vec<(String,)> = tx.sql("SELECT token_hash FROM console_sessions").all().await.unwrap();
        let token = given(&first).split_once('=').unwrap().1.to_owned();
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|(hash,)| *hash != token && hash.len() == 64));
    });
}

#[test]
fn a_console_session_ends_after_twelve_hours_or_one_idle() {
    on_each_engine!(async |db| {
        let app = app(db).await;
        let hours = |number: u64| StdDuration::from_secs(number * 3600);
        let status = async |cookie: &str| app.at_console((Method::Get, SESSION), cookie, &[]).await.status;
        let idle = app.cookie_by(json!({ "key": ADMIN_KEY })).await;
        app.inner.clock.advance(StdDuration::from_secs(3599));
        assert_eq!(status(&idle).await, 200);
        app.inner.clock.advance(hours(1));
        assert_eq!(status(&idle).await, 401);
        let used = app.cookie_by(json!({ "key": ADMIN_KEY })).await;
        for _ in 0..13 {
            app.inner.clock.advance(StdDuration::from_secs(3300));
            assert_eq!(status(&used).await, 200);
        }
        app.inner.clock.advance(StdDuration::from_secs(300));
        assert_eq!(status(&used).await, 401, "twelve hours are over");
        app.inner.clock.advance(hours(1));
        app.cookie_by(json!({ "key": ADMIN_KEY })).await;
        let mut tx = app.inner.read().await.unwrap();
        let rows: Vec<(String,)> = tx.sql("SELECT id FROM console_sessions").all().await.unwrap();
        assert_eq!(rows.len(), 1, "those that are over are gone");
    });
}

#[test]
fn who_signs_out_is_out_everywhere() {
    on_each_engine!(async |db| {
        let app = app(db.clone()).await;
        let other = app.replica(db).await;
        let cookie = app.cookie_by(json!({ "key": ADMIN_KEY, "name": "ada" })).await;
        assert_eq!(other.at_console((Method::Get, SESSION), &cookie, &[]).await.status, 200);
        for _ in 0..2 {
            let out = app.at_console((Method::Delete, SESSION), &cookie, &[SAME_ORIGIN]).await;
            assert_eq!(out.status, 204);
            assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"), "{out:?}");
        }
        for app in [&app, &other] {
            let refused = app.at_console((Method::Get, SESSION), &cookie, &[]).await;
            assert_eq!(refused.refusal(), (401, "unauthorized".to_owned()));
        }
        let acts = app.look_up("/api/admin/audit?actor=console:ada").await.json();
        assert_eq!(acts["data"][0]["action"], "console.sign_out");
    });
}

#[test]
fn a_link_to_the_console_signs_in_once_within_five_minutes() {
    on_each_engine!(async |db| {
        let app = app(db).await;
        let (used, late) = (link(), link());
        let unauthorized = (401, "unauthorized".to_owned());
        app.cookie_by(json!({ "link": used })).await;
        assert_eq!(app.sign_in_at_console(&json!({ "link": used }), &[]).await.refusal(), unauthorized);
        // It is no link to the account page, and no token.
        let elsewhere = app.client.post("/account/session").header(ContentType::JSON);
        let elsewhere = TestResponse::of(elsewhere.body(json!({ "link": late }).to_string())).await;
        assert_eq!(elsewhere.refusal(), unauthorized);
        assert_eq!(app.as_user(Method::Get, LETTERS, &bearer(&late)).await.refusal(), unauthorized);
        assert_eq!(app.sign_in_at_console(&json!({ "token": late }), &[]).await.refusal(), unauthorized);
        app.inner.clock.advance(StdDuration::from_secs(5 * 60 + 15));
        assert_eq!(app.sign_in_at_console(&json!({ "link": late }), &[]).await.refusal(), unauthorized);
    });
}

#[rocket::async_test]
async fn nothing_but_one_good_proof_signs_in() {
    let app = app(db_that_is_away()).await;
    let unauthorized = (401, "unauthorized".to_owned());
    for bad in [
        json!({ "key": "hunter2" }),
        json!({ "key": INTERNAL_KEY }),
        json!({ "token": "a.b.c" }),
        json!({ "link": "" }),
    ] {
        let refused = app.sign_in_at_console(&bad, &[]).await;
        assert_eq!((refused.refusal(), refused.header("set-cookie")), (unauthorized.clone(), None), "{bad}");
    }
    let user = app.sign_in_at_console(&json!({ "token": admin_token("user") }), &[]).await;
    assert_eq!(user.refusal(), (403, "forbidden".to_owned()));
    for unclear in [json!({}), json!({ "name": "ada" }), json!({ "key": ADMIN_KEY, "link": link() })] {
        let refused = app.sign_in_at_console(&unclear, &[]).await;
        assert_eq!(refused.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("key".to_owned())));
    }
    let nameless = app.sign_in_at_console(&json!({ "key": ADMIN_KEY, "name": "a".repeat(65) }), &[]).await;
    assert_eq!(nameless.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("name".to_owned())));
    // A good one.
    let away = app.sign_in_at_console(&json!({ "key": ADMIN_KEY }), &[]).await;
    assert_eq!(away.refusal(), (503, "database_unavailable".to_owned()));
}

#[rocket::async_test]
async fn without_a_key_of_operators_none_signs_in() {
    let app = TestApp::on(db_that_is_away()).await;
    for key in ["", ADMIN_KEY] {
        let refused = app.sign_in_at_console(&json!({ "key": key }), &[]).await;
        assert_eq!(refused.refusal(), (401, "unauthorized".to_owned()));
    }
}

#[rocket::async_test]
async fn an_address_has_ten_sign_ins_a_minute() {
    let app = app(db_that_is_away()).await;
    let attempt = async |peer: &str| {
        let request = app.client.post(SESSION).header(ContentType::JSON).remote(peer.parse::<SocketAddr>().unwrap());
        TestResponse::of(request.body(json!({ "key": "hunter2" }).to_string())).await
    };
    for _ in 0..10 {
        assert_eq!(attempt("203.0.113.7:1").await.status, 401);
    }
    let refused = attempt("203.0.113.7:2").await;
    assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("6"));
    assert_eq!(attempt("203.0.113.8:1").await.status, 401, "another address has its own");
    app.inner.clock.advance(StdDuration::from_secs(6));
    assert_eq!(attempt("203.0.113.7:3").await.status, 401);
}

#[test]
fn with_the_cookie_only_pages_of_this_origin_change_something() {
    on_each_engine!(async |db| {
        let app = app(db).await;
        let cookie = app.cookie_by(json!({ "key": ADMIN_KEY })).await;
        let retry = async |headers: &[(&'static str, &str)]| {
            app.at_console((Method::Post, "/api/dlq/retry/dl_1"), &cookie, headers).await.refusal()
        };
        let (forbidden, through) = ((403, "forbidden".to_owned()), (404, "not_found".to_owned()));
        let host = ("host", "backend.internal:8000");
        for elsewhere in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://evil.example"), host],
            &[("origin", "null"), host],
            &[("origin", "http://backend.internal:9000"), host],
            &[("origin", "http://evil.example/backend.internal:8000"), host],
            &[("origin", "http://backend.internal:8000")],
        ] {
            assert_eq!(retry(elsewhere).await, forbidden, "{elsewhere:?}");
        }
        for here in [
            &[SAME_ORIGIN][..],
            &[("origin", "http://backend.internal:8000"), host],
            &[("origin", "https://backend.internal:8000"), host],
        ] {
            assert_eq!(retry(here).await, through, "{here:?}");
        }
        // Nor is anybody signed out from elsewhere.
        let out = app.at_console((Method::Delete, SESSION), &cookie, &[("sec-fetch-site", "cross-site")]).await;
        assert_eq!(out.refusal(), forbidden);
        // To look is free: no other site reads what it is answered.
        assert_eq!(app.at_console((Method::Get, LETTERS), &cookie, &[]).await.status, 200);
        // And a form is never taken.
        let form = app.client.post("/api/dlq/retry/dl_1").header(Header::new("cookie", cookie.clone()));
        let form = form.header(Header::new("sec-fetch-site", "same-origin")).header(ContentType::Form).body("a=b");
        assert_eq!(TestResponse::of(form).await.refusal(), (415, "unsupported_media_type".to_owned()));
    });
}

#[test]
fn the_cookie_is_no_users_and_what_operators_read_is_in_no_cache() {
    on_each_engine!(async |db| {
        let app = app(db).await;
        let cookie = app.cookie_by(json!({ "key": ADMIN_KEY })).await;
        let me = app.at_console((Method::Get, "/api/user/me"), &cookie, &[]).await;
        assert_eq!(me.refusal(), (401, "unauthorized".to_owned()));
        for (path, status) in [(LETTERS, 200), ("/api/admin/licenses/lic_1", 404)] {
            let read = app.at_console((Method::Get, path), &cookie, &[]).await;
            let says = |name| read.header(name);
            assert_eq!((read.status, says("cache-control")), (status, Some("no-store")), "{path}");
            assert_eq!(
                (says("x-content-type-options"), says("referrer-policy")),
                (Some("nosniff"), Some("no-referrer"))
            );
        }
        // Whoever sends a token means it.
        let both = [("authorization", "Bearer hunter2")];
        assert_eq!(app.at_console((Method::Get, LETTERS), &cookie, &both).await.status, 401);
    });
}

#[rocket::async_test]
async fn the_console_and_its_files_say_what_browsers_have_to_heed() {
    let app = TestApp::on(db_that_is_away()).await;
    let files = FILES.iter().chain(&SHARED).chain(&VENDORED).map(|file| format!("/console/files/{}", file.name));
    let pages = ["/console", "/console/events", "/console/events/evt_1%2F..%2Fx", "/console/dead-letters?q=dl_1"];
    for path in files.chain(pages.map(str::to_owned)) {
        let response = TestResponse::of(app.client.get(path.clone())).await;
        assert_eq!(response.status, 200, "{path}");
        let says = |name| response.header(name).unwrap().to_owned();
        assert_eq!(
            says("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "{path}"
        );
        assert_eq!((says("x-content-type-options"), says("referrer-policy")), ("nosniff".into(), "no-referrer".into()));
        let expected = match path.rsplit('.').next().unwrap() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript",
            "txt" => "text/plain; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(says("content-type"), expected, "{path}");
        let known = Header::new("if-none-match", says("etag"));
        let again = TestResponse::of(app.client.get(path.clone()).header(known)).await;
        assert_eq!((again.status, &*again.body), (304, ""), "{path}");
    }
    for none in ["/console/elsewhere", "/console/files/mod.rs", "/console/files/index.html", "/console/events/a/b"] {
        let none = TestResponse::of(app.client.get(none)).await;
        assert_eq!(none.refusal(), (404, "not_found".to_owned()));
    }
}

#[test]
fn every_file_of_the_console_is_served_and_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/page");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "index.html").collect();
    names.sort();
    let mut served: Vec<_> = FILES.iter().map(|file| file.name.to_owned()).collect();
    served.sort();
    assert_eq!(names, served);
    for file in FILES {
        assert!(file.text.lines().count() < 400, "{} is too long to be read at once", file.name);
    }
}

/// Ways in which a text becomes HTML, or code.
const MARKUP: [&str; 9] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "srcdoc",
    "eval(",
    "new Function",
    "setHTML",
];

#[test]
fn no_module_of_the_console_makes_html_of_a_text() {
    for file in FILES.iter().chain(&SHARED).chain(&VENDORED) {
        let found: Vec<_> = MARKUP.iter().filter(|word| file.text.contains(**word)).collect();
        assert!(found.is_empty(), "{}: {found:?}", file.name);
    }
}

/// The files of uPlot 1.6.32 as npm has them.
const SUMS: [(&str, &str); 3] = [
    ("uPlot.esm.js", "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba"),
    ("uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
    ("uPlot.LICENSE.txt", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"),
];

#[test]
fn the_library_of_charts_is_the_very_one_of_npm() {
    let sums = VENDORED.map(|file| (file.name, hex::encode(Sha256::digest(file.text))));
    assert_eq!(sums.each_ref().map(|(name, sum)| (*name, &**sum)), SUMS);
    assert!(VENDORED[2].text.starts_with("The MIT License"));
}
